//! What operators and submitters do to jobs.

use super::fault::Fault;
use crate::job::JobId;
use crate::queue::{Acted, Action};
use jiff::Timestamp;
use rusqlite::Connection;

pub(super) fn act(_: &Connection, _: &[JobId], _: &Action, _: Timestamp) -> Result<Vec<Acted>, Fault> {
    Err(Fault::Unusable("not there".to_owned()))
}
