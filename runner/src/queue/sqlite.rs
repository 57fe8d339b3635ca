//! The queue in a SQLite file: nothing to install, and safe against kill -9 and power loss.
//!
//! Each process has one thread that writes (`writer`), two that read (`reader`), so that a long listing does not
//! hold up a worker, and one that looks for other processes' commits (`watch`). The file is in WAL mode with full
//! synchronisation, so all processes that use it must run on one machine; another mode (`sharing`) lets them run on
//! many.

mod act;
mod admit;
mod backup;
mod begun;
mod check;
mod claim;
#[cfg(test)]
pub(super) mod conformance;
mod deliveries;
mod doubt;
mod export;
mod fault;
mod file;
#[cfg(test)]
mod fixture;
mod forget;
mod import;
mod lane;
mod ledger;
mod line;
mod locked;
mod open;
mod place;
#[cfg(test)]
mod processes;
mod reader;
mod records;
mod schema;
mod settle;
mod sharing;
mod status;
mod submit;
mod subscription;
mod timings;
mod tubes;
mod watch;
mod workers;
mod writer;

pub use self::file::{Copied, ExportError, Exported, Faults, Health, ImportError, ImportFault, Imported, QueueFile};
pub(in crate::queue) use self::ledger::{Counts, Entry, Intent, Kind, Ledger, Place, Ruling, Sighting, Unended};
pub use self::sharing::Sharing;

use self::begun::Begun;
use self::doubt::Doubtful;
use self::fault::Fault;
use self::forget::{Sweep, Whose};
use self::reader::Reader;
use self::subscription::Subscription;
use self::timings::Tally;
use self::watch::{Changes, Watcher};
use self::workers::Silence;
use self::writer::Writer;
use super::{
    Acted, Action, Claimed, Cursor, Delivered, Delivery, Filter, Interest, Lease, Queue, QueueError, Recalled,
    Retention, Settlement, Status, Submission, Watch, WorkerId,
};
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
/// A clone is another handle on the same queue, and cheap. When the last handle is dropped, what was accepted is
/// finished and the file is closed.
#[derive(Clone)]
pub struct SqliteQueue {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Writer,
    /// For what a worker needs to know; all of it is quick.
    reader: Reader,
    /// For listings and the status.
    lister: Reader,
    watcher: Watcher,
    changes: Arc<Changes>,
    silence: Mutex<Silence>,
    begun: Arc<Begun>,
    doubtful: Arc<Doubtful>,
    sweep: Sweep,
    clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteQueue {
    /// Opens the queue in the file at `path`, which is made, with its directory, if there is none.
    ///
    /// # Errors
    /// [`QueueError::Backend`], which names the file and says what to do, if the file is not a queue, was written
    /// by a newer version, or cannot be read and written; [`QueueError::Busy`] if it stays locked.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        Self::open_as(path, Sharing::OneMachine)
    }

    /// The same for a file that is used in this way by all who use it.
    ///
    /// # Errors
    /// The same, and if others use it in another way, or if it cannot be used in this way where it lies.
    pub fn open_as(path: &Path, sharing: Sharing) -> Result<Self, QueueError> {
        Self::open_with_clock(path, sharing, Arc::new(Timestamp::now))
    }

    fn open_with_clock(path: &Path, sharing: Sharing, clock: Clock) -> Result<Self, QueueError> {
        Self::try_open(path, sharing, clock).map_err(|fault| fault.at(path))
    }

