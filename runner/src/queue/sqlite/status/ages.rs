//! The oldest and the newest jobs, by seeks in an index.

use super::tube;
use crate::job::{JobId, State};
use crate::queue::Oldest;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::time;
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use std::collections::BTreeMap;

/// As many jobs that have expired are passed over in the search for one that has not.
const EXPIRED: usize = 10_000;

/// Jobs are numbered as they are submitted, so the first is the oldest.
pub(super) const FIRST: &str = "
    SELECT id, tube, submitted_at, expires_at <= :now FROM jobs INDEXED BY jobs_state WHERE state = :state
        AND unicode(host) IS NOT 1
    ORDER BY seq";
pub(super) const LAST: &str = "
    SELECT id, tube, submitted_at, expires_at <= :now FROM jobs INDEXED BY jobs_state WHERE state = :state
        AND unicode(host) IS NOT 1
    ORDER BY seq DESC";

/// When the oldest and the newest job of each state were submitted.
pub(super) fn ages(connection: &Connection, now: i64) -> Result<BTreeMap<State, (Timestamp, Timestamp)>, Fault> {
    let mut ages = BTreeMap::new();
    for state in State::ALL {
        if let Some(oldest) = first(connection, FIRST, state, now)?
            && let Some(newest) = first(connection, LAST, state, now)?
        {
            ages.insert(state, (oldest.submitted_at, newest.submitted_at));
        }
    }
    Ok(ages)
}

/// The job that is ready and was submitted first.
pub(super) fn oldest(connection: &Connection, now: i64) -> Result<Option<Oldest>, Fault> {
    first(connection, FIRST, State::Ready, now)
}

/// The first job in the order of `sql` that has not expired.
fn first(connection: &Connection, sql: &str, state: State, now: i64) -> Result<Option<Oldest>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(named_params! {":state": state.as_str(), ":now": now})?;
    for _ in 0..=EXPIRED {
        let Some(row) = rows.next()? else { break };
        if row.get::<_, Option<bool>>(3)? != Some(true) {
            let (id, submitted_at) = (JobId::from_bytes(row.get(0)?), time(row.get(2)?)?);
            return Ok(Some(Oldest { id, tube: tube(row.get(1)?)?, submitted_at }));
        }
    }
    Ok(None)
}
