//! Room for attempts whose guests have ended and whose results are on their way to the disk and the queue.

use tokio::sync::{Semaphore, SemaphorePermit};

/// As many may be on their way at once.
const ATTEMPTS: u32 = 256;
/// An attempt counts as one more for each of so many bytes that it holds in memory, which so are 64 MiB at most, apart
/// from an attempt that has more for itself.
const BYTES: usize = 256 << 10;

/// What a guest has left needs no slot any more; but it needs memory, and its lease.
#[derive(Debug)]
pub(super) struct Backlog(Semaphore);

impl Default for Backlog {
    fn default() -> Self {
        Self(Semaphore::new(ATTEMPTS as usize))
    }
}

impl Backlog {
    /// Waits for room for an attempt that holds so many bytes. Whoever waits keeps his slot, so that a disk that is
    /// slower than the guests holds these up.
    pub(super) async fn enter(&self, bytes: usize) -> SemaphorePermit<'_> {
        let more = u32::try_from(bytes / BYTES).unwrap_or(ATTEMPTS);
        let room = self.0.acquire_many(more.saturating_add(1).min(ATTEMPTS)).await;
        room.expect("nobody closes the semaphore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn few_large_attempts_take_the_room_of_many_small_ones() {
        let backlog = Backlog::default();
        let large = backlog.enter(usize::MAX).await;
        assert!(backlog.enter(0).now_or_never().is_none());
        drop(large);
        let _large = backlog.enter(200 * BYTES).await;
        let small: Vec<_> = (0..55).map(|_| backlog.enter(0).now_or_never()).collect();
        assert!(small.iter().all(Option::is_some) && backlog.enter(0).now_or_never().is_none());
    }
}
