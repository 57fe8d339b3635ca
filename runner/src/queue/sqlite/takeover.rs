//! Taking over what silent workers have, by this process's own clock.

use super::{SqliteQueue, lock, workers};
use crate::job::Decision;
use crate::queue::{Lease, QueueError, WorkerId};
use std::time::{Duration, Instant};

impl SqliteQueue {
    /// [`Queue::take_over`](crate::queue::Queue::take_over) by any monotonic clock.
    pub(super) async fn take_over_by(
        &self,
        clock: impl Fn() -> Instant + Send + Sync,
        worker: &WorkerId,
    ) -> Result<Vec<(Lease, Decision)>, QueueError> {
        let before = clock();
        let beats = self.shared.reader.call(workers::beats).await?;
        let mut silent = lock(&self.shared.silence).observe(&beats, before, clock());
        silent.retain(|beat| beat.start != worker.start);
        let Some(shortest) = silent.iter().map(|beat| beat.lease).min() else { return Ok(Vec::new()) };
        let asked = Instant::now();
        self.write(move |connection, now| {
            // Whatever kept this from the file, a long transaction of a third process perhaps, kept heartbeats
            // from it too. They come first; the next call will see.
            if asked.elapsed() > (shortest / 10).max(Duration::from_secs(1)) {
                return Ok(Vec::new());
            }
            workers::take_over(connection, &silent, now.as_millisecond())
        })
        .await
    }
}
