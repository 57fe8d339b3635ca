//! Knowing that somebody else has the file locked, before the waiting for that is over, and for a while afterwards.
//!
//! SQLite asks a function again and again whether to go on waiting, and gives it nothing but a count. So each thread has
//! a place of its own where that function leaves word.

use super::lock;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whoever waits is asked every few milliseconds, so whoever was asked so lately still waits.
const LATELY: Duration = Duration::from_millis(100);
/// How often it is looked whether a thread waits.
const LOOK: Duration = Duration::from_millis(10);
/// In this time after a long lock all who were kept out have their turn.
const AFTERWARDS: Duration = Duration::from_secs(1);

thread_local! {
    static HERE: RefCell<Option<Locked>> = const { RefCell::new(None) };
    static WAITS: Cell<bool> = const { Cell::new(true) };
}

/// Does something without waiting for any lock.
pub(super) fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    WAITS.set(false);
    let done = work();
    WAITS.set(true);
    done
}

/// Whether this thread waits for locks.
pub(super) fn waits() -> bool {
    WAITS.get()
}

/// How somebody else's locks have kept a thread from the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Locked(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Since when the thread waits, and when it last found the file locked, if it has not got it since.
    waits: Option<(Instant, Instant)>,
    /// How long the last wait was that was no ordinary one, and when it was over.
    over: Option<(Duration, Instant)>,
}

impl Locked {
    /// From now on it is told here when this thread finds the file locked, and when it gets it.
    pub(super) fn watch_this_thread(&self) {
        HERE.set(Some(self.clone()));
    }

    fn is_now(&self) -> bool {
        lock(&self.0).waits.is_some_and(|(_, found)| found.elapsed() < LATELY)
    }

    /// Waits for `patience`, and then until the thread finds the file locked.
    pub(super) async fn after(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        while !self.is_now() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the thread has got the file just now, after having been kept out for longer than this.
    pub(super) fn is_just_over(&self, long: Duration) -> bool {
        lock(&self.0).over.is_some_and(|(lasted, over)| lasted > long && over.elapsed() < AFTERWARDS)
    }
}

/// Leaves word that this thread finds the file locked.
pub(super) fn found() {
    tell(|seen, now| {
        let waits = seen.waits.filter(|(_, found)| now.duration_since(*found) < LATELY);
        seen.waits = Some((waits.map_or(now, |(since, _)| since), now));
    });
}

/// Leaves word that this thread has got the file.
pub(super) fn got() {
    tell(|seen, _| {
        let over = seen.waits.take().map(|(since, found)| (found.duration_since(since), found));
        // What is ordinary in the crowd after a long lock is not to hide it.
        seen.over = over.filter(|(lasted, _)| *lasted >= AFTERWARDS).or(seen.over);
    });
}

fn tell(what: impl FnOnce(&mut Seen, Instant)) {
    HERE.with_borrow(|here| {
        if let Some(locked) = here {
            what(&mut lock(&locked.0), Instant::now());
        }
    });
}
