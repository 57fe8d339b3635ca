//! Workers: their heartbeats, and what becomes of their jobs when these stop.

use super::fault::Fault;
use super::settle::{self, Ending};
use crate::job::{Decision, JobId, Standing, Verdict, decide};
use crate::queue::{Lease, Recalled, WorkerId};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const RUNNING: &str = "
    SELECT seq, id, attempts, uncounted, max_attempts, kicks, seed_pinned FROM jobs WHERE worker = ?1 ORDER BY seq";

/// A worker's heartbeat, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) start: JobId,
    pub(super) count: i64,
    /// How long the worker's leases last.
    pub(super) lease: Duration,
}

/// What this process has seen of the workers' heartbeats, by its own monotonic clock. Nobody else's clock, and
/// nobody's wall clock, has a say in whether a lease has run out.
#[derive(Debug, Default)]
pub(super) struct Silence(HashMap<JobId, (i64, Instant)>);

impl Silence {
    /// Takes note of all heartbeats, read between `before` and `after`, and returns those that have been the same
    /// for as long as a lease of their worker lasts.
    pub(super) fn observe(&mut self, beats: &[Beat], before: Instant, after: Instant) -> Vec<Beat> {
        self.0.retain(|start, _| beats.iter().any(|beat| beat.start == *start));
        let mut silent = Vec::new();
        for beat in beats {
            let seen = self.0.entry(beat.start).or_insert((beat.count, after));
            if seen.0 != beat.count {
                *seen = (beat.count, after);
            } else if before.saturating_duration_since(seen.1) >= beat.lease {
                silent.push(*beat);
            }
        }
        silent
    }
}

/// Makes sure that a worker is known.
pub(super) fn ensure(connection: &Connection, worker: &WorkerId, now: i64) -> Result<(), Fault> {
    let lease = i64::try_from(worker.lease.as_millis()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO workers (start, name, started_at, lease_ms, store, public_url)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            worker.start.as_bytes(),
            &worker.name,
            now,
            lease,
            worker.home.store.as_bytes(),
            worker.home.public_url.as_ref().map(url::Url::as_str),
        ))?;
    Ok(())
}

/// Beats once, and returns the leases that are no longer the worker's.
pub(super) fn heartbeat(
    connection: &Connection,
    worker: &WorkerId,
    leases: &[Lease],
    now: i64,
) -> Result<Vec<Recalled>, Fault> {
    // Whoever was given up for dead is known no more, and registers again.
    ensure(connection, worker, now)?;
    connection
        .prepare_cached("UPDATE workers SET beat = beat + 1 WHERE start = ?1")?
        .execute([worker.start.as_bytes()])?;
    recalled(connection, worker, leases)
}

/// The leases that are no longer the worker's.
pub(super) fn recalled(connection: &Connection, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, Fault> {
    let mut recalled = Vec::new();
    for lease in leases {
        if settle::leased(connection, worker, lease)?.is_none() {
            let cancelled = connection
                .prepare_cached("SELECT state = 'cancelled' FROM jobs WHERE id = ?1 AND attempts = ?2")?
                .query_row((lease.id.as_bytes(), lease.attempt), |row| row.get(0))
                .optional()?;
            recalled.push(Recalled { lease: lease.clone(), cancelled: cancelled.unwrap_or(false) });
        }
    }
    Ok(recalled)
}

/// All workers' heartbeats.
pub(super) fn beats(connection: &Connection) -> Result<Vec<Beat>, Fault> {
    let mut statement = connection.prepare_cached("SELECT start, beat, lease_ms FROM workers")?;
    let beats = statement.query_map([], |row| {
        let lease = Duration::from_millis(row.get(2)?);
        Ok(Beat { start: JobId::from_bytes(row.get(0)?), count: row.get(1)?, lease })
    })?;
    Ok(beats.collect::<Result<_, _>>()?)
}

/// Ends the attempts of workers that are silent, unless one of them has beaten meanwhile.
pub(super) fn take_over(connection: &Connection, silent: &[Beat], now: i64) -> Result<Vec<(Lease, Decision)>, Fault> {
    let mut taken = Vec::new();
    for &Beat { start, count, lease } in silent {
        let name: Option<String> = connection
            .prepare_cached("SELECT name FROM workers WHERE start = ?1 AND beat = ?2")?
            .query_row((start.as_bytes(), count), |row| row.get(0))
            .optional()?;
        let Some(name) = name else { continue };
        let message = format!("worker {name} was not heard of for {} s; its lease has run out", lease.as_secs_f64());
        taken.extend(end_all(connection, start, &Verdict::Lost { message }, now)?);
        forget(connection, start)?;
    }
    Ok(taken)
}

/// Strikes a worker off; what it has not settled, it gives back.
pub(super) fn unregister(connection: &Connection, worker: &WorkerId, now: i64) -> Result<(), Fault> {
    let message = format!("worker {} has stopped", worker.name);
    end_all(connection, worker.start, &Verdict::Interrupted { message }, now)?;
    forget(connection, worker.start)
}

fn forget(connection: &Connection, start: JobId) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM workers WHERE start = ?1")?.execute([start.as_bytes()])?;
    Ok(())
}

