//! Where jobs wait: one set of semantics, whatever keeps them.
//!
//! A job is leased to one worker at a time. The lease's token is the attempt: a worker that has lost its lease
//! can neither settle nor publish, however late it wakes up.

pub mod sqlite;

use crate::job::{AlgorithmName, Decision, Document, Job, JobId, Progress, Record, State, Tube, Usage, Verdict};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What went wrong with a queue.
#[derive(Debug, thiserror::Error)]
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
    /// The lease is no longer this worker's.
    #[error("attempt {attempt} of job {id} is no longer leased to this worker")]
    Stale {
        /// The job.
        id: JobId,
        /// The attempt that the lease was for.
        attempt: u32,
    },
    /// What the backend says.
    #[error("{0}")]
    Backend(String),
}

/// A job for a queue to keep; the id is decided before, so that submitting again changes nothing.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The job's id: the document's own, or a new one.
    pub id: JobId,
    /// What is asked for.
    pub document: Document,
}

/// A worker, as queues know it. Every start has an identity of its own, so that a reused name confuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerId {
    /// Of this start.
    pub start: JobId,
    /// What the operator calls it; pinned jobs name it.
    pub name: String,
    /// How long its leases last without a heartbeat. Whoever watches it goes by this, not by a lease of its own.
    pub lease: Duration,
}

/// The exclusive right to one attempt at one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The attempt; also the lease's token.
    pub attempt: u32,
}

/// A job that was claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What to run.
    pub job: Job,
    /// The right to run it.
    pub lease: Lease,
    /// Counted attempts, and how many are granted; what [`decide`](crate::job::decide) needs.
    pub attempts: u32,
    /// Attempts that the job may have.
    pub granted: u32,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// How it ended.
    pub verdict: Verdict,
    /// What becomes of the job.
    pub decision: Decision,
    /// What was used.
    pub usage: Usage,
    /// Whether a result directory of this attempt is in place, to be served once this is committed.
    pub published: bool,
}

/// Which jobs are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these states; all if empty.
    pub states: Vec<State>,
    /// This tube.
    pub tube: Option<Tube>,
    /// This algorithm.
    pub algorithm: Option<AlgorithmName>,
    /// This tag.
    pub tag: Option<String>,
}

/// A place in a listing: the page after it starts with the next job.
pub type Cursor = u64;

/// How a queue stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Jobs by state; every state is named.
    pub states: BTreeMap<State, u64>,
    /// Waiting and running jobs by tube.
    pub tubes: BTreeMap<Tube, BTreeMap<State, u64>>,
    /// When the oldest job that is ready was submitted.
    pub oldest_ready: Option<Timestamp>,
    /// Workers that hold leases or have beaten lately, by name.
    pub workers: Vec<WorkerStatus>,
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

/// A queue of jobs.
///
/// All methods may be called from any number of tasks at once.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Keeps all of these jobs, or none. When it returns they are on disk.
    ///
    /// A job whose id and document are known already is left as it is.
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError>;

    /// Announces a worker; its leases live as long as its heartbeats come.
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError>;

    /// Leases the most urgent job that is due in one of `tubes` and not pinned to another worker.
    ///
    /// The attempt counts from here on. Jobs past their `expires` are cancelled instead.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<Option<Claimed>, QueueError>;

    /// Extends all leases of the worker, and returns those of `leases` that it no longer holds.
    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Lease>, QueueError>;

    /// Records how far a leased attempt has come; nothing happens if the lease is stale.
    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError>;

    /// Ends an attempt: checks the lease and commits verdict, decision and publication as one.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the lease was lost; nothing has changed then.
    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError>;

    /// Ends attempts whose holder has not beaten for as long as its leases last, as seen by this process's own
    /// clock, and returns what became of them. To be called every second or so.
    ///
    /// `worker`, who asks, is never taken for lost: a process that was stopped for a while and goes on finds its
    /// own heartbeats old as well.
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError>;

    /// One job with its history.
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError>;

    /// A page of jobs in order of submission, and where the next one starts.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError>;

    /// How the queue stands.
    async fn status(&self) -> Result<Status, QueueError>;

    /// Whether any job is ready, delayed or running that this worker could ever take.
    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError>;

    /// Waits until something may have changed, through any process, but no longer than `limit`.
    async fn changed(&self, limit: Duration);

    /// Says goodbye: a worker that stopped in good order is no longer listed.
    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError>;
}
