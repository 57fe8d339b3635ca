//! How the suite for all queues gets at this one: a real server, and processes that share a data directory.

use super::BeanstalkdQueue;
use super::fixture::{Fixture, LEASE, eventually};
use super::lock;
use crate::job::{Decision, JobId, Progress, Record, State, Tube};
use crate::queue::conformance::{Backend, Missing, worker};
use crate::queue::{
    Acted, Action, Claimed, Cursor, Delivered, Delivery, Filter, Interest, Lease, Queue, QueueError, Recalled,
    Retention, Settlement, Status, Submission, Watch, WorkerId,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The data directory of all processes.
const DIRECTORY: &str = "data";
/// Time passes by itself here, and the tests' clock and the server's need not agree about the last of it.
const A_LITTLE_MORE: Duration = Duration::from_millis(250);

/// A queue in a server that counts whole seconds.
pub(in crate::queue) struct Beanstalkd {
    fixture: Fixture,
    processes: Processes,
}

impl Backend for Beanstalkd {
    const NAME: &'static str = "beanstalkd";
    const PRECISION: Duration = Duration::from_secs(2);

    async fn open() -> Result<Self, Missing> {
        let fixture = Fixture::start().await.map_err(|reason| Missing(reason.to_owned()))?;
        let processes = Processes { operator: fixture.queue(DIRECTORY), workers: Mutex::default() };
        // Each has a handle of its own, and there are no more of them than the cases name.
        for name in ["a", "b", "c"] {
            let process = Process::start(fixture.queue(DIRECTORY), name);
            lock(&processes.workers).insert(name.to_owned(), process);
        }
        Ok(Self { fixture, processes })
    }

    fn queue(&self) -> &dyn Queue {
        &self.processes
    }

    async fn elsewhere(&self) -> Box<dyn Queue> {
        Box::new(self.fixture.queue(DIRECTORY))
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by + A_LITTLE_MORE).await;
    }

    /// The worker's process is killed, and the server sees the ends of its connections; one of the same name follows.
    async fn lose(&self, lost: &WorkerId) {
        let next = Process::start(self.fixture.queue(DIRECTORY), &lost.name);
        let killed = lock(&self.processes.workers).insert(lost.name.clone(), next);
        let leases = killed.expect("it is one of the suite's workers").claimed.clone();
        eventually("the loss of its leases", async || {
            self.processes.operator.take_over(&worker("observer")).await.unwrap();
            let still_runs = async |lease: &Lease| {
                let found = self.processes.operator.find(lease.id).await.unwrap();
                found.is_some_and(|record| record.state == State::Running && record.attempts == lease.attempt)
            };
            for lease in &leases {
                if still_runs(lease).await {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

/// One queue to the suite. A handle on this kind of queue stands for one process, so each worker has its own, and
/// one more is for whoever is none.
struct Processes {
    operator: BeanstalkdQueue,
    workers: Mutex<HashMap<String, Process>>,
}

/// A worker's process, whose heart beats until it is lost.
struct Process {
    queue: BeanstalkdQueue,
    heart: JoinHandle<()>,
    /// All that it ever claimed.
    claimed: Vec<Lease>,
}

/// The suite's worker as it is here: its leases last as long as the server's reservations.
fn brief(worker: &WorkerId) -> WorkerId {
    WorkerId { lease: LEASE, ..worker.clone() }
}

impl Process {
    fn start(queue: BeanstalkdQueue, name: &str) -> Self {
        let (process, worker) = (queue.clone(), brief(&worker(name)));
        let heart = tokio::spawn(async move {
            loop {
                process.heartbeat(&worker, &[]).await.unwrap();
                tokio::time::sleep(LEASE / 5).await;
            }
        });
        Self { queue, heart, claimed: Vec::new() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Processes {
    fn of(&self, worker: &WorkerId) -> BeanstalkdQueue {
        let workers = lock(&self.workers);
        workers.get(&worker.name).map_or_else(|| self.operator.clone(), |process| process.queue.clone())
    }
}

#[async_trait]
impl Queue for Processes {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.operator.submit(jobs).await
    }

    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.of(worker).register(&brief(worker)).await
    }

    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        let claimed = self.of(worker).claim(&brief(worker), tubes, most).await?;
        if let Some(process) = lock(&self.workers).get_mut(&worker.name) {
            process.claimed.extend(claimed.iter().map(|claimed| claimed.lease.clone()));
        }
        Ok(claimed)
    }

    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.of(worker).heartbeat(&brief(worker), leases).await
    }

    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.of(worker).recalled(&brief(worker), leases).await
    }

    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError> {
        self.operator.progress(lease, progress).await
    }

    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError> {
        self.of(worker).settle(&brief(worker), lease, settlement).await
    }

    fn begin(&self, worker: &WorkerId, lease: &Lease) {
        self.of(worker).begin(&brief(worker), lease);
    }

    async fn give_back(&self, worker: &WorkerId, claimed: &Claimed) -> Result<(), QueueError> {
        self.of(worker).give_back(&brief(worker), claimed).await
    }

    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        self.of(worker).take_over(&brief(worker)).await
    }

    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.operator.find(id).await
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        self.operator.list(filter, after, limit).await
    }

    async fn status(&self) -> Result<Status, QueueError> {
        self.operator.status().await
    }

    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.of(worker).has_work(&brief(worker), tubes).await
    }

    /// What was waited for is kept for the process that has waited. Whoever waits for work in the suite is `a`.
    fn watch(&self, interest: Interest) -> Box<dyn Watch> {
        match interest {
            Interest::Anything => self.operator.watch(interest),
            Interest::Work(_) => self.of(&worker("a")).watch(interest),
        }
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.of(worker).unregister(&brief(worker)).await
    }

    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        self.operator.act(ids, action).await
    }

    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        self.operator.pause(tube, until).await
    }

    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        self.operator.resume(tube).await
    }

    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.operator.forget(retention, most).await
    }

    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        self.operator.forgotten(after, most).await
    }

    async fn deliveries(&self, worker: &WorkerId, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        self.of(worker).deliveries(&brief(worker), lease, most).await
    }

    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        self.operator.delivered(delivery, outcome).await
    }
}
