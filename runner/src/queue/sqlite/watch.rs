//! Waking up those who wait for a change, through whatever process it comes.
//!
//! This process's own commits are announced by its writer. Those of other processes are seen in SQLite's
//! `data_version`, which one thread reads again and again, but only while somebody waits.

use super::Sharing;
use super::fault::{Fault, no_thread};
use rusqlite::Connection;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// How often other processes' commits are looked for.
const PERIOD: Duration = Duration::from_millis(10);
/// The same where each look is three requests to a file server, and keeps others from committing meanwhile.
const SHARED_PERIOD: Duration = Duration::from_millis(100);

/// Counts changes, so that one that comes before the wait for it is not missed.
pub(super) struct Changes {
    generation: watch::Sender<u64>,
}

impl Changes {
    /// None so far.
    pub(super) fn new() -> Self {
        Self { generation: watch::Sender::new(0) }
    }

    /// There was one more.
    pub(super) fn announce(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// How many there were.
    pub(super) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Waits, for at most `limit`, until there are others than `seen`.
    pub(super) async fn wait(&self, seen: u64, limit: Duration) {
        let mut receiver = self.generation.subscribe();
        let _ = tokio::time::timeout(limit, receiver.wait_for(|generation| *generation != seen)).await;
    }
}

/// The thread that looks for other processes' commits.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    demand: Mutex<Demand>,
    changed: Condvar,
}

#[derive(Default)]
struct Demand {
    waiting: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as this lives, the thread looks.
pub(super) struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Watcher {
    /// Starts the thread on a connection that nothing else uses.
    pub(super) fn start(connection: Connection, sharing: Sharing, changes: Arc<Changes>) -> Result<Self, Fault> {
        let period = match sharing {
            Sharing::OneMachine => PERIOD,
            Sharing::ManyMachines => SHARED_PERIOD,
        };
        let version = data_version(&connection)?;
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("queue-watcher".to_owned())
            .spawn(move || watch(&connection, version, period, &watched, &changes))
            .map_err(|error| no_thread(&error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has the thread look, first of all for what came since it last did.
    pub(super) fn look(&self) -> Waiting {
        self.shared.lock().waiting += 1;
        self.shared.changed.notify_one();
        Waiting(Arc::clone(&self.shared))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn data_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn watch(connection: &Connection, mut version: i64, period: Duration, shared: &Shared, changes: &Changes) {
    loop {
        let idle = |demand: &mut Demand| demand.waiting == 0 && !demand.closed;
        let demand = shared.changed.wait_while(shared.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if demand.closed {
            return;
        }
        drop(demand);
        // An error here, such as a lock during recovery, is one that the next command will report.
        if let Ok(now) = data_version(connection)
            && now != version
        {
            version = now;
            changes.announce();
        }
        let demand = shared.lock();
        if !demand.closed {
            let _ = shared.changed.wait_timeout(demand, period);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Interest, Queue, Submission, Watch};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(20);

    fn open(fixture: &Fixture) -> SqliteQueue {
        SqliteQueue::open(&fixture.directory.path().join("queue.db")).unwrap()
    }

    /// How long a wait for a change took.
    async fn waited(watch: &mut Box<dyn Watch>, limit: Duration) -> Duration {
        let started = Instant::now();
        watch.changed(limit).await;
        started.elapsed()
    }

    /// Lets everything that is on its way arrive.
    async fn settle_down(watch: &mut Box<dyn Watch>) {
        while waited(watch, Duration::from_millis(100)).await < Duration::from_millis(100) {}
    }

    #[tokio::test]
    async fn a_change_between_a_claim_and_the_wait_is_not_missed() {
        let fixture = Fixture::new();
        let other = open(&fixture);
        let mut watch = fixture.queue.watch(Interest::Anything);
        for elsewhere in [false, true] {
            settle_down(&mut watch).await;
            assert!(fixture.claim("a").await.is_none());
            let queue = if elsewhere { &other } else { &fixture.queue };
            let job = Submission { id: crate::job::JobId::new(), document: document() };
            queue.submit(vec![job]).await.unwrap();
            assert!(waited(&mut watch, LONG).await < LONG / 2);
            assert!(fixture.claim("a").await.is_some());
        }
    }

    #[tokio::test]
    async fn a_commit_through_another_handle_wakes_the_waiting() {
        let fixture = Fixture::new();
        let other = Arc::new(open(&fixture));
        let mut watch = fixture.queue.watch(Interest::Anything);
        let mut delays = Vec::new();
        for _ in 0..5 {
            settle_down(&mut watch).await;
            let other = Arc::clone(&other);
            let submit = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let job = Submission { id: crate::job::JobId::new(), document: document() };
                other.submit(vec![job]).await.unwrap();
                Instant::now()
            });
            assert!(waited(&mut watch, LONG).await < LONG / 2);
            delays.push(Instant::now().saturating_duration_since(submit.await.unwrap()));
        }
        delays.sort_unstable();
        assert!(delays[2] < Duration::from_millis(100), "{delays:?}");
    }

    #[tokio::test]
    async fn nothing_new_is_waited_for_until_the_limit() {
        let fixture = Fixture::new();
        fixture.queue.register(&worker("a")).await.unwrap();
        let mut watch = fixture.queue.watch(Interest::Anything);
        settle_down(&mut watch).await;
        assert!(fixture.claim("a").await.is_none(), "a claim that finds nothing is no change");
        let limit = Duration::from_millis(150);
        assert!(waited(&mut watch, limit).await >= limit);
    }
}
