//! Leasing the most urgent job that is due.
//!
//! What a claim costs does not grow with the number of jobs that wait, wherever they wait: each step is a seek in
//! an index that holds only jobs in the state in question.

use super::fault::Fault;
use super::records::{self, time};
use super::settle::{self, Ended};
use super::{tubes, workers};
use crate::job::{Document, Job, JobId, State, Tube, Verdict};
use crate::queue::{Claimed, Lease, WorkerId};
use rusqlite::{Connection, OptionalExtension, named_params};

/// As many jobs are promoted or cancelled by one claim; the rest is left to the next ones, so that a million jobs
/// that become due at once do not hold up the heartbeats.
const SWEEP: i64 = 256;
/// As many unreadable jobs are buried by one claim.
const UNREADABLE: usize = 16;

/// Jobs that become due together are promoted in the order in which they will be claimed.
const PROMOTE: &str = "
    UPDATE jobs SET state = 'ready' WHERE seq IN (
        SELECT seq FROM jobs INDEXED BY jobs_delayed
        WHERE state = 'delayed' AND ready_at <= :now ORDER BY ready_at, priority, seq LIMIT :sweep)";

const EXPIRED: &str = "
    SELECT seq, MAX(expires_at, submitted_at) FROM jobs INDEXED BY jobs_expiring
    WHERE expires_at IS NOT NULL AND expires_at <= :now ORDER BY expires_at LIMIT :sweep";

const MOST_URGENT: &str = "
    SELECT priority, seq, expires_at FROM jobs INDEXED BY jobs_ready
    WHERE state = 'ready' AND tube = :tube AND host = :host ORDER BY priority, seq LIMIT 1";

const TAKE: &str = "
    UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = :worker, started_at = :now, expires_at = NULL
    WHERE seq = :seq RETURNING id, submitted_at, attempts, uncounted, max_attempts, kicks";

/// A place in the order of claims.
type Candidate = (u32, i64);

/// Leases the most urgent jobs, `most` at most, to `worker`.
///
/// If so many jobs have expired that one claim cannot cancel them all, there may be none although some are due;
/// what this claim has cancelled is a change, so whoever waits for one claims again at once.
pub(super) fn claim(
    connection: &Connection,
    worker: &WorkerId,
    tubes: &[Tube],
    most: usize,
    now: i64,
) -> Result<Vec<Claimed>, Fault> {
    connection.prepare_cached(PROMOTE)?.execute(named_params! {":now": now, ":sweep": SWEEP})?;
    cancel_expired(connection, now)?;
    let tubes = tubes::open(connection, tubes, now)?;
    let (mut claimed, mut unreadable) = (Vec::new(), 0);
    while claimed.len() < most && unreadable < UNREADABLE {
        let Some((_, seq)) = most_urgent(connection, worker, &tubes, now)? else { break };
        match document(connection, seq, now)? {
            Some(document) => claimed.push(take(connection, worker, seq, document, now)?),
            None => unreadable += 1,
        }
    }
    Ok(claimed)
}

/// Writes down that jobs have expired, as many as one claim may.
pub(super) fn cancel_expired(connection: &Connection, now: i64) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(EXPIRED)?;
    let expired =
        statement.query_map(named_params! {":now": now, ":sweep": SWEEP}, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let expired = expired.collect::<Result<Vec<(i64, i64)>, _>>()?;
    for (seq, ended) in expired {
        settle::expire(connection, seq, ended)?;
    }
    Ok(())
}

fn most_urgent(
    connection: &Connection,
    worker: &WorkerId,
    tubes: &[&Tube],
    now: i64,
) -> Result<Option<Candidate>, Fault> {
    let mut statement = connection.prepare_cached(MOST_URGENT)?;
    let mut best: Option<Candidate> = None;
    for tube in tubes {
        for host in ["", worker.name.as_str()] {
            let found = statement.query_row(named_params! {":tube": tube.as_str(), ":host": host}, |row| {
                Ok(((row.get(0)?, row.get(1)?), row.get::<_, Option<i64>>(2)?))
            });
            match found.optional()? {
                Some((candidate, expires_at)) if expires_at.is_none_or(|expires_at| expires_at > now) => {
                    best = Some(best.map_or(candidate, |best| best.min(candidate)));
                }
                _ => {}
            }
        }
    }
    Ok(best)
}

