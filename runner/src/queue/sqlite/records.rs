//! From rows to records: single jobs, and pages of them.
//!
//! A job that has expired before it was started is cancelled, also while no worker has come by to write that down.

use super::fault::Fault;
use super::tubes;
use crate::job::{AlgorithmName, AttemptRecord, Document, JobId, Progress, Record, State, Tube, Verdict};
use crate::queue::{Cursor, Filter};
use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// A page ends early once its documents have this many bytes; the next one goes on from there.
const PAGE_BYTES: usize = 64 << 20;

const RECORD: &str = "
    SELECT jobs.seq, id, state, attempts, verdict, submitted_at, ready_at, started_at, finished_at, published,
        progress, progress_message, json, expires_at, kicks, public_url
    FROM jobs JOIN documents ON documents.seq = jobs.seq";

const HISTORY: &str =
    "SELECT attempt, worker, started_at, finished_at, verdict, usage FROM attempts WHERE seq = ?1 ORDER BY attempt";

const NEXT_DUE: &str = "
    SELECT ready_at FROM jobs INDEXED BY jobs_delayed WHERE state = 'delayed' AND ready_at > ?1
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

fn history(connection: &Connection, id: JobId, seq: i64) -> Result<Vec<AttemptRecord>, Fault> {
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

/// A page of jobs in order of submission, as they are at the time `now`, and the last one's place if there are more.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
) -> Result<(Vec<Record>, Option<Cursor>), Fault> {
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    let states: BTreeSet<State> = filter.states.iter().copied().collect();
    // One more than is wanted tells whether there are more.
    let fetched = i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1);
    let mut places = Vec::new();
    if states.is_empty() {
        places = page(connection, filter, Which::All, (after, fetched, now))?;
    }
    for state in states {
        places.extend(page(connection, filter, Which::In(state), (after, fetched, now))?);
        if state == State::Cancelled {
            places.extend(page(connection, filter, Which::Expired, (after, fetched, now))?);
        }
    }
    places.sort_unstable();
    let more_than_limit = places.len() > limit;
    places.truncate(limit);

    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE jobs.seq = ?1"))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    for place in &places {
        let mut rows = statement.query([place])?;
        let Some(row) = rows.next()? else { return Err(Fault::Corrupt(format!("job number {place} has no document"))) };
        bytes += row.get_ref(12)?.as_str().map_err(rusqlite::Error::from)?.len();
        records.push(record(row, now)?);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    let more = more_than_limit || records.len() < places.len();
    let last = records.len().checked_sub(1).and_then(|last| Cursor::try_from(places[last]).ok());
    Ok((records, last.filter(|_| more)))
}

/// The jobs among which one step of a listing looks.
#[derive(Debug, Clone, Copy)]
enum Which {
    All,
    /// Those that are in this state, and not only until somebody sees that they have expired.
    In(State),
    /// Those that have expired and that no claim has cancelled so far.
    Expired,
}

impl Which {
    fn sql(self) -> &'static str {
        match self {
            Which::All => "",
            Which::In(State::Held | State::Delayed | State::Ready) => {
                " AND state = :state AND (expires_at IS NULL OR expires_at > :now)"
            }
            Which::In(_) => " AND state = :state",
            Which::Expired => " AND expires_at <= :now",
        }
    }
}

/// The places of the first jobs after `after` that fit, `limit` at most, at the time `now`. The states are asked
/// for one by one because each is then a walk along an index, however many jobs are in the others.
fn page(
    connection: &Connection,
    filter: &Filter,
    which: Which,
    (after, limit, now): (i64, i64, i64),
) -> Result<Vec<i64>, Fault> {
    let sql = page_sql(filter, which);
    let state = match which {
        Which::In(state) => Some(state.as_str()),
        Which::All | Which::Expired => None,
    };
    let now = sql.contains(":now").then_some(now);
    let tube = filter.tubes.first().map(Tube::as_str);
    let algorithm = filter.algorithm.as_ref().map(AlgorithmName::as_str);
    let named: [(&str, Option<&dyn ToSql>); 7] = [
        (":after", Some(&after)),
        (":limit", Some(&limit)),
        (":now", now.as_ref().map(|now| now as _)),
        (":tag", filter.tags.first().map(|tag| tag as _)),
        (":state", state.as_ref().map(|state| state as _)),
        (":tube", tube.as_ref().map(|tube| tube as _)),
        (":algorithm", algorithm.as_ref().map(|algorithm| algorithm as _)),
    ];
    let named: Vec<(&str, &dyn ToSql)> = named.iter().filter_map(|&(name, value)| Some((name, value?))).collect();
    let mut statement = connection.prepare_cached(&sql)?;
    let places = statement.query_map(named.as_slice(), |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(places)
}

fn page_sql(filter: &Filter, which: Which) -> String {
    let from = match filter.tags.first() {
        // The cross join has SQLite start from the tag.
        Some(_) => "tags CROSS JOIN jobs USING (seq) WHERE tag = :tag AND tags.seq > :after",
        None => "jobs WHERE seq > :after",
    };
    let which = which.sql();
    let tube = if !filter.tubes.is_empty() { " AND tube = :tube" } else { "" };
    let algorithm = if filter.algorithm.is_some() { " AND algorithm = :algorithm" } else { "" };
    format!("SELECT seq FROM {from}{which}{tube}{algorithm} ORDER BY seq LIMIT :limit")
}

/// When the next job becomes due that was not due at `after`, or the next pause ends that had not ended then.
pub(super) fn next_due(connection: &Connection, after: i64) -> Result<Option<i64>, Fault> {
    let job = connection.prepare_cached(NEXT_DUE)?.query_row([after], |row| row.get(0)).optional()?;
    Ok(job.into_iter().chain(tubes::next_end(connection, after)?).min())
}

#[cfg(test)]
mod tests;
