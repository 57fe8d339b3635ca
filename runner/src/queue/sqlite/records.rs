//! From rows to records: single jobs, and pages of those that fit a filter, in order of submission.
//!
//! A page is read along the jobs, or along an index where there is one: the jobs of a tag, or those of each
//! state by themselves, however many are in the others. What the filter asks beyond that is asked of each
//! job on the way.
//!
//! A job that has expired before it was started is cancelled, also before a worker has written that down.

use super::columns::{integer, json, parsed, some_time, time};
use super::fault::Fault;
use super::{outbox, settle};
use crate::job::{AlgorithmName, AttemptRecord, Digest, Document, JobId, Progress, Record, State};
use crate::queue::{Cursor, Filter, Times};
use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use std::collections::BTreeSet;

const RECORD: &str = "
    SELECT jobs.seq, id, state, attempts, verdict, submitted_at, ready_at, started_at, finished_at, published,
        progress, progress_message, json, expires_at, kicks, public_url, module
    FROM jobs JOIN documents ON documents.seq = jobs.seq";

const HISTORY: &str =
    "SELECT attempt, worker, started_at, finished_at, verdict, usage FROM attempts WHERE seq = ?1 ORDER BY attempt";

/// The document of the job in this place; [`Fault::Corrupt`] if it cannot be read, or is not there.
pub(super) fn document(connection: &Connection, seq: i64, id: JobId) -> Result<Document, Fault> {
    let document = connection
        .prepare_cached("SELECT json FROM documents WHERE seq = ?1")?
        .query_row([seq], |row| Ok(serde_json::from_slice(row.get_ref(0)?.as_bytes()?)))
        .optional()?;
    let document = document.unwrap_or_else(|| serde_json::from_slice(b""));
    document.map_err(|error| Fault::corrupt(&format!("the document of job {id}"), error))
}

/// One job with its history, as it is at the time `now`.
pub(super) fn find(connection: &Connection, id: JobId, now: i64) -> Result<Option<Record>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut record = record(row, now)?;
    record.history = Some(history(connection, id, row.get(0)?)?);
    record.delivery = outbox::newest(connection, row.get(0)?)?;
    Ok(Some(record))
}

fn record(row: &Row<'_>, now: i64) -> Result<Record, Fault> {
    let id = JobId::from_bytes(row.get(1)?);
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
        started_at: some_time(row, 7)?,
        finished_at: some_time(row, 8)?,
        published: row.get(9)?,
        kicks: row.get(14)?,
        public_url: row
            .get::<_, Option<String>>(15)?
            .map(|url| url.parse())
            .transpose()
            .map_err(|error| Fault::corrupt("a URL", error))?,
        module: row.get::<_, Option<[u8; 32]>>(16)?.map(Digest::from_bytes),
        progress,
        document,
        history: None,
        delivery: None,
    };
    if let Some(expires_at) = row.get::<_, Option<i64>>(13)?.filter(|expires_at| *expires_at <= now) {
        record.state = State::Cancelled;
        record.verdict = Some(settle::expired());
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

/// A page ends early once its documents have this many bytes; the next one goes on from there.
const PAGE_BYTES: usize = 64 << 20;
/// A page ends early, perhaps with nothing in it, once so many jobs were looked at; the next one goes on
/// from there. So no filter, however few jobs fit it, holds up other listings or keeps SQLite from tidying
/// up its log.
const LOOKED_AT: usize = 20_000;

/// A page of jobs as they are at the time `now`, and the place after which the next one starts, if there
/// are more.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
) -> Result<(Vec<Record>, Option<Cursor>), Fault> {
    page(connection, filter, after, limit, now, LOOKED_AT)
}

fn page(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
    most: usize,
) -> Result<(Vec<Record>, Option<Cursor>), Fault> {
    if limit == 0 {
        return Ok((Vec::new(), None));
    }
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    let question = Question::new(filter, now)?;
    let (mut places, mut reached) = (Vec::new(), None);
    for walk in walks(connection, filter, most)? {
        let found = walk.take(connection, &question, (after, limit, most))?;
        places.extend(found.places);
        reached = reached.into_iter().chain(found.reached).min();
    }
    // A job that has expired may be met twice, in the state that is written down and as expired. Beyond the
    // place that all walks have come to, jobs of the slower ones are still missing.
    places.sort_unstable();
    places.dedup();
    places.retain(|place| reached.is_none_or(|reached| *place <= reached));
    if places.len() > limit {
        places.truncate(limit);
        reached = places.last().copied();
    }
    let records = records(connection, &places, now)?;
    if records.len() < places.len() {
        reached = records.len().checked_sub(1).map(|last| places[last]);
    }
    Ok((records, reached.and_then(|place| Cursor::try_from(place).ok())))
}

