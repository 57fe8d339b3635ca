//! The queue in a SQLite file: nothing to install, and safe against kill -9 and power loss.
//!
//! Each process has one thread that writes (`writer`), one for heartbeats, two that read (`reader`), so
//! that a long listing does not hold up a worker, and one that looks for other processes' commits
//! (`watch`). The file is in WAL mode, so all processes that use it must run on one machine; another mode
//! (`open`) lets them run on many.

mod act;
mod check;
mod claim;
mod columns;
#[cfg(test)]
pub(super) mod conformance;
mod export;
mod fault;
#[cfg(test)]
mod fixture;
mod forget;
mod import;
mod modules;
mod open;
mod outbox;
mod outcome;
#[cfg(test)]
mod processes;
mod records;
mod schema;
mod settle;
mod status;
mod submit;
mod syncer;
mod threads;
mod timings;
mod tubes;
mod upkeep;
mod watch;
mod workers;
mod writer;

pub use self::check::{Faults, Health};
pub use self::export::{ExportError, Exported};
pub use self::import::{ImportError, ImportFault, Imported};
pub use self::open::Sharing;
pub use self::upkeep::{Copied, OldBuried, QueueFile};

use self::fault::Fault;
use self::outcome::{Found, Parcel, Piece};
use self::settle::Settling;
use self::threads::{Changes, Pool, Reader};
use self::watch::{Subscription, Watcher};
use self::workers::{Locks, Loss, Pulse, Silence};
use self::writer::{Durable, Writer};
use super::{
    Acted, Action, Algorithm, Beat, Claimed, Cursor, Delivered, Delivery, Filter, Jobs, Lease, LogPiece, Modules,
    Outbox, Published, Queue, QueueError, Recalled, Report, Retention, Settled, Settlement, Status, Submission, Watch,
    Work, WorkerId,
};
use crate::job::{AlgorithmName, Decision, Digest, JobId, Record, Shape, Tube};
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As many jobs are acted on in one transaction.
const ACTED: usize = 1_000;
/// As many pieces of outcomes are looked at by one call of `forget`, of which the leftovers are deleted.
const SWEPT: usize = 1_000;
/// A piece is a leftover once its attempt has ended for so long, in milliseconds.
const LEFT_OVER: i64 = 3_600_000;
/// How often a module is written again whose pieces were swept meanwhile.
const TRIES: usize = 3;

/// The wall clock.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A queue in a SQLite file.
///
/// A clone is another handle on the same queue, and cheap. When the last handle is dropped, what was
/// accepted is finished and the file is closed.
#[derive(Clone)]
pub struct SqliteQueue {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    writer: Writer,
    /// For heartbeats, which must not wait for what the writer has to do.
    heart: Writer,
    /// For what a worker needs to know; all of it is quick.
    reader: Reader,
    /// For listings and the status.
    lister: Reader,
    /// For small results.
    pool: Pool,
    watcher: Watcher,
    changes: Arc<Changes>,
    silence: Silence,
    locks: Locks,
    sweep: Mutex<Sweep>,
    clock: Clock,
}

