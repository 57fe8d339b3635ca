//! What is kept here of jobs that have ended, and of those that the server has no more.

use super::{Shared, lock};
use crate::queue::{QueueError, Retention};

/// As many jobs that wait are looked for at the server by one call.
const LOOKED_FOR: usize = 100;

impl Shared {
    /// Deletes records that were kept for long enough, `most` at most, and returns how many. Dead jobs are kept for as
    /// long as the server keeps them. A job that another node has ended is kept like one that was done here, from the
    /// time at which it was missed.
    pub(super) async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        let ended = self.ledger.forget(&Retention { dead: None, ..*retention }, most).await?;
        let Some(kept) = retention.done else { return Ok(ended) };
        if !self.server.is_away() {
            // If that fails, whoever claims tells of it.
            let _ = self.look_for_some().await;
        }
        Ok(ended + self.ledger.forget_missing(kept, most.saturating_sub(ended)).await?)
    }

    /// Looks whether the server still has what waits as far as the ledger knows; each call goes on where the last one
    /// has ended.
    async fn look_for_some(&self) -> Result<(), QueueError> {
        let after = *lock(&self.looked_for);
        let (waiting, last) = self.ledger.waiting(after, LOOKED_FOR).await?;
        let (mut missing, mut found) = (Vec::new(), Vec::new());
        if !waiting.is_empty() {
            let mut connection = self.server.connect().await?;
            for (id, place, is_missing) in waiting {
                match self.stats_of(&mut connection, place).await? {
                    None if !is_missing => missing.push((id, place)),
                    Some(_) if is_missing => found.push(id),
                    _ => {}
                }
            }
            self.server.give_back(connection);
        }
        self.ledger.miss(missing).await?;
        self.ledger.found(found).await?;
        *lock(&self.looked_for) = last.unwrap_or(0);
        Ok(())
    }
}
