//! How the suite for all queues gets at this one.

use super::fixture::{Fixture, worker};
use crate::queue::conformance::{Backend, Missing};
use crate::queue::{Jobs, Queue, Work, WorkerId};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A queue in a file, by clocks that the suite sets.
pub(in crate::queue) struct Sqlite {
    fixture: Fixture,
    opened: Instant,
    /// How often the heartbeats were looked at; from one time to the next, more than a lease has passed.
    looks: AtomicU32,
}

impl Sqlite {
    pub(super) fn fixture(&self) -> &Fixture {
        &self.fixture
    }
}

impl Backend for Sqlite {
    const NAME: &'static str = "sqlite";
    const PRECISION: Duration = Duration::ZERO;

    async fn open() -> Result<Self, Missing> {
        let fixture = Fixture::new();
        Ok(Self { fixture, opened: Instant::now(), looks: AtomicU32::new(0) })
    }

    fn queue(&self) -> &dyn Queue {
        &self.fixture.queue
    }

    async fn elsewhere(&self) -> Box<dyn Queue> {
        Box::new(self.fixture.elsewhere())
    }

    async fn advance(&self, by: Duration) {
        self.fixture.advance(by);
    }

    async fn lose(&self, lost: &WorkerId) {
        for _ in 0..2 {
            for other in self.fixture.queue.status().await.unwrap().workers {
                if other.name != lost.name {
                    self.fixture.queue.beat(&worker(&other.name), &[]).await.unwrap();
                }
            }
            let now = self.opened + 2 * lost.lease * self.looks.fetch_add(1, Ordering::SeqCst);
            self.fixture.queue.take_over_by(|| now, &worker("observer")).await.unwrap();
        }
    }
}
