//! One attempt at a claimed job: in its slot the guest runs, and behind it the result is kept, settled and shown.

use super::ending::{End, conclude};
use super::{Event, Shared};
use crate::execute::{Attempt, Executed};
use crate::job::{Limits, Progress, Verdict};
use crate::queue::{Claimed, Lease};
use crate::results::Staging;
use crate::sandbox::{LiveLog, Scratch, StopReason};
use futures_util::FutureExt as _;
use std::any::Any;
use std::fs::File;
use std::io::{self, Write as _};
use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

/// How often a guest's words about its progress, and its log, are written down.
const PROGRESS: Duration = Duration::from_millis(500);

/// Runs a claimed job and settles it. Whatever happens ends in a verdict.
pub(super) async fn make(shared: Arc<Shared>, claimed: Claimed, slot: OwnedSemaphorePermit) {
    let (claimed, started) = (Arc::new(claimed), Instant::now());
    // Heartbeats are the worker's, so a panic that ended this task would leave the job running for as long as the
    // worker does. Nothing that is used after one is of this attempt only.
    let made = AssertUnwindSafe(run(&shared, &claimed, started, slot)).catch_unwind().await;
    if let Err(panic) = made {
        abandon(&shared, &claimed, started, said(&*panic)).await;
    }
}

async fn run(shared: &Arc<Shared>, claimed: &Arc<Claimed>, started: Instant, slot: OwnedSemaphorePermit) {
    shared.queue.begin(&shared.id, &claimed.lease);
    let (attempt, refused) = begin(shared, claimed, started);
    shared.leases.start(&claimed.lease, &attempt.stop);
    let staging = shared.results.stage(claimed.job.id, claimed.lease.attempt);
    let executed = match refused {
        Some(verdict) => shared.executor.refused(&attempt, verdict),
        None => execute(shared, attempt, &staging).await,
    };
    shared.leases.end(&claimed.lease);
    let now = Instant::now();
    let took = now.duration_since(started);
    let room = shared.backlog.enter(executed.size()).await;
    shared.pace.ended(started.elapsed(), now);
    drop(slot);
    conclude(shared, claimed, End::of(executed, took, staging)).await;
    drop(room);
}

/// Settles an attempt that [`run`] could not: the host has a bug, and nothing of the attempt is published.
async fn abandon(shared: &Arc<Shared>, claimed: &Arc<Claimed>, started: Instant, panic: String) {
    shared.leases.stop(slice::from_ref(&claimed.lease), StopReason::Lost);
    let verdict = Verdict::HostError { message: format!("the worker has a bug: it panicked: {panic}") };
    conclude(shared, claimed, End::without_result(verdict, started.elapsed())).await;
}

/// What a panic said, as far as it is text.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why").to_owned()
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

/// Executes the attempt and writes down its progress and its log meanwhile.
async fn execute(shared: &Arc<Shared>, mut attempt: Attempt, staging: &Staging) -> Executed {
    let (sender, receiver) = watch::channel(None);
    attempt.progress = Some(sender);
    let (live, ended) = (Arc::new(LiveLog::new(attempt.limits.log_size)), Notify::new());
    attempt.live_log = Some(Arc::clone(&live));
    let lease = Lease { id: attempt.job.id, attempt: attempt.number };
    let executing = async {
        let executed = Box::pin(shared.executor.execute(attempt, Scratch::when_needed(staging.scratch()))).await;
        ended.notify_one();
        executed
    };
    // The log's writer is waited for, so that nothing is written into a directory that has been put in its place.
    let mut executing =
        std::pin::pin!(async { tokio::join!(executing, write_log(&live, staging.live_log(), &ended)).0 });
    tokio::select! {
        executed = &mut executing => executed,
        () = write_progress(shared, lease, receiver) => executing.await,
    }
}

/// Goes on until the attempt ends.
async fn write_progress(shared: &Shared, lease: Lease, mut receiver: watch::Receiver<Option<Progress>>) {
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
async fn write_log(live: &LiveLog, create: impl Fn() -> io::Result<File> + Clone + Send + 'static, ended: &Notify) {
    let mut file = None;
    while tokio::time::timeout(PROGRESS, ended.notified()).await.is_err() {
        let bytes = live.take();
        if bytes.is_empty() {
            continue;
        }
        let (create, opened) = (create.clone(), file.take());
        let appended = tokio::task::spawn_blocking(move || {
            let mut file = opened.map_or_else(create, Ok)?;
            file.write_all(&bytes)?;
            Ok(file)
        });
        match appended.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(appended) => file = Some(appended),
            Err(error) => {
                tracing::debug!(%error, "a log cannot be followed");
                return;
            }
        }
    }
}
