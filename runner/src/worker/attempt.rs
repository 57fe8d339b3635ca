//! One attempt at a claimed job: stage, execute, decide, seal, settle, expose.

use super::{Event, PAUSE, Shared};
use crate::execute::{Attempt, Executed};
use crate::job::{Decision, Limits, Standing, State, Usage, Verdict, decide};
use crate::queue::{Claimed, Lease, QueueError, Settlement};
use crate::results::{Sealed, Staging};
use crate::sandbox::{LiveLog, StopReason};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;

/// How often a guest's words about its progress, and its log, are written down.
const PROGRESS: Duration = Duration::from_millis(500);

/// Runs a claimed job and settles it. Whatever happens ends in a verdict.
pub(super) async fn make(shared: &Arc<Shared>, claimed: &Claimed, started: Instant) {
    let (attempt, refused) = begin(shared, claimed, started);
    shared.leases.add(claimed.lease.clone(), Arc::clone(&attempt.stop));
    let (mut executed, staging) = match (refused, stage(shared, &claimed.lease).await) {
        (Some(verdict), staging) => (shared.executor.refused(&attempt, verdict), staging.ok()),
        (None, Ok(staging)) => (execute(shared, attempt, &staging).await, Some(staging)),
        (None, Err(error)) => (shared.executor.refused(&attempt, host_error("staging its results", &error)), None),
    };
    let sealed = seal(claimed, &mut executed, staging).await;
    let Executed { verdict, usage, log, .. } = executed;
    conclude(shared, claimed, started, End { verdict, usage, log, sealed }).await;
}

/// Settles an attempt that [`make`] could not: the host has a bug, and nothing of the attempt is published.
pub(super) async fn abandon(shared: &Arc<Shared>, claimed: &Claimed, started: Instant, panic: &JoinError) {
    shared.leases.stop(slice::from_ref(&claimed.lease), StopReason::Lost);
    let verdict = Verdict::HostError { message: format!("the worker has a bug: {panic}") };
    let end = End { verdict, usage: Usage::default(), log: Vec::new(), sealed: None };
    conclude(shared, claimed, started, end).await;
}

/// What is left of an attempt that was made.
struct End {
    verdict: Verdict,
    usage: Usage,
    log: Vec<u8>,
    sealed: Option<Sealed>,
}

/// Settles the attempt, shows its result, and tells of it.
async fn conclude(shared: &Arc<Shared>, claimed: &Claimed, started: Instant, end: End) {
    let End { verdict, usage, log, sealed } = end;
    let (job, attempt) = (&claimed.job, claimed.lease.attempt);
    if let Verdict::HostError { message } = &verdict {
        shared.trouble(&format!("attempt {attempt} of job {}", job.id), message);
    }
    let decision = decision(claimed, &verdict);
    let settlement = Settlement { verdict: verdict.clone(), decision, usage, published: sealed.is_some() };
    let settled = settle(shared, &claimed.lease, &settlement).await;
    shared.leases.remove(&claimed.lease);
    match settled {
        Settled::Counts => {
            publish(shared, claimed, decision, sealed, true).await;
            shared.tell(&Event::Ended {
                job,
                attempt,
                verdict: &verdict,
                decision,
                took: started.elapsed(),
                log: &log,
            });
        }
        Settled::Stale => {
            publish(shared, claimed, decision, sealed, false).await;
            shared.tell(&Event::Stale { job, attempt });
        }
        // The record may name the sealed directory already, so it stays.
        Settled::Unknown => {}
    }
}

/// The attempt, and why it must not be made, if there is a reason.
fn begin(shared: &Shared, claimed: &Claimed, started: Instant) -> (Attempt, Option<Verdict>) {
    let (limits, refused) = match shared.executor.limits(&claimed.job) {
        Ok(limits) => (limits, None),
        Err(verdict) => (Limits::default(), Some(verdict)),
    };
    let attempt = Attempt::start(claimed.job.clone(), claimed.lease.attempt, limits, started);
    shared.tell(&Event::Started {
        job: &claimed.job,
        attempt: claimed.lease.attempt,
        directory: shared.results.directory(claimed.job.id),
        time: limits.ttr.0,
    });
    (attempt, refused)
}

async fn stage(shared: &Shared, lease: &Lease) -> io::Result<Staging> {
    let (results, id, attempt) = (Arc::clone(&shared.results), lease.id, lease.attempt);
    blocking(move || results.stage(id, attempt)).await
}

/// Executes the attempt and writes down its progress and its log meanwhile.
async fn execute(shared: &Arc<Shared>, mut attempt: Attempt, staging: &Staging) -> Executed {
    let scratch = match staging.scratch() {
        Ok(scratch) => Arc::new(scratch),
        Err(error) => return shared.executor.refused(&attempt, host_error("opening its staging directory", &error)),
    };
    let (sender, receiver) = watch::channel(None);
    attempt.progress = Some(sender);
    let lease = Lease { id: attempt.job.id, attempt: attempt.number };
    let writer = tokio::spawn(write_progress(Arc::clone(shared), lease, receiver));
    let (live, ended) = (Arc::new(LiveLog::new(attempt.limits.log_size)), Notify::new());
    attempt.live_log = Some(Arc::clone(&live));
    let execution = async {
        let executed = shared.executor.execute(attempt, scratch).await;
        ended.notify_one();
        executed
    };
    let (executed, ()) = tokio::join!(execution, write_log(&live, staging.live_log(), &ended));
    writer.abort();
    executed
}

