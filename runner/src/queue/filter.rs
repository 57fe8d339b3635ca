//! Which jobs are meant.

use crate::job::{AlgorithmName, State, Tube};
use jiff::Timestamp;
use std::time::Duration;

/// Which jobs are meant: those that fit everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these states; all if empty.
    pub states: Vec<State>,
    /// Any of these tubes; all if empty.
    pub tubes: Vec<Tube>,
    /// This algorithm.
    pub algorithm: Option<AlgorithmName>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Pinned to the worker of this name.
    pub host: Option<String>,
    /// An attempt was made by a worker of this name.
    pub worker: Option<String>,
    /// The last verdict is of any of these kinds; all jobs if empty.
    pub verdicts: Vec<String>,
    /// Submitted then.
    pub submitted: Times,
    /// Ended then; jobs that have not are no part of any such time, unless neither end is given.
    pub finished: Times,
}

/// A span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From then on, that moment included.
    pub since: Option<Timestamp>,
    /// Before that moment.
    pub before: Option<Timestamp>,
}

/// How long jobs are kept after they have ended; without an end if absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that are done.
    pub done: Option<Duration>,
    /// Those that are dead.
    pub dead: Option<Duration>,
    /// Those that were cancelled.
    pub cancelled: Option<Duration>,
}
