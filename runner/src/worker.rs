//! A worker: claims jobs while it has free slots, keeps their leases alive, and settles them.

mod chores;
mod heart;
mod leases;
mod life;
mod outbox;
#[cfg(test)]
mod tests;

use crate::execute::Executor;
use crate::fetch::Sender;
use crate::intake::{self, Address, Gate, Intake, OldBuried};
use crate::job::{Decision, Job, JobId, Tube, Verdict};
use crate::queue::{Delivered, Delivery, Lease, Queue, Retention, WorkerId};
use crate::results::Results;
use crate::sandbox::StopReason;
use heart::{Heart, Pulse};
use leases::Leases;
use life::Backlog;
use outbox::Outbox;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
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
    /// Servers from which jobs are taken in.
    pub intakes: Vec<Address>,
    /// Where the intake's notes are.
    pub data_dir: PathBuf,
    /// Jobs that an earlier version has buried at servers although they are done.
    pub old_buried: Vec<OldBuried>,
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
        /// How long it held its slot.
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
    /// An attempt has ended whose job was cancelled meanwhile; nothing of it is published.
    Cancelled {
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
    /// Each permit is room for one running guest.
    slots: Arc<Semaphore>,
    leases: Leases,
    backlog: Backlog,
    /// What the intake is told.
    gate: Arc<Gate>,
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
        let WorkerOptions { name, lease, public_url, slots, .. } = options.clone();
        let id = WorkerId { start: JobId::new(), name, lease, public_url };
        let slots = Arc::new(Semaphore::new(slots as usize));
        let (leases, backlog) = (Leases::default(), Backlog::default());
        let gate = Arc::new(Gate::new(lease));
        let shared = Shared { id, queue, executor, results, observer, slots, leases, backlog, gate };
        Self { shared: Arc::new(shared), options, sender }
    }

    /// Works until it is told to end, or until its options say so. Returns how many attempts it made.
    ///
    /// # Errors
    /// If the queue does not let it begin. Later trouble is told to the observer and waited out.
    pub async fn run(self, mut shutdown: watch::Receiver<Shutdown>) -> anyhow::Result<u64> {
        let Self { shared, options, sender } = self;
        shared.queue.register(&shared.id).await?;
        let pulse = Pulse::new();
        let heart = Heart::start(Arc::clone(&shared), pulse.clone(), options.heartbeat, options.lease)?;
        let mut beside = JoinSet::new();
        beside.spawn(pulse.show());
        beside.spawn(heart::recall(Arc::clone(&shared)));
        beside.spawn(heart::report(Arc::clone(&shared)));
        beside.spawn(chores::take_over(Arc::clone(&shared)));
        beside.spawn(chores::keep_house(Arc::clone(&shared), options.retention));
        let outbox = Outbox::start(&shared, sender);
        let intake = intake(&shared, &options)?;
        let mut attempts = JoinSet::new();
        let made = life::work(&shared, &options, intake.as_ref(), &mut attempts, &mut shutdown).await;
        shared.gate.set_free(0);
        drain(&shared, &mut shutdown, &mut attempts).await;
        if let Some(intake) = intake {
            intake.stop().await;
        }
        outbox.finish(&mut shutdown).await;
        beside.shutdown().await;
        heart.stop().await;
        if let Err(error) = shared.queue.unregister(&shared.id).await {
            shared.trouble("saying goodbye", &error);
        }
        Ok(made)
    }
}

/// Starts to take jobs in from servers, if there are any to take them from.
fn intake(shared: &Shared, options: &WorkerOptions) -> io::Result<Option<Intake>> {
    if options.intakes.is_empty() {
        return Ok(None);
    }
    let intake = intake::Options {
        worker: options.name.clone(),
        tubes: options.tubes.clone(),
        slots: options.slots as usize,
        data_dir: options.data_dir.clone(),
        old_buried: options.old_buried.clone(),
    };
    Intake::start(options.intakes.clone(), Arc::clone(&shared.queue), Arc::clone(&shared.gate), intake).map(Some)
}

/// Waits for the attempts that run, and for those that are not settled; when told to stop now, it stops them.
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
