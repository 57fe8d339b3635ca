//! Keeping leases alive, on a thread that no guest can starve.

use super::Shared;
use super::leases::Leases;
use crate::queue::QueueError;
use crate::sandbox::StopReason;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How soon a heartbeat follows one that somebody's lock has kept from the queue, so that it comes before whoever
/// finds this worker silent.
const AFTER_LOCK: Duration = Duration::from_millis(100);

/// The thread that sends heartbeats.
pub(super) struct Heart {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Heart {
    /// Beats every `interval`; a guest whose lease is gone is stopped, and so are all at the moment at which no
    /// heartbeat could be sent for a whole `lease`, since another worker may take over from then on.
    ///
    /// While the queue says that somebody else keeps it locked, nobody can take anything over, and guests go on. Should
    /// somebody have slipped in between, the next heartbeat says so, and nothing of theirs can be settled.
    pub(super) fn start(shared: Arc<Shared>, interval: Duration, lease: Duration) -> anyhow::Result<Self> {
        let (end, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let (mut last, mut pause) = (Instant::now(), interval);
            loop {
                let wait = left(&shared.leases, last, lease).map_or(pause, |left| pause.min(left));
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                let patience = left(&shared.leases, last, lease).map_or(lease / 2, |left| left.min(lease / 2));
                let sent = Instant::now();
                let (leases, asked) = shared.leases.all();
                pause = interval;
                // A queue that does not answer must not keep the thread from noticing that the lease is over.
                let beat = async { tokio::time::timeout(patience, shared.queue.heartbeat(&shared.id, &leases)).await };
                let silence = || QueueError::Backend("the queue does not answer".to_owned());
                match runtime.block_on(beat).unwrap_or_else(|_| Err(silence())) {
                    Ok(recalled) => {
                        last = sent;
                        shared.leases.recall(&recalled, asked);
                    }
                    Err(error) => {
                        if let QueueError::Busy(_) = error {
                            (last, pause) = (Instant::now(), interval.min(AFTER_LOCK));
                        }
                        shared.trouble("sending a heartbeat", &error);
                    }
                }
            }
        })?;
        Ok(Self { end, thread })
    }

    pub(super) async fn stop(self) {
        drop(self.end);
        // The thread may be waiting for the queue; a runtime's thread must not wait for it.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// What is left of the leases after the `last` heartbeat that got through. Once nothing is, all guests are stopped.
fn left(leases: &Leases, last: Instant, lease: Duration) -> Option<Duration> {
    let left = lease.saturating_sub(last.elapsed());
    if left.is_zero() {
        leases.stop_all(StopReason::Lost);
        return None;
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::queue::Lease;
    use crate::sandbox::Stop;
    use crate::worker::tests::{Fixture, Unsteady};
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn guests_are_kept_while_somebody_else_has_the_queue_locked_and_not_for_longer() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_millis(600), Duration::from_millis(200));
        let shared = fixture.worker().shared;
        let stop = Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)));
        shared.leases.start(&Lease { id: JobId::new(), attempt: 1 }, &stop);
        let Unsteady { is_locked, ignores_heartbeats, .. } = &*fixture.queue;
        is_locked.store(true, Ordering::SeqCst);
        let heart = Heart::start(Arc::clone(&shared), interval, length).unwrap();
        tokio::time::sleep(3 * length).await;
        assert_eq!(stop.reason(), None);
        ignores_heartbeats.store(true, Ordering::SeqCst);
        let silent = Instant::now();
        assert_eq!(stop.wait().await, StopReason::Lost);
        assert!(silent.elapsed() < length + interval, "{:?}", silent.elapsed());
        heart.stop().await;
    }

    #[tokio::test]
    async fn guests_are_stopped_as_soon_as_their_leases_are_over() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_secs(2), Duration::from_millis(700));
        let shared = fixture.worker().shared;
        let stop = Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)));
        shared.leases.start(&Lease { id: JobId::new(), attempt: 1 }, &stop);
        let Unsteady { ignores_heartbeats, heard, .. } = &*fixture.queue;
        ignores_heartbeats.store(true, Ordering::SeqCst);
        let heart = Heart::start(Arc::clone(&shared), interval, length).unwrap();
        let started = Instant::now();
        assert_eq!(stop.wait().await, StopReason::Lost);
        let took = started.elapsed();
        assert!(took >= length - Duration::from_millis(50) && took < length + interval, "{took:?}");
        assert!(heard.load(Ordering::SeqCst) >= 1, "it has tried");
        heart.stop().await;
    }
}
