//! What a filter asks of each job, in SQL that is always the same.

use crate::job::AlgorithmName;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::json;
use crate::queue::{Filter, Times};
use jiff::Timestamp;
use rusqlite::types::ToSql;

/// Whether a job fits. A parameter that is NULL asks for nothing, and what has expired is cancelled already. The jobs of
/// a server are no part of this file's own queue (`ledger.rs`).
pub(super) const FITS: &str = "
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
        SELECT 1 FROM tags AS given WHERE given.tag = wanted.value AND given.seq = jobs.seq))
    AND unicode(host) IS NOT 1";

/// What a filter asks of each job, as it is bound to [`FITS`].
pub(super) struct Question<'a> {
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
    pub(super) fn new(filter: &'a Filter, now: i64) -> Result<Self, Fault> {
        let span = |times: Times| [times.since.map(millis), times.before.map(millis)];
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

    pub(super) fn parameters(&self) -> Vec<(&str, &dyn ToSql)> {
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
pub(super) fn millis(time: Timestamp) -> i64 {
    let millis = time.as_millisecond();
    match Timestamp::from_millisecond(millis) {
        Ok(whole) if whole < time => millis.saturating_add(1),
        _ => millis,
    }
}
