//! The queue in a beanstalkd server, which any program may put jobs into, and any number of workers take from.
//!
//! A server keeps bodies and hands them out; it knows nothing of ids, verdicts or histories. What became of a job is in
//! the file of the data directory whose worker ran it (the ledger), with the number that the server gave to its id.
//! Leases are reservations: each has a connection of its own, which alone can settle the job.

mod act;
mod address;
mod body;
mod claim;
mod client;
#[cfg(test)]
pub(super) mod conformance;
mod fence;
#[cfg(test)]
mod fixture;
mod held;
mod look;
mod mark;
mod missing;
mod overdue;
mod protocol;
mod rubbish;
mod server;
mod settle;
mod stats;
mod submit;
#[cfg(test)]
mod tests;
mod waiting;

pub use address::{Address, AddressError};
pub use client::{Body, Client, ClientError, Reserved};
pub use protocol::Denial;
pub use stats::{JobState, JobStats, Jobs, ServerStats, TubeStats};

use self::held::{Held, Phase};
use self::overdue::Overdue;
use self::server::Server;
use self::waiting::{Anything, Work};
use super::sqlite::{Ledger, SqliteQueue};
use super::{
    Acted, Action, Claimed, Cursor, Delivered, Delivery, Filter, Interest, Lease, Numbered, Queue, QueueError,
    Recalled, Refusal, Retention, Settlement, Status, Submission, Unreadable, Watch, WorkerId,
};
use crate::job::{Decision, JobId, Progress, Record, State, Tube, Usage, Verdict};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What refusals call it.
const NAME: &str = "beanstalkd";

