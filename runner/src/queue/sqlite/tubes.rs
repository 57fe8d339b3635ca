//! Tubes that are paused.

use super::fault::Fault;
use crate::job::Tube;
use jiff::Timestamp;
use rusqlite::Connection;

pub(super) fn pause(_: &Connection, _: &Tube, _: Option<Timestamp>, _: Timestamp) -> Result<(), Fault> {
    Err(Fault::Unusable("not there".to_owned()))
}

pub(super) fn resume(_: &Connection, _: &Tube) -> Result<bool, Fault> {
    Err(Fault::Unusable("not there".to_owned()))
}
