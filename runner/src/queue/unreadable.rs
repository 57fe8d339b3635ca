//! What somebody put where jobs are kept, and is none.

use crate::job::{Record, Tube};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Something among a server's jobs that cannot be run. It is put aside there, and remembered here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The server's number for it.
    pub number: u64,
    /// Where it was found.
    pub tube: Tube,
    /// Its length in bytes.
    pub length: u64,
    /// How it begins, in quotes and escaped.
    pub excerpt: String,
    /// Why it is no job.
    pub reason: String,
    /// The name of the worker that found it.
    pub worker: String,
    /// When it was found.
    #[serde(serialize_with = "millis")]
    pub found_at: Timestamp,
}

/// As the times of jobs are written.
fn millis<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// What a server has under a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbered {
    /// A job.
    Job(Box<Record>),
    /// Something else.
    Unreadable(Unreadable),
}
