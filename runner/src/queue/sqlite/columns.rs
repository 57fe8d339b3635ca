//! Between columns and values.

use super::fault::Fault;
use crate::job::JobId;
use jiff::Timestamp;
use rusqlite::Row;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// `unique_until` of a job that holds its key until it has ended.
pub(super) const UNTIL_ENDED: i64 = i64::MAX;

/// The time that a column keeps as milliseconds.
pub(super) fn time(millis: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(millis).map_err(|error| Fault::corrupt("a time", error))
}

/// The time of a column that may be empty.
pub(super) fn some_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    row.get::<_, Option<i64>>(column)?.map(time).transpose()
}

/// The milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A count as SQLite takes it.
pub(super) fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The value that a column keeps as JSON.
pub(super) fn parsed<T: DeserializeOwned>(what: &str, id: JobId, json: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::corrupt(&format!("the {what} of job {id}"), error))
}

/// The value as a column keeps it.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Unusable(format!("a value cannot be written as JSON: {error}")))
}

/// The name of a job whose place and id are a row's first two columns. A damaged row has no id.
pub(super) fn named(row: &Row<'_>) -> String {
    match row.get(1).map(JobId::from_bytes) {
        Ok(id) => format!("job {id}"),
        Err(_) => format!("the job in row {}", row.get(0).unwrap_or(0_i64)),
    }
}
