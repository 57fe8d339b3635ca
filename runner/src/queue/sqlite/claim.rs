//! Leasing the most urgent jobs that are due.
//!
//! What a claim costs does not grow with the number of jobs that wait, wherever they wait: each step is a
//! seek in an index that holds only jobs in the state in question.

use super::columns::{integer, time};
use super::fault::Fault;
use super::{outcome, settle, tubes, workers};
use crate::job::{Digest, Job, JobId, Tube};
use crate::queue::{Claimed, Lease, WorkerId};
use rusqlite::{Connection, named_params};

/// As many jobs are promoted or cancelled by one claim; the rest is left to the next ones, so that a
/// million jobs that become due at once do not hold up the heartbeats.
const SWEEP: i64 = 256;
/// As many unreadable jobs are buried by one claim.
const UNREADABLE: usize = 16;
/// One claim ends with the job whose document passes so many bytes: all of them are in memory until they
/// are run.
const BYTES: usize = 16 << 20;

/// Jobs that become due together are promoted in the order in which they will be claimed.
const PROMOTE: &str = "
    UPDATE jobs SET state = 'ready' WHERE seq IN (
        SELECT seq FROM jobs INDEXED BY jobs_delayed
        WHERE state = 'delayed' AND ready_at <= :now
        ORDER BY ready_at, priority, seq LIMIT :sweep)";

const EXPIRED: &str = "
    SELECT seq, MAX(expires_at, submitted_at) FROM jobs INDEXED BY jobs_expiring
    WHERE expires_at IS NOT NULL AND expires_at <= :now ORDER BY expires_at LIMIT :sweep";

const MOST_URGENT: &str = "
    SELECT priority, seq, expires_at FROM jobs INDEXED BY jobs_ready
    WHERE state = 'ready' AND tube = :tube AND host = :host ORDER BY priority, seq LIMIT :most";

const CANDIDATE: &str = "
    SELECT id, submitted_at, attempts, uncounted, max_attempts, kicks, expires_at, module, json
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq WHERE jobs.seq = ?1";

const TAKE: &str = "
    UPDATE jobs SET state = 'running', attempts = :attempt, worker = :worker, started_at = :now, expires_at = NULL
    WHERE seq = :seq";

