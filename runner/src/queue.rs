//! Where jobs wait: one set of semantics, whatever keeps them.
//!
//! A job is leased to one worker at a time. The lease's token is the attempt: a worker that has lost its lease
//! can neither settle nor publish, however late it wakes up.

mod action;
pub mod beanstalkd;
#[cfg(test)]
mod conformance;
mod delivery;
mod error;
mod filter;
pub mod sqlite;
mod status;
mod unreadable;

pub use action::{Acted, Action, PATCHABLE, Refusal};
pub use delivery::{Delivered, Delivery};
pub use error::QueueError;
pub use filter::{Filter, Retention, Times};
pub use status::{Attempts, COUNTED, LISTED, Oldest, Recent, Spread, Status, Timing, WorkerStatus};
pub use unreadable::{Numbered, Unreadable};

use crate::job::{Decision, Document, Job, JobId, Progress, Record, State, Tube, Usage, Verdict};
use async_trait::async_trait;
use jiff::Timestamp;
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
    /// How long its leases last without a heartbeat. Whoever watches it goes by this, not by a lease of its own.
    pub lease: Duration,
    /// Where what it publishes is kept.
    pub home: Home,
}

/// Where a worker's results are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The results tree, which has an id of its own.
    pub store: JobId,
    /// Where the worker's HTTP side can be reached from elsewhere, if the operator says so.
    pub public_url: Option<Url>,
}

/// A lease that is no longer its worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// The lease.
    pub lease: Lease,
    /// Whether the job was cancelled, and perhaps deleted; if not, another worker has it, or may get it.
    pub cancelled: bool,
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
    /// The bytes of its document.
    pub size: u64,
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

impl Settlement {
    /// The end of an attempt whose guest was never started, since its worker had no slot free.
    pub(crate) fn not_begun(worker: &WorkerId) -> Self {
        let verdict = Verdict::Interrupted { message: format!("worker {} had no slot free in time", worker.name) };
        Self { verdict, decision: Decision::Retry(Duration::ZERO), usage: Usage::default(), published: false }
    }
}

/// A place in a listing: the page after it starts with the next job.
pub type Cursor = u64;

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Anything that may have changed.
    Anything,
    /// Jobs that a worker of these tubes may take.
    Work(Vec<Tube>),
}

/// Waits for changes; each of those who wait has one of its own, so that none uses up another's news.
#[async_trait]
pub trait Watch: Send {
    /// Waits until something may have changed since the last return, or since the watch was made, through any
    /// process, but no longer than `limit`.
    async fn changed(&mut self, limit: Duration);
}

/// A queue of jobs.
///
/// All methods may be called from any number of tasks at once.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Keeps all of these jobs, or none. When it returns they are on disk.
    ///
    /// A job whose id and document are known already, be it that only these are left of it, is left as it is. The
    /// document that counts is the one that was submitted first, whatever it was updated to since.
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError>;

    /// Announces a worker; its leases live as long as its heartbeats come.
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError>;

    /// Leases the most urgent jobs, `most` at most, that are due in `tubes` and not pinned to another worker, in
    /// their order. Paused tubes have none.
    ///
    /// An attempt has its number from here on, and counts once it has begun ([`begin`](Self::begin)), or at once where that
    /// cannot be told. Jobs past their `expires` are cancelled instead.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError>;

    /// Extends all leases of the worker, and returns those of `leases` that it no longer holds.
    ///
    /// # Errors
    /// [`QueueError::Busy`], well before the worker's leases are over, if somebody else keeps the queue locked.
    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError>;

    /// Returns those of `leases` that the worker no longer holds, and changes nothing.
    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError>;

    /// Records how far a leased attempt has come; nothing happens if the lease is stale.
    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError>;

    /// Ends an attempt: checks the lease and commits verdict, decision and publication as one.
    ///
    /// An error of the backend does not say that nothing was done, since a commit may fail after it was made; so the
    /// same may be tried again, and an attempt that has ended in just this way stays as it is.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the lease was lost; nothing has changed then.
    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError>;

    /// Takes note that a claimed attempt begins now, so that it counts whatever becomes of its worker. Where that cannot
    /// be told from a claim, every claim counts. It waits for nobody, and for no sync.
    fn begin(&self, worker: &WorkerId, lease: &Lease);

    /// Gives back a job whose attempt has not begun, as if it had not been claimed, now or as soon as that can be written.
    /// Where that cannot be undone, the attempt ends as interrupted, which does not count.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the lease was lost; nothing has changed then.
    async fn give_back(&self, worker: &WorkerId, claimed: &Claimed) -> Result<(), QueueError>;

    /// Whether [`give_back`](Self::give_back) undoes a claim. If not, a claim in vain is seen by others and may count, so
    /// that nobody should claim more than he can start at once.
    fn undoes_claims(&self) -> bool {
        true
    }

    /// Ends attempts whose holder has not beaten for as long as its leases last, as seen by this process's own
    /// clock, and returns what became of them. To be called every second or so.
    ///
    /// `worker`, who asks, is never taken for lost: a process that was stopped for a while and goes on finds its
    /// own heartbeats old as well.
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError>;

    /// Whether what keeps the jobs answers at all; nothing is changed.
    async fn ping(&self) -> Result<(), QueueError> {
        self.find(JobId::from_bytes([0; 16])).await.map(drop)
    }

    /// One job with its history.
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError>;

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

    /// Whether any job is ready, delayed or running that this worker could ever take.
    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError>;

    /// Waits for what `interest` says.
    fn watch(&self, interest: Interest) -> Box<dyn Watch>;

    /// Says goodbye: a worker that stopped in good order is no longer listed. What it still holds ends as interrupted.
    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError>;

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

    /// Ids of jobs that were deleted, oldest deletion first, so that whoever holds results of theirs removes them.
    /// With them comes the place after which to go on, now or when more were deleted; none if there are none.
    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError>;

    /// Takes results of this worker's store that are due to be sent to their `result_url`, `most` at most, which
    /// counts as a try. Nobody else is given them for `lease`; whoever has not said by then what came of it is
    /// taken for dead, and they are due again.
    async fn deliveries(&self, worker: &WorkerId, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError>;

    /// Records what came of sending a result. What comes too late, after others have taken it, is ignored, unless
    /// it has arrived.
    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError>;

    /// What an operator should know before relying on this queue, one sentence each.
    async fn caveats(&self) -> Result<Vec<String>, QueueError> {
        Ok(Vec::new())
    }

    /// What was found among the jobs and is none, in order of its numbers. Only a queue in which anybody may put
    /// anything has such.
    async fn unreadable(&self) -> Result<Vec<Unreadable>, QueueError> {
        Ok(Vec::new())
    }

    /// Deletes or kicks what has this number and is none of the jobs, and says in what state it is now, or was.
    async fn act_on_unreadable(&self, _number: u64, _action: &Action) -> Result<Result<State, Refusal>, QueueError> {
        Ok(Err(Refusal::NoSuchJob))
    }

    /// What has this number at a server that gives numbers, as far as is known here.
    async fn numbered(&self, _number: u64) -> Result<Option<Numbered>, QueueError> {
        Ok(None)
    }
}
