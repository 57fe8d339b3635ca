//! Taking jobs in.

use super::columns::UNTIL_ENDED;
use super::fault::Fault;
use super::{modules, settle};
use crate::job::{Digest, Document, JobId, State, Unique, UniqueFor, When};
use crate::queue::{QueueError, Submission};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

const INSERT: &str = "
    INSERT INTO jobs (id, state, tube, host, priority, algorithm, submitted_at, ready_at, expires_at, unique_key,
        unique_until, seed_pinned, max_attempts, module)
    VALUES (:id, :state, :tube, :host, :priority, :algorithm, :submitted_at, :ready_at, :expires_at, :unique_key,
        :unique_until, :seed_pinned, :max_attempts, :module)";

/// What an id was submitted with: its digest, if the document was changed or deleted since, else the
/// document.
const SUBMITTED: &str = "
    SELECT submitted_as, json FROM jobs JOIN documents USING (seq) WHERE id = ?1
    UNION ALL SELECT document, NULL FROM forgotten WHERE id = ?1";

/// A job that has expired and only waits for a claim to cancel it has as good as ended.
const HOLDER: &str = "
    SELECT id FROM jobs
    WHERE unique_key = :key AND unique_until > :now
        AND NOT (unique_until = :until_ended AND expires_at IS NOT NULL AND expires_at <= :now)
    LIMIT 1";

/// The place of such a job.
const EXPIRED_HOLDER: &str = "
    SELECT seq, MAX(expires_at, submitted_at) FROM jobs
    WHERE unique_key = :key AND unique_until = :until_ended AND expires_at <= :now
    LIMIT 1";

/// A job with its document as text.
pub(super) struct Prepared {
    id: JobId,
    document: Document,
    json: String,
}

/// Does what can be done before the file is locked, since nobody else can write then.
pub(super) fn prepare(jobs: Vec<Submission>) -> Vec<Prepared> {
    let prepare = |Submission { id, document }| {
        // The id stands beside the document, so a document that repeats it is no other document.
        let document = Document { id: None, ..document };
        Prepared { id, json: document.canonical(), document }
    };
    jobs.into_iter().map(prepare).collect()
}

/// Inserts all jobs; the first that cannot be is the error.
pub(super) fn submit(connection: &Connection, jobs: &[Prepared], now: Timestamp) -> Result<(), Fault> {
    for Prepared { id, document, json } in jobs {
        match is_known(connection, *id, json)? {
            Some(true) => {}
            Some(false) => return Err(QueueError::IdTaken(*id).into()),
            None => insert(connection, *id, document, json, now)?,
        }
    }
    Ok(())
}

/// Whether the id was submitted with this document; nothing if it never was submitted.
fn is_known(connection: &Connection, id: JobId, json: &str) -> Result<Option<bool>, Fault> {
    let known = connection.prepare_cached(SUBMITTED)?.query_row([id.as_bytes()], |row| {
        Ok(match row.get::<_, Option<[u8; 32]>>(0)? {
            Some(digest) => digest == *Digest::of(json).as_bytes(),
            None => row.get_ref(1)?.as_str()? == json,
        })
    });
    Ok(known.optional()?)
}

/// Adds a job that is not known.
fn insert(connection: &Connection, id: JobId, document: &Document, json: &str, now: Timestamp) -> Result<(), Fault> {
    let millis = now.as_millisecond();
    let ready_at = document.ready_at(now).as_millisecond();
    let state = match document.hold {
        true => State::Held,
        false => waits(ready_at, millis),
    };
    let unique_until = match &document.unique {
        Some(unique) => Some(claim_key(connection, unique, now)?),
        None => None,
    };
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":id": id.as_bytes(),
        ":state": state.as_str(),
        ":tube": document.tube.as_str(),
        ":host": document.host.as_deref().unwrap_or_default(),
        ":priority": document.priority,
        ":algorithm": document.algorithm.name.as_str(),
        ":submitted_at": millis,
        ":ready_at": ready_at,
        ":expires_at": document.expires.map(|expires| expires.from(now).as_millisecond()),
        ":unique_key": document.unique.as_ref().map(|unique| &unique.key),
        ":unique_until": unique_until,
        ":seed_pinned": document.seed.is_some(),
        ":max_attempts": document.max_attempts,
        ":module": modules::pinned(connection, document)?.as_ref().map(Digest::as_bytes),
    })?;
    let seq = connection.last_insert_rowid();
    connection.prepare_cached("INSERT INTO documents VALUES (?1, ?2)")?.execute((seq, json))?;
    tag(connection, seq, &document.tags)
}

/// How a job waits that is due at `ready_at`.
pub(super) fn waits(ready_at: i64, now: i64) -> State {
    if ready_at > now { State::Delayed } else { State::Ready }
}

/// Has a job be found by these tags.
pub(super) fn tag(connection: &Connection, seq: i64, tags: &[String]) -> Result<(), Fault> {
    for tag in tags {
        connection.prepare_cached("INSERT OR IGNORE INTO tags VALUES (?1, ?2)")?.execute((tag, seq))?;
    }
    Ok(())
}

/// Until when the key is held, if it is free now.
fn claim_key(connection: &Connection, unique: &Unique, now: Timestamp) -> Result<i64, Fault> {
    if let Some(holder) = key_holder(connection, &unique.key, now.as_millisecond())? {
        return Err(QueueError::NotUnique { key: unique.key.clone(), holder }.into());
    }
    // Where no worker runs nobody else writes that down, and whoever has the key next would look at all of
    // them.
    let named = named_params! {":key": unique.key, ":until_ended": UNTIL_ENDED, ":now": now.as_millisecond()};
    let place = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    if let Some((seq, ended)) = connection.prepare_cached(EXPIRED_HOLDER)?.query_row(named, place).optional()? {
        settle::expire(connection, seq, ended)?;
    }
    Ok(match unique.period {
        UniqueFor::Done => UNTIL_ENDED,
        UniqueFor::For(span) => When::After(span).from(now).as_millisecond(),
    })
}

/// The job that holds a unique key now.
pub(super) fn key_holder(connection: &Connection, key: &str, now: i64) -> Result<Option<JobId>, Fault> {
    let holder = connection
        .prepare_cached(HOLDER)?
        .query_row(named_params! {":key": key, ":now": now, ":until_ended": UNTIL_ENDED}, |row| row.get(0));
    Ok(holder.optional()?.map(JobId::from_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Span;
    use crate::queue::Jobs;
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document};
    use std::time::Duration;

    #[tokio::test]
    async fn a_queue_that_is_opened_again_has_kept_everything() {
        let fixture = Fixture::new();
        let delayed = fixture.submit(Document { delay: Some(Span(Duration::from_secs(5))), ..document() }).await;
        fixture.submit(Document { tags: vec!["a".to_owned()], seed: Some(7), ..document() }).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        let before = [fixture.find(delayed).await, fixture.find(lease.id).await];
        let Fixture { directory, queue, .. } = fixture;
        let status = queue.status().await.unwrap();
        drop(queue);
        assert!(!directory.path().join("queue.db-wal").exists(), "it was closed in good order");
        let queue = SqliteQueue::open(&directory.path().join("queue.db")).unwrap();
        let after = [queue.find(delayed).await.unwrap().unwrap(), queue.find(lease.id).await.unwrap().unwrap()];
        assert_eq!(after, before);
        assert_eq!(queue.status().await.unwrap(), status);
    }
}
