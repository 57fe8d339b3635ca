//! From rows to records: single jobs here, pages of them in `listing`.
//!
//! A job that has expired before it was started is cancelled, also while no worker has come by to write that down.

mod listing;

pub(super) use listing::list;

use super::deliveries;
use super::fault::Fault;
use super::tubes;
use crate::job::{AttemptRecord, Document, JobId, Progress, Record, State, Verdict};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;

const RECORD: &str = "
    SELECT jobs.seq, id, state, attempts, verdict, submitted_at, ready_at, started_at, finished_at, published,
        progress, progress_message, json, expires_at, kicks, public_url
    FROM jobs JOIN documents ON documents.seq = jobs.seq";

const HISTORY: &str =
    "SELECT attempt, worker, started_at, finished_at, verdict, usage FROM attempts WHERE seq = ?1 ORDER BY attempt";

const NEXT_DUE: &str = "
    SELECT ready_at FROM jobs INDEXED BY jobs_delayed
    WHERE state = 'delayed' AND unicode(host) IS NOT 1 AND ready_at > ?1
    ORDER BY ready_at LIMIT 1";

/// The time that a column keeps as milliseconds.
pub(super) fn time(millis: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(millis).map_err(|error| Fault::corrupt("a time", error))
}

/// The value that a column keeps as JSON.
pub(super) fn parsed<T: DeserializeOwned>(what: &str, id: JobId, json: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::corrupt(&format!("the {what} of job {id}"), error))
}

/// The document of the job in this place; [`Fault::Corrupt`] if it cannot be read, or is not there.
pub(super) fn document(connection: &Connection, seq: i64, id: JobId) -> Result<Document, Fault> {
    let document = connection
        .prepare_cached("SELECT json FROM documents WHERE seq = ?1")?
        .query_row([seq], |row| Ok(serde_json::from_slice(row.get_ref(0)?.as_bytes()?)))
        .optional()?;
    let document = document.unwrap_or_else(|| serde_json::from_slice(b""));
    document.map_err(|error| Fault::corrupt(&format!("the document of job {id}"), error))
}

/// The value as a column keeps it.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Unusable(format!("a value cannot be written as JSON: {error}")))
}

/// The verdict on a job that was not started before it expired.
pub(super) fn expired() -> Verdict {
    Verdict::Cancelled { message: "it had expired before an attempt was started".to_owned() }
}

/// One job with its history, as it is at the time `now`.
pub(super) fn find(connection: &Connection, id: JobId, now: i64) -> Result<Option<Record>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut record = record(row, now)?;
    record.history = Some(history(connection, id, row.get(0)?)?);
    record.delivery = deliveries::newest(connection, row.get(0)?)?;
    Ok(Some(record))
}

fn record(row: &Row<'_>, now: i64) -> Result<Record, Fault> {
    let id = JobId::from_bytes(row.get(1)?);
    let some_time = |column| row.get::<_, Option<i64>>(column)?.map(time).transpose();
    let state: State = row.get::<_, String>(2)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
    let progress = match (row.get(10)?, row.get(11)?) {
        (Some(fraction), Some(message)) => Some(Progress { fraction, message }),
        _ => None,
    };
    let verdict: Option<String> = row.get(4)?;
    let document: Document = parsed("document", id, row.get_ref(12)?.as_str().map_err(rusqlite::Error::from)?)?;
    let mut record = Record {
        id,
        state,
        attempts: row.get(3)?,
        verdict: verdict.map(|json| parsed("verdict", id, &json)).transpose()?,
        submitted_at: time(row.get(5)?)?,
        ready_at: time(row.get(6)?)?,
        started_at: some_time(7)?,
        finished_at: some_time(8)?,
        published: row.get(9)?,
        kicks: row.get(14)?,
        public_url: row
            .get::<_, Option<String>>(15)?
            .map(|url| url.parse())
            .transpose()
            .map_err(|error| Fault::corrupt("a URL", error))?,
        number: None,
        progress,
        document,
        history: None,
        delivery: None,
    };
    if let Some(expires_at) = row.get::<_, Option<i64>>(13)?.filter(|expires_at| *expires_at <= now) {
        record.state = State::Cancelled;
        record.verdict = Some(expired());
        record.finished_at = Some(time(expires_at)?.max(record.submitted_at));
    }
    Ok(record)
}

/// All attempts at a job, oldest first.
pub(super) fn history(connection: &Connection, id: JobId, seq: i64) -> Result<Vec<AttemptRecord>, Fault> {
    let mut statement = connection.prepare_cached(HISTORY)?;
    let mut rows = statement.query([seq])?;
    let mut history = Vec::new();
    while let Some(row) = rows.next()? {
        let finished_at: Option<i64> = row.get(3)?;
        let verdict: Option<String> = row.get(4)?;
        let usage: Option<String> = row.get(5)?;
        history.push(AttemptRecord {
            attempt: row.get(0)?,
            worker: row.get(1)?,
            started_at: time(row.get(2)?)?,
            finished_at: finished_at.map(time).transpose()?,
            verdict: verdict.map(|json| parsed("verdict", id, &json)).transpose()?,
            usage: usage.map(|json| parsed("usage", id, &json)).transpose()?,
        });
    }
    Ok(history)
}

/// When the next job becomes due that was not due at `after`, or the next pause ends that had not ended then.
pub(super) fn next_due(connection: &Connection, after: i64) -> Result<Option<i64>, Fault> {
    let job = connection.prepare_cached(NEXT_DUE)?.query_row([after], |row| row.get(0)).optional()?;
    Ok(job.into_iter().chain(tubes::next_end(connection, after)?).min())
}

#[cfg(test)]
mod tests;
