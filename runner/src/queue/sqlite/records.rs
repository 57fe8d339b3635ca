//! From rows to records: single jobs, and pages of them.
//!
//! A job that has expired before it was started is cancelled, also while no worker has come by to write that down.

use super::fault::Fault;
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
        progress, progress_message, json, expires_at
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
        progress,
        document,
        history: None,
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
    let tube = filter.tube.as_ref().map(Tube::as_str);
    let algorithm = filter.algorithm.as_ref().map(AlgorithmName::as_str);
    let named: [(&str, Option<&dyn ToSql>); 7] = [
        (":after", Some(&after)),
        (":limit", Some(&limit)),
        (":now", now.as_ref().map(|now| now as _)),
        (":tag", filter.tag.as_ref().map(|tag| tag as _)),
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
    let from = match filter.tag {
        // The cross join has SQLite start from the tag.
        Some(_) => "tags CROSS JOIN jobs USING (seq) WHERE tag = :tag AND tags.seq > :after",
        None => "jobs WHERE seq > :after",
    };
    let which = which.sql();
    let tube = if filter.tube.is_some() { " AND tube = :tube" } else { "" };
    let algorithm = if filter.algorithm.is_some() { " AND algorithm = :algorithm" } else { "" };
    format!("SELECT seq FROM {from}{which}{tube}{algorithm} ORDER BY seq LIMIT :limit")
}

