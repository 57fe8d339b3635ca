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
/// How often is looked for changes of which only the server knows.
const LOOK: Duration = Duration::from_secs(1);

/// A job that was reserved while somebody waited for one.
pub(super) struct Kept {
    connection: Connection,
    reserved: Reserved,
    tubes: Vec<Tube>,
}

impl Shared {
    /// A job of these tubes that was waited for.
    pub(super) fn take_kept(&self, tubes: &[Tube]) -> Option<(Connection, Reserved)> {
        let mut kept = lock(&self.kept);
        let at = kept.iter().position(|kept| kept.tubes == tubes)?;
        let Kept { connection, reserved, .. } = kept.swap_remove(at);
        Some((connection, reserved))
    }

    /// Gives back what nobody has claimed.
    pub(super) async fn give_kept_back(&self) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        for Kept { mut connection, reserved, .. } in kept {
            // If any of this fails, the end of the connection does the same, and the reservation is counted.
            if let Ok(Some(stats)) = connection.stats_job(reserved.number).await
                && let Ok(priority) = self.note_given_back(&reserved, &stats).await
                && connection.release(reserved.number, priority, 0).await.is_ok()
            {
                self.server.give_back(connection);
            }
        }
    }

    /// Waits until a job is there, or until the round is over, and keeps the job for whoever claims next. Whether the
    /// server could be asked; if not, the next claim says so.
    async fn wait_for_job(self: Arc<Self>, tubes: Vec<Tube>, is_open: Arc<AtomicBool>) -> bool {
        let Ok(mut connection) = self.server.connect().await else { return false };
        let reserved = async {
            connection.watch(&tubes).await?;
            connection.reserve(seconds(ROUND)).await
        };
        match reserved.await {
            Ok(Some(reserved)) => {
                lock(&self.kept).push(Kept { connection, reserved, tubes });
                let shared = Arc::clone(&self);
                self.server.spawn(async move {
                    let since = Instant::now();
                    while is_open.load(Ordering::Acquire) && since.elapsed() < KEPT {
                        tokio::time::sleep(KEPT / 20).await;
                    }
                    shared.give_kept_back().await;
                });
                true
            }
            Ok(None) => {
                self.server.give_back(connection);
                true
            }
            Err(_) => false,
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
        while lock(&self.shared.kept).is_empty() && Instant::now() < until {
            let round = self.round.get_or_insert_with(|| {
                let wait = Arc::clone(&self.shared).wait_for_job(self.tubes.clone(), Arc::clone(&self.is_open));
                self.shared.server.spawn(wait)
            });
            let Ok(could_ask) = tokio::time::timeout_at(until, round).await else { return };
            self.round = None;
            if !could_ask.unwrap_or(false) {
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
