//! Sending results to where their jobs want them, beside the work: whatever receivers do delays no job.
//!
//! What is to be sent is in the queue from the commit on that settles the job, so it survives the worker. A try
//! begins with a lease, and what a killed worker was sending is due again when that is over. So a result may arrive
//! more than once, with the same key each time.

mod receivers;

use super::{Event, PAUSE, Shared, Shutdown};
use crate::fetch::{Parcel, SendError, Sender};
use crate::job::{Span, backoff};
use crate::queue::{Delivered, Delivery, Watch};
use jiff::Timestamp;
use receivers::{LeftAlone, Receivers};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// Results that are sent at once.
const AT_ONCE: usize = 8;
/// Nobody else sends a result meanwhile: longer than a try takes.
const LEASE: Duration = Duration::from_secs(Sender::LONGEST.as_secs() + 30);
/// A busy queue has news all the time, and is looked at no oftener than this.
const CALM: Duration = Duration::from_millis(50);
/// A queue without news is looked at as often as this, for what is due again.
const LOOK: Duration = Duration::from_secs(1);
/// A result that has not arrived so long after its job ended is given up when the next try fails, or cannot be made.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// A result that was never tried is given up only if nothing was heard of its receiver for so long by this very worker.
const SILENCE: Duration = Duration::from_secs(3600);
/// How long a worker that has no more jobs stays for the first try at sending their results.
const LAST_ROUND: Duration = Duration::from_secs(30);
/// How long a worker that is to drain stays for results that are just being sent.
const GRACE: Duration = Duration::from_secs(10);

/// What is left to do for the task that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Everything.
    Told,
    /// What is due now, once.
    AllTried,
    /// What is being sent already.
    Landed,
}

/// The task that sends what is due.
pub(super) struct Outbox {
    until: watch::Sender<Until>,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

impl Outbox {
    /// Starts the task.
    pub(super) fn start(shared: &Arc<Shared>, sender: Sender) -> Self {
        let (until, told) = watch::channel(Until::Told);
        let cut = CancellationToken::new();
        let courier = Courier { shared: Arc::clone(shared), sender, receivers: Receivers::default(), cut: cut.clone() };
        Self { until, cut, task: tokio::spawn(Arc::new(courier).work(told)) }
    }

    /// Ends the sending within a bound: a worker that ends by itself tries first what is due, a worker that was told to
    /// end lets finish what is being sent, and one that is to stop now waits for nothing. What has not arrived by then
    /// is due at the next start.
    pub(super) async fn finish(mut self, shutdown: &mut watch::Receiver<Shutdown>) {
        loop {
            let told = *shutdown.borrow();
            let (until, bound) = match told {
                Shutdown::No => (Until::AllTried, LAST_ROUND),
                Shutdown::Drain => (Until::Landed, GRACE),
                Shutdown::Now => (Until::Landed, Duration::ZERO),
            };
            self.until.send_replace(until);
            tokio::select! {
                _ = &mut self.task => return,
                () = tokio::time::sleep(bound) => break,
                // From here on there is less time.
                Ok(_) = shutdown.wait_for(|now| *now > told) => {}
            }
        }
        self.until.send_replace(Until::Landed);
        self.cut.cancel();
        let _ = self.task.await;
    }
}

/// What all tries share.
struct Courier {
    shared: Arc<Shared>,
    sender: Sender,
    receivers: Receivers,
    /// Ends the tries that are being made.
    cut: CancellationToken,
}

impl Courier {
    async fn work(self: Arc<Self>, mut until: watch::Receiver<Until>) {
        let mut news = self.shared.queue.watch();
        let mut flying = JoinSet::new();
        loop {
            let told = *until.borrow_and_update();
            let room = AT_ONCE - flying.len();
            let found = if told == Until::Landed { 0 } else { self.take(room, &mut flying).await };
            if told == Until::Landed || (told == Until::AllTried && found < room) {
                break;
            }
            tokio::select! {
                Some(landed) = flying.join_next() => self.tell_of_panic(landed),
                () = wait_for(&mut *news), if found < room => {}
                changed = until.changed() => if changed.is_err() { break },
            }
        }
        while let Some(landed) = flying.join_next().await {
            self.tell_of_panic(landed);
        }
    }

    /// Begins to send what is due, and says how much that is.
    async fn take(self: &Arc<Self>, most: usize, flying: &mut JoinSet<()>) -> usize {
        if most == 0 {
            return 0;
        }
        let due = match self.shared.queue.deliveries(LEASE, most).await {
            Ok(due) => due,
            Err(error) => {
                self.shared.trouble("looking for results to send", &error);
                tokio::time::sleep(PAUSE).await;
                return 0;
            }
        };
        let found = due.len();
        for delivery in due {
            flying.spawn(Arc::clone(self).carry(delivery));
        }
        found
    }