/// How far the sweeps of `forget` have come.
#[derive(Debug, Clone, Copy, Default)]
struct Sweep {
    jobs: forget::Reached,
    pieces: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteQueue {
    /// Opens the queue in the file at `path`, which is made, with its directory, if there is none.
    ///
    /// # Errors
    /// [`QueueError::Backend`], which names the file and says what to do, if the file is not a queue, was
    /// written by a newer version, or cannot be read and written; [`QueueError::Busy`] if it stays locked.
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
        let writer = Writer::start(open::writer(path, sharing)?, path, sharing, Arc::clone(&changes))?;
        let watcher = Watcher::start(open::reader(path, sharing)?, sharing, Arc::clone(&changes))?;
        let shared = Shared {
            path: path.to_owned(),
            writer,
            heart: Writer::start(open::writer(path, sharing)?, path, sharing, Arc::clone(&changes))?,
            reader: Reader::start(open::reader(path, sharing)?, path)?,
            lister: Reader::start(open::reader(path, sharing)?, path)?,
            pool: Pool::open(path, sharing)?,
            watcher,
            changes,
            silence: Silence::default(),
            locks: Locks::beside(path, sharing),
            sweep: Mutex::default(),
            clock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Jobs that servers of the old version may still have, `most` at most: the old version buried a done
    /// job, and deleted it once its result was published.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if they cannot be read.
    pub async fn old_buried(&self, most: usize) -> Result<Vec<OldBuried>, QueueError> {
        self.shared.reader.call(move |connection| upkeep::old_buried(connection, most)).await
    }

    fn now(&self) -> i64 {
        (self.shared.clock)().as_millisecond()
    }

    /// Runs `work`, which is about so many jobs, in the writing thread, with the time at which it runs.
    async fn write<T, F>(&self, jobs: usize, durable: Durable, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, Timestamp) -> Result<T, Fault> + Send + 'static,
    {
        let clock = Arc::clone(&self.shared.clock);
        self.shared.writer.call(jobs, durable, move |connection, _| work(connection, clock())).await
    }

    /// [`Work::take_over`] by any monotonic clock.
    async fn take_over_by(
        &self,
        clock: impl Fn() -> Instant + Send + Sync,
        worker: &WorkerId,
    ) -> Result<Vec<(Lease, Decision)>, QueueError> {
        let before = clock();
        let mut pulses = self.shared.reader.call(workers::pulses).await?;
        let mut silent = self.shared.silence.observe(&pulses, before, clock());
        pulses.retain(|pulse| pulse.start != worker.start);
        let mut taken = self.take_over_dead(&pulses).await?;
        silent.retain(|pulse| pulse.start != worker.start);
        let Some(shortest) = silent.iter().map(|pulse| pulse.lease).min() else { return Ok(taken) };
        let long = (shortest / 10).max(Duration::from_secs(1));
        let (asked, locked) =
            (Instant::now(), [self.shared.writer.locked().clone(), self.shared.heart.locked().clone()]);
        let lost = self.write(1, Durable::Now, move |connection, now| {
            // A long lock, of a transaction of a third process perhaps, kept heartbeats from the file too.
            // They come first, also if this was asked only just before the lock ended; the next call will
            // see.
            if asked.elapsed() > long || locked.iter().any(|locked| locked.is_just_over(long)) {
                return Ok(Vec::new());
            }
            let mut taken = Vec::new();
            for pulse in &silent {
                taken.extend(workers::take_over(connection, pulse, Loss::Silent, now.as_millisecond())?);
            }
            Ok(taken)
        });
        taken.extend(lost.await?);
        Ok(taken)
    }

    /// Ends the attempts of workers whose processes have ended, which their locks tell.
    async fn take_over_dead(&self, pulses: &[Pulse]) -> Result<Vec<(Lease, Decision)>, QueueError> {
        let dead = self.shared.locks.dead(pulses);
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let lost: Vec<Pulse> = dead.iter().map(|(pulse, _)| pulse.clone()).collect();
        let taken = self.write(1, Durable::Now, move |connection, now| {
            let mut taken = Vec::new();
            for pulse in &lost {
                taken.extend(workers::take_over(connection, pulse, Loss::Dead, now.as_millisecond())?);
            }
            Ok(taken)
        });
        let taken = taken.await?;
        for (pulse, file) in dead {
            self.shared.locks.remove(pulse.start);
            drop(file);
        }
        Ok(taken)
    }

    /// Writes what does not fit into the row of an outcome; whether the attempt may still be settled.
    async fn keep_pieces(&self, worker: &WorkerId, lease: &Lease, settlement: &Settlement) -> Result<bool, QueueError> {
        for (kind, whole) in outcome::large(&settlement.outcome) {
            let mut place = 0;
            while let Some(piece) = Piece::at(kind, whole, place).await {
                let (worker, lease) = (worker.clone(), lease.clone());
                let work = move |connection: &Connection, _| settle::keep_piece(connection, &worker, &lease, &piece);
                if !self.write(1, Durable::Later, work).await? {
                    return Ok(false);
                }
                place += 1;
            }
        }
        Ok(true)
    }

    /// Deletes jobs that ended too long ago, a part at a time.
    async fn forget_jobs(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        // Where no worker runs, no other process would write down that they have expired.
        self.write(1, Durable::Now, |connection, now| claim::cancel_expired(connection, now.as_millisecond())).await?;
        let (mut reached, mut forgotten) = (lock(&self.shared.sweep).jobs, 0);
        while forgotten < most
            && let Some(sought) = reached.sought(retention, self.now())
        {
            let (from, left) = (reached, most - forgotten);
            let look = move |connection: &Connection| sought.look(connection, from, left);
            let (found, last) = self.shared.lister.call(look).await?;
            let (found, mut next) = (Arc::<[i64]>::from(found), 0);
            while next < found.len() {
                let (places, from) = (Arc::clone(&found), next);
                let remove = move |connection: &Connection, _| sought.remove(connection, &places[from..]);
                // A loss of power undoes it, and the next sweep does it again.
                let (removed, looked_at) = self.write(usize::MAX, Durable::Soon, remove).await?;
                (forgotten, next) = (forgotten + removed, next + looked_at);
            }
            reached = last;
        }
        lock(&self.shared.sweep).jobs = if forgotten < most { forget::Reached::default() } else { reached };
        Ok(forgotten)
    }

    /// Deletes some of what is left of outcomes and modules that came to nothing.
    async fn sweep_leftovers(&self) -> Result<(), QueueError> {
        let after = lock(&self.shared.sweep).pieces;
        let reached = self.write(1, Durable::Now, move |connection, now| {
            modules::sweep(connection)?;
            outcome::sweep(connection, after, SWEPT, now.as_millisecond().saturating_sub(LEFT_OVER))
        });
        let reached = reached.await?;
        lock(&self.shared.sweep).pieces = reached;
        Ok(())
    }

    /// Whether a module is here, with the bytes that its digest says.
    async fn has_module(&self, digest: Digest) -> Result<bool, QueueError> {
        let bytes = self.module(digest).await?;
        Ok(bytes.is_some_and(|bytes| Digest::of(bytes) == digest))
    }
}

#[async_trait]
impl Work for SqliteQueue {
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.shared.locks.take(worker.start);
        let shared = Arc::clone(&self.shared);
        let registered = worker.clone();
        self.write(1, Durable::Now, move |connection, now| {
            let boot = shared.locks.boot(registered.start);
            workers::beat(connection, &registered, boot, &[], now.as_millisecond())
        })
        .await?;
        let pulses = self.shared.reader.call(workers::pulses).await?;
        self.shared.locks.sweep(&pulses);
        Ok(())
    }

    /// A claim whose future is dropped before it is ready may leave jobs leased; the next heartbeat tells
    /// of them.
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        let (shared, worker, tubes) = (Arc::clone(&self.shared), worker.clone(), tubes.to_vec());
        self.write(1, Durable::Soon, move |connection, now| {
            let boot = shared.locks.boot(worker.start);
            claim::claim(connection, &worker, boot, &tubes, most, now.as_millisecond())
        })
        .await
    }

