//! Why a queue does not do what it was asked.

use crate::job::JobId;

/// What went wrong with a queue.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The id is taken by another document.
    #[error("the id {0} was submitted before with another document; use a new id, or submit the same document")]
    IdTaken(JobId),
    /// Another job holds the unique key.
    #[error("the unique key {key:?} is held by job {holder}")]
    NotUnique {
        /// The key.
        key: String,
        /// The job that holds it.
        holder: JobId,
    },
    /// Somebody else keeps the queue locked, so that nobody but them can change anything.
    #[error("{0}")]
    Busy(String),
    /// What the backend says.
    #[error("{0}")]
    Backend(String),
}
