//! What may be done to jobs from outside.

use crate::job::{JobId, State};
use serde_json::{Map, Value};

/// What is done to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ends a job that has not ended. A running guest is stopped; nothing that it returns is published any more.
    Cancel {
        /// Who wished so, or why.
        reason: String,
    },
    /// Keeps a waiting job from being claimed. One that is held already stays so.
    Hold,
    /// Ends a hold: the job is ready, or delayed until its time comes. One that is not held stays as it is.
    Release,
    /// Makes a dead job ready, with `max_attempts` more, or a delayed one, with none more. What a dead job left,
    /// verdict and result, stays until the next attempt has ended; its unique key it must get again.
    Kick,
    /// Changes the document of a job that waits or is dead, by a merge patch (RFC 7396) of [`PATCHABLE`] fields.
    ///
    /// Durations count from now. `delay` and `run_at` replace each other. Another algorithm pins the job to the module
    /// that its name points at now. What the job was submitted as is not forgotten: submitting that again changes
    /// nothing, and submitting what it is now is refused.
    Update(Map<String, Value>),
    /// Removes a job that does not run, even if its result is still to be sent. Its id and document stay known, so
    /// that submitting it again does nothing.
    Delete,
}

/// The fields of a job document that can be changed while the job waits.
pub const PATCHABLE: [&str; 16] = [
    "algorithm",
    "params",
    "input",
    "result_url",
    "tube",
    "priority",
    "delay",
    "run_at",
    "expires",
    "ttr",
    "max_attempts",
    "limits",
    "seed",
    "clock",
    "tags",
    "host",
];

/// What came of an action on one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Acted {
    /// The job.
    pub id: JobId,
    /// The state that it is in now, or was in when it was deleted.
    pub outcome: Result<State, Refusal>,
}

/// Why nothing was done to a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("no job has this id")]
    NoSuchJob,
    /// It is not in a state in which that can be done.
    #[error("it is {0}{1}")]
    State(State, &'static str),
    /// The changed document would not be a job.
    #[error("{0}")]
    Invalid(String),
    /// Another job holds its unique key by now.
    #[error("its unique key is held by job {0}")]
    NotUnique(JobId),
}
