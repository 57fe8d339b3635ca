//! When a job of a server comes too late to be started.
//!
//! The column in which the file's own jobs have that time stays empty: what sweeps it goes by the clock alone, and
//! whether another node has started a server's job, only the server's figures tell. Whoever is in doubt lets the job
//! run: late is better than never.

use crate::job::Document;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::time;

/// When a job expires that was submitted at this time; both are milliseconds.
pub(super) fn expires_at(document: &Document, submitted_at: i64) -> Result<Option<i64>, Fault> {
    let submitted = time(submitted_at)?;
    Ok(document.expires.map(|expires| expires.from(submitted).as_millisecond().max(submitted_at)))
}