/// The records at these places, or the first of them if their documents are large.
fn records(connection: &Connection, places: &[i64], now: i64) -> Result<Vec<Record>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE jobs.seq = ?1"))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    for place in places {
        let mut rows = statement.query([place])?;
        let Some(row) = rows.next()? else { return Err(Fault::Corrupt(format!("job number {place} has no document"))) };
        bytes += row.get_ref(12)?.as_str().map_err(rusqlite::Error::from)?.len();
        records.push(record(row, now)?);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(records)
}

/// How many jobs ended in a state and a span of time, `:most` at most.
const ENDED: &str = "
    SELECT COUNT(*) FROM (
        SELECT 1 FROM jobs INDEXED BY jobs_ended
        WHERE state = :state AND finished_at IS NOT NULL 
            AND finished_at >= :since AND finished_at < :before
        LIMIT :most)";

/// A way along the jobs, in order of submission.
#[derive(Debug, Clone, Copy)]
enum Walk<'a> {
    All,
    Tagged(&'a str),
    /// Those that are in this state, though some of them may have expired.
    In(State),
    /// Those that ended in this state and in the span of time that the filter names, which are few.
    Ended(State),
    /// Those that have expired and that nobody has cancelled so far.
    Expired,
}

/// The walks that together meet all jobs that may fit.
fn walks<'a>(connection: &Connection, filter: &'a Filter, most: usize) -> Result<Vec<Walk<'a>>, Fault> {
    if let Some(tag) = filter.tags.first() {
        return Ok(vec![Walk::Tagged(tag)]);
    }
    let has_ended = filter.finished != Times::default();
    if filter.states.is_empty() && !has_ended {
        return Ok(vec![Walk::All]);
    }
    let mut states: BTreeSet<State> = filter.states.iter().copied().collect();
    if states.is_empty() {
        states.extend(State::ALL);
    }
    states.retain(|state| state.is_final() || !has_ended);
    let mut walks = Vec::new();
    for &state in &states {
        let few = has_ended && are_few(connection, state, filter.finished, most)?;
        walks.push(if few { Walk::Ended(state) } else { Walk::In(state) });
    }
    if states.contains(&State::Cancelled) {
        walks.push(Walk::Expired);
    }
    Ok(walks)
}

/// Whether so few jobs ended in the state and the span of time that they can be put in order of submission.
fn are_few(connection: &Connection, state: State, times: Times, most: usize) -> Result<bool, Fault> {
    let named = named_params! {
        ":state": state.as_str(),
        ":since": times.since.map_or(i64::MIN, first_milli),
        ":before": times.before.map_or(i64::MAX, first_milli),
        ":most": integer(most),
    };
    let ended: usize = connection.prepare_cached(ENDED)?.query_row(named, |row| row.get(0))?;
    Ok(ended < most)
}

impl Walk<'_> {
    fn sql(self) -> String {
        let from = match self {
            Walk::All => "jobs WHERE seq > :after ORDER BY seq",
            // The cross join has SQLite start from the tag.
            Walk::Tagged(_) => {
                "tags CROSS JOIN jobs USING (seq) WHERE tags.tag = :key AND tags.seq > :after ORDER BY tags.seq"
            }
            Walk::In(_) => "jobs INDEXED BY jobs_state WHERE state = :key AND seq > :after ORDER BY seq",
            Walk::Ended(_) => {
                "(SELECT seq AS place FROM jobs INDEXED BY jobs_ended
                    WHERE state = :key AND finished_at IS NOT NULL
                        AND finished_at >= COALESCE(:finished_since, -9223372036854775808)
                        AND finished_at < COALESCE(:finished_before, 9223372036854775807)
                        AND seq > :after
                    ORDER BY seq LIMIT :most)
                CROSS JOIN jobs WHERE seq = place ORDER BY place"
            }
            Walk::Expired => {
                "(SELECT seq AS place FROM jobs INDEXED BY jobs_expiring
                    WHERE expires_at IS NOT NULL AND expires_at <= :now AND seq > :after
                    ORDER BY seq LIMIT :most)
                CROSS JOIN jobs WHERE seq = place ORDER BY place"
            }
        };
        format!("SELECT jobs.seq, {FITS} FROM {from}")
    }

    fn key(&self) -> Option<&str> {
        match self {
            Walk::Tagged(tag) => Some(tag),
            Walk::In(state) | Walk::Ended(state) => Some(state.as_str()),
            Walk::All | Walk::Expired => None,
        }
    }

    /// Whether it has to know beforehand at how many jobs it may look.
    fn is_sorted(self) -> bool {
        matches!(self, Walk::Ended(_) | Walk::Expired)
    }

    /// The first jobs after `after` that fit: one more than `limit`, which tells that there are more,
    /// unless `most` were looked at before.
    fn take(
        self,
        connection: &Connection,
        question: &Question<'_>,
        (after, limit, most): (i64, usize, usize),
    ) -> Result<Found, Fault> {
        let (key, bound) = (self.key(), integer(most));
        let mut named = question.parameters();
        named.push((":after", &after));
        named.extend(key.as_ref().map(|key| (":key", key as &dyn ToSql)));
        named.extend(self.is_sorted().then_some((":most", &bound as &dyn ToSql)));
        let mut statement = connection.prepare_cached(&self.sql())?;
        let mut rows = statement.query(named.as_slice())?;
        let (mut found, mut looked_at) = (Found { places: Vec::new(), reached: None }, 0);
        while let Some(row) = rows.next()? {
            let place = row.get(0)?;
            looked_at += 1;
            // What cannot be told, such as when a job ended that has not, is NULL.
            if row.get::<_, Option<bool>>(1)? == Some(true) {
                found.places.push(place);
            }
            if found.places.len() > limit || looked_at == most {
                found.reached = Some(place);
                break;
            }
        }
        Ok(found)
    }
}