    async fn beat(&self, worker: &WorkerId, held: &[Lease]) -> Result<Beat, QueueError> {
        let (shared, beating, held) = (Arc::clone(&self.shared), worker.clone(), held.to_vec());
        self.shared
            .heart
            .call_unless_locked(worker.lease / 4, move |connection, _| {
                let boot = shared.locks.boot(beating.start);
                workers::beat(connection, &beating, boot, &held, (shared.clock)().as_millisecond())
            })
            .await
    }

    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        let (worker, leases) = (worker.clone(), leases.to_vec());
        self.shared.reader.call(move |connection| workers::recalled(connection, &worker, &leases)).await
    }

    async fn put_back(&self, worker: &WorkerId, leases: &[Lease]) -> Result<(), QueueError> {
        let (worker, leases) = (worker.clone(), leases.to_vec());
        self.write(1, Durable::Now, move |connection, now| {
            workers::put_back(connection, &worker, &leases, now.as_millisecond())
        })
        .await
    }

    async fn report(&self, worker: &WorkerId, reports: Vec<Report>) -> Result<(), QueueError> {
        let worker = worker.clone();
        self.write(1, Durable::Later, move |connection, _| settle::report(connection, &worker, &reports)).await
    }

    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<Settled, QueueError> {
        let parcel = Parcel::pack(&settlement.outcome).await;
        let has_pieces = parcel.has_pieces();
        if has_pieces {
            // If it may not be settled any more, the settle itself says why.
            self.keep_pieces(worker, lease, &settlement).await?;
        }
        let (holder, held, clock) = (worker.clone(), lease.clone(), Arc::clone(&self.shared.clock));
        let work = move |connection: &Connection, tally: &mut _| {
            let Settlement { verdict, decision, usage, outcome: _ } = &settlement;
            let settling = Settling { verdict, decision: *decision, usage: *usage, parcel: &parcel };
            settle::settle(connection, tally, &holder, &held, &settling, clock().as_millisecond())
        };
        let settled = self.shared.writer.call(1, Durable::Now, work).await?;
        if has_pieces && settled == Settled::Stale {
            let lease = lease.clone();
            self.write(1, Durable::Later, move |connection, _| settle::drop_pieces(connection, &lease)).await?;
        }
        Ok(settled)
    }

    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        self.take_over_by(Instant::now, worker).await
    }

    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        let (worker, tubes, now) = (worker.clone(), tubes.to_vec(), self.now());
        self.shared.reader.call(move |connection| status::has_work(connection, &worker, &tubes, now)).await
    }

    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let leaving = worker.clone();
        self.write(1, Durable::Now, move |connection, now| {
            workers::unregister(connection, &leaving, now.as_millisecond())
        })
        .await?;
        self.shared.locks.release(worker.start);
        Ok(())
    }
}

