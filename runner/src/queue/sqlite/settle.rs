//! The end of attempts, and of jobs.

use super::deliveries;
use super::fault::Fault;
use super::records::{self, json};
use super::submit::UNTIL_ENDED;
use super::timings::Tally;
use crate::job::{Decision, Progress, State, Usage, Verdict};
use crate::queue::{Home, Lease, QueueError, Settlement, WorkerId};
use rusqlite::{Connection, OptionalExtension, named_params};

/// What is kept of a progress message, in characters.
const MAX_MESSAGE: usize = 200;

const HELD_BY: &str = "SELECT seq FROM jobs WHERE id = ?1 AND state = 'running' AND worker = ?2 AND attempts = ?3";

/// The number of an attempt that was begun is given to no other, so this one has ended in just this way.
const SETTLED_SO: &str = "
    SELECT 1 FROM jobs JOIN attempts USING (seq)
    WHERE id = ?1 AND attempt = ?2 AND attempts.worker = ?3 AND attempts.verdict = ?4 AND usage = ?5";

const PROGRESS: &str = "
    UPDATE jobs SET progress = ?3, progress_message = ?4 WHERE id = ?1 AND state = 'running' AND attempts = ?2";

const END_ATTEMPT: &str = "
    UPDATE attempts SET finished_at = ?3, verdict = ?4, usage = ?5 WHERE seq = ?1 AND attempt = ?2";

const WAIT_AGAIN: &str = "
    UPDATE jobs SET state = :state, ready_at = :ready_at, worker = NULL, verdict = :verdict,
        uncounted = uncounted + :uncounted, progress = NULL, progress_message = NULL
    WHERE seq = :seq";

/// The attempt has left nothing, so its number is free again; only its worker's start could mistake it for another.
const UNCLAIM: &str = "
    UPDATE jobs SET state = 'ready', worker = NULL, attempts = attempts - 1,
        expires_at = (SELECT expires_at FROM attempts WHERE seq = ?1 AND attempt = ?2),
        started_at = (SELECT started_at FROM attempts WHERE seq = ?1 AND attempt < ?2 ORDER BY attempt DESC LIMIT 1)
    WHERE seq = ?1";

const MAY_EXPIRE_AGAIN: &str = "
    UPDATE jobs SET expires_at = (SELECT expires_at FROM attempts WHERE seq = ?1 AND attempt = ?2) WHERE seq = ?1";

const END: &str = "
    UPDATE jobs SET state = :state, finished_at = :now, worker = NULL, verdict = :verdict,
        published = COALESCE(:published, published), expires_at = NULL, progress = NULL, progress_message = NULL,
        unique_key = CASE WHEN unique_until = :until_ended THEN NULL ELSE unique_key END
    WHERE seq = :seq";

/// Written only where it changes, which it hardly ever does.
const MOVE: &str = "UPDATE jobs SET public_url = ?2 WHERE seq = ?1 AND public_url IS NOT ?2";

/// How an attempt ended.
pub(super) struct Ending<'a> {
    pub(super) attempt: u32,
    /// If it has not, nothing is counted but its number, and its job expires when it would have.
    pub(super) has_begun: bool,
    pub(super) verdict: &'a Verdict,
    pub(super) decision: Decision,
    /// Unknown if its worker was lost.
    pub(super) usage: Option<Usage>,
    pub(super) published: bool,
}

/// How a job ended.
pub(super) struct Ended<'a> {
    pub(super) state: State,
    pub(super) verdict: &'a Verdict,
    /// The attempt whose result is served from now on.
    pub(super) published: Option<u32>,
}

/// The job's place in the queue, if this is the lease on it.
pub(super) fn leased(connection: &Connection, worker: &WorkerId, lease: &Lease) -> Result<Option<i64>, Fault> {
    let holder = (lease.id.as_bytes(), worker.start.as_bytes(), lease.attempt);
    Ok(connection.prepare_cached(HELD_BY)?.query_row(holder, |row| row.get(0)).optional()?)
}

