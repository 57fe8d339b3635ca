//! Waiting for jobs, and for news of them.
//!
//! A server wakes who waits by giving a job away, and sees too late who cannot take it: a worker that is frozen would keep
//! it from all others until it goes on, and of those that are killed together each would be given it in turn, which looks
//! as if it had killed them all. So nobody waits at the server. What waits is whoever asks, often, whether there are jobs;
//! they are reserved only by claims, which run them.

use super::Shared;
use crate::job::Tube;
use crate::queue::Watch;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often is asked for jobs, unless that takes for longer.
const POLL: Duration = Duration::from_millis(50);
/// How often is looked for changes of which only the server knows.
const LOOK: Duration = Duration::from_secs(1);

/// Waits for jobs of some tubes.
pub(super) struct Work {
    shared: Arc<Shared>,
    tubes: Vec<Tube>,
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, tubes: Vec<Tube>) -> Self {
        Self { shared, tubes }
    }
}

#[async_trait]
impl Watch for Work {
    async fn changed(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut pause = POLL;
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
            let asked = Instant::now();
            // If the server does not answer, the next claim says so.
            if self.shared.has_ready(&self.tubes).await.unwrap_or(true) {
                return;
            }
            pause = POLL.max(asked.elapsed());
        }
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
