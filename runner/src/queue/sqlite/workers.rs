//! Workers: their heartbeats, and what becomes of their jobs when these stop.

use super::fault::Fault;
use super::settle::{self, Ending};
use super::{SqliteQueue, claim, doubt, lock};
use crate::job::{Decision, JobId, Standing, Verdict, decide};
use crate::queue::{Lease, QueueError, Recalled, WorkerId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
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

impl SqliteQueue {
    /// Runs `work` in the writing thread for a worker's heart. That the file is locked it has to know well before the
    /// leases are over.
    pub(super) async fn beat<T, F>(&self, worker: &WorkerId, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    {
        let clock = Arc::clone(&self.shared.clock);
        self.shared.writer.call_unless_locked(worker.lease / 4, move |connection| work(connection, clock())).await
    }

    /// Makes marks for a worker who is known by now, and removes those of `files`, found before that, which are nobody's.
    pub(super) async fn keep_marks(&self, start: JobId, files: Vec<PathBuf>) -> Result<(), QueueError> {
        let known = self.shared.reader.call(known).await?;
        self.shared.begun.sweep(files, &known);
        self.shared.begun.register(start);
        Ok(())
    }

    /// [`Queue::take_over`] by any monotonic clock.
    pub(super) async fn take_over_by(
        &self,
        clock: impl Fn() -> Instant + Send + Sync,
        worker: &WorkerId,
    ) -> Result<Vec<(Lease, Decision)>, QueueError> {
        doubt::undo(self).await?;
        let before = clock();
        let beats = self.shared.reader.call(beats).await?;
        let mut silent = lock(&self.shared.silence).observe(&beats, before, clock());
        silent.retain(|beat| beat.start != worker.start);
        let Some(shortest) = silent.iter().map(|beat| beat.lease).min() else { return Ok(Vec::new()) };
        let begun = Arc::clone(&self.shared.begun);
        let long = (shortest / 10).max(Duration::from_secs(1));
        let (asked, locked) = (Instant::now(), self.shared.writer.locked().clone());
        self.write(move |connection, now| {
            // Whatever kept this from the file, a long transaction of a third process perhaps, kept heartbeats
            // from it too. They come first, also if this was asked only just before the end; the next call will see.
            if asked.elapsed() > long || locked.is_just_over(long) {
                return Ok(Vec::new());
            }
            take_over(connection, &silent, |start| begun.read(start), now.as_millisecond())
        })
        .await
    }
}

/// Makes sure that a worker is known. Its heartbeats are counted from a random number on: one that was given up and
/// comes back must not show anybody who has watched it the number at which it fell silent.
pub(super) fn ensure(connection: &Connection, worker: &WorkerId, now: i64) -> Result<(), Fault> {
    let lease = i64::try_from(worker.lease.as_millis()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO workers (start, name, started_at, lease_ms, store, public_url, beat)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, random() >> 1)",
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
                .prepare_cached("SELECT state = 'cancelled' AND attempts = ?2 FROM jobs WHERE id = ?1")?
                .query_row((lease.id.as_bytes(), lease.attempt), |row| row.get(0))
                .optional()?;
            // A job that was deleted had ended before, and nobody gets it any more.
            recalled.push(Recalled { lease: lease.clone(), cancelled: cancelled.unwrap_or(true) });
        }
    }
    Ok(recalled)
}

/// All workers, those that serve a server among them.
fn known(connection: &Connection) -> Result<Vec<JobId>, Fault> {
    let mut statement = connection.prepare_cached("SELECT start FROM workers UNION ALL SELECT start FROM serving")?;
    let starts = statement.query_map([], |row| Ok(JobId::from_bytes(row.get(0)?)))?;
    Ok(starts.collect::<Result<_, _>>()?)
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

/// Ends the attempts of workers that are silent, unless one of them has beaten meanwhile. Those that have not begun, of
/// the workers of which that is known, do not count.
pub(super) fn take_over(
    connection: &Connection,
    silent: &[Beat],
    begun: impl Fn(JobId) -> Option<HashSet<Lease>>,
    now: i64,
) -> Result<Vec<(Lease, Decision)>, Fault> {
    let mut taken = Vec::new();
    for &Beat { start, count, lease } in silent {
        let name: Option<String> = connection
            .prepare_cached("SELECT name FROM workers WHERE start = ?1 AND beat = ?2")?
            .query_row((start.as_bytes(), count), |row| row.get(0))
            .optional()?;
        let Some(name) = name else { continue };
        let message = format!("worker {name} was not heard of for {} s; its lease has run out", lease.as_secs_f64());
        let not_begun = format!("{message}, and it had not begun the attempt");
        let (lost, not_begun) = (Verdict::Lost { message }, Verdict::Interrupted { message: not_begun });
        let begun = begun(start);
        let has_begun = |lease: &Lease| begun.as_ref().is_none_or(|begun| begun.contains(lease));
        let verdict = |lease: &Lease| if has_begun(lease) { (true, &lost) } else { (false, &not_begun) };
        taken.extend(end_all(connection, start, verdict, now)?);
        forget(connection, start)?;
    }
    Ok(taken)
}

/// Strikes a worker off; what it has not settled, it gives back.
pub(super) fn unregister(connection: &Connection, worker: &WorkerId, now: i64) -> Result<(), Fault> {
    let message = format!("worker {} has stopped", worker.name);
    let interrupted = Verdict::Interrupted { message };
    end_all(connection, worker.start, |_| (true, &interrupted), now)?;
    forget(connection, worker.start)
}

fn forget(connection: &Connection, start: JobId) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM workers WHERE start = ?1")?.execute([start.as_bytes()])?;
    Ok(())
}

/// Ends what a worker runs, each attempt with whether it has begun and its verdict.
fn end_all<'a>(
    connection: &Connection,
    start: JobId,
    verdict: impl Fn(&Lease) -> (bool, &'a Verdict),
    now: i64,
) -> Result<Vec<(Lease, Decision)>, Fault> {
    let mut statement = connection.prepare_cached(RUNNING)?;
    let standing = |row: &Row<'_>| -> rusqlite::Result<_> {
        let lease = Lease { id: JobId::from_bytes(row.get(1)?), attempt: row.get(2)? };
        let standing = Standing {
            attempts: lease.attempt.saturating_sub(row.get(3)?),
            granted: settle::granted(row.get(4)?, row.get(5)?),
            seed_pinned: row.get(6)?,
        };
        Ok((lease, standing))
    };
    let running = statement.query_map([start.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, standing(row))))?;
    let mut ended = Vec::new();
    for (seq, found) in running.collect::<Result<Vec<_>, _>>()? {
        let (lease, standing) = match found.map_err(Fault::from) {
            Ok(found) => found,
            // It must not keep the others from being taken over.
            Err(fault) if fault.is_of_a_row() => {
                claim::bury(connection, seq, &fault, now)?;
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let (has_begun, verdict) = verdict(&lease);
        // No such verdict makes a job wait, so there is nothing to jitter.
        let decision = decide(verdict, standing, 0.0);
        let ending = Ending { attempt: lease.attempt, has_begun, verdict, decision, usage: None, published: false };
        settle::end_attempt(connection, seq, &ending, now)?;
        ended.push((lease, decision));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests;