#[async_trait]
impl Jobs for SqliteQueue {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        let jobs = submit::prepare(jobs);
        self.write(jobs.len(), Durable::Now, move |connection, now| submit::submit(connection, &jobs, now)).await
    }

    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        let now = self.now();
        self.shared.reader.call(move |connection| records::find(connection, id, now)).await
    }

    /// A small document is read on the calling thread, by one statement.
    async fn result(&self, id: JobId, attempt: Option<u32>) -> Result<Option<Published>, QueueError> {
        let here = self.shared.pool.try_here(|connection| outcome::result(connection, id, attempt, outcome::SMALL));
        match here.transpose().map_err(|fault| fault.at(&self.shared.path))? {
            Some(Found::None) => return Ok(None),
            Some(Found::Here(published)) => return Ok(Some(published)),
            Some(Found::Larger) | None => {}
        }
        let read = move |connection: &Connection| outcome::result(connection, id, attempt, usize::MAX);
        match self.shared.lister.call(read).await? {
            Found::Here(published) => Ok(Some(published)),
            Found::None | Found::Larger => Ok(None),
        }
    }

    async fn log(&self, id: JobId, attempt: u32, from: u64) -> Result<Option<LogPiece>, QueueError> {
        self.shared.lister.call(move |connection| outcome::log(connection, id, attempt, from)).await
    }

    /// A page may end before `limit` if its documents are large; what comes with it is where to go on.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        let (filter, now) = (filter.clone(), self.now());
        self.shared.lister.call(move |connection| records::list(connection, &filter, after, limit, now)).await
    }

    async fn status(&self) -> Result<Status, QueueError> {
        let now = self.now();
        self.shared.lister.call(move |connection| status::status(connection, now)).await
    }

    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        let mut acted = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ACTED) {
            let (jobs, ids, action) = (ids.len(), ids.to_vec(), action.clone());
            let work = move |connection: &Connection, now| act::act(connection, &ids, &action, now);
            acted.extend(self.write(jobs, Durable::Now, work).await?);
        }
        Ok(acted)
    }

    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        let tube = tube.clone();
        self.write(1, Durable::Now, move |connection, now| tubes::pause(connection, &tube, until, now)).await
    }

    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        let tube = tube.clone();
        self.write(1, Durable::Now, move |connection, now| tubes::resume(connection, &tube, now.as_millisecond())).await
    }

    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.sweep_leftovers().await?;
        self.forget_jobs(retention, most).await
    }

    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        self.shared.lister.call(move |connection| forget::forgotten(connection, after, most)).await
    }
}