    fn tell_of_panic(&self, landed: Result<(), tokio::task::JoinError>) {
        if let Err(panic) = landed {
            self.shared.trouble("sending a result", &format!("the worker has a bug: {panic}"));
        }
    }

    /// One try, or none if the receiver is left alone at the moment.
    async fn carry(self: Arc<Self>, delivery: Delivery) {
        let outcome = match self.receivers.admit(&delivery.url, jitter(&delivery), Instant::now()) {
            Err(left_alone) => put_off(&delivery, Timestamp::now(), left_alone),
            Ok(()) => tokio::select! {
                outcome = self.attempt(&delivery) => outcome,
                () = self.cut.cancelled() => Delivered::Untried { after: Duration::ZERO },
            },
        };
        if let Err(error) = self.shared.queue.delivered(&delivery, outcome.clone()).await {
            self.shared.trouble("writing down what came of sending a result", &error);
        }
        if !matches!(outcome, Delivered::Untried { .. }) {
            self.shared.tell(&Event::Sent { delivery: &delivery, outcome: &outcome });
        }
    }

    async fn attempt(&self, delivery: &Delivery) -> Delivered {
        let parcel = match self.pack(delivery).await {
            Ok(Some(document)) => Parcel::new(document, delivery.id, delivery.attempt),
            Ok(None) => return Delivered::GivenUp { reason: "the result is no longer there".to_owned() },
            Err(error) => {
                return again(delivery, Timestamp::now(), format!("reading the result failed: {error}"), None);
            }
        };
        let sent = self.sender.send(&delivery.url, &parcel).await;
        match sent {
            Err(SendError::Transient { is_silent: true, .. }) => {
                self.receivers.kept_silent(&delivery.url, Instant::now());
            }
            _ => self.receivers.answered(&delivery.url),
        }
        match sent {
            Ok(()) => Delivered::Yes,
            Err(SendError::Transient { message, retry_after, .. }) => {
                again(delivery, Timestamp::now(), message, retry_after)
            }
            Err(error) => {
                let address = error.address().map(tracing::field::display);
                tracing::info!(job = %delivery.id, %error, address, "a result is not sent");
                Delivered::GivenUp { reason: error.to_string() }
            }
        }
    }

    /// The document of the attempt, from the queue, or from the results tree of a version before 0.2.
    async fn pack(&self, delivery: &Delivery) -> anyhow::Result<Option<Vec<u8>>> {
        let (id, attempt) = (delivery.id, delivery.attempt);
        let Some(published) = self.shared.queue.result(id, Some(attempt)).await? else { return Ok(None) };
        if !published.document.is_empty() {
            return Ok(Some(published.document));
        }
        let results = Arc::clone(&self.shared.results);
        match spawn_blocking(move || results.reader().old_document(id, attempt)).await? {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read?)),
        }
    }
}

/// Waits until there may be something to send.
async fn wait_for(news: &mut dyn Watch) {
    tokio::time::sleep(CALM).await;
    news.changed(LOOK).await;
}

/// The id is random enough to keep results apart that failed together.
fn jitter(delivery: &Delivery) -> f64 {
    f64::from(delivery.id.as_bytes()[15]) / 255.0
}

/// What follows if the receiver is to be left alone for a while, for it does not answer. A node that was off for a day
/// must not give up all that it has at the first breath of silence.
fn put_off(delivery: &Delivery, now: Timestamp, LeftAlone { after, silent }: LeftAlone) -> Delivered {
    if age(delivery, now) + after < PATIENCE || silent < SILENCE {
        return Delivered::Untried { after };
    }
    let tries = told(delivery.tries, delivery, now);
    Delivered::TooLate { reason: format!("the receiver has not answered; {tries}") }
}

/// How long a result has been due.
fn age(delivery: &Delivery, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(delivery.since)).unwrap_or_default()
}

/// How often it was tried, and in which time.
fn told(tries: u32, delivery: &Delivery, now: Timestamp) -> String {
    let whole_seconds = Duration::from_secs(age(delivery, now).as_secs());
    let times = if tries == 1 { "time" } else { "times" };
    format!("it was tried {tries} {times} within {}", Span(whole_seconds))
}

/// What follows from a failure that may pass.
fn again(delivery: &Delivery, now: Timestamp, reason: String, retry_after: Option<Duration>) -> Delivered {
    let tries = delivery.tries.saturating_add(1);
    let after = backoff(tries, retry_after.unwrap_or_default(), jitter(delivery));
    if age(delivery, now) + after < PATIENCE {
        return Delivered::Again { after, reason };
    }
    Delivered::GivenUp { reason: format!("{reason}; {}", told(tries, delivery, now)) }
}

#[cfg(test)]
mod tests;
