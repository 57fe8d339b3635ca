//! Where jobs wait: one set of semantics, whatever keeps them.
//!
//! The traits are cut by who needs what: a worker [`Work`], submitters and operators [`Jobs`], the sender of results
//! [`Outbox`], the registry [`Modules`]. An engine implements all four, and the suite in `conformance` tries all of them.
//!
//! A job is leased to one worker at a time. The lease's token is the attempt and the worker's start: a worker that has
//! lost its lease can neither settle nor publish, however late it wakes up.

mod action;
#[cfg(test)]
mod conformance;
mod delivery;
mod error;
mod filter;
mod module;
pub mod sqlite;
mod status;

pub use action::{Acted, Action, PATCHABLE, Refusal};
pub use delivery::{Delivered, Delivery};
pub use error::QueueError;
pub use filter::{Filter, Retention, Times};
pub use module::{Algorithm, MAX_MODULE, Version};
pub use status::{Attempts, COUNTED, LISTED, Oldest, Recent, Spread, Status, Timing, WorkerStatus};

use crate::job::{
    AlgorithmName, Decision, Digest, Document, Job, JobId, Progress, Record, Shape, Tube, Usage, Verdict,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

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
    /// How long its leases last without a heartbeat. Contenders go by this, not by a lease of their own.
    pub lease: Duration,
    /// Where the worker's HTTP side can be reached from elsewhere, if the operator says so.
    pub public_url: Option<Url>,
}

/// The exclusive right to one attempt at one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The attempt; with the worker's start it is the lease's token.
    pub attempt: u32,
}

/// A job that was claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What to run.
    pub job: Job,
    /// The right to run it.
    pub lease: Lease,
    /// Counted attempts, this one included; what [`decide`](crate::job::decide) needs.
    pub attempts: u32,
    /// Attempts that the job may have.
    pub granted: u32,
}

/// A lease that is no longer its worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// The lease.
    pub lease: Lease,
    /// Whether the job was cancelled, and perhaps deleted; if not, another worker has it, or may get it.
    pub cancelled: bool,
}

/// How a worker's leases compare with what it says it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Held by the worker, but no longer its leases.
    pub recalled: Vec<Recalled>,
    /// Leases of this worker that it does not hold: the answer to a claim was lost, or is on its way.
    pub unheld: Vec<Lease>,
}

/// What a running attempt says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The attempt.
    pub lease: Lease,
    /// How far it has come, if that has changed.
    pub progress: Option<Progress>,
    /// What it has logged since the last report.
    pub log: Vec<u8>,
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
    /// What the attempt leaves.
    pub outcome: Outcome,
}

/// What an attempt leaves for readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The result document, as JSON. Empty only if the host could not make one.
    pub document: Arc<[u8]>,
    /// What was kept of the log.
    pub log: Arc<[u8]>,
    /// Whether the attempt's files are in the worker's results tree, synced.
    pub files: bool,
}

/// What the queue made of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The attempt counts; its outcome can be read.
    Counts,
    /// The job was cancelled before; of the outcome only the log is kept.
    Cancelled,
    /// The lease was lost; nothing was changed.
    Stale,
}

/// A result document that can be read, with what an answer over HTTP says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The attempt that made it.
    pub attempt: u32,
    /// The document, as JSON.
    pub document: Vec<u8>,
    /// When the attempt was settled, in milliseconds since 1970.
    pub settled_at: i64,
    /// Whether the attempt left files.
    pub files: bool,
    /// Where the node that has the files serves them, if that node says so.
    pub public_url: Option<Url>,
}

/// A piece of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// What was logged from the place on that was asked for; perhaps not all of it.
    pub bytes: Vec<u8>,
    /// Whether nothing comes after this piece: the attempt has ended, and its log is complete.
    pub is_last: bool,
}

/// A place in a listing: the page after it starts with the next job.
pub type Cursor = u64;

/// Waits for changes; each waiter has one of its own, so that none uses up another's news.
#[async_trait]
pub trait Watch: Send {
    /// Waits until something may have changed since the last return, or since the watch was made, through any
    /// process, but no longer than `limit`.
    async fn changed(&mut self, limit: Duration);
}

/// What a worker does with a queue.
#[async_trait]
pub trait Work: Send + Sync {
    /// Announces a worker; its leases live as long as its heartbeats come.
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError>;

    /// Leases the most urgent jobs, `most` at most, that are due in `tubes` and not pinned to another worker, in
    /// their order. Paused tubes have none. Jobs past their `expires` are cancelled instead.
    ///
    /// Every attempt counts from here on. So a worker asks for no more jobs than it has free slots.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError>;

    /// Extends all leases of the worker, and compares them with `held`, those that it holds.
    ///
    /// # Errors
    /// [`QueueError::Busy`], well before the worker's leases are over, if somebody else keeps the queue locked.
    async fn beat(&self, worker: &WorkerId, held: &[Lease]) -> Result<Beat, QueueError>;

    /// Returns those of `leases` that the worker no longer holds, and changes nothing.
    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError>;