/// Settles an attempt if the lease is still the worker's.
///
/// An attempt that was settled in just this way stays as it is: the commit was made, and its worker was told that it had
/// failed.
pub(super) fn settle(
    connection: &Connection,
    tally: &mut Tally,
    worker: &WorkerId,
    lease: &Lease,
    settlement: &Settlement,
    now: i64,
) -> Result<(), Fault> {
    let Some(seq) = leased(connection, worker, lease)? else {
        return match is_settled_so(connection, worker, lease, settlement)? {
            true => Ok(()),
            false => Err(QueueError::Stale { id: lease.id, attempt: lease.attempt }.into()),
        };
    };
    let ending = Ending {
        attempt: lease.attempt,
        has_begun: true,
        verdict: &settlement.verdict,
        decision: settlement.decision,
        usage: Some(settlement.usage),
        published: settlement.published,
    };
    end_tallied(connection, tally, seq, &ending, now)?;
    match settlement.decision {
        Decision::Finish | Decision::Bury if settlement.published => {
            publish(connection, seq, lease.attempt, &worker.home, now)
        }
        _ => Ok(()),
    }
}

fn is_settled_so(
    connection: &Connection,
    worker: &WorkerId,
    lease: &Lease,
    settlement: &Settlement,
) -> Result<bool, Fault> {
    let (verdict, usage) = (json(&settlement.verdict)?, json(&finite(settlement.usage))?);
    let attempt = (lease.id.as_bytes(), lease.attempt, &worker.name, verdict, usage);
    Ok(connection.prepare_cached(SETTLED_SO)?.query_row(attempt, |_| Ok(())).optional()?.is_some())
}

/// Undoes a claim if the lease is still the worker's and no attempt of it has begun.
pub(super) fn give_back(connection: &Connection, worker: &WorkerId, lease: &Lease) -> Result<(), Fault> {
    let Some(seq) = leased(connection, worker, lease)? else {
        return Err(QueueError::Stale { id: lease.id, attempt: lease.attempt }.into());
    };
    let attempt = (seq, lease.attempt);
    connection.prepare_cached(UNCLAIM)?.execute(attempt)?;
    connection.prepare_cached("DELETE FROM attempts WHERE seq = ?1 AND attempt = ?2")?.execute(attempt)?;
    Ok(())
}

/// Keeps where the result of a job that has ended is served, and that it is to be sent.
fn publish(connection: &Connection, seq: i64, attempt: u32, home: &Home, now: i64) -> Result<(), Fault> {
    let public_url = home.public_url.as_ref().map(url::Url::as_str);
    connection.prepare_cached(MOVE)?.execute((seq, public_url))?;
    deliveries::add(connection, seq, attempt, home.store, now)
}

/// Ends the running attempt of a job, counts it, and does to the job what was decided.
pub(super) fn end_attempt(connection: &Connection, seq: i64, ending: &Ending<'_>, now: i64) -> Result<(), Fault> {
    let mut tally = Tally::default();
    end_tallied(connection, &mut tally, seq, ending, now)?;
    tally.write(connection)
}

/// [`end_attempt`] for one of many that are counted together.
fn end_tallied(
    connection: &Connection,
    tally: &mut Tally,
    seq: i64,
    ending: &Ending<'_>,
    now: i64,
) -> Result<(), Fault> {
    if ending.has_begun {
        tally.add(connection, seq, ending.verdict, now)?;
    }
    let verdict = json(ending.verdict)?;
    let usage = ending.usage.map(|usage| json(&finite(usage))).transpose()?;
    connection.prepare_cached(END_ATTEMPT)?.execute((seq, ending.attempt, now, &verdict, usage))?;
    let state = match ending.decision {
        Decision::Finish => State::Done,
        Decision::Bury => State::Dead,
        Decision::Cancel => State::Cancelled,
        Decision::Retry(wait) => {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            connection.prepare_cached(WAIT_AGAIN)?.execute(named_params! {
                ":seq": seq,
                ":state": if wait == 0 { State::Ready } else { State::Delayed }.as_str(),
                ":ready_at": now.saturating_add(wait),
                ":verdict": verdict,
                ":uncounted": matches!(ending.verdict, Verdict::Interrupted { .. }),
            })?;
            if !ending.has_begun {
                connection.prepare_cached(MAY_EXPIRE_AGAIN)?.execute((seq, ending.attempt))?;
            }
            return Ok(());
        }
    };
    let published = (ending.published && state != State::Cancelled).then_some(ending.attempt);
    end(connection, seq, &Ended { state, verdict: ending.verdict, published }, now)
}

/// Ends a job.
pub(super) fn end(connection: &Connection, seq: i64, ended: &Ended<'_>, now: i64) -> Result<(), Fault> {
    connection.prepare_cached(END)?.execute(named_params! {
        ":seq": seq,
        ":state": ended.state.as_str(),
        ":now": now,
        ":verdict": json(ended.verdict)?,
        ":published": ended.published,
        ":until_ended": UNTIL_ENDED,
    })?;
    Ok(())
}