/// A queue in a beanstalkd server.
///
/// A clone is another handle on the same queue, and cheap. When the last one is dropped, its connections end, and what
/// they had reserved is ready again.
#[derive(Clone)]
pub struct BeanstalkdQueue {
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    ledger: Ledger,
    /// How long a reservation lasts of a job that is submitted here.
    lease: Duration,
    /// What this process's workers have.
    held: Mutex<HashMap<Lease, Arc<Held>>>,
    overdue: tokio::sync::Mutex<Vec<Overdue>>,
    /// How far has been looked for jobs that the server may have no more.
    looked_for: Mutex<Cursor>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BeanstalkdQueue {
    /// The queue at `address`, whose jobs' histories are kept in `ledger`. Jobs that are submitted here are reserved for
    /// `lease` at a time. No connection is made yet.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if the system gives no thread.
    pub fn new(address: Address, ledger: SqliteQueue, lease: Duration) -> Result<Self, QueueError> {
        let ledger = Ledger::new(ledger, &address.to_string());
        let server = Server::new(address)
            .map_err(|error| QueueError::Backend(format!("no thread could be started for the queue: {error}")))?;
        let shared = Shared {
            server,
            ledger,
            lease,
            held: Mutex::default(),
            overdue: Default::default(),
            looked_for: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    fn hold(&self, held: Arc<Held>) {
        lock(&self.held).insert(held.lease.clone(), held);
    }

    fn held(&self, lease: &Lease) -> Option<Arc<Held>> {
        lock(&self.held).get(lease).map(Arc::clone)
    }

    fn holds(&self, lease: &Lease) -> bool {
        lock(&self.held).contains_key(lease)
    }

    fn drop_held(&self, lease: &Lease) {
        lock(&self.held).remove(lease);
    }

    /// The leases that are no longer this process's, by what the server has said, and by what the file says.
    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        let mut recalled = self.ledger.queue().recalled(worker, leases).await?;
        for lease in leases {
            let is_lost = self.held(lease).is_none_or(|held| held.is_lost());
            if is_lost && !recalled.iter().any(|known| known.lease == *lease) {
                recalled.push(Recalled { lease: lease.clone(), cancelled: false });
            }
        }
        Ok(recalled)
    }

    /// Gives back all that this process has, as far as the server can be told; if not of each, that is the error.
    async fn give_all_back(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let held: Vec<_> = lock(&self.held).values().cloned().collect();
        let mut told = Ok(());
        for held in held {
            // The server may have heard of another end already; it is resolved by the next process.
            if *held.phase.lock().await != Phase::Runs {
                continue;
            }
            let lease = held.lease.clone();
            let verdict = Verdict::Interrupted { message: format!("worker {} has stopped", worker.name) };
            let decision = Decision::Retry(Duration::ZERO);
            let settlement = Settlement { verdict, decision, usage: Usage::default(), published: false };
            match self.settle(worker, &lease, settlement).await {
                Ok(()) | Err(QueueError::Stale { .. }) => {}
                Err(error) => told = told.and(Err(error)),
            }
        }
        told
    }
}

#[async_trait]
impl Queue for BeanstalkdQueue {
    /// All jobs are looked at before the first is put; a server that fails in between may keep some of them.
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.shared.submit(jobs).await
    }

    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.shared.resolve(worker).await?;
        self.shared.ledger.register(worker).await
    }

    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        self.shared.claim(worker, tubes, most).await
    }

    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        let recalled = self.shared.recalled(worker, leases).await?;
        lock(&self.shared.held).values().for_each(|held| held.beat());
        match self.shared.ledger.beat(worker).await {
            // Who keeps this file locked keeps nothing from the server.
            Ok(()) | Err(QueueError::Busy(_)) => Ok(recalled),
            Err(error) => Err(error),
        }
    }

    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.shared.recalled(worker, leases).await
    }

    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError> {
        self.shared.ledger.queue().progress(lease, progress).await
    }

    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError> {
        self.shared.settle(worker, lease, settlement).await
    }

    /// The server has counted the reservation already.
    fn begin(&self, _worker: &WorkerId, _lease: &Lease) {}

    /// A server has counted the reservation, so this is the end of an attempt.
    async fn give_back(&self, worker: &WorkerId, claimed: &Claimed) -> Result<(), QueueError> {
        self.shared.settle(worker, &claimed.lease, Settlement::not_begun(worker)).await
    }

    fn undoes_claims(&self) -> bool {
        false
    }

    /// A server takes reservations back by itself. What there is to do is to find out for which of this data
    /// directory's attempts it has.
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        if self.shared.server.is_away() {
            // Whoever claims tells of it.
            return Ok(Vec::new());
        }
        let lost = self.shared.resolve(worker).await?;
        Ok(lost.into_iter().map(|lease| (lease, Decision::Retry(Duration::ZERO))).collect())
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.shared.ping().await
    }

    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.shared.find(id).await
    }

    /// Jobs that this data directory has submitted or run; a page may end before `limit`. Those that another worker has
    /// ended, or that somebody has deleted at the server, are left out.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        self.shared.list(filter, after, limit).await
    }

    async fn status(&self) -> Result<Status, QueueError> {
        self.shared.status().await
    }

    async fn has_work(&self, _: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.shared.has_work(tubes).await
    }

    fn watch(&self, interest: Interest) -> Box<dyn Watch> {
        match interest {
            Interest::Anything => Box::new(Anything::new(self.shared.ledger.queue().watch(interest))),
            Interest::Work(tubes) => Box::new(Work::new(Arc::clone(&self.shared), tubes)),
        }
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.shared.give_all_back(worker).await?;
        self.shared.ledger.gone(worker).await
    }

    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        self.shared.act(ids, action).await
    }

    /// The server forgets a pause when it restarts, and without a time it lasts for 136 years.
    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        self.shared.pause(tube, until).await
    }

    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        self.shared.resume(tube).await
    }

    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.shared.forget(retention, most).await
    }

    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        self.shared.ledger.queue().forgotten(after, most).await
    }

    async fn deliveries(&self, worker: &WorkerId, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        self.shared.ledger.queue().deliveries(worker, lease, most).await
    }

    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        self.shared.ledger.queue().delivered(delivery, outcome).await
    }

    async fn caveats(&self) -> Result<Vec<String>, QueueError> {
        self.shared.caveats().await
    }

    async fn unreadable(&self) -> Result<Vec<Unreadable>, QueueError> {
        self.shared.unreadable().await
    }

    async fn act_on_unreadable(&self, number: u64, action: &Action) -> Result<Result<State, Refusal>, QueueError> {
        self.shared.act_on_unreadable(number, action).await
    }

    async fn numbered(&self, number: u64) -> Result<Option<Numbered>, QueueError> {
        self.shared.numbered(number).await
    }
}
