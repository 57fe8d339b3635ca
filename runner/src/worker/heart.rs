//! What keeps leases alive, and stops guests whose leases are gone.

use super::leases::Leases;
use super::{LOOK, PAUSE, Shared};
use crate::queue::{Beat, QueueError};
use crate::sandbox::StopReason;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How soon a heartbeat follows one that somebody's lock has kept from the queue, so that it comes before the look of a
/// contender that finds this worker silent.
const AFTER_LOCK: Duration = Duration::from_millis(100);
/// How often the runtime shows that it answers.
const PULSE: Duration = Duration::from_millis(500);
/// How often the queue is asked for recalled leases at most: a cancel has 50 ms to stop its guest, some of which pass
/// before another process's commit is noticed.
const PERIOD: Duration = Duration::from_millis(10);
/// How often the progress and the log of running guests are written down.
const REPORTS: Duration = Duration::from_millis(500);

/// When the runtime on which the worker works last answered.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Shows that the runtime answers, until it is dropped.
    pub(super) async fn show(self) {
        loop {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            tokio::time::sleep(PULSE).await;
        }
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// The thread that sends heartbeats. No guest can starve it.
pub(super) struct Heart {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Heart {
    /// Beats every `interval`; a guest whose lease is gone is stopped, and so are all at the moment at which no
    /// heartbeat could be sent for a whole `lease`, since another worker may take over from then on.
    ///
    /// A heartbeat says that the worker works. So none is sent once the runtime has not answered for a lease.
    pub(super) fn start(
        shared: Arc<Shared>,
        pulse: Pulse,
        interval: Duration,
        lease: Duration,
    ) -> anyhow::Result<Self> {
        let (end, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let (mut last, mut pause) = (Instant::now(), interval);
            loop {
                let wait = left(&shared.leases, last, lease).map_or(pause, |left| pause.min(left));
                if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                pause = interval;
                if pulse.age() > lease {
                    tracing::error!("the worker's runtime does not answer; no heartbeat is sent");
                    continue;
                }
                let patience = left(&shared.leases, last, lease).map_or(lease / 2, |left| left.min(lease / 2));
                let sent = Instant::now();
                // A queue that does not answer must not keep the thread from noticing that the lease is over.
                let beat = async { tokio::time::timeout(patience, beat(&shared)).await };
                let silence = || QueueError::Backend("the queue does not answer".to_owned());
                match runtime.block_on(beat).unwrap_or_else(|_| Err(silence())) {
                    Ok(()) => {
                        last = sent;
                        shared.gate.beat();
                    }
                    Err(error) => {
                        // While the queue is locked, nobody can take anything over, and guests go on. Should a
                        // contender have come in between, the next heartbeat says so.
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

/// Beats once, and puts right what the queue and the worker believe of each other.
async fn beat(shared: &Shared) -> Result<(), QueueError> {
    let Beat { recalled, unheld } = shared.queue.beat(&shared.id, &shared.leases.all()).await?;
    shared.leases.recall(&recalled);
    let lost = shared.leases.put_right(unheld);
    if lost.is_empty() {
        return Ok(());
    }
    tracing::warn!(?lost, "claims whose answers were lost are put back");
    shared.queue.put_back(&shared.id, &lost).await
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

/// Asks the queue, whenever it has changed, which of the leases whose guests run are still this worker's.
///
/// A guest that starts is asked after as well: its recall may have come before.
pub(super) async fn recall(shared: Arc<Shared>) {
    let mut news = shared.queue.watch();
    loop {
        if shared.leases.running().is_empty() {
            shared.leases.started().await;
        } else {
            tokio::select! {
                () = shared.leases.started() => {}
                () = news.changed(LOOK) => {}
            }
        }
        tokio::time::sleep(PERIOD).await;
        let running = shared.leases.running();
        if running.is_empty() {
            continue;
        }
        match shared.queue.recalled(&shared.id, &running).await {
            Ok(recalled) => shared.leases.recall(&recalled),
            Err(error) => {
                shared.trouble("asking for recalled leases", &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Writes down, twice a second, what running guests say. If that fails, nothing is lost: all that is kept of a log is
/// kept when the attempt is settled.
pub(super) async fn report(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(REPORTS).await;
        let reports = shared.leases.reports();
        if !reports.is_empty()
            && let Err(error) = shared.queue.report(&shared.id, reports).await
        {
            tracing::debug!(%error, "progress and logs of running attempts are not written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests::{Fixture, Unsteady, guest};
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn guests_go_on_while_the_queue_is_locked() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_millis(600), Duration::from_millis(200));
        let shared = fixture.worker().shared;
        let stop = guest(&shared);
        let Unsteady { is_locked, ignores_heartbeats, .. } = &*fixture.queue;
        is_locked.store(true, Ordering::SeqCst);
        let heart = Heart::start(Arc::clone(&shared), beating(), interval, length).unwrap();
        tokio::time::sleep(3 * length).await;
        assert_eq!(stop.reason(), None);
        ignores_heartbeats.store(true, Ordering::SeqCst);
        let silent = Instant::now();
        assert_eq!(stop.wait().await, StopReason::Lost);
        assert!(silent.elapsed() < length + interval, "{:?}", silent.elapsed());
        heart.stop().await;
    }

    #[tokio::test]
    async fn guests_are_stopped_when_their_leases_are_over() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_secs(2), Duration::from_millis(700));
        let shared = fixture.worker().shared;
        let stop = guest(&shared);
        let Unsteady { ignores_heartbeats, heard, .. } = &*fixture.queue;
        ignores_heartbeats.store(true, Ordering::SeqCst);
        let heart = Heart::start(Arc::clone(&shared), beating(), interval, length).unwrap();
        let started = Instant::now();
        assert_eq!(stop.wait().await, StopReason::Lost);
        let took = started.elapsed();
        assert!(took >= length - Duration::from_millis(50) && took < length + interval, "{took:?}");
        assert!(heard.load(Ordering::SeqCst) >= 1, "it has tried");
        heart.stop().await;
    }

    #[tokio::test]
    async fn a_runtime_that_does_not_answer_has_no_heartbeat() {
        let fixture = Fixture::new();
        let (length, interval) = (Duration::from_millis(400), Duration::from_millis(100));
        let shared = fixture.worker().shared;
        let stop = guest(&shared);
        let silent = Pulse(Arc::new(Mutex::new(Instant::now().checked_sub(2 * length).unwrap())));
        let heart = Heart::start(Arc::clone(&shared), silent, interval, length).unwrap();
        assert_eq!(stop.wait().await, StopReason::Lost);
        assert_eq!(fixture.queue.heard.load(Ordering::SeqCst), 0);
        heart.stop().await;
    }

    /// The pulse of a runtime that answers.
    fn beating() -> Pulse {
        let pulse = Pulse::new();
        tokio::spawn(pulse.clone().show());
        pulse
    }
}
