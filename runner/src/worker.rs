//! A worker: claims jobs while it has free slots, keeps their leases alive, and settles them.

mod attempt;
mod deliver;
mod heartbeat;
mod housekeeping;
#[cfg(test)]
mod tests;

use crate::execute::Executor;
use crate::fetch::Sender;
use crate::job::{Decision, Job, JobId, Tube, Verdict};
use crate::queue::{Claimed, Delivered, Delivery, Home, Interest, Lease, Queue, Retention, WorkerId};
use crate::results::Results;
use crate::sandbox::StopReason;
use deliver::Outbox;
use heartbeat::{Heart, Leases};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use url::Url;

/// How long a worker waits before it asks a queue again that has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it waits at most before it looks for work again.
const LOOK: Duration = Duration::from_secs(1);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The name that pinned jobs use.
    pub name: String,
    /// The queues that it serves.
    pub tubes: Vec<Tube>,
    /// Jobs that run at once.
    pub slots: u32,
    /// Ends after so many attempts.
    pub max_jobs: Option<u64>,
    /// Ends once nothing is left that it could ever take.
    pub until_empty: bool,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often heartbeats are sent.
    pub heartbeat: Duration,
    /// Where the results that it publishes are served to others.
    pub public_url: Option<Url>,
    /// How long jobs are kept after they have ended.
    pub retention: Retention,
}

/// How a worker is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Not at all.
    No,
    /// Take no more jobs, and finish those that run.
    Drain,
    /// Stop those that run, and give them back.
    Now,
}

/// What happens in a worker, for whoever wants to tell.
#[derive(Debug)]
pub enum Event<'a> {
    /// A job was claimed.
    Started {
        /// The job.
        job: &'a Job,
        /// Which attempt this is.
        attempt: u32,
        /// Where its result goes.
        directory: PathBuf,
        /// How long the attempt may take.
        time: Duration,
    },
    /// An attempt has ended, and the queue knows.
    Ended {
        /// The job.
        job: &'a Job,
        /// Which attempt it was.
        attempt: u32,
        /// How it ended.
        verdict: &'a Verdict,
        /// What becomes of the job.
        decision: Decision,
        /// How long it took.
        took: Duration,
        /// What the algorithm wrote to standard error.
        log: &'a [u8],
    },
    /// An attempt has ended that this worker no longer held; nothing of it counts.
    Stale {
        /// The job.
        job: &'a Job,
        /// Which attempt it was.
        attempt: u32,
    },
    /// Another worker's attempt was ended, since its heartbeats stopped.
    TakenOver {
        /// Whose lease it was.
        lease: &'a Lease,
        /// What becomes of the job.
        decision: Decision,
    },
    /// It was tried to send a result to where its job wants it.
    Sent {
        /// Whose result, and where to.
        delivery: &'a Delivery,
        /// What came of it.
        outcome: &'a Delivered,
    },
    /// The queue or the disk failed; the worker goes on.
    Trouble {
        /// What was being done.
        doing: &'a str,
        /// Why it failed.
        reason: String,
    },
}

/// Takes events, from any thread.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// A worker and all that it needs.
pub struct Worker {
    shared: Arc<Shared>,
    options: WorkerOptions,
    sender: Sender,
}

struct Shared {
    id: WorkerId,
    queue: Arc<dyn Queue>,
    executor: Executor,
    results: Arc<Results>,
    observer: Observer,
    leases: Leases,
}

impl Shared {
    fn tell(&self, event: &Event<'_>) {
        (self.observer)(event);
    }

    fn trouble(&self, doing: &str, reason: &dyn Display) {
        self.tell(&Event::Trouble { doing, reason: reason.to_string() });
    }
}

impl Worker {
    /// A worker of these parts.
    pub fn new(
        options: WorkerOptions,
        queue: Arc<dyn Queue>,
        executor: Executor,
        sender: Sender,
        results: Arc<Results>,
        observer: Observer,
    ) -> Self {
        let home = Home { store: results.store(), public_url: options.public_url.clone() };
        let id = WorkerId { start: JobId::new(), name: options.name.clone(), lease: options.lease, home };
        let shared = Shared { id, queue, executor, results, observer, leases: Leases::default() };
        Self { shared: Arc::new(shared), options, sender }
    }