fn end_all(
    connection: &Connection,
    start: JobId,
    verdict: &Verdict,
    now: i64,
) -> Result<Vec<(Lease, Decision)>, Fault> {
    let mut statement = connection.prepare_cached(RUNNING)?;
    let running = statement.query_map([start.as_bytes()], |row| {
        let lease = Lease { id: JobId::from_bytes(row.get(1)?), attempt: row.get(2)? };
        let standing = Standing {
            attempts: lease.attempt.saturating_sub(row.get(3)?),
            granted: settle::granted(row.get(4)?, row.get(5)?),
            seed_pinned: row.get(6)?,
        };
        Ok((row.get::<_, i64>(0)?, lease, standing))
    })?;
    let mut ended = Vec::new();
    for (seq, lease, standing) in running.collect::<Result<Vec<_>, _>>()? {
        // Neither verdict makes a job wait, so there is nothing to jitter.
        let decision = decide(verdict, standing, 0.0);
        let ending = Ending { attempt: lease.attempt, verdict, decision, usage: None, published: false };
        settle::end_attempt(connection, seq, &ending, now)?;
        ended.push((lease, decision));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Document, State};
    use crate::queue::sqlite::fixture::{Fixture, LEASE, document, worker};
    use crate::queue::{Queue, QueueError};

    #[test]
    fn a_worker_is_silent_only_after_the_same_beat_for_a_whole_lease() {
        let start = Instant::now();
        let worker = JobId::new();
        let mut silence = Silence::default();
        let mut look = |count, seconds| {
            let at = start + Duration::from_secs_f64(seconds);
            !silence.observe(&[Beat { start: worker, count, lease: LEASE }], at, at).is_empty()
        };
        assert!(!look(1, 0.0));
        assert!(!look(1, 14.9));
        assert!(!look(2, 15.1), "it has beaten");
        assert!(!look(2, 30.0));
        assert!(look(2, 30.2));
        assert!(!look(3, 99.0), "it is back");
    }

    #[test]
    fn the_time_that_reading_takes_is_to_the_workers_advantage() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let beat = Beat { start: JobId::new(), count: 1, lease: LEASE };
        let mut silence = Silence::default();
        assert!(silence.observe(&[beat], at(0), at(10)).is_empty());
        assert!(silence.observe(&[beat], at(16), at(40)).is_empty());
        assert_eq!(silence.observe(&[beat], at(41), at(41)), [beat]);
    }

    #[test]
    fn workers_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let mut silence = Silence::default();
        let beat = || Beat { start: JobId::new(), count: 1, lease: LEASE };
        silence.observe(&[beat(), beat()], now, now);
        silence.observe(&[], now, now);
        assert!(silence.0.is_empty());
    }

    fn clock(fixture_start: Instant, seconds: u64) -> impl Fn() -> Instant + Send + Sync {
        move || fixture_start + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_job_is_taken_over_only_after_a_whole_lease_without_a_heartbeat() {
        let fixture = Fixture::new();
        let (start, observer) = (Instant::now(), worker("observer"));
        let id = fixture.submit(document()).await;
        fixture.queue.register(&worker("a")).await.unwrap();
        let claimed = fixture.claim("a").await.unwrap();
        // A wall clock that jumps by a year steals nothing.
        fixture.advance(Duration::from_secs(365 * 86_400));
        for seconds in [0, 5, 14] {
            assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
        }
        assert!(fixture.queue.heartbeat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap().is_empty());
        for seconds in [16, 30] {
            assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
        }
        let taken = fixture.queue.take_over_by(clock(start, 31), &observer).await.unwrap();
        assert_eq!(taken, [(claimed.lease.clone(), Decision::Retry(Duration::ZERO))]);
        let record = fixture.find(id).await;
        assert_eq!((record.state, record.attempts), (State::Ready, 1));
        let told = record.verdict.unwrap().to_string();
        assert!(told.starts_with("lost: worker a was not heard of for 15 s"), "{told}");
        let lost = fixture.queue.heartbeat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap();
        assert_eq!(lost, [Recalled { lease: claimed.lease.clone(), cancelled: false }]);
        let late = fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await;
        assert!(matches!(late, Err(QueueError::Stale { .. })));
    }

    #[tokio::test]
    async fn a_lease_lasts_as_long_as_its_holder_says_whoever_watches() {
        let fixture = Fixture::new();
        let start = Instant::now();
        fixture.submit_all(vec![document(); 2]).await;
        let patient = fixture.claim("patient").await.unwrap();
        let hasty = WorkerId { lease: Duration::from_secs(2), ..worker("hasty") };
        let claimed = fixture.queue.claim(&hasty, &[crate::job::Tube::default()], 1).await.unwrap().remove(0);
        for seconds in [0, 1] {
            assert!(fixture.queue.take_over_by(clock(start, seconds), &hasty).await.unwrap().is_empty());
        }
        assert!(fixture.queue.take_over_by(clock(start, 14), &hasty).await.unwrap().is_empty(), "patient has 15 s");
        let leases = |taken: Vec<(Lease, Decision)>| taken.into_iter().map(|(lease, _)| lease).collect::<Vec<_>>();
        let taken = fixture.queue.take_over_by(clock(start, 14), &worker("patient")).await.unwrap();
        assert_eq!(leases(taken), [claimed.lease]);
        let taken = fixture.queue.take_over_by(clock(start, 15), &hasty).await.unwrap();
        assert_eq!(leases(taken), [patient.lease]);
    }

    #[tokio::test]
    async fn a_worker_that_was_stopped_for_a_while_does_not_take_over_its_own_attempts() {
        let fixture = Fixture::new();
        let start = Instant::now();
        fixture.submit(document()).await;
        let claimed = fixture.claim("a").await.unwrap();
        for seconds in [0, 1000] {
            assert!(fixture.queue.take_over_by(clock(start, seconds), &worker("a")).await.unwrap().is_empty());
        }
        fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await.unwrap();
    }

    #[tokio::test]
    async fn a_beat_that_comes_before_the_take_over_saves_the_lease() {
        let fixture = Fixture::new();
        fixture.submit(document()).await;
        let claimed = fixture.claim("a").await.unwrap();
        let silent = fixture.queue.shared.reader.call(beats).await.unwrap();
        fixture.queue.heartbeat(&worker("a"), &[]).await.unwrap();
        let taken = fixture.queue.write(move |connection, _| take_over(connection, &silent, 0)).await.unwrap();
        assert!(taken.is_empty());
        fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await.unwrap();
    }

    #[tokio::test]
    async fn a_job_that_loses_every_worker_is_buried_in_the_end() {
        let fixture = Fixture::new();
        let (start, observer) = (Instant::now(), worker("observer"));
        let id = fixture.submit(Document { max_attempts: 2, ..document() }).await;
        for (attempt, expected) in [(1, Decision::Retry(Duration::ZERO)), (2, Decision::Bury)] {
            fixture.claim(&format!("worker {attempt}")).await.unwrap();
            fixture.queue.take_over_by(clock(start, attempt * 100), &observer).await.unwrap();
            let taken = fixture.queue.take_over_by(clock(start, attempt * 100 + 15), &observer).await.unwrap();
            assert_eq!(taken.iter().map(|(_, decision)| *decision).collect::<Vec<_>>(), [expected]);
        }
        assert_eq!(fixture.find(id).await.state, State::Dead);
        assert!(fixture.queue.status().await.unwrap().workers.is_empty(), "the dead are listed no more");
    }

    #[tokio::test]
    async fn a_worker_that_says_goodbye_gives_back_what_it_holds() {
        let fixture = Fixture::new();
        let id = fixture.submit(Document { max_attempts: 1, ..document() }).await;
        fixture.claim("a").await.unwrap();
        fixture.queue.unregister(&worker("a")).await.unwrap();
        assert!(fixture.queue.status().await.unwrap().workers.is_empty());
        let record = fixture.find(id).await;
        assert!(matches!(record.verdict, Some(Verdict::Interrupted { .. })));
        let again = fixture.claim("b").await.unwrap();
        assert_eq!((again.lease.attempt, again.attempts), (2, 1));
    }
}
