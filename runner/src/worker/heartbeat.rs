//! Keeping leases alive, on a thread that no guest can starve.

use super::Shared;
use crate::queue::{Lease, QueueError, Recalled};
use crate::sandbox::{Stop, StopReason};
use std::collections::HashMap;
use std::slice;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The leases that a worker holds, each with the means to stop its guest.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    stops: HashMap<Lease, Arc<Stop>>,
    /// Why no guest may run any more, if that is so.
    closed: Option<StopReason>,
}

impl Held {
    fn stop_all(&self, reason: StopReason) {
        self.stops.values().for_each(|stop| stop.order(reason));
    }
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a lease; its guest is stopped at once if all are to be.
    pub(super) fn add(&self, lease: Lease, stop: Arc<Stop>) {
        let mut held = self.held();
        if let Some(reason) = held.closed {
            stop.order(reason);
        }
        held.stops.insert(lease, stop);
    }

    pub(super) fn remove(&self, lease: &Lease) {
        self.held().stops.remove(lease);
    }

    /// Stops all guests, those of leases that are only added later too.
    pub(super) fn close(&self, reason: StopReason) {
        let mut held = self.held();
        held.closed = Some(reason);
        held.stop_all(reason);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.held().closed.is_some()
    }

    pub(super) fn stop(&self, leases: &[Lease], reason: StopReason) {
        let held = self.held();
        leases.iter().filter_map(|lease| held.stops.get(lease)).for_each(|stop| stop.order(reason));
    }

    /// Stops the guests whose leases are gone.
    pub(super) fn recall(&self, recalled: &[Recalled]) {
        for Recalled { lease, cancelled } in recalled {
            let reason = if *cancelled { StopReason::Cancelled } else { StopReason::Lost };
            self.stop(slice::from_ref(lease), reason);
        }
    }

    fn stop_all(&self, reason: StopReason) {
        self.held().stop_all(reason);
    }

    fn all(&self) -> Vec<Lease> {
        self.held().stops.keys().cloned().collect()
    }
}

/// The thread that sends heartbeats.
pub(super) struct Heart {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Heart {
    /// Beats every `interval`; a guest whose lease is gone is stopped, and so are all at the moment at which no
    /// heartbeat could be sent for a whole `lease`, since another worker may take over from then on.
    pub(super) fn start(shared: Arc<Shared>, interval: Duration, lease: Duration) -> anyhow::Result<Self> {
        let (end, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut last = Instant::now();
            loop {
                let wait = left(&shared.leases, last, lease).map_or(interval, |left| interval.min(left));
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                let patience = left(&shared.leases, last, lease).map_or(lease / 2, |left| left.min(lease / 2));
                let sent = Instant::now();
                let leases = shared.leases.all();
                // A queue that does not answer must not keep the thread from noticing that the lease is over.
                let beat = async { tokio::time::timeout(patience, shared.queue.heartbeat(&shared.id, &leases)).await };
                let silence = || QueueError::Backend("the queue does not answer".to_owned());
                match runtime.block_on(beat).unwrap_or_else(|_| Err(silence())) {
                    Ok(recalled) => {
                        last = sent;
                        shared.leases.recall(&recalled);
                    }
                    Err(error) => shared.trouble("sending a heartbeat", &error),
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
    use crate::worker::tests::{Fixture, Unsteady};
    use std::sync::atomic::Ordering;

    fn lease() -> Lease {
        Lease { id: JobId::new(), attempt: 1 }
    }

    fn stop() -> Arc<Stop> {
        Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)))
    }

    #[test]
    fn a_guest_that_comes_after_the_order_to_stop_is_stopped_as_well() {
        let leases = Leases::default();
        let (early, late) = (stop(), stop());
        leases.add(lease(), Arc::clone(&early));
        leases.stop_all(StopReason::Lost);
        assert!(!leases.is_closed(), "a lost lease says nothing of the next ones");
        leases.close(StopReason::Interrupted);
        leases.add(lease(), Arc::clone(&late));
        assert_eq!((early.reason(), late.reason()), (Some(StopReason::Lost), Some(StopReason::Interrupted)));
    }

    #[tokio::test]
    async fn guests_are_stopped_as_soon_as_their_leases_are_over() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_secs(2), Duration::from_millis(700));
        let shared = fixture.worker().shared;
        let stop = stop();
        shared.leases.add(lease(), Arc::clone(&stop));
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
