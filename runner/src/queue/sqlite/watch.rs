//! Waking up those who wait for a change, through whatever process it comes.
//!
//! This process's own commits are announced by its writer. Those of other processes are seen in SQLite's
//! `data_version`, which one thread reads again and again, but only while somebody waits.

use super::fault::{Fault, no_thread};
use super::open::Sharing;
use super::threads::Changes;
use super::{Shared, tubes};
use crate::queue::Watch;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often other processes' commits are looked for.
const PERIOD: Duration = Duration::from_millis(10);
/// The same where each look is three requests to a file server, and keeps others from committing meanwhile.
const SHARED_PERIOD: Duration = Duration::from_millis(100);

const NEXT_DUE: &str = "
    SELECT ready_at FROM jobs INDEXED BY jobs_delayed
    WHERE state = 'delayed' AND ready_at > ?1
    ORDER BY ready_at LIMIT 1";

/// The thread that looks for other processes' commits.
pub(super) struct Watcher {
    wanted: Arc<Wanted>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Wanted {
    demand: Mutex<Demand>,
    changed: Condvar,
}

#[derive(Default)]
struct Demand {
    waiting: usize,
    closed: bool,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as this lives, the thread looks.
pub(super) struct Waiting(Arc<Wanted>);

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
        let wanted = Arc::new(Wanted::default());
        let watched = Arc::clone(&wanted);
        let thread = std::thread::Builder::new()
            .name("queue-watcher".to_owned())
            .spawn(move || watch(&connection, version, period, &watched, &changes))
            .map_err(|error| no_thread(&error))?;
        Ok(Self { wanted, thread: Some(thread) })
    }

    /// Has the thread look, first of all for what came since it last did.
    pub(super) fn look(&self) -> Waiting {
        self.wanted.lock().waiting += 1;
        self.wanted.changed.notify_one();
        Waiting(Arc::clone(&self.wanted))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.wanted.lock().closed = true;
        self.wanted.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn data_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn watch(connection: &Connection, mut version: i64, period: Duration, wanted: &Wanted, changes: &Changes) {
    loop {
        let idle = |demand: &mut Demand| demand.waiting == 0 && !demand.closed;
        let demand = wanted.changed.wait_while(wanted.lock(), idle).unwrap_or_else(PoisonError::into_inner);
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
        let demand = wanted.lock();
        if !demand.closed {
            let _ = wanted.changed.wait_timeout(demand, period);
        }
    }
}

/// When the next job becomes due that was not due at `after`, or the next pause ends that had not ended
/// then.
fn next_due(connection: &Connection, after: i64) -> Result<Option<i64>, Fault> {
    let job = connection.prepare_cached(NEXT_DUE)?.query_row([after], |row| row.get(0)).optional()?;
    Ok(job.into_iter().chain(tubes::next_end(connection, after)?).min())
}

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
        let due = self.shared.reader.call(move |connection| next_due(connection, known)).await;
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

#[cfg(test)]
mod tests {
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Jobs, Queue, Submission, Watch, Work};
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
        let mut watch = fixture.queue.watch();
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
        let mut watch = fixture.queue.watch();
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
        let mut watch = fixture.queue.watch();
        settle_down(&mut watch).await;
        assert!(fixture.claim("a").await.is_none(), "a claim that finds nothing is no change");
        let limit = Duration::from_millis(150);
        assert!(waited(&mut watch, limit).await >= limit);
    }

    #[test]
    fn the_next_due_job_is_the_first_in_an_index() {
        let plan = Fixture::new().plan(super::NEXT_DUE);
        assert!(plan.contains("jobs USING COVERING INDEX jobs_delayed (ready_at>?)"), "{plan}");
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
    }
}