const ATTEMPT: &str = "
    INSERT INTO attempts (seq, attempt, worker, started_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Leases the most urgent jobs, `most` at most, to `worker`, who is known by now.
///
/// If so many jobs have expired that one claim cannot cancel them all, there may be none although some are
/// due. What this claim has cancelled is a change, so a worker that waits for one claims again at once.
pub(super) fn claim(
    connection: &Connection,
    worker: &WorkerId,
    boot: Option<&str>,
    tubes: &[Tube],
    most: usize,
    now: i64,
) -> Result<Vec<Claimed>, Fault> {
    connection.prepare_cached(PROMOTE)?.execute(named_params! {":now": now, ":sweep": SWEEP})?;
    cancel_expired(connection, now)?;
    let (mut claimed, mut bytes) = (Vec::new(), 0);
    let places = most_urgent(connection, worker, &tubes::open(connection, tubes, now)?, most, now)?;
    if !places.is_empty() {
        // A lease can only run out if the worker's heartbeats are watched.
        workers::ensure(connection, worker, boot, now)?;
    }
    for seq in places {
        match candidate(connection, seq) {
            Ok((candidate, expires_at, size)) => {
                take(connection, worker, seq, candidate.lease.attempt, expires_at, now)?;
                claimed.push(candidate);
                bytes += size;
            }
            Err(fault) if fault.is_of_a_row() => settle::bury(connection, seq, &fault, now)?,
            Err(fault) => return Err(fault),
        }
        if claimed.len() == most || bytes >= BYTES {
            break;
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

/// The places of the most urgent jobs, in the order of claims: `most`, and some more in case that some
/// cannot be read.
fn most_urgent(
    connection: &Connection,
    worker: &WorkerId,
    tubes: &[&Tube],
    most: usize,
    now: i64,
) -> Result<Vec<i64>, Fault> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let most = most.saturating_add(UNREADABLE);
    let mut statement = connection.prepare_cached(MOST_URGENT)?;
    let mut candidates: Vec<(i64, i64)> = Vec::new();
    for tube in tubes {
        for host in ["", worker.name.as_str()] {
            let named = named_params! {":tube": tube.as_str(), ":host": host, ":most": integer(most)};
            let mut rows = statement.query(named)?;
            while let Some(row) = rows.next()? {
                if row.get::<_, Option<i64>>(2)?.is_none_or(|expires_at| expires_at > now) {
                    candidates.push((row.get(0)?, row.get(1)?));
                }
            }
        }
        // However many tubes there are, no more are kept than are needed.
        if candidates.len() > most {
            candidates.sort_unstable();
            candidates.truncate(most);
        }
    }
    candidates.sort_unstable();
    Ok(candidates.into_iter().map(|(_, seq)| seq).collect())
}

/// What a claim of the job returns, if all of it can be read, with when it would expire and the bytes of
/// its document.
fn candidate(connection: &Connection, seq: i64) -> Result<(Claimed, Option<i64>, usize), Fault> {
    let mut statement = connection.prepare_cached(CANDIDATE)?;
    let mut rows = statement.query([seq])?;
    let row = rows.next()?.ok_or_else(|| Fault::corrupt("a job", "its row is missing"))?;
    let id = JobId::from_bytes(row.get(0)?);
    let (attempts, uncounted): (u32, u32) = (row.get(2)?, row.get(3)?);
    // It goes on with the attempt, and must be readable should it come back.
    let expires_at: Option<i64> = row.get(6)?;
    expires_at.map(time).transpose()?;
    let attempt = attempts.checked_add(1).ok_or_else(|| Fault::corrupt("a number of attempts", attempts))?;
    let json = row.get_ref(8)?.as_bytes_or_null().map_err(rusqlite::Error::from)?.unwrap_or_default();
    let document =
        serde_json::from_slice(json).map_err(|error| Fault::corrupt(&format!("the document of job {id}"), error))?;
    let module = row.get::<_, Option<[u8; 32]>>(7)?.map(Digest::from_bytes);
    let claimed = Claimed {
        job: Job { id, submitted_at: time(row.get(1)?)?, module, document },
        lease: Lease { id, attempt },
        attempts: attempt.saturating_sub(uncounted),
        granted: settle::granted(row.get(4)?, row.get(5)?),
    };
    Ok((claimed, expires_at, json.len()))
}

/// Leases the job to the worker.
fn take(
    connection: &Connection,
    worker: &WorkerId,
    seq: i64,
    attempt: u32,
    expires_at: Option<i64>,
    now: i64,
) -> Result<(), Fault> {
    outcome::drop_leftovers(connection, seq, attempt)?;
    connection.prepare_cached(ATTEMPT)?.execute((seq, attempt, &worker.name, now, expires_at))?;
    connection.prepare_cached(TAKE)?.execute(named_params! {
        ":seq": seq, ":attempt": attempt, ":worker": worker.start.as_bytes(), ":now": now,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Document, Span, State};
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Jobs, QueueError, Work};
    use rusqlite::{StatementStatus, ToSql};
    use std::time::Duration;

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
    async fn a_claim_takes_no_more_large_documents_than_fit_into_memory() {
        let fixture = Fixture::new();
        let text = serde_json::Value::from("x".repeat(512 << 10));
        let large = Document { params: [("text".to_owned(), text)].into_iter().collect(), ..document() };
        fixture.submit_all(vec![large; 40]).await;
        let tubes = [Tube::default()];
        let claimed = fixture.queue.claim(&worker("a"), &tubes, 100).await.unwrap();
        assert_eq!(claimed.len(), 32);
        assert_eq!(fixture.queue.claim(&worker("a"), &tubes, 100).await.unwrap().len(), 8);
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

    #[tokio::test]
    async fn a_job_whose_row_cannot_be_read_is_buried_and_holds_up_no_other() {
        for damage in [
            "submitted_at = 9223372036854775807",
            "expires_at = 9223372036854775807",
            "attempts = 4294967295",
            "uncounted = -1",
            "max_attempts = 4294967296",
            "kicks = -1",
        ] {
            let fixture = Fixture::new();
            fixture.submit(Document { priority: 0, ..document() }).await;
            let sound = fixture.submit(document()).await;
            fixture.sql(&format!("UPDATE jobs SET {damage} WHERE seq = 1"));
            assert_eq!(fixture.claim("a").await.map(|claimed| claimed.lease.id), Some(sound), "{damage}");
            let dead = "SELECT state = 'dead' FROM jobs WHERE seq = 1";
            assert!(fixture.reader().query_row(dead, [], |row| row.get::<_, bool>(0)).unwrap(), "{damage}");
        }
    }

    /// What SQLite's machine does for each statement of a claim that finds nothing to promote or to cancel.
    async fn steps_with(jobs: usize) -> Vec<i32> {
        let fixture = Fixture::new();
        let (hour, other) = (Some(Span(Duration::from_secs(3600))), Some("other".to_owned()));
        for one in [
            document(),
            Document { tube: "paused".parse().unwrap(), ..document() },
            Document { delay: hour, ..document() },
            Document { host: other, ..document() },
            Document { hold: true, ..document() },
            Document { expires: Some("1h".parse().unwrap()), ..document() },
        ] {
            fixture.submit_all(vec![one; jobs]).await;
        }
        fixture.queue.pause(&"paused".parse().unwrap(), None).await.unwrap();
        let connection =
            crate::queue::sqlite::open::writer(&fixture.path(), crate::queue::sqlite::Sharing::OneMachine).unwrap();
        let now = fixture.find(fixture.submit(document()).await).await.submitted_at.as_millisecond();
        let named: [(&str, &dyn ToSql); 5] =
            [(":now", &now), (":sweep", &SWEEP), (":tube", &"default"), (":host", &""), (":most", &1)];
        let steps = |sql: &str| {
            let mut statement = connection.prepare(sql).unwrap();
            let named: Vec<_> = named.into_iter().filter(|(name, _)| sql.contains(name)).collect();
            let rows = statement.query(named.as_slice()).unwrap().mapped(|_| Ok(())).count();
            assert_eq!(rows, usize::from(sql == MOST_URGENT), "{sql}");
            statement.get_status(StatementStatus::VmStep)
        };
        [PROMOTE, EXPIRED, MOST_URGENT].map(steps).to_vec()
    }

    #[tokio::test]
    async fn a_claim_takes_as_many_steps_however_many_jobs_wait() {
        assert_eq!(steps_with(1000).await, steps_with(2).await);
    }

    #[test]
    fn no_step_of_a_claim_looks_at_more_jobs_than_it_needs() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (PROMOTE, "jobs USING COVERING INDEX jobs_delayed (ready_at<?)"),
            (EXPIRED, "jobs USING INDEX jobs_expiring (expires_at>? AND expires_at<?)"),
            (MOST_URGENT, "jobs USING INDEX jobs_ready (tube=? AND host=?)"),
            (tubes::IS_PAUSED, "paused USING PRIMARY KEY (tube=?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
