//! One waiter's view of what changes in the queue.

use super::{Shared, records};
use crate::queue::Watch;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Waits for commits, of whatever process, for delayed jobs to become due, and for pauses to end.
pub(super) struct Subscription {
    shared: Arc<Shared>,
    /// Changes up to this one are known.
    generation: u64,
    /// Jobs that were due at this time, in milliseconds, are known, and so are pauses that had ended.
    due: i64,
}

impl Subscription {
    /// Everything up to now is known.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let mut subscription = Self { shared, generation: 0, due: 0 };
        subscription.catch_up();
        subscription
    }

    fn catch_up(&mut self) {
        self.generation = self.shared.changes.generation();
        self.due = (self.shared.clock)().as_millisecond();
    }
}

#[async_trait]
impl Watch for Subscription {
    async fn changed(&mut self, limit: Duration) {
        let known = self.due;
        let _looking = self.shared.watcher.look();
        let due = self.shared.reader.call(move |connection| records::next_due(connection, known)).await;
        let limit = match due {
            Ok(Some(due)) => {
                let wait = due.saturating_sub((self.shared.clock)().as_millisecond());
                limit.min(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
            }
            // If the queue cannot be read, the caller's next step will say so.
            Ok(None) | Err(_) => limit,
        };
        self.shared.changes.wait(self.generation, limit).await;
        self.catch_up();
    }
}