async fn write_progress(
    shared: Arc<Shared>,
    lease: Lease,
    mut receiver: watch::Receiver<Option<crate::job::Progress>>,
) {
    while receiver.changed().await.is_ok() {
        let progress = receiver.borrow_and_update().clone();
        if let Some(progress) = progress
            && let Err(error) = shared.queue.progress(&lease, progress).await
        {
            shared.trouble("writing down progress", &error);
        }
        tokio::time::sleep(PROGRESS).await;
    }
}

/// Lets others read the log while the attempt runs. What fails here is no fault of the attempt's, nor a loss: all that
/// is kept of the log is kept at the end.
async fn write_log(live: &LiveLog, path: PathBuf, ended: &Notify) {
    let mut file = None;
    while tokio::time::timeout(PROGRESS, ended.notified()).await.is_err() {
        let bytes = live.take();
        if bytes.is_empty() {
            continue;
        }
        let (path, opened) = (path.clone(), file.take());
        let appended = blocking(move || {
            let mut file = opened.map_or_else(|| File::create(path), Ok)?;
            file.write_all(&bytes)?;
            Ok(file)
        });
        match appended.await {
            Ok(appended) => file = Some(appended),
            Err(error) => {
                tracing::debug!(%error, "a log cannot be followed");
                return;
            }
        }
    }
}

fn decision(claimed: &Claimed, verdict: &Verdict) -> Decision {
    let standing = Standing {
        attempts: claimed.attempts,
        granted: claimed.granted,
        seed_pinned: claimed.job.document.seed.is_some(),
    };
    // The id is random enough to keep jobs apart that failed together.
    let jitter = f64::from(claimed.job.id.as_bytes()[15]) / 255.0;
    decide(verdict, standing, jitter)
}

fn state_after(decision: Decision) -> State {
    match decision {
        Decision::Finish => State::Done,
        Decision::Retry(wait) if wait.is_zero() => State::Ready,
        Decision::Retry(_) => State::Delayed,
        Decision::Bury => State::Dead,
        Decision::Cancel => State::Cancelled,
    }
}

/// Writes everything that the attempt leaves to where the record will name it.
///
/// If the host cannot, that becomes the attempt's verdict.
async fn seal(claimed: &Claimed, executed: &mut Executed, staging: Option<Staging>) -> Option<Sealed> {
    let staging = staging?;
    let state = state_after(decision(claimed, &executed.verdict));
    let keep_files = executed.verdict.is_done();
    let (job, number, log) = (claimed.job.clone(), claimed.lease.attempt, executed.log.clone());
    let report = executed.report();
    let sealed = blocking(move || {
        let document = report.publish(&job, number, state, staging.files())?;
        let sealed = staging.seal(&serde_json::to_vec(&document)?, &log, keep_files)?;
        Ok((sealed, document.usage))
    });
    match sealed.await {
        Ok((sealed, usage)) => {
            executed.usage = usage;
            Some(sealed)
        }
        Err(error) => {
            executed.verdict = host_error("keeping its result", &error);
            None
        }
    }
}

/// What the queue made of an attempt.
enum Settled {
    /// The attempt counts.
    Counts,
    /// It does not, for the lease was lost.
    Stale,
    /// The queue failed until the worker had to end. Either is possible: a commit may fail after it was made.
    Unknown,
}

/// Tells the queue until it answers, or until the worker is to stop now and one more try has failed.
async fn settle(shared: &Shared, lease: &Lease, settlement: &Settlement) -> Settled {
    loop {
        let is_last = shared.leases.is_closed();
        let error = match shared.queue.settle(&shared.id, lease, settlement.clone()).await {
            Ok(()) => return Settled::Counts,
            Err(QueueError::Stale { .. }) => return Settled::Stale,
            Err(error) => error,
        };
        if is_last {
            let (id, attempt) = (lease.id, lease.attempt);
            shared.trouble(&format!("settling attempt {attempt} of job {id} for the last time"), &error);
            return Settled::Unknown;
        }
        // The lease is kept alive meanwhile, so nobody else runs the job for nothing.
        shared.trouble("settling a job", &error);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shows the result where people look for it, or removes what does not count.
async fn publish(shared: &Arc<Shared>, claimed: &Claimed, decision: Decision, sealed: Option<Sealed>, settled: bool) {
    let Some(sealed) = sealed else { return };
    let (results, id, attempt) = (Arc::clone(&shared.results), claimed.job.id, claimed.lease.attempt);
    let done = blocking(move || match (settled, decision) {
        (true, Decision::Finish | Decision::Bury) => results.expose(id, attempt),
        (true, Decision::Retry(_)) => Ok(()),
        (true, Decision::Cancel) | (false, _) => sealed.discard(),
    });
    if let Err(error) = done.await {
        shared.trouble("tidying up a result directory", &error);
    }
}

fn host_error(doing: &str, error: &io::Error) -> Verdict {
    Verdict::HostError { message: format!("{doing} failed: {error}") }
}

/// Does what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}
