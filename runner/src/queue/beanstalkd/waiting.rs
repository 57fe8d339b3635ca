//! Waiting for jobs, and for news of them.

use super::claim::seconds;
use super::client::Reserved;
use super::server::Connection;
use super::{Shared, lock};
use crate::job::Tube;
use crate::queue::Watch;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the server is asked to wait at once.
const ROUND: Duration = Duration::from_secs(1);
/// How long a job is kept for a claim that ought to follow at once.
const KEPT: Duration = Duration::from_millis(500);
/// How often somebody who holds jobs asks for more instead of waiting for them.
const POLL: Duration = Duration::from_millis(50);
/// How often is looked for changes of which only the server knows.
const LOOK: Duration = Duration::from_secs(1);

/// What waits have brought, and may bring yet.
#[derive(Default)]
pub(super) struct Waiting {
    /// Waits that are under way, by their tubes: the server may give each of them a job at any moment.
    rounds: Vec<Vec<Tube>>,
    kept: Vec<Kept>,
}

/// A job that was reserved while somebody waited for one.
struct Kept {
    connection: Connection,
    reserved: Reserved,
    tubes: Vec<Tube>,
    since: Instant,
    /// Whether somebody waits who would claim it.
    is_open: Arc<AtomicBool>,
}

impl Kept {
    fn is_wanted(&self) -> bool {
        self.is_open.load(Ordering::Acquire) && self.since.elapsed() < KEPT
    }
}

impl Shared {
    /// A job of these tubes that was waited for; if there is none, how many may come of waits that are under way.
    pub(super) fn take_kept(&self, tubes: &[Tube]) -> Result<(Connection, Reserved), usize> {
        let mut waiting = lock(&self.waiting);
        match waiting.kept.iter().position(|kept| kept.tubes == tubes) {
            Some(at) => {
                let Kept { connection, reserved, .. } = waiting.kept.swap_remove(at);
                Ok((connection, reserved))
            }
            None => Err(waiting.rounds.iter().filter(|round| *round == tubes).count()),
        }
    }

    /// Gives back all that nobody has claimed, and first sees the ends of all waits: a job that one of them is given
    /// when nobody is there any more would count as one whose worker has died.
    pub(super) async fn give_all_kept_back(&self) {
        let until = Instant::now() + ROUND + KEPT;
        while !lock(&self.waiting).rounds.is_empty() && Instant::now() < until {
            tokio::time::sleep(KEPT / 20).await;
        }
        let kept = std::mem::take(&mut lock(&self.waiting).kept);
        self.give_kept_back(kept).await;
    }

    async fn give_kept_back(&self, kept: Vec<Kept>) {
        for Kept { mut connection, reserved, .. } in kept {
            // If the server cannot be told, the end of the connection does the same, and the reservation is counted.
            let Ok(Some(stats)) = connection.stats_job(reserved.number).await else { continue };
            let priority = self.note_given_back(&reserved, &stats).await;
            if connection.release(reserved.number, priority, 0).await.is_ok() {
                self.server.give_back(connection);
            }
        }
    }

    /// Begins to wait until a job is there, or until the round is over, and keeps the job for whoever claims next.
    /// Whether the server has waited as it was asked to; if it could not be asked, the next claim says so.
    fn wait_for_job(self: &Arc<Self>, tubes: &[Tube], is_open: &Arc<AtomicBool>) -> JoinHandle<bool> {
        let (shared, tubes, is_open) = (Arc::clone(self), tubes.to_vec(), Arc::clone(is_open));
        lock(&self.waiting).rounds.push(tubes.clone());
        self.server.spawn(async move {
            let since = Instant::now();
            let reserved = shared.reserve_within(&tubes, seconds(ROUND)).await;
            let mut waiting = lock(&shared.waiting);
            if let Some(at) = waiting.rounds.iter().position(|round| *round == tubes) {
                waiting.rounds.swap_remove(at);
            }
            let has_waited = since.elapsed() >= ROUND / 2;
            match reserved {
                Ok(Some((connection, reserved))) => {
                    waiting.kept.push(Kept { connection, reserved, tubes, since: Instant::now(), is_open });
                    drop(waiting);
                    shared.server.spawn(Arc::clone(&shared).give_back_in_time());
                    true
                }
                Ok(None) => has_waited,
                Err(_) => false,
            }
        })
    }

    /// Gives a job back that nobody claims; others may be wanted still.
    async fn give_back_in_time(self: Arc<Self>) {
        let since = Instant::now();
        while since.elapsed() <= KEPT {
            tokio::time::sleep(KEPT / 20).await;
            let unwanted = lock(&self.waiting).kept.extract_if(.., |kept| !kept.is_wanted()).collect();
            self.give_kept_back(unwanted).await;
        }
    }
}

/// Waits for jobs of some tubes.
pub(super) struct Work {
    shared: Arc<Shared>,
    tubes: Vec<Tube>,
    /// A wait that has begun. It is not broken off: the server may give it a job at any moment.
    round: Option<JoinHandle<bool>>,
    is_open: Arc<AtomicBool>,
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, tubes: Vec<Tube>) -> Self {
        Self { shared, tubes, round: None, is_open: Arc::new(AtomicBool::new(true)) }
    }
}

#[async_trait]
impl Watch for Work {
    async fn changed(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while lock(&self.shared.waiting).kept.is_empty() && Instant::now() < until {
            if self.round.is_none() && self.shared.holds_any() {
                // If this worker were killed, the server would give what it holds to whoever waits: to this wait, whose
                // end it may see last. One death would count as two.
                tokio::time::sleep_until(until.min(Instant::now() + POLL)).await;
                return;
            }
            let round = self.round.get_or_insert_with(|| self.shared.wait_for_job(&self.tubes, &self.is_open));
            let Ok(has_waited) = tokio::time::timeout_at(until, round).await else { return };
            self.round = None;
            if !has_waited.unwrap_or(false) {
                // Whoever asks again and again must not do so without a pause.
                tokio::time::sleep_until(until.min(Instant::now() + KEPT)).await;
                return;
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.is_open.store(false, Ordering::Release);
    }
}

/// Waits for anything: what this data directory's file tells of at once, and what only the server knows, which has to
/// be looked for.
pub(super) struct Anything(Box<dyn Watch>);

impl Anything {
    pub(super) fn new(ledger: Box<dyn Watch>) -> Self {
        Self(ledger)
    }
}

#[async_trait]
impl Watch for Anything {
    async fn changed(&mut self, limit: Duration) {
        self.0.changed(limit.min(LOOK)).await;
    }
}
