//! The life of a job in a worker, from claim to settle.

use super::leases::Guest;
use super::{Event, LOOK, PAUSE, Shared, Shutdown, WorkerOptions};
use crate::execute::{Attempt, Executed};
use crate::intake::Intake;
use crate::job::{Decision, Job, Limits, Standing, State, Usage, Verdict, decide};
use crate::queue::{Claimed, Lease, Outcome, QueueError, Settled, Settlement};
use crate::results::{Kept, Staging};
use crate::sandbox::{LiveLog, Scratch};
use futures_util::FutureExt as _;
use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::task::{JoinSet, spawn_blocking};

/// Room for attempts whose guests have ended and that wait to be settled: they need memory and a lease, but no slot.
#[derive(Debug)]
pub(super) struct Backlog(Semaphore);

/// The permits of a backlog.
const PERMITS: u32 = 256;
/// An attempt takes one permit, plus one for every so many bytes that it holds. All permits are 64 MiB; a larger attempt
/// takes them all.
const PERMIT: usize = 256 << 10;

impl Default for Backlog {
    fn default() -> Self {
        Self(Semaphore::new(PERMITS as usize))
    }
}

impl Backlog {
    /// Waits for room for an attempt that holds so many bytes. It keeps its slot meanwhile, so that a disk that is slower
    /// than the guests holds these up, and memory does not grow.
    async fn enter(&self, bytes: usize) -> SemaphorePermit<'_> {
        let more = u32::try_from(bytes / PERMIT).unwrap_or(PERMITS);
        let room = self.0.acquire_many(more.saturating_add(1).min(PERMITS)).await;
        room.expect("nobody closes the semaphore")
    }
}

/// Claims jobs for free slots and lives their lives in `attempts`, until there is a reason to end. Returns how many
/// attempts were started.
pub(super) async fn work(
    shared: &Arc<Shared>,
    options: &WorkerOptions,
    intake: Option<&Intake>,
    attempts: &mut JoinSet<()>,
    shutdown: &mut watch::Receiver<Shutdown>,
) -> u64 {
    let mut news = shared.queue.watch();
    let mut started = 0;
    while options.max_jobs.is_none_or(|most| started < most) {
        let left = options.max_jobs.map_or(u64::MAX, |most| most - started);
        let slots = tokio::select! {
            _ = shutdown.wait_for(|told| *told != Shutdown::No) => break,
            slots = free_slots(&shared.slots, left) => slots,
        };
        let asked = slots.len();
        let claimed = claim(shared, options, slots, attempts).await;
        started += *claimed.as_ref().unwrap_or(&0) as u64;
        while attempts.try_join_next().is_some() {}
        shared.gate.set_free(shared.slots.available_permits());
        let rest = match claimed {
            Ok(claimed) if claimed == asked => continue,
            Ok(0) if options.until_empty && is_empty(shared, options, intake).await => break,
            Ok(_) => news.changed(LOOK),
            Err(error) => {
                shared.trouble("claiming a job", &error);
                tokio::time::sleep(PAUSE).boxed()
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|told| *told != Shutdown::No) => break,
            () = rest => {}
        }
    }
    started
}

/// Waits for a free slot, and takes all that are free, `most` at most.
async fn free_slots(slots: &Arc<Semaphore>, most: u64) -> Vec<OwnedSemaphorePermit> {
    let first = Arc::clone(slots).acquire_owned().await.expect("nobody closes the semaphore");
    let more = std::iter::from_fn(|| Arc::clone(slots).try_acquire_owned().ok());
    let more = more.take(usize::try_from(most - 1).unwrap_or(usize::MAX));
    std::iter::once(first).chain(more).collect()
}

/// Claims a job for each slot, and starts those that there are. Returns how many.
async fn claim(
    shared: &Arc<Shared>,
    options: &WorkerOptions,
    slots: Vec<OwnedSemaphorePermit>,
    attempts: &mut JoinSet<()>,
) -> Result<usize, QueueError> {
    shared.leases.asked();
    let answer = shared.queue.claim(&shared.id, &options.tubes, slots.len()).await;
    let started = answer.map(|claimed| {
        let count = claimed.len();
        for (claimed, slot) in claimed.into_iter().zip(slots) {
            attempts.spawn(live(Arc::clone(shared), Begun::new(shared, claimed), slot));
        }
        count
    });
    shared.leases.answered();
    started
}

/// Whether nothing is left that this worker could ever take.
async fn is_empty(shared: &Shared, options: &WorkerOptions, intake: Option<&Intake>) -> bool {
    // The intake first: a job that leaves a server is in the queue by then.
    if let Some(intake) = intake
        && intake.has_work().await
    {
        return false;
    }
    match shared.queue.has_work(&shared.id, &options.tubes).await {
        Ok(has_work) => !has_work,
        Err(error) => {
            shared.trouble("looking for work", &error);
            false
        }
    }
}

