//! What is kept here of jobs that have ended, and of those that the server has no more.

use super::{Shared, lock};
use crate::queue::sqlite::Unended;
use crate::queue::{QueueError, Retention};
use std::time::Duration;

/// As many jobs are looked for at the server by one call.
const LOOKED_FOR: usize = 100;

impl Shared {
    /// Deletes records that were kept for long enough, `most` at most, and returns how many. Dead jobs are kept for as
    /// long as the server keeps them. A job that another node has ended, or that was deleted at the server, is kept like
    /// one that was done here, from the time at which it was missed.
    pub(super) async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        let ended = self.ledger.forget(&Retention { dead: None, ..*retention }, most).await?;
        let Some(kept) = retention.done else { return Ok(ended) };
        if !self.server.is_away() {
            // If that fails, whoever claims tells of it.
            let _ = self.look_for_some(kept).await;
        }
        Ok(ended + self.ledger.forget_missing(kept, most.saturating_sub(ended)).await?)
    }

    /// Looks whether the server still has what waits or is dead as far as the ledger knows; each call goes on where the
    /// last one has ended.
    async fn look_for_some(&self, kept: Duration) -> Result<(), QueueError> {
        let after = *lock(&self.looked_for);
        let (unended, last) = self.ledger.unended(after, LOOKED_FOR).await?;
        let (mut missing, mut found, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        if !unended.is_empty() {
            let mut connection = self.server.connect().await?;
            for (id, place, stands) in unended {
                match (self.stats_of(&mut connection, place).await?, stands) {
                    (None, Unended { is_dead: true, .. }) => dead.push((id, place)),
                    (None, Unended { is_missing: false, .. }) => missing.push((id, place)),
                    (Some(_), Unended { is_missing: true, .. }) => found.push(id),
                    _ => {}
                }
            }
            self.server.give_back(connection);
        }
        self.ledger.miss(missing).await?;
        self.ledger.found(found).await?;
        self.ledger.miss_dead(dead, kept).await?;
        *lock(&self.looked_for) = last.unwrap_or(0);
        Ok(())
    }
}
