//! Why a queue does not do what it was asked.

use crate::job::JobId;

/// What went wrong with a queue.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The id is taken by another document, or by a job of another queue of the data directory.
    #[error(
        "the id {0} was submitted before with another document, or to another queue; use a new id, or submit the same \
         document to the same queue"
    )]
    IdTaken(JobId),
    /// Another job holds the unique key.
    #[error("the unique key {key:?} is held by job {holder}")]
    NotUnique {
        /// The key.
        key: String,
        /// The job that holds it.
        holder: JobId,
    },
    /// The lease is no longer this worker's.
    #[error("attempt {attempt} of job {id} is no longer leased to this worker")]
    Stale {
        /// The job.
        id: JobId,
        /// The attempt that the lease was for.
        attempt: u32,
    },
    /// The backend has no way to do that.
    #[error("{backend} cannot {what}; {instead}")]
    Unsupported {
        /// Which backend.
        backend: &'static str,
        /// What was asked of it, as words that follow "cannot".
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// Somebody else keeps the queue locked, so that nobody but them can change anything.
    #[error("{0}")]
    Busy(String),
    /// What the backend says.
    #[error("{0}")]
    Backend(String),
}