/// An attempt that has begun: its lease is held.
struct Begun {
    job: Arc<Job>,
    lease: Lease,
    standing: Standing,
    attempt: Attempt,
    /// Why it must not be made, if there is a reason.
    refused: Option<Verdict>,
}

impl Begun {
    fn new(shared: &Shared, claimed: Claimed) -> Self {
        let Claimed { job, lease, attempts, granted } = claimed;
        let (limits, refused) = match shared.executor.limits(&job) {
            Ok(limits) => (limits, None),
            Err(verdict) => (Limits::default(), Some(verdict)),
        };
        let job = Arc::new(job);
        let mut attempt = Attempt::start(Arc::clone(&job), lease.attempt, limits, Instant::now());
        let (sender, progress) = watch::channel(None);
        let log = Arc::new(LiveLog::new(limits.log_size));
        (attempt.progress, attempt.live_log) = (Some(sender), Some(Arc::clone(&log)));
        let stop = Arc::clone(&attempt.stop);
        shared.leases.add(lease.clone(), Guest { stop, progress, log });
        let standing = Standing { attempts, granted, seed_pinned: job.document.seed.is_some() };
        Self { job, lease, standing, attempt, refused }
    }
}

/// One attempt: run, keep, settle. Whatever happens ends in a verdict.
async fn live(shared: Arc<Shared>, begun: Begun, slot: OwnedSemaphorePermit) {
    let Begun { job, lease, standing, attempt, refused } = begun;
    let own = Own { shared: &shared, job: &job, lease: &lease, standing, started: attempt.started };
    let life = async {
        shared.tell(&Event::Started { job: &job, attempt: lease.attempt, time: attempt.limits.ttr.0 });
        let (executed, staging) = own.run(attempt, refused).await;
        shared.leases.end(&lease);
        let took = own.started.elapsed();
        let room = shared.backlog.enter(executed.size()).await;
        // The guest has ended. What follows waits for the disk, and needs no slot.
        drop(slot);
        let end = own.keep(executed, staging, took).await;
        own.settle(end).await;
        drop(room);
    };
    // Heartbeats are the worker's, so a panic that ended this task would leave the job running for as long as the
    // worker does. Nothing that is used after one is of this attempt only.
    if let Err(panic) = AssertUnwindSafe(life).catch_unwind().await {
        shared.leases.end(&lease);
        let verdict = Verdict::HostError { message: format!("the worker has a bug: it panicked: {}", said(&*panic)) };
        own.settle(own.end_without_result(verdict)).await;
    }
    shared.leases.remove(&lease);
}

/// What the steps of one attempt share.
struct Own<'a> {
    shared: &'a Arc<Shared>,
    job: &'a Arc<Job>,
    lease: &'a Lease,
    standing: Standing,
    started: Instant,
}

/// An attempt that is over, and that the queue does not know of so far.
struct End {
    settlement: Settlement,
    /// Its files, which go if the queue does not take the attempt.
    kept: Option<Kept>,
    took: Duration,
}