    fn try_open(path: &Path, sharing: Sharing, clock: Clock) -> Result<Self, Fault> {
        open::make_directory(path)?;
        let changes = Arc::new(Changes::new());
        let writer = Writer::start(open::writer(path, sharing)?, path, Arc::clone(&changes))?;
        let watcher = Watcher::start(open::reader(path, sharing)?, sharing, Arc::clone(&changes))?;
        let shared = Shared {
            writer,
            reader: Reader::start(open::reader(path, sharing)?, path)?,
            lister: Reader::start(open::reader(path, sharing)?, path)?,
            watcher,
            changes,
            silence: Mutex::default(),
            begun: Arc::new(Begun::beside(path, sharing)),
            doubtful: Arc::default(),
            sweep: Sweep::new(Whose::Own),
            clock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs `work` in the writing thread, with the time at which it runs.
    async fn write<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    {
        self.write_for(1, work).await
    }

    /// The same for work on so many jobs.
    async fn write_for<T, F>(&self, jobs: usize, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    {
        let clock = Arc::clone(&self.shared.clock);
        self.shared.writer.call_for(jobs, move |connection| work(connection, clock())).await
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        let jobs = submit::prepare(jobs);
        self.write_for(jobs.len(), move |connection, now| submit::submit(connection, &jobs, now)).await
    }

    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let (registered, marks) = (worker.clone(), self.shared.begun.files());
        self.write(move |connection, now| workers::heartbeat(connection, &registered, &[], now.as_millisecond()))
            .await?;
        self.keep_marks(worker.start, marks).await
    }

    /// A claim whose future is dropped before it is ready may leave jobs leased, until
    /// [`unregister`](Queue::unregister) gives them back.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        doubt::claim(self, worker, tubes, most).await
    }

    fn begin(&self, worker: &WorkerId, lease: &Lease) {
        self.shared.begun.begin(worker.start, lease);
    }

    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        let (beating, leases) = (worker.clone(), leases.to_vec());
        self.beat(worker, move |connection, now| {
            workers::heartbeat(connection, &beating, &leases, now.as_millisecond())
        })
        .await
    }

    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        let (worker, leases) = (worker.clone(), leases.to_vec());
        self.shared.reader.call(move |connection| workers::recalled(connection, &worker, &leases)).await
    }

    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError> {
        let lease = lease.clone();
        self.write(move |connection, _| settle::progress(connection, &lease, &progress)).await
    }

    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError> {
        let (holder, held, clock) = (worker.clone(), lease.clone(), Arc::clone(&self.shared.clock));
        let work = move |connection: &rusqlite::Connection, tally: &mut Tally| {
            settle::settle(connection, tally, &holder, &held, &settlement, clock().as_millisecond())
        };
        let settled = self.shared.writer.call_and_count(work).await;
        if let Ok(()) | Err(QueueError::Stale { .. }) = settled {
            self.shared.begun.end(worker.start, lease);
        }
        settled
    }

    async fn give_back(&self, worker: &WorkerId, claimed: &Claimed) -> Result<(), QueueError> {
        doubt::give_back(self, worker, &claimed.lease).await
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
        let now = (self.shared.clock)().as_millisecond();
        self.shared.lister.call(move |connection| status::status(connection, now)).await
    }

    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        let (worker, tubes, now) = (worker.clone(), tubes.to_vec(), (self.shared.clock)().as_millisecond());
        self.shared.reader.call(move |connection| status::has_work(connection, &worker, &tubes, now)).await
    }

    /// What interests anybody and what interests a worker are told by the same commits.
    fn watch(&self, _interest: Interest) -> Box<dyn Watch> {
        Box::new(Subscription::new(Arc::clone(&self.shared)))
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        // If that fails, they are ended like all else that the worker holds.
        let _ = doubt::undo(self).await;
        let leaving = worker.clone();
        self.write(move |connection, now| workers::unregister(connection, &leaving, now.as_millisecond())).await?;
        self.shared.begun.forget(worker.start);
        Ok(())
    }

    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        let (ids, action) = (ids.to_vec(), action.clone());
        self.write_for(ids.len(), move |connection, now| act::act(connection, &ids, &action, now)).await
    }

    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        let tube = tube.clone();
        self.write(move |connection, now| tubes::pause(connection, &tube, until, now)).await
    }

    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        let tube = tube.clone();
        self.write(move |connection, now| tubes::resume(connection, &tube, now.as_millisecond())).await
    }

    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.shared.sweep.forget(self, retention, most).await
    }

    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        self.shared.lister.call(move |connection| forget::forgotten(connection, after, most)).await
    }

    async fn deliveries(&self, worker: &WorkerId, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        deliveries::take_due(self, worker.home.store, lease, most).await
    }

    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        let delivery = delivery.clone();
        self.write(move |connection, now| deliveries::end(connection, &delivery, &outcome, now)).await
    }
}