#[async_trait]
impl Outbox for SqliteQueue {
    async fn deliveries(&self, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        let now = self.now();
        // Rarely is there anything, and asking that keeps no writer waiting.
        if !self.shared.reader.call(move |connection| outbox::is_due(connection, now)).await? {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        loop {
            let room = most - taken.len();
            let take = move |connection: &Connection, now| outbox::take(connection, lease, room, now);
            let unreadable = match self.write(1, Durable::Now, take).await {
                Ok((found, unreadable)) => {
                    taken.extend(found);
                    unreadable
                }
                // Those that were taken are to be sent; the next call tells of the trouble.
                Err(_) if !taken.is_empty() => 0,
                Err(error) => return Err(error),
            };
            if taken.len() == most || unreadable == 0 {
                return Ok(taken);
            }
        }
    }

    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        let delivery = delivery.clone();
        self.write(1, Durable::Now, move |connection, now| outbox::end(connection, &delivery, &outcome, now)).await
    }
}

#[async_trait]
impl Modules for SqliteQueue {
    async fn add(&self, name: &AlgorithmName, shape: Shape, bytes: Vec<u8>) -> Result<Algorithm, QueueError> {
        let (digest, size, bytes) = (Digest::of(&bytes), bytes.len(), Arc::<[u8]>::from(bytes));
        let mut is_kept = self.has_module(digest).await?;
        for _ in 0..TRIES {
            if is_kept {
                break;
            }
            for place in 0..size.div_ceil(modules::PIECE) {
                let bytes = Arc::clone(&bytes);
                let work = move |connection: &Connection, _| {
                    let from = place * modules::PIECE;
                    modules::keep_piece(connection, digest, place, &bytes[from..size.min(from + modules::PIECE)])
                };
                self.write(1, Durable::Later, work).await?;
            }
            is_kept = self
                .write(1, Durable::Now, move |connection, _| modules::keep(connection, digest, shape, size))
                .await?;
        }
        if !is_kept {
            let what = "the module's pieces were deleted while it was written; try again";
            return Err(Fault::Unusable(what.to_owned()).at(&self.shared.path));
        }
        let name = name.clone();
        self.write(1, Durable::Now, move |connection, now| {
            modules::point(connection, &name, digest, now.as_millisecond())
        })
        .await
    }

    async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError> {
        self.shared.reader.call(modules::all).await
    }

    async fn algorithm(&self, name: &AlgorithmName) -> Result<Option<Algorithm>, QueueError> {
        let name = name.clone();
        self.shared.reader.call(move |connection| modules::find(connection, &name)).await
    }

    async fn remove(&self, name: &AlgorithmName) -> Result<bool, QueueError> {
        let name = name.clone();
        self.write(1, Durable::Now, move |connection, _| modules::remove(connection, &name)).await
    }

    async fn module(&self, digest: Digest) -> Result<Option<Vec<u8>>, QueueError> {
        self.shared.lister.call(move |connection| modules::bytes(connection, digest)).await
    }
}

impl Queue for SqliteQueue {
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Subscription::new(Arc::clone(&self.shared)))
    }
}