impl Own<'_> {
    /// Runs the guest, unless the attempt is refused.
    async fn run(&self, attempt: Attempt, refused: Option<Verdict>) -> (Executed, Option<Staging>) {
        let executor = &self.shared.executor;
        if let Some(verdict) = refused {
            return (executor.refused(&attempt, verdict), None);
        }
        match self.shared.results.stage(self.lease.id, self.lease.attempt) {
            Ok(staging) => {
                let scratch = Scratch::when_needed(staging.scratch());
                (Box::pin(executor.execute(attempt, scratch)).await, Some(staging))
            }
            Err(error) => {
                let message = format!("making room for its files failed: {error}");
                (executor.refused(&attempt, Verdict::HostError { message }), None)
            }
        }
    }

    /// Puts the files in their place, on disk, and makes the result document. A host that cannot becomes the verdict.
    async fn keep(&self, mut executed: Executed, staging: Option<Staging>, took: Duration) -> End {
        let log = std::mem::take(&mut executed.log).into();
        let state = self.decide(&executed.verdict).state();
        let (job, attempt) = (Arc::clone(self.job), self.lease.attempt);
        let has_files = executed.has_files();
        let publish = move || {
            let published = publish(&mut executed, &job, attempt, state, staging);
            (published, executed)
        };
        // Without files there is nothing to wait for.
        let published = if has_files { spawn_blocking(publish).await } else { Ok(publish()) };
        let (document, kept, executed) = match published {
            Ok((Ok((document, kept)), executed)) => (document, kept, executed),
            Ok((Err(error), executed)) => {
                let verdict = Verdict::HostError { message: format!("keeping its files failed: {error}") };
                let state = self.decide(&verdict).state();
                let mut failed = executed.failed(verdict);
                let document = publish_without_files(&mut failed, self.job, attempt, state);
                (document, None, failed)
            }
            Err(panic) => {
                let message = format!("the worker has a bug: keeping its files panicked: {panic}");
                return self.end_without_result(Verdict::HostError { message });
            }
        };
        let (verdict, usage) = (executed.verdict, executed.usage);
        let decision = self.decide(&verdict);
        let outcome = Outcome { document: document.into(), log, files: kept.is_some() };
        End { settlement: Settlement { verdict, decision, usage, outcome }, kept, took }
    }

    fn end_without_result(&self, verdict: Verdict) -> End {
        let decision = self.decide(&verdict);
        let (usage, outcome) = (Usage::default(), Outcome::default());
        End { settlement: Settlement { verdict, decision, usage, outcome }, kept: None, took: self.started.elapsed() }
    }

    fn decide(&self, verdict: &Verdict) -> Decision {
        // The id is random enough to keep jobs apart that failed together.
        let jitter = f64::from(self.lease.id.as_bytes()[15]) / 255.0;
        decide(verdict, self.standing, jitter)
    }

    /// Tells the queue how the attempt ended, and the observer what the queue made of that.
    async fn settle(&self, end: End) {
        let (shared, job, attempt) = (self.shared, &**self.job, self.lease.attempt);
        let End { settlement, kept, took } = end;
        if let Verdict::HostError { message } = &settlement.verdict {
            shared.trouble(&format!("attempt {attempt} of job {}", job.id), message);
        }
        // The record may name the files already, so they stay.
        let Some(settled) = self.settle_until_answered(&settlement).await else { return };
        if settled != Settled::Counts
            && let Some(kept) = kept
            && let Err(error) = spawn_blocking(|| kept.discard()).await.map_err(io::Error::other).flatten()
        {
            shared.trouble("removing files of an attempt that does not count", &error);
        }
        let Settlement { verdict, decision, outcome, .. } = &settlement;
        shared.tell(&match settled {
            Settled::Counts => Event::Ended { job, attempt, verdict, decision: *decision, took, log: &outcome.log },
            Settled::Cancelled => Event::Cancelled { job, attempt },
            Settled::Stale => Event::Stale { job, attempt },
        });
    }

    /// Tells the queue until it answers; nothing if the worker is to stop now and one more try has failed. Then either
    /// is possible: a commit may fail after it was made.
    async fn settle_until_answered(&self, settlement: &Settlement) -> Option<Settled> {
        let (shared, Lease { id, attempt }) = (self.shared, self.lease);
        loop {
            let is_last = shared.leases.is_closed();
            let error = match shared.queue.settle(&shared.id, self.lease, settlement.clone()).await {
                Ok(settled) => return Some(settled),
                Err(error) => error,
            };
            if is_last {
                shared.trouble(&format!("settling attempt {attempt} of job {id} for the last time"), &error);
                return None;
            }
            // The lease is kept alive meanwhile, so nobody else runs the job for nothing.
            shared.trouble("settling a job", &error);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Puts the attempt's files where the record will name them, and makes the document.
fn publish(
    executed: &mut Executed,
    job: &Job,
    attempt: u32,
    state: State,
    staging: Option<Staging>,
) -> io::Result<(Vec<u8>, Option<Kept>)> {
    let target = || staging.as_ref().ok_or_else(|| io::Error::other("there is no place for files"))?.files();
    let document = executed.publish(job, attempt, state, target)?;
    let kept = match staging {
        Some(staging) if !document.files.is_empty() => Some(staging.keep(&document.files)?),
        _ => None,
    };
    Ok((serde_json::to_vec(&document)?, kept))
}

/// The document of an attempt that leaves no files.
fn publish_without_files(executed: &mut Executed, job: &Job, attempt: u32, state: State) -> Vec<u8> {
    let published = publish(executed, job, attempt, state, None);
    published.map(|(document, _)| document).unwrap_or_default()
}

/// What a panic said, as far as it is text.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_large_attempts_take_the_room_of_many_small_ones() {
        let backlog = Backlog::default();
        let large = backlog.enter(usize::MAX).await;
        assert!(backlog.enter(0).now_or_never().is_none());
        drop(large);
        let _large = backlog.enter(200 * PERMIT).await;
        let small: Vec<_> = (0..55).map(|_| backlog.enter(0).now_or_never()).collect();
        assert!(small.iter().all(Option::is_some) && backlog.enter(0).now_or_never().is_none());
    }
}