/// When the next job becomes due that was not due at `after`.
pub(super) fn next_due(connection: &Connection, after: i64) -> Result<Option<i64>, Fault> {
    Ok(connection.prepare_cached(NEXT_DUE)?.query_row([after], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;
    use crate::queue::sqlite::fixture::{Fixture, document};

    async fn all(fixture: &Fixture, filter: &Filter, limit: usize) -> Vec<JobId> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = fixture.queue.list(filter, after, limit).await.unwrap();
            assert!(page.len() <= limit && page.iter().all(|record| record.history.is_none()));
            ids.extend(page.iter().map(|record| record.id));
            match next {
                Some(_) => after = next,
                None => return ids,
            }
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_hold_every_job_once_in_order_of_submission() {
        let fixture = Fixture::new();
        let mut ids = Vec::new();
        for hold in [true, false, false, true, true, false, true] {
            ids.push(fixture.submit(Document { hold, ..document() }).await);
        }
        fixture.claim("a").await.unwrap();
        for limit in [1, 2, 3, 7, 8] {
            assert_eq!(all(&fixture, &Filter::default(), limit).await, ids);
            let states = vec![State::Running, State::Held, State::Held];
            let held_or_running = [ids[0], ids[1], ids[3], ids[4], ids[6]];
            assert_eq!(all(&fixture, &Filter { states, ..Filter::default() }, limit).await, held_or_running);
        }
        assert_eq!(fixture.queue.list(&Filter::default(), Some(u64::MAX), 9).await.unwrap(), (vec![], None));
        assert_eq!(fixture.queue.list(&Filter::default(), None, usize::MAX).await.unwrap().0.len(), ids.len());
        assert_eq!(fixture.queue.list(&Filter::default(), None, 0).await.unwrap(), (vec![], None));
    }

    #[tokio::test]
    async fn a_listing_can_be_narrowed_by_everything_at_once() {
        let fixture = Fixture::new();
        let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
        let tube: Tube = "night".parse().unwrap();
        fixture.submit(Document { tags: tagged(&["a"]), ..document() }).await;
        fixture.submit(Document { tags: tagged(&["a"]), tube: tube.clone(), hold: true, ..document() }).await;
        let wanted = Document { tags: tagged(&["b", "a", "b"]), tube: tube.clone(), ..document() };
        let wanted = fixture.submit(wanted).await;
        fixture.submit(Document { tube: tube.clone(), ..document() }).await;
        let filter = Filter {
            states: vec![State::Ready],
            tube: Some(tube),
            algorithm: Some("x".parse().unwrap()),
            tag: Some("a".to_owned()),
        };
        assert_eq!(all(&fixture, &filter, 1).await, [wanted]);
        let injected = Filter { tag: Some("a' OR 1=1 --".to_owned()), ..Filter::default() };
        assert!(all(&fixture, &injected, 1).await.is_empty());
    }

    #[tokio::test]
    async fn a_job_that_has_expired_is_cancelled_though_no_worker_has_come_by() {
        let fixture = Fixture::new();
        let expires = Some("10s".parse().unwrap());
        let delay = Some("1h".parse().unwrap());
        let ready = fixture.submit(Document { expires, ..document() }).await;
        let others = [
            fixture.submit(Document { expires, hold: true, ..document() }).await,
            fixture.submit(Document { expires, delay, ..document() }).await,
        ];
        let lasting = fixture.submit(document()).await;
        let waiting = Filter { states: vec![State::Held, State::Delayed, State::Ready], ..Filter::default() };
        let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
        let everything = [ready, others[0], others[1], lasting];
        fixture.advance(std::time::Duration::from_millis(9_999));
        assert_eq!(all(&fixture, &waiting, 1).await, everything);
        assert_eq!(fixture.find(ready).await.state, State::Ready);
        fixture.advance(std::time::Duration::from_millis(1));
        assert_eq!(all(&fixture, &waiting, 1).await, [lasting]);
        assert_eq!(all(&fixture, &cancelled, 1).await, everything[..3]);
        assert_eq!(all(&fixture, &Filter::default(), 1).await, everything);
        for id in &everything[..3] {
            let record = fixture.find(*id).await;
            assert_eq!((record.state, record.verdict), (State::Cancelled, Some(expired())));
            assert_eq!(record.finished_at.unwrap().duration_since(record.submitted_at).as_secs(), 10);
        }
        let (listed, _) = fixture.queue.list(&cancelled, None, 1).await.unwrap();
        assert_eq!(listed[0].state, State::Cancelled);
    }

    #[tokio::test]
    async fn a_page_of_large_documents_ends_early_and_goes_on() {
        let fixture = Fixture::new();
        let data = format!("data:,{}", "x".repeat((2 << 20) - 10));
        let large = Document { input: Some(crate::job::Input::One(data.parse().unwrap())), ..document() };
        fixture.submit_all(vec![large; 40]).await;
        let (page, next) = fixture.queue.list(&Filter::default(), None, 40).await.unwrap();
        assert!(page.len() < 40 && next.is_some());
        assert_eq!(all(&fixture, &Filter::default(), 40).await.len(), 40);
    }

    #[tokio::test]
    async fn a_damaged_row_is_an_error_that_names_the_job() {
        for damage in [
            "UPDATE documents SET json = 'null'",
            "UPDATE documents SET json = CAST(x'ff' AS TEXT)",
            "UPDATE jobs SET verdict = '{\"kind\": \"excellent\"}'",
            "UPDATE jobs SET submitted_at = 9223372036854775807",
            "UPDATE jobs SET attempts = -1",
            "PRAGMA ignore_check_constraints = 1; UPDATE jobs SET state = 'lost at sea'",
        ] {
            let fixture = Fixture::new();
            let id = fixture.submit(document()).await;
            fixture.sql(damage);
            let message = fixture.queue.find(id).await.unwrap_err().to_string();
            assert!(message.contains("queue.db: "), "{message}");
            assert!(fixture.queue.list(&Filter::default(), None, 9).await.is_err(), "{damage}");
        }
    }

    #[test]
    fn a_listing_by_state_or_tag_is_a_walk_along_an_index() {
        let fixture = Fixture::new();
        let tagged = Filter { tag: Some("a".to_owned()), ..Filter::default() };
        for (sql, step) in [
            (page_sql(&Filter::default(), Which::In(State::Done)), "jobs USING COVERING INDEX jobs_state (state=? AND"),
            (
                page_sql(&Filter::default(), Which::In(State::Ready)),
                "jobs USING INDEX jobs_state (state=? AND rowid>?)",
            ),
            (page_sql(&tagged, Which::In(State::Ready)), "tags USING PRIMARY KEY (tag=? AND seq>?)"),
            (NEXT_DUE.to_owned(), "jobs USING COVERING INDEX jobs_delayed (ready_at>?)"),
        ] {
            let plan = fixture.plan(&sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