/// Cancels a job that was not started before it expired.
pub(super) fn expire(connection: &Connection, seq: i64, ended: i64) -> Result<(), Fault> {
    let verdict = &records::expired();
    end(connection, seq, &Ended { state: State::Cancelled, verdict, published: None }, ended)
}

/// Keeps what a running attempt says of its progress.
pub(super) fn progress(connection: &Connection, lease: &Lease, progress: &Progress) -> Result<(), Fault> {
    let fraction = if progress.fraction.is_nan() { 0.0 } else { progress.fraction.clamp(0.0, 1.0) };
    let message: String = progress.message.chars().take(MAX_MESSAGE).collect();
    connection.prepare_cached(PROGRESS)?.execute((lease.id.as_bytes(), lease.attempt, fraction, message))?;
    Ok(())
}

/// Attempts that a job may have: each kick grants as many as it was submitted with.
pub(super) fn granted(max_attempts: u32, kicks: u32) -> u32 {
    max_attempts.saturating_mul(kicks.saturating_add(1))
}

/// JSON knows neither infinity nor NaN.
pub(super) fn finite(usage: Usage) -> Usage {
    Usage { wall_ms: if usage.wall_ms.is_finite() { usage.wall_ms } else { 0.0 }, ..usage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Document;
    use crate::queue::Queue;
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use std::time::Duration;

    #[tokio::test]
    async fn what_no_database_can_keep_is_made_fit() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        let endless = Progress { fraction: f64::NAN, message: "é".repeat(10_000) };
        fixture.queue.progress(&lease, endless).await.unwrap();
        let progress = fixture.find(id).await.progress.unwrap();
        assert_eq!((progress.fraction, progress.message.chars().count()), (0.0, MAX_MESSAGE));
        let usage = Usage { wall_ms: f64::INFINITY, fuel: u64::MAX, ..Usage::default() };
        let settlement = Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage, published: true };
        fixture.queue.settle(&worker("a"), &lease, settlement).await.unwrap();
        let usage = fixture.find(id).await.history.unwrap()[0].usage.unwrap();
        assert_eq!((usage.fuel, usage.wall_ms), (u64::MAX, 0.0));
    }

    #[tokio::test]
    async fn an_attempt_may_be_settled_again_in_just_the_same_way_and_stays_as_it_is() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let first = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &first, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
        let second = fixture.claim("b").await.unwrap().lease;
        fixture.settle("b", &second, Verdict::Done, Decision::Finish).await.unwrap();
        let before = (fixture.find(id).await, fixture.queue.status().await.unwrap());
        fixture.advance(Duration::from_secs(1));
        fixture.settle("a", &first, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
        fixture.settle("b", &second, Verdict::Done, Decision::Finish).await.unwrap();
        for (name, lease, verdict) in [("a", &second, Verdict::Done), ("b", &second, failed()), ("b", &first, failed())]
        {
            let stale = fixture.settle(name, lease, verdict, Decision::Finish).await;
            assert!(matches!(stale, Err(QueueError::Stale { .. })), "{name} {lease:?}");
        }
        assert_eq!((fixture.find(id).await, fixture.queue.status().await.unwrap()), before);
    }

    #[tokio::test]
    async fn a_job_that_is_given_back_is_as_if_it_had_not_been_claimed() {
        let fixture = Fixture::new();
        let hour = Some("1h".parse().unwrap());
        let id = fixture.submit(Document { expires: hour, ..document() }).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
        let before = fixture.find(id).await;
        fixture.advance(Duration::from_secs(1));
        let claimed = fixture.claim("b").await.unwrap();
        assert_eq!(claimed.lease.attempt, 2);
        fixture.queue.give_back(&worker("b"), &claimed).await.unwrap();
        assert_eq!(fixture.find(id).await, before);
        assert_eq!(fixture.claim("b").await.unwrap().lease.attempt, 2, "the number is free again");

        let id = fixture.submit(Document { expires: hour, ..document() }).await;
        let claimed = fixture.claim("a").await.unwrap();
        fixture.queue.give_back(&worker("a"), &claimed).await.unwrap();
        fixture.advance(Duration::from_secs(3_600));
        assert!(fixture.claim("a").await.is_none(), "it expires when it would have");
        assert_eq!(fixture.find(id).await.state, State::Cancelled);
    }
}
