//! The end of attempts, and of jobs.

use super::columns::{UNTIL_ENDED, json, millis};
use super::fault::Fault;
use super::outbox;
use super::outcome::{self, Parcel, Piece};
use super::timings::Tally;
use crate::job::{Decision, Progress, State, Usage, Verdict};
use crate::queue::{Lease, Report, Settled, WorkerId};
use rusqlite::{Connection, OptionalExtension, named_params};

/// What is kept of a progress message, in characters.
const MAX_MESSAGE: usize = 200;

const HELD_BY: &str = "SELECT seq FROM jobs WHERE id = ?1 AND state = 'running' AND worker = ?2 AND attempts = ?3";

/// An attempt that has ended, if this worker made it: whether it was settled, with a document, or cancelled.
///
/// The number of an attempt is given to no other, so one that was settled was settled by its worker.
const ENDED: &str = "
    SELECT jobs.seq, outcomes.seq IS NOT NULL, document_size IS NOT NULL, attempts.verdict ->> 'kind' = 'cancelled'
    FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempts.attempt = ?2
        LEFT JOIN outcomes ON outcomes.seq = jobs.seq AND outcomes.attempt = attempts.attempt
    WHERE id = ?1 AND attempts.worker = ?3 AND attempts.finished_at IS NOT NULL";

/// An attempt that has ended, and was not settled.
const LOST: &str = "
    SELECT jobs.seq FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempts.attempt = ?2
    WHERE id = ?1 AND attempts.finished_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM outcomes WHERE outcomes.seq = jobs.seq AND outcomes.attempt = attempts.attempt)";

const PROGRESS: &str = "UPDATE jobs SET progress = ?2, progress_message = ?3 WHERE seq = ?1";

const END_ATTEMPT: &str = "
    UPDATE attempts SET finished_at = ?3, verdict = ?4, usage = ?5 WHERE seq = ?1 AND attempt = ?2";

const WAIT_AGAIN: &str = "
    UPDATE jobs SET state = :state, ready_at = :ready_at, worker = NULL, verdict = :verdict,
        uncounted = uncounted + :uncounted, progress = NULL, progress_message = NULL
    WHERE seq = :seq";

const MAY_EXPIRE_AGAIN: &str = "
    UPDATE jobs SET expires_at = (SELECT expires_at FROM attempts WHERE seq = ?1 AND attempt = ?2) WHERE seq = ?1";

const END: &str = "
    UPDATE jobs SET state = :state, finished_at = :now, worker = NULL, verdict = :verdict, published = :published,
        expires_at = NULL, progress = NULL, progress_message = NULL,
        unique_key = CASE WHEN unique_until = :until_ended THEN NULL ELSE unique_key END
    WHERE seq = :seq";

/// Written only where it changes, which is rare.
const SERVED_AT: &str = "UPDATE jobs SET public_url = ?2 WHERE seq = ?1 AND public_url IS NOT ?2";

/// How an attempt ended.
pub(super) struct Ending<'a> {
    pub(super) attempt: u32,
    pub(super) verdict: &'a Verdict,
    pub(super) decision: Decision,
    /// Unknown if the attempt was not settled.
    pub(super) usage: Option<Usage>,
    /// Whether it leaves a document.
    pub(super) published: bool,
    /// Whether it never started: then its job expires when it would have without it.
    pub(super) never_started: bool,
}

/// How a job ended.
struct Ended<'a> {
    state: State,
    verdict: &'a Verdict,
    /// The attempt whose result is served from now on.
    published: Option<u32>,
}

/// What a lease is worth.
pub(super) enum Standing {
    /// The job runs under it.
    Held(i64),
    /// The job was cancelled, and the attempt is not settled yet.
    Cancelled(i64),
    /// The attempt is settled.
    Settled(Settled),
    /// It is not the worker's.
    Lost,
}

/// The job's place in the queue, if this is the lease on it.
pub(super) fn leased(connection: &Connection, worker: &WorkerId, lease: &Lease) -> Result<Option<i64>, Fault> {
    let holder = (lease.id.as_bytes(), worker.start.as_bytes(), lease.attempt);
    Ok(connection.prepare_cached(HELD_BY)?.query_row(holder, |row| row.get(0)).optional()?)
}