/// What a walk has met.
struct Found {
    /// The places of jobs that fit, in order.
    places: Vec<i64>,
    /// How far it has come, if not to its end.
    reached: Option<i64>,
}

/// Whether a job fits. A parameter that is NULL asks for nothing, and what has expired is cancelled already.
const FITS: &str = "
    (:states IS NULL
        OR CASE WHEN expires_at <= :now THEN 'cancelled' ELSE state END IN (SELECT value FROM json_each(:states)))
    AND (:tubes IS NULL OR tube IN (SELECT value FROM json_each(:tubes)))
    AND (:algorithm IS NULL OR algorithm = :algorithm)
    AND (:host IS NULL OR host = :host)
    AND (:submitted_since IS NULL OR submitted_at >= :submitted_since)
    AND (:submitted_before IS NULL OR submitted_at < :submitted_before)
    AND (:finished_since IS NULL
        OR CASE WHEN expires_at <= :now THEN MAX(expires_at, submitted_at) ELSE finished_at END >= :finished_since)
    AND (:finished_before IS NULL
        OR CASE WHEN expires_at <= :now THEN MAX(expires_at, submitted_at) ELSE finished_at END < :finished_before)
    AND (:verdicts IS NULL
        OR CASE WHEN expires_at <= :now THEN 'cancelled' ELSE verdict ->> 'kind' END
            IN (SELECT value FROM json_each(:verdicts)))
    AND (:worker IS NULL
        OR EXISTS (SELECT 1 FROM attempts WHERE attempts.seq = jobs.seq AND attempts.worker = :worker))
    AND NOT EXISTS (SELECT 1 FROM json_each(:tags) AS wanted WHERE NOT EXISTS (
        SELECT 1 FROM tags AS given WHERE given.tag = wanted.value AND given.seq = jobs.seq))";

/// What a filter asks of each job, as it is bound to [`FITS`].
struct Question<'a> {
    now: i64,
    states: Option<String>,
    tubes: Option<String>,
    algorithm: Option<&'a str>,
    host: Option<&'a str>,
    worker: Option<&'a str>,
    verdicts: Option<String>,
    tags: Option<String>,
    submitted: [Option<i64>; 2],
    finished: [Option<i64>; 2],
}

impl<'a> Question<'a> {
    fn new(filter: &'a Filter, now: i64) -> Result<Self, Fault> {
        let span = |times: Times| [times.since.map(first_milli), times.before.map(first_milli)];
        Ok(Self {
            now,
            states: list_of(&filter.states)?,
            tubes: list_of(&filter.tubes)?,
            algorithm: filter.algorithm.as_ref().map(AlgorithmName::as_str),
            host: filter.host.as_deref(),
            worker: filter.worker.as_deref(),
            verdicts: list_of(&filter.verdicts)?,
            tags: list_of(&filter.tags)?,
            submitted: span(filter.submitted),
            finished: span(filter.finished),
        })
    }

    fn parameters(&self) -> Vec<(&str, &dyn ToSql)> {
        vec![
            (":now", &self.now),
            (":states", &self.states),
            (":tubes", &self.tubes),
            (":algorithm", &self.algorithm),
            (":host", &self.host),
            (":worker", &self.worker),
            (":verdicts", &self.verdicts),
            (":tags", &self.tags),
            (":submitted_since", &self.submitted[0]),
            (":submitted_before", &self.submitted[1]),
            (":finished_since", &self.finished[0]),
            (":finished_before", &self.finished[1]),
        ]
    }
}

/// A list for `json_each`; none if it is empty.
fn list_of<T: serde::Serialize>(list: &[T]) -> Result<Option<String>, Fault> {
    if list.is_empty() { Ok(None) } else { json(&list).map(Some) }
}

/// The first whole millisecond that is not before the time: what is kept has no finer ones.
fn first_milli(time: Timestamp) -> i64 {
    let millis = time.as_millisecond();
    match Timestamp::from_millisecond(millis) {
        Ok(whole) if whole < time => millis.saturating_add(1),
        _ => millis,
    }
}

#[cfg(test)]
mod tests;