    /// Works until it is told to end, or until its options say so. Returns how many attempts it made.
    ///
    /// # Errors
    /// If the queue does not let it begin. Later trouble is told to the observer and waited out.
    pub async fn run(self, mut shutdown: watch::Receiver<Shutdown>) -> anyhow::Result<u64> {
        let Self { shared, options, sender } = self;
        shared.queue.register(&shared.id).await?;
        let heart = Heart::start(Arc::clone(&shared), options.heartbeat, options.lease)?;
        let reaper = tokio::spawn(take_over(Arc::clone(&shared)));
        let housekeeper = tokio::spawn(housekeeping::keep_house(Arc::clone(&shared), options.retention));
        let outbox = Outbox::start(&shared, sender);
        let mut attempts = JoinSet::new();
        let made = claim_all(&shared, &options, &mut shutdown, &mut attempts).await;
        drain(&shared, &mut shutdown, &mut attempts).await;
        outbox.finish(&mut shutdown).await;
        reaper.abort();
        housekeeper.abort();
        heart.stop().await;
        if let Err(error) = shared.queue.unregister(&shared.id).await {
            shared.trouble("saying goodbye", &error);
        }
        Ok(made)
    }
}

/// Claims and starts jobs until there is a reason to end.
async fn claim_all(
    shared: &Arc<Shared>,
    options: &WorkerOptions,
    shutdown: &mut watch::Receiver<Shutdown>,
    attempts: &mut JoinSet<()>,
) -> u64 {
    let slots = Arc::new(Semaphore::new(options.slots as usize));
    let mut work = shared.queue.watch(Interest::Work(options.tubes.clone()));
    let mut made = 0;
    while options.max_jobs.is_none_or(|most| made < most) && !is_told_to_end(shutdown) {
        let permit = tokio::select! {
            permit = Arc::clone(&slots).acquire_owned() => permit.expect("nobody closes the semaphore"),
            _ = shutdown.wait_for(|told| *told != Shutdown::No) => break,
        };
        // The queue writes down when the attempt started before the answer is here; its time must not begin later.
        let started = Instant::now();
        match shared.queue.claim(&shared.id, &options.tubes, 1).await.map(|mut claimed| claimed.pop()) {
            Ok(Some(claimed)) => {
                made += 1;
                attempts.spawn(hold(Arc::clone(shared), claimed, started, permit));
            }
            Ok(None) => {
                drop(permit);
                if options.until_empty && is_empty(shared, options).await {
                    break;
                }
                tokio::select! {
                    () = work.changed(LOOK) => {}
                    _ = shutdown.wait_for(|told| *told != Shutdown::No) => {}
                }
            }
            Err(error) => {
                shared.trouble("claiming a job", &error);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = shutdown.wait_for(|told| *told != Shutdown::No) => {}
                }
            }
        }
        while attempts.try_join_next().is_some() {}
    }
    made
}

async fn hold(shared: Arc<Shared>, claimed: Claimed, started: Instant, permit: OwnedSemaphorePermit) {
    let (making, claimed) = (Arc::clone(&shared), Arc::new(claimed));
    // A task of its own: heartbeats are the worker's, so a panic that ended this one would leave the job running
    // for as long as the worker does. A set, because it ends its tasks when it is dropped.
    let mut attempt = JoinSet::new();
    attempt.spawn({
        let claimed = Arc::clone(&claimed);
        async move { attempt::make(&making, &claimed, started).await }
    });
    if let Some(Err(panic)) = attempt.join_next().await {
        attempt::abandon(&shared, &claimed, started, &panic).await;
    }
    drop(permit);
}

fn is_told_to_end(shutdown: &watch::Receiver<Shutdown>) -> bool {
    *shutdown.borrow() != Shutdown::No
}

async fn is_empty(shared: &Shared, options: &WorkerOptions) -> bool {
    match shared.queue.has_work(&shared.id, &options.tubes).await {
        Ok(has_work) => !has_work,
        Err(error) => {
            shared.trouble("asking for work", &error);
            false
        }
    }
}

/// Waits for the attempts that run; when told to stop now, it stops them.
async fn drain(shared: &Shared, shutdown: &mut watch::Receiver<Shutdown>, attempts: &mut JoinSet<()>) {
    let all = async { while attempts.join_next().await.is_some() {} };
    tokio::pin!(all);
    tokio::select! {
        () = &mut all => return,
        told = shutdown.wait_for(|told| *told == Shutdown::Now) => {
            if told.is_ok() {
                shared.leases.close(StopReason::Interrupted);
            }
        }
    }
    all.await;
}

/// Ends, once a second, the attempts of workers whose heartbeats have stopped.
async fn take_over(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        match shared.queue.take_over(&shared.id).await {
            Ok(taken) => {
                for (lease, decision) in &taken {
                    shared.tell(&Event::TakenOver { lease, decision: *decision });
                }
            }
            Err(error) => shared.trouble("looking for lost workers", &error),
        }
    }
}
