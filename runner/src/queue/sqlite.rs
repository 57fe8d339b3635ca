//! The queue in a SQLite file: nothing to install, and safe against kill -9 and power loss.
//!
//! Each process has one thread that writes (`writer`), two that read (`reader`), so that a long listing does not
//! hold up a worker, and one that looks for other processes' commits (`watch`). The file is in WAL mode with full
//! synchronisation, so all processes that use it must run on one machine.

mod claim;
mod fault;
#[cfg(test)]
mod fixture;
mod lane;
#[cfg(test)]
mod model;
#[cfg(test)]
mod processes;
mod reader;
mod records;
mod schema;
mod settle;
mod status;
mod submit;
mod watch;
mod workers;
mod writer;

use self::fault::Fault;
use self::reader::Reader;
use self::watch::{Changes, Watcher};
use self::workers::Silence;
use self::writer::Writer;
use super::{Claimed, Cursor, Filter, Lease, Queue, QueueError, Settlement, Status, Submission, WorkerId};
use crate::job::{Decision, JobId, Progress, Record, Tube};
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The wall clock.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A queue in a SQLite file.
///
/// A clone is another handle on the same queue, and cheap. Give each loop that waits with
/// [`changed`](Queue::changed) a clone of its own: what a wait has seen belongs to the handle. When the last
/// handle is dropped, what was accepted is finished and the file is closed.
pub struct SqliteQueue {
    shared: Arc<Shared>,
    seen: Mutex<Seen>,
}

struct Shared {
    writer: Writer,
    /// For what a worker needs to know; all of it is quick.
    reader: Reader,
    /// For listings.
    lister: Reader,
    watcher: Watcher,
    changes: Arc<Changes>,
    silence: Mutex<Silence>,
    clock: Clock,
}

/// Up to where a handle's owner knows the queue.
#[derive(Clone, Copy)]
struct Seen {
    generation: u64,
    /// Jobs that were due at this time, in milliseconds, are known.
    due: i64,
}

impl Clone for SqliteQueue {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: Mutex::new(*lock(&self.seen)) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteQueue {
    /// Opens the queue in the file at `path`, which is made, with its directory, if there is none.
    ///
    /// # Errors
    /// [`QueueError::Backend`], which names the file and says what to do, if the file is not a queue, was written
    /// by a newer version, stays locked, or cannot be read and written.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        Self::open_with_clock(path, Arc::new(Timestamp::now))
    }

    fn open_with_clock(path: &Path, clock: Clock) -> Result<Self, QueueError> {
        Self::try_open(path, clock).map_err(|fault| fault.at(path))
    }

    fn try_open(path: &Path, clock: Clock) -> Result<Self, Fault> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| {
                Fault::Unusable(format!(
                    "its directory cannot be made ({error}); check the path and who may write there"
                ))
            })?;
        }
        let changes = Arc::new(Changes::new());
        let writer = Writer::start(schema::open_writer(path)?, path, Arc::clone(&changes))?;
        let watcher = Watcher::start(schema::open_reader(path)?, Arc::clone(&changes))?;
        let seen = Seen { generation: changes.generation(), due: clock().as_millisecond() };
        let shared = Shared {
            writer,
            reader: Reader::start(schema::open_reader(path)?, path)?,
            lister: Reader::start(schema::open_reader(path)?, path)?,
            watcher,
            changes,
            silence: Mutex::default(),
            clock,
        };
        Ok(Self { shared: Arc::new(shared), seen: Mutex::new(seen) })
    }

    /// Runs `work` in the writing thread, with the time at which it runs.
    async fn write<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    {
        let clock = Arc::clone(&self.shared.clock);
        self.shared.writer.call(move |connection| work(connection, clock())).await
    }

    fn seen_now(&self) -> Seen {
        Seen { generation: self.shared.changes.generation(), due: (self.shared.clock)().as_millisecond() }
    }

    /// [`Queue::take_over`] by any monotonic clock.
    async fn take_over_by(
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

#[async_trait]
impl Queue for SqliteQueue {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.write(move |connection, now| submit::submit(connection, jobs, now)).await
    }

    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.heartbeat(worker, &[]).await.map(drop)
    }

    /// A claim whose future is dropped before it is ready may leave a job leased, until
    /// [`unregister`](Queue::unregister) gives it back.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<Option<Claimed>, QueueError> {
        let before = self.seen_now();
        let (worker, tubes) = (worker.clone(), tubes.to_vec());
        let claimed =
            self.write(move |connection, now| claim::claim(connection, &worker, &tubes, now.as_millisecond())).await?;
        if claimed.is_none() {
            // Nothing that had changed by then is news any more; all that comes later is.
            let mut seen = lock(&self.seen);
            if before.generation >= seen.generation {
                *seen = before;
            }
        }
        Ok(claimed)
    }

    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        let (worker, leases) = (worker.clone(), leases.to_vec());
        self.write(move |connection, now| workers::heartbeat(connection, &worker, leases, now.as_millisecond())).await
    }

    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError> {
        let lease = lease.clone();
        self.write(move |connection, _| settle::progress(connection, &lease, &progress)).await
    }

    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError> {
        let (worker, lease) = (worker.clone(), lease.clone());
        self.write(move |connection, now| {
            settle::settle(connection, &worker, &lease, &settlement, now.as_millisecond())
        })
        .await
    }

    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        self.take_over_by(Instant::now, worker).await
    }

    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        let now = (self.shared.clock)().as_millisecond();
        self.shared.reader.call(move |connection| records::find(connection, id, now)).await
    }

    /// A page may end before `limit` if its documents are large; what comes with it is where to go on.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        let (filter, now) = (filter.clone(), (self.shared.clock)().as_millisecond());
        self.shared.lister.call(move |connection| records::list(connection, &filter, after, limit, now)).await
    }

    async fn status(&self) -> Result<Status, QueueError> {
        self.shared.reader.call(status::status).await
    }

    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        let (worker, tubes) = (worker.clone(), tubes.to_vec());
        self.shared.reader.call(move |connection| status::has_work(connection, &worker, &tubes)).await
    }

    /// Returns at once if something has changed, or a delayed job has become due, since the handle's last claim
    /// that found nothing, or since its last wait, whichever was later. So nothing is missed in between.
    async fn changed(&self, limit: Duration) {
        let seen = *lock(&self.seen);
        let _looking = self.shared.watcher.look();
        let due = self.shared.reader.call(move |connection| records::next_due(connection, seen.due)).await;
        let limit = match due {
            Ok(Some(due)) => {
                let wait = due.saturating_sub((self.shared.clock)().as_millisecond());
                limit.min(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
            }
            // If the queue cannot be read, the caller's next step will say so.
            Ok(None) | Err(_) => limit,
        };
        self.shared.changes.wait(seen.generation, limit).await;
        *lock(&self.seen) = self.seen_now();
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let worker = worker.clone();
        self.write(move |connection, now| workers::unregister(connection, &worker, now.as_millisecond())).await
    }
}