/// What this worker may still do with a lease.
fn standing(connection: &Connection, worker: &WorkerId, lease: &Lease) -> Result<Standing, Fault> {
    if let Some(seq) = leased(connection, worker, lease)? {
        return Ok(Standing::Held(seq));
    }
    let attempt = (lease.id.as_bytes(), lease.attempt, &worker.name);
    let ended = connection.prepare_cached(ENDED)?.query_row(attempt, |row| {
        let (is_settled, has_document): (bool, bool) = (row.get(1)?, row.get(2)?);
        let was_cancelled = row.get::<_, Option<bool>>(3)?.unwrap_or(false);
        Ok(match (is_settled, has_document) {
            (true, true) => Standing::Settled(Settled::Counts),
            (true, false) => Standing::Settled(Settled::Cancelled),
            (false, _) if was_cancelled => Standing::Cancelled(row.get(0)?),
            (false, _) => Standing::Lost,
        })
    });
    Ok(ended.optional()?.unwrap_or(Standing::Lost))
}

/// Writes a piece of what the attempt leaves; whether it may still be settled.
pub(super) fn keep_piece(
    connection: &Connection,
    worker: &WorkerId,
    lease: &Lease,
    piece: &Piece,
) -> Result<bool, Fault> {
    match standing(connection, worker, lease)? {
        Standing::Held(seq) | Standing::Cancelled(seq) => {
            piece.keep(connection, seq, lease.attempt)?;
            Ok(true)
        }
        Standing::Settled(_) | Standing::Lost => Ok(false),
    }
}

/// Deletes the pieces that an attempt has left whose lease was lost, unless another worker has its number
/// by now.
pub(super) fn drop_pieces(connection: &Connection, lease: &Lease) -> Result<(), Fault> {
    let lost = connection.prepare_cached(LOST)?.query_row((lease.id.as_bytes(), lease.attempt), |row| row.get(0));
    match lost.optional()? {
        Some(seq) => outcome::drop_leftovers(connection, seq, lease.attempt),
        None => Ok(()),
    }
}

/// What a settlement says, apart from the outcome, which is packed before the file is locked.
pub(super) struct Settling<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) decision: Decision,
    pub(super) usage: Usage,
    pub(super) parcel: &'a Parcel,
}

/// Settles an attempt if the lease is still the worker's.
pub(super) fn settle(
    connection: &Connection,
    tally: &mut Tally,
    worker: &WorkerId,
    lease: &Lease,
    settling: &Settling<'_>,
    now: i64,
) -> Result<Settled, Fault> {
    let attempt = lease.attempt;
    let seq = match standing(connection, worker, lease)? {
        Standing::Held(seq) => seq,
        Standing::Cancelled(seq) => {
            outcome::keep(connection, (seq, attempt), settling.parcel, false, now)?;
            return Ok(Settled::Cancelled);
        }
        Standing::Settled(settled) => return Ok(settled),
        Standing::Lost => return Ok(Settled::Stale),
    };
    let ending = Ending {
        attempt,
        verdict: settling.verdict,
        decision: settling.decision,
        usage: Some(settling.usage),
        published: true,
        never_started: false,
    };
    end_tallied(connection, tally, seq, &ending, now)?;
    outcome::keep(connection, (seq, attempt), settling.parcel, true, now)?;
    if matches!(settling.decision.state(), State::Done | State::Dead) {
        let public_url = worker.public_url.as_ref().map(url::Url::as_str);
        connection.prepare_cached(SERVED_AT)?.execute((seq, public_url))?;
        outbox::add(connection, seq, attempt, now)?;
    }
    Ok(Settled::Counts)
}

/// Ends the running attempt of a job that is not settled, counts it, and does to the job what was decided.
pub(super) fn end_attempt(connection: &Connection, seq: i64, ending: &Ending<'_>, now: i64) -> Result<(), Fault> {
    let mut tally = Tally::default();
    end_tallied(connection, &mut tally, seq, ending, now)?;
    outcome::drop_live(connection, seq, ending.attempt)?;
    tally.write(connection)
}

/// The same for one of many attempts that are counted together.
fn end_tallied(
    connection: &Connection,
    tally: &mut Tally,
    seq: i64,
    ending: &Ending<'_>,
    now: i64,
) -> Result<(), Fault> {
    tally.add(connection, seq, ending.verdict, now)?;
    let verdict = json(ending.verdict)?;
    let usage = ending.usage.map(|usage| json(&finite(usage))).transpose()?;
    connection.prepare_cached(END_ATTEMPT)?.execute((seq, ending.attempt, now, &verdict, usage))?;
    let state = ending.decision.state();
    if let Decision::Retry(wait) = ending.decision {
        connection.prepare_cached(WAIT_AGAIN)?.execute(named_params! {
            ":seq": seq,
            ":state": state.as_str(),
            ":ready_at": now.saturating_add(millis(wait)),
            ":verdict": verdict,
            ":uncounted": matches!(ending.verdict, Verdict::Interrupted { .. }),
        })?;
        if ending.never_started {
            connection.prepare_cached(MAY_EXPIRE_AGAIN)?.execute((seq, ending.attempt))?;
        }
        return Ok(());
    }
    let published = (ending.published && state != State::Cancelled).then_some(ending.attempt);
    end(connection, seq, &Ended { state, verdict: ending.verdict, published }, now)
}

