//! How a queue stands, and how it has done.

use crate::job::{AlgorithmName, JobId, State, Tube};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// How a queue stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Jobs by state; every state is named.
    pub states: BTreeMap<State, u64>,
    /// Waiting and running jobs by tube.
    pub tubes: BTreeMap<Tube, BTreeMap<State, u64>>,
    /// Tubes that are paused, and until when, if that is known.
    pub paused: BTreeMap<Tube, Option<Timestamp>>,
    /// The oldest and the newest job of each state that has any, by their submission.
    pub ages: BTreeMap<State, (Timestamp, Timestamp)>,
    /// The job that is ready and was submitted first.
    pub oldest: Option<Oldest>,
    /// How attempts have gone since the queue was made, by tube and algorithm.
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

/// How the attempts at the jobs of one tube and algorithm have gone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Where the jobs were.
    pub tube: Tube,
    /// What they ran.
    pub algorithm: AlgorithmName,
    /// How many attempts ended in each kind of verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// From when a job was due to when its attempt started.
    pub waited: Spread,
    /// From when an attempt started to when it ended.
    pub ran: Spread,
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
