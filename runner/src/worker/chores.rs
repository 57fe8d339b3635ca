//! What a worker does beside its jobs: it takes over those of dead workers, and deletes those that were kept for long
//! enough, and then their files.
//!
//! The record goes first, and the queue's list of deleted jobs is the lasting sign that their files may go. So a crash
//! in between leaves nothing behind for good: each worker goes through the whole list when it starts, and removes what
//! its own results tree still has.

use super::{Event, PAUSE, Shared};
use crate::queue::{Cursor, Retention};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often jobs that were kept for long enough are looked for; sooner if some are kept for less than that.
const PERIOD: Duration = Duration::from_secs(60);
/// As many jobs are deleted at a time; the queue cuts that into transactions which keep no claim waiting for long.
const JOBS: usize = 1_000;
/// As many results are removed, or found to be gone, before the next pause.
const RESULTS: usize = 100;
/// How long a pause is at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Ends, once a second, the attempts of workers whose heartbeats have stopped.
pub(super) async fn take_over(shared: Arc<Shared>) {
    loop {
        match shared.queue.take_over(&shared.id).await {
            Ok(taken) => {
                for (lease, decision) in &taken {
                    shared.tell(&Event::TakenOver { lease, decision: *decision });
                }
            }
            Err(error) => shared.trouble("looking for lost workers", &error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Deletes what was kept for long enough, until it is dropped.
pub(super) async fn keep_house(shared: Arc<Shared>, retention: Retention) {
    let shortest = [retention.done, retention.dead, retention.cancelled].into_iter().flatten().min();
    let mut place = None;
    loop {
        delete_jobs(&shared, &retention).await;
        remove_results(&shared, &mut place).await;
        tokio::time::sleep(shortest.map_or(PERIOD, |shortest| shortest.min(PERIOD))).await;
    }
}

/// Deletes jobs that were kept for long enough, a few at a time.
async fn delete_jobs(shared: &Shared, retention: &Retention) {
    if *retention == Retention::default() {
        return;
    }
    loop {
        let started = Instant::now();
        match shared.queue.forget(retention, JOBS).await {
            Ok(deleted) if deleted < JOBS => return,
            Ok(_) => breathe(started).await,
            Err(error) => return shared.trouble("deleting jobs that were kept for long enough", &error),
        }
    }
}

/// Removes the results of jobs that were deleted after `place`, which becomes the place to go on from.
async fn remove_results(shared: &Shared, place: &mut Option<Cursor>) {
    loop {
        let started = Instant::now();
        let (ids, next) = match shared.queue.forgotten(*place, RESULTS).await {
            Ok((ids, next)) => (ids, next),
            Err(error) => return shared.trouble("asking for deleted jobs", &error),
        };
        if ids.is_empty() {
            return;
        }
        let results = Arc::clone(&shared.results);
        let remove = move || {
            let mut failure = None;
            for id in ids {
                // What cannot be removed holds up nothing else; the next start of a worker tries again.
                failure = results.remove(id).err().or(failure);
            }
            failure
        };
        match tokio::task::spawn_blocking(remove).await {
            Ok(None) => {}
            Ok(Some(error)) => shared.trouble("removing the results of deleted jobs", &error),
            Err(panic) => shared.trouble("removing the results of deleted jobs", &panic),
        }
        *place = next.or(*place);
        breathe(started).await;
    }
}

/// Leaves disk and queue to others for as long as a step has taken since `started`.
async fn breathe(started: Instant) {
    tokio::time::sleep(started.elapsed().max(SHORTEST_PAUSE)).await;
}
