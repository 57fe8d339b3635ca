//! How a queue stands, and how it has done.

use crate::job::{AlgorithmName, JobId, State, Tube};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// As many tubes, or pairs of tube and algorithm, are told of one by one. Submitters choose their names.
pub const LISTED: usize = 1_000;

/// As many jobs of a state that ended lately are counted.
pub const COUNTED: u64 = 1_000_000;

/// How a queue stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Jobs that were ever submitted, deleted ones included.
    pub submitted: u64,
    /// Jobs by state; every state is named.
    pub states: BTreeMap<State, u64>,
    /// Waiting and running jobs by tube, for the first [`LISTED`] tubes that have any.
    pub tubes: BTreeMap<Tube, BTreeMap<State, u64>>,
    /// Tubes that are paused, and until when, if that is known.
    pub paused: BTreeMap<Tube, Option<Timestamp>>,
    /// The oldest and the newest job of each state that has any, by their submission.
    pub ages: BTreeMap<State, (Timestamp, Timestamp)>,
    /// The job that is ready and was submitted first.
    pub oldest: Option<Oldest>,
    /// How many jobs ended lately.
    pub recent: Vec<Recent>,
    /// How all attempts have gone since the queue was made.
    pub attempts: Attempts,
    /// The same by tube and algorithm, for the first [`LISTED`] pairs that were ever run.
    pub timings: Vec<Timing>,
    /// Workers that hold leases or have beaten lately, by name.
    pub workers: Vec<WorkerStatus>,
}

/// The job that waits the longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Oldest {
    /// The job.
    pub id: JobId,
    /// Where it waits.
    pub tube: Tube,
    /// Since when.
    pub submitted_at: Timestamp,
}

/// Jobs that ended in the hours before now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recent {
    /// How many hours.
    pub hours: u32,
    /// How many jobs ended in each state, of which no more than [`COUNTED`] are counted.
    pub jobs: BTreeMap<State, u64>,
}

/// How attempts have gone; those that have ended are counted, each of them once.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attempts {
    /// How many ended in each kind of verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// From when the job was due, or submitted if that was later, to when the attempt started.
    pub waited: Spread,
    /// From when the attempt started to when it ended, or was found to be lost.
    pub ran: Spread,
}

/// How the attempts at the jobs of one tube and algorithm have gone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Where the jobs were.
    pub tube: Tube,
    /// What they ran.
    pub algorithm: AlgorithmName,
    /// How that went.
    #[serde(flatten)]
    pub attempts: Attempts,
}

/// How a duration is spread, in milliseconds. Quantiles are upper bounds, at most an eighth too large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them were no longer.
    pub p50_ms: f64,
    /// Nine tenths of them were no longer.
    pub p90_ms: f64,
    /// All but one in a hundred were no longer.
    pub p99_ms: f64,
    /// None was longer.
    pub max_ms: f64,
}

/// A worker, as the queue sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// What the operator calls it.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Jobs that it runs.
    pub running: u64,
}