/// The job's document. A job whose document cannot be read is buried: it would be the most urgent one for ever.
fn document(connection: &Connection, seq: i64, now: i64) -> Result<Option<Document>, Fault> {
    let id = connection.prepare_cached("SELECT id FROM jobs WHERE seq = ?1")?.query_row([seq], |row| row.get(0))?;
    match records::document(connection, seq, JobId::from_bytes(id)) {
        Ok(document) => Ok(Some(document)),
        Err(Fault::Corrupt(message)) => {
            let verdict = Verdict::HostError { message };
            settle::end(connection, seq, &Ended { state: State::Dead, verdict: &verdict, published: None }, now)?;
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn take(connection: &Connection, worker: &WorkerId, seq: i64, document: Document, now: i64) -> Result<Claimed, Fault> {
    // A lease can only run out if the worker's heartbeats are watched.
    workers::ensure(connection, worker, now)?;
    let taken = named_params! {":seq": seq, ":worker": worker.start.as_bytes(), ":now": now};
    let (id, submitted_at, attempt, uncounted, max_attempts, kicks) =
        connection.prepare_cached(TAKE)?.query_row(taken, |row| {
            Ok((
                JobId::from_bytes(row.get(0)?),
                row.get(1)?,
                row.get::<_, u32>(2)?,
                row.get::<_, u32>(3)?,
                row.get::<_, u32>(4)?,
                row.get::<_, u32>(5)?,
            ))
        })?;
    connection
        .prepare_cached("INSERT INTO attempts (seq, attempt, worker, started_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((seq, attempt, &worker.name, now))?;
    Ok(Claimed {
        job: Job { id, submitted_at: time(submitted_at)?, document },
        lease: Lease { id, attempt },
        attempts: attempt.saturating_sub(uncounted),
        granted: settle::granted(max_attempts, kicks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Span};
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Queue, QueueError};
    use std::time::Duration;

    #[tokio::test]
    async fn the_most_urgent_job_comes_first_and_among_equals_the_first_submitted() {
        let fixture = Fixture::new();
        let mut ids = Vec::new();
        for priority in [1024, 7, 1024, 0, 7] {
            ids.push(fixture.submit(Document { priority, ..document() }).await);
        }
        let delayed = Document { priority: 0, delay: Some(Span(Duration::from_secs(60))), ..document() };
        let delayed = fixture.submit(delayed).await;
        let first = fixture.claim("a").await.unwrap();
        assert_eq!((first.lease.id, first.lease.attempt), (ids[3], 1));
        fixture.advance(Duration::from_secs(60));
        let mut order = Vec::new();
        while let Some(claimed) = fixture.claim("a").await {
            order.push(claimed.lease.id);
        }
        assert_eq!(order, [delayed, ids[1], ids[4], ids[0], ids[2]]);
    }

    #[tokio::test]
    async fn a_retried_job_keeps_its_place_and_its_attempts_go_on() {
        let fixture = Fixture::new();
        let first = fixture.submit(document()).await;
        let second = fixture.submit(document()).await;
        let claimed = fixture.claim("a").await.unwrap();
        let retry = Decision::Retry(Duration::from_secs(1));
        fixture.settle("a", &claimed.lease, failed(), retry).await.unwrap();
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, second, "the first one waits");
        let third = fixture.submit(document()).await;
        fixture.advance(Duration::from_secs(1));
        let again = fixture.claim("a").await.unwrap();
        assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (first, 2, 2));
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, third);
    }

    #[tokio::test]
    async fn a_pinned_job_is_for_exactly_the_worker_that_it_names() {
        let fixture = Fixture::new();
        let pinned = fixture.submit(Document { host: Some("node1".to_owned()), ..document() }).await;
        assert!(fixture.claim("node10").await.is_none());
        assert!(fixture.claim("node").await.is_none());
        assert_eq!(fixture.claim("node1").await.unwrap().lease.id, pinned);
    }

    #[tokio::test]
    async fn only_jobs_of_the_workers_tubes_are_claimed() {
        let fixture = Fixture::new();
        let tube: Tube = "other".parse().unwrap();
        let id = fixture.submit(Document { tube: tube.clone(), ..document() }).await;
        assert!(fixture.claim("a").await.is_none());
        let claimed = fixture.queue.claim(&worker("a"), &[Tube::default(), tube], 1).await.unwrap().remove(0);
        assert_eq!((claimed.lease.id, claimed.job.document.tube.as_str()), (id, "other"));
    }

    #[tokio::test]
    async fn a_job_that_expires_before_it_is_started_is_cancelled() {
        let fixture = Fixture::new();
        let expires = Some("10s".parse().unwrap());
        let ready = fixture.submit(Document { expires, ..document() }).await;
        let held = fixture.submit(Document { expires, hold: true, ..document() }).await;
        let started = fixture.submit(Document { expires, priority: 0, ..document() }).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        assert_eq!(lease.id, started);
        fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
        fixture.advance(Duration::from_secs(11));
        let before = [fixture.find(ready).await, fixture.find(held).await];
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, started, "it was started in time");
        assert!(fixture.claim("a").await.is_none());
        for record in [fixture.find(ready).await, fixture.find(held).await] {
            assert_eq!((record.state, record.attempts), (State::Cancelled, 0));
            assert!(matches!(record.verdict, Some(Verdict::Cancelled { .. })));
            let lasted = record.finished_at.unwrap().duration_since(record.submitted_at);
            assert_eq!(lasted.as_secs(), 10);
        }
        assert_eq!([fixture.find(ready).await, fixture.find(held).await], before, "no claim is needed to see it");
        assert_eq!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 2);
    }

    #[tokio::test]
    async fn any_number_of_jobs_may_expire_or_become_due_at_once() {
        let fixture = Fixture::new();
        let mut documents = vec![Document { expires: Some("10s".parse().unwrap()), ..document() }; 600];
        documents.extend(vec![Document { delay: Some(Span(Duration::from_secs(10))), ..document() }; 600]);
        fixture.submit_all(documents).await;
        fixture.advance(Duration::from_secs(10));
        let mut claimed = 0;
        for _ in 0..700 {
            claimed += usize::from(fixture.claim("a").await.is_some());
        }
        assert_eq!(claimed, 600);
        assert_eq!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 600);
    }

    #[tokio::test]
    async fn a_job_that_cannot_be_read_is_buried_and_holds_up_no_other() {
        let fixture = Fixture::new();
        let damaged = fixture.submit(Document { priority: 0, ..document() }).await;
        let sound = fixture.submit(document()).await;
        fixture.submit_all(vec![Document { priority: 0, ..document() }; 2]).await;
        fixture.sql(
            "UPDATE documents SET json = '{\"algorithm\": 7}' WHERE seq = 1;
            UPDATE documents SET json = CAST(x'ff' AS TEXT) WHERE seq = 3;
            DELETE FROM documents WHERE seq = 4",
        );
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, sound);
        assert_eq!(fixture.queue.status().await.unwrap().states[&State::Dead], 3);
        let refusal = fixture.queue.find(damaged).await.unwrap_err();
        assert!(matches!(refusal, QueueError::Backend(_)));
        let refusal = refusal.to_string();
        assert!(refusal.contains(&format!("the document of job {damaged} cannot be read")), "{refusal}");
    }

    #[test]
    fn no_step_of_a_claim_looks_at_more_jobs_than_it_needs() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (PROMOTE, "jobs USING COVERING INDEX jobs_delayed (ready_at<?)"),
            (EXPIRED, "jobs USING INDEX jobs_expiring (expires_at>? AND expires_at<?)"),
            (MOST_URGENT, "jobs USING INDEX jobs_ready (tube=? AND host=?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
