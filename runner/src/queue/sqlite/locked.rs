//! Knowing that somebody else has the file locked, before the waiting for that is over.
//!
//! SQLite asks a function again and again whether to go on waiting, and gives it nothing but a count. So each thread has
//! a place of its own where that function leaves word.

use super::lock;
use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whoever waits is asked every few milliseconds, so whoever was asked so lately still waits.
const LATELY: Duration = Duration::from_millis(100);
/// How often it is looked whether a thread waits.
const LOOK: Duration = Duration::from_millis(10);

thread_local! {
    static HERE: RefCell<Option<Locked>> = const { RefCell::new(None) };
}

/// When a thread last found the file locked by somebody else.
#[derive(Debug, Clone, Default)]
pub(super) struct Locked(Arc<Mutex<Option<Instant>>>);

impl Locked {
    /// From now on it is told here when this thread finds the file locked.
    pub(super) fn watch_this_thread(&self) {
        HERE.set(Some(self.clone()));
    }

    fn is_now(&self) -> bool {
        lock(&self.0).is_some_and(|found| found.elapsed() < LATELY)
    }

    /// Waits for `patience`, and then until the thread finds the file locked.
    pub(super) async fn after(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        while !self.is_now() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Leaves word that this thread finds the file locked.
pub(super) fn found() {
    HERE.with_borrow(|here| {
        if let Some(locked) = here {
            *lock(&locked.0) = Some(Instant::now());
        }
    });
}
