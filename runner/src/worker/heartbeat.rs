//! Keeping leases alive, on a thread that no guest can starve.

use super::Shared;
use crate::queue::{Lease, QueueError};
use crate::sandbox::{Stop, StopReason};
use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The leases that a worker holds, each with the means to stop its guest.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<Lease, Arc<Stop>>>);

impl Leases {
    pub(super) fn add(&self, lease: Lease, stop: Arc<Stop>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lease, stop);
    }

    pub(super) fn remove(&self, lease: &Lease) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(lease);
    }

    pub(super) fn stop_all(&self, reason: StopReason) {
        for stop in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            stop.order(reason);
        }
    }

    fn all(&self) -> Vec<Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn stop(&self, leases: &[Lease], reason: StopReason) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.iter().filter_map(|lease| held.get(lease)).for_each(|stop| stop.order(reason));
    }
}

/// The thread that sends heartbeats.
pub(super) struct Heart {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Heart {
    /// Beats every `interval`; a guest whose lease is gone is stopped, and so are all if no heartbeat could be
    /// sent for a whole `lease`, since another worker may then have taken over.
    pub(super) fn start(shared: Arc<Shared>, interval: Duration, lease: Duration) -> anyhow::Result<Self> {
        let (end, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut last = Instant::now();
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let sent = Instant::now();
                let leases = shared.leases.all();
                // A queue that does not answer must not keep the thread from noticing that the lease is over.
                let beat = async { tokio::time::timeout(lease / 2, shared.queue.heartbeat(&shared.id, &leases)).await };
                let silence = || QueueError::Backend("the queue does not answer".to_owned());
                match runtime.block_on(beat).unwrap_or_else(|_| Err(silence())) {
                    Ok(lost) => {
                        last = sent;
                        shared.leases.stop(&lost, StopReason::Lost);
                    }
                    Err(error) => shared.trouble("sending a heartbeat", &error),
                }
                if last.elapsed() > lease {
                    shared.leases.stop_all(StopReason::Lost);
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