fn end(connection: &Connection, seq: i64, ended: &Ended<'_>, now: i64) -> Result<(), Fault> {
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

/// Cancels a job that does not run.
pub(super) fn cancel(connection: &Connection, seq: i64, verdict: &Verdict, now: i64) -> Result<(), Fault> {
    end(connection, seq, &Ended { state: State::Cancelled, verdict, published: None }, now)
}

/// The verdict on a job that was not started before it expired.
pub(super) fn expired() -> Verdict {
    Verdict::Cancelled { message: "it had expired before an attempt was started".to_owned() }
}

/// Cancels a job that was not started before it expired.
pub(super) fn expire(connection: &Connection, seq: i64, ended: i64) -> Result<(), Fault> {
    cancel(connection, seq, &expired(), ended)
}

/// Ends a job that cannot be read: it would be the most urgent one for ever.
pub(super) fn bury(connection: &Connection, seq: i64, fault: &Fault, now: i64) -> Result<(), Fault> {
    let verdict = Verdict::HostError { message: fault.to_string() };
    end(connection, seq, &Ended { state: State::Dead, verdict: &verdict, published: None }, now)
}

/// Keeps what running attempts say of themselves, if their leases are still the worker's.
pub(super) fn report(connection: &Connection, worker: &WorkerId, reports: &[Report]) -> Result<(), Fault> {
    for Report { lease, progress, log } in reports {
        let Some(seq) = leased(connection, worker, lease)? else { continue };
        if let Some(Progress { fraction, message }) = progress {
            let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
            let message: String = message.chars().take(MAX_MESSAGE).collect();
            connection.prepare_cached(PROGRESS)?.execute((seq, fraction, message))?;
        }
        if !log.is_empty() {
            outcome::append_live(connection, seq, lease.attempt, log)?;
        }
    }
    Ok(())
}

/// Attempts that a job may have: each kick grants as many as it was submitted with.
pub(super) fn granted(max_attempts: u32, kicks: u32) -> u32 {
    max_attempts.saturating_mul(kicks.saturating_add(1))
}

/// JSON knows neither infinity nor NaN.
fn finite(usage: Usage) -> Usage {
    Usage { wall_ms: if usage.wall_ms.is_finite() { usage.wall_ms } else { 0.0 }, ..usage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Jobs, Outcome, Settlement, Work};

    #[tokio::test]
    async fn values_that_no_database_can_keep_are_made_fit() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        let endless = Progress { fraction: f64::NAN, message: "é".repeat(10_000) };
        let report = Report { lease: lease.clone(), progress: Some(endless), log: Vec::new() };
        fixture.queue.report(&worker("a"), vec![report]).await.unwrap();
        let progress = fixture.find(id).await.progress.unwrap();
        assert_eq!((progress.fraction, progress.message.chars().count()), (0.0, MAX_MESSAGE));
        let usage = Usage { wall_ms: f64::INFINITY, fuel: u64::MAX, ..Usage::default() };
        let outcome = Outcome::default();
        let settlement = Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage, outcome };
        fixture.queue.settle(&worker("a"), &lease, settlement).await.unwrap();
        let usage = fixture.find(id).await.history.unwrap()[0].usage.unwrap();
        assert_eq!((usage.fuel, usage.wall_ms), (u64::MAX, 0.0));
    }

    #[tokio::test]
    async fn job_that_ends_without_an_outcome_serves_none() {
        let fixture = Fixture::new();
        let id = fixture.submit(crate::job::Document { max_attempts: 1, ..document() }).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Bury).await.unwrap();
        assert_eq!(fixture.queue.result(id, None).await.unwrap().unwrap().document, b"{}");
        fixture.queue.act(&[id], &crate::queue::Action::Kick).await.unwrap();
        fixture.claim("a").await.unwrap();
        fixture.sql("UPDATE jobs SET uncounted = 0, max_attempts = 1, kicks = 0");
        let pulse = super::super::workers::pulses(&fixture.reader()).unwrap().remove(0);
        let lose = move |connection: &Connection, _| {
            super::super::workers::take_over(connection, &pulse, super::super::workers::Loss::Silent, 0)
        };
        let taken = fixture.queue.write(1, super::super::writer::Durable::Now, lose).await.unwrap();
        assert_eq!(taken[0].1, Decision::Bury);
        assert_eq!(fixture.queue.result(id, None).await.unwrap(), None, "its last attempt was lost");
        assert!(fixture.queue.result(id, Some(1)).await.unwrap().is_some());
    }
}