    /// Ends attempts of this worker that it does not know of, as interrupted.
    async fn put_back(&self, worker: &WorkerId, leases: &[Lease]) -> Result<(), QueueError>;

    /// Records what running attempts say of themselves; what comes under a stale lease is dropped. It need not survive
    /// a loss of power.
    async fn report(&self, worker: &WorkerId, reports: Vec<Report>) -> Result<(), QueueError>;

    /// Ends an attempt: checks the lease and commits verdict, decision and outcome as one. That commit is the
    /// publication.
    ///
    /// After an error the same may be tried again: an attempt that this worker has settled already stays as it is.
    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<Settled, QueueError>;

    /// Ends attempts of workers that are dead, or have not beaten for as long as their leases last, by this process's
    /// monotonic clock, and returns what became of them. To be called every second or so.
    ///
    /// `worker`, who asks, is never taken for dead: a process that was stopped for a while and goes on finds its
    /// own heartbeats old as well.
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError>;

    /// Whether any job is ready, delayed or running that this worker could ever take.
    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError>;

    /// Says goodbye: a worker that stopped in good order is no longer listed. What it still holds ends as interrupted.
    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError>;
}

/// What submitters, readers and operators do with a queue.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Keeps all of these jobs, or none. When it returns they are on disk. A job that names no digest is pinned to the
    /// module that its algorithm's name points at, if there is one.
    ///
    /// A job whose id and document are known already, be it that only these are left of it, is left as it is. The
    /// document that counts is the one that was submitted first, whatever it was updated to since.
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError>;

    /// One job with its history.
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError>;

    /// The result document of a job that is done or dead. It costs what the document weighs, never what the job does.
    ///
    /// `attempt` asks for the document of that attempt, whether or not it is the one that counts.
    async fn result(&self, id: JobId, attempt: Option<u32>) -> Result<Option<Published>, QueueError>;

    /// The log of an attempt from byte `from` on; nothing if there is no such attempt, or if it has no log here.
    async fn log(&self, id: JobId, attempt: u32, from: u64) -> Result<Option<LogPiece>, QueueError>;

    /// A page of jobs in order of submission, and where the next one starts, if there are more. A page may end early,
    /// even with nothing in it, where few jobs fit or these are large.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError>;

    /// How the queue stands.
    async fn status(&self) -> Result<Status, QueueError>;

    /// Does the same to each of these jobs, and says what came of it, in their order. All of it is on disk when
    /// this returns.
    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError>;

    /// Has no job of the tube claimed until the time comes, or until it is resumed, instead of what was asked
    /// before. Jobs that run go on. A time that is past is as good as no pause.
    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError>;

    /// Ends a pause; whether there was one.
    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError>;

    /// Deletes jobs that ended too long ago, `most` at most, and returns how many. Their ids stay known. No job is
    /// deleted whose result is still to be delivered, or that still holds a unique key. After as many as `most`, the
    /// next call goes on from there; fewer are all that there were.
    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError>;

    /// Ids of deleted jobs that left files, oldest deletion first, so that every node removes those that it has. With
    /// them comes the place after which to go on, now or when more were deleted; none if there are none.
    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError>;

    /// Whether what keeps the jobs answers at all; nothing is changed.
    async fn ping(&self) -> Result<(), QueueError> {
        self.find(JobId::from_bytes([0; 16])).await.map(drop)
    }

    /// What an operator should know before relying on this queue, one sentence each.
    async fn caveats(&self) -> Result<Vec<String>, QueueError> {
        Ok(Vec::new())
    }
}

/// Results on their way to a `result_url`.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Takes results that are due to be sent, `most` at most, which counts as a try. Nobody else is given them for
    /// `lease`; if nothing was recorded by then, their sender is taken for dead, and they are due again.
    async fn deliveries(&self, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError>;

    /// Records what came of sending a result. What comes too late, after others have taken it, is ignored, unless
    /// it has arrived.
    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError>;
}

/// The registered algorithms: modules by digest, and names that point at them.
///
/// A module stays when its name moves on to another one, so that jobs that are pinned to its digest, and old results,
/// can be run again.
#[async_trait]
pub trait Modules: Send + Sync {
    /// Keeps a module, which was found fit to run, and points `name` at it.
    async fn add(&self, name: &AlgorithmName, shape: Shape, bytes: Vec<u8>) -> Result<Algorithm, QueueError>;

    /// All algorithms, by name.
    async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError>;

    /// The algorithm of that name.
    async fn algorithm(&self, name: &AlgorithmName) -> Result<Option<Algorithm>, QueueError>;

    /// Forgets a name, and returns whether there was one; its modules stay reachable by digest.
    async fn remove(&self, name: &AlgorithmName) -> Result<bool, QueueError>;

    /// A module's bytes, as they are kept: the caller compares them with the digest.
    async fn module(&self, digest: Digest) -> Result<Option<Vec<u8>>, QueueError>;
}

/// An engine: all that can be done with a queue. Methods may be called from any number of tasks at once.
pub trait Queue: Work + Jobs + Outbox + Modules {
    /// Waits for changes.
    fn watch(&self) -> Box<dyn Watch>;
}
