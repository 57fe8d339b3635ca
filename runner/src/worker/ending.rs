//! The end of an attempt: its result is kept on disk, the queue hears of it, and people are shown it.

use super::{Event, PAUSE, Shared};
use crate::execute::Executed;
use crate::job::{Decision, Standing, State, Usage, Verdict, decide};
use crate::queue::{Claimed, Lease, QueueError, Settlement};
use crate::results::{Placed, Sealed, Staging};
use std::io;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// What is left of an attempt that is over.
pub(super) struct End {
    verdict: Verdict,
    usage: Usage,
    log: Vec<u8>,
    took: Duration,
    result: Option<(Executed, Staging)>,
}

impl End {
    /// The end of an attempt whose guest may have run.
    pub(super) fn of(mut executed: Executed, took: Duration, staging: Staging) -> Self {
        let log = std::mem::take(&mut executed.log);
        let (verdict, usage) = (executed.verdict.clone(), executed.usage);
        Self { verdict, usage, log, took, result: Some((executed, staging)) }
    }

    /// The end of an attempt that leaves nothing.
    pub(super) fn without_result(verdict: Verdict, took: Duration) -> Self {
        Self { verdict, usage: Usage::default(), log: Vec::new(), took, result: None }
    }
}

/// Keeps the result, settles the attempt, shows the result, and tells of it.
pub(super) async fn conclude(shared: &Arc<Shared>, claimed: &Arc<Claimed>, mut end: End) {
    let sealed = seal(shared, claimed, &mut end).await;
    let End { verdict, usage, log, took, .. } = end;
    let (job, attempt) = (&claimed.job, claimed.lease.attempt);
    if let Verdict::HostError { message } = &verdict {
        shared.trouble(&format!("attempt {attempt} of job {}", job.id), message);
    }
    let decision = decision(claimed, &verdict);
    let settlement = Settlement { verdict: verdict.clone(), decision, usage, published: sealed.is_some() };
    let settled = settle(shared, &claimed.lease, settlement).await;
    shared.leases.remove(&claimed.lease);
    let is_cancelled = settled == Settled::Cancelled;
    match (settled, sealed) {
        // The record may name the sealed directory already, so it stays.
        (Settled::Unknown, _) => return,
        (Settled::Counts, Some(sealed)) => show(shared, claimed, decision, sealed).await,
        // Nobody is served it, but whoever cancelled the job may want to read its log.
        (Settled::Cancelled, Some(_)) if matches!(verdict, Verdict::Cancelled { .. }) => {}
        (_, Some(sealed)) => tidy(shared, || sealed.discard()).await,
        (_, None) => {}
    }
    shared.tell(&match settled {
        Settled::Counts => Event::Ended { job, attempt, verdict: &verdict, decision, took, log: &log },
        _ if is_cancelled => Event::Cancelled { job, attempt },
        _ => Event::Stale { job, attempt },
    });
}

/// Gives back a job that was claimed ahead and has not begun.
pub(super) async fn give_back(shared: Arc<Shared>, claimed: Claimed) {
    // Before the queue knows: this worker may be given the same job again at once, under the same lease.
    shared.leases.remove(&claimed.lease);
    match shared.queue.give_back(&shared.id, &claimed).await {
        Ok(()) | Err(QueueError::Stale { .. }) => {}
        Err(error) => {
            shared.trouble("giving back a job", &error);
            // Where a claim cannot be undone. To end the attempt once more, which was not heard of, does no harm.
            settle(&shared, &claimed.lease, Settlement::not_begun(&shared.id)).await;
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

/// Puts everything that the attempt leaves where the record will name it, and waits until it is on disk.
///
/// If the host cannot, that becomes the attempt's verdict.
async fn seal(shared: &Shared, claimed: &Arc<Claimed>, end: &mut End) -> Option<Sealed> {
    let (executed, staging) = end.result.take()?;
    let state = state_after(decision(claimed, &end.verdict));
    let (claimed, log) = (Arc::clone(claimed), std::mem::take(&mut end.log));
    let placed = shared.disk.run(move || {
        let placed = place(&claimed, state, executed, staging, &log);
        (placed, log)
    });
    let (placed, log) = placed.await.unwrap_or_else(|error| (Err(error), Vec::new()));
    end.log = log;
    let sealed = match placed {
        Ok((placed, usage)) => placed.synced().await.map(|sealed| (sealed, usage)),
        Err(error) => Err(error),
    };
    match sealed {
        Ok((sealed, usage)) => {
            end.usage = usage;
            Some(sealed)
        }
        Err(error) => {
            end.verdict = Verdict::HostError { message: format!("keeping its result failed: {error}") };
            None
        }
    }
}

fn place(
    claimed: &Claimed,
    state: State,
    mut executed: Executed,
    staging: Staging,
    log: &[u8],
) -> io::Result<(Placed, Usage)> {
    let keep_files = executed.verdict.is_done();
    let report = executed.report();
    let document = report.publish(&claimed.job, claimed.lease.attempt, state, || staging.files())?;
    let placed = staging.place(&serde_json::to_vec(&document)?, log, keep_files)?;
    Ok((placed, document.usage))
}

/// What the queue made of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The attempt counts.
    Counts,
    /// It does not, for the job was cancelled meanwhile.
    Cancelled,
    /// It does not, for the lease was lost.
    Stale,
    /// The queue failed until the worker had to end. Either is possible: a commit may fail after it was made.
    Unknown,
}

/// Tells the queue until it answers, or until the worker is to stop now and one more try has failed.
async fn settle(shared: &Shared, lease: &Lease, settlement: Settlement) -> Settled {
    loop {
        let is_last = shared.leases.is_closed();
        let error = match shared.queue.settle(&shared.id, lease, settlement.clone()).await {
            Ok(()) => return Settled::Counts,
            Err(QueueError::Stale { .. }) => return why_stale(shared, lease).await,
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

async fn why_stale(shared: &Shared, lease: &Lease) -> Settled {
    match shared.queue.recalled(&shared.id, slice::from_ref(lease)).await {
        Ok(recalled) if recalled.iter().any(|one| one.cancelled) => Settled::Cancelled,
        Ok(_) => Settled::Stale,
        Err(error) => {
            shared.trouble("asking why a lease was lost", &error);
            Settled::Stale
        }
    }
}

/// Shows a settled result where people look for it.
async fn show(shared: &Shared, claimed: &Claimed, decision: Decision, sealed: Sealed) {
    let (results, id, attempt) = (Arc::clone(&shared.results), claimed.job.id, claimed.lease.attempt);
    match decision {
        Decision::Finish | Decision::Bury => tidy(shared, move || results.expose(id, attempt)).await,
        Decision::Retry(_) => {}
        Decision::Cancel => tidy(shared, move || sealed.discard()).await,
    }
}

/// Does what waits for the disk, and does not matter to the attempt any more, on a thread that may wait.
async fn tidy(shared: &Shared, work: impl FnOnce() -> io::Result<()> + Send + 'static) {
    if let Err(error) = shared.disk.run(work).await.flatten() {
        shared.trouble("tidying up a result directory", &error);
    }
}
