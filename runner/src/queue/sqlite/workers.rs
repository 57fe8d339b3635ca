//! Workers: their heartbeats, and what becomes of their attempts when these stop.
//!
//! A contender takes over the attempts of a worker whose heartbeat it has itself seen unchanged for a whole
//! lease, by its own monotonic clock. Of a worker on the same machine it knows earlier: each start holds a
//! lock on a file of its own beside the queue's, and the system lets go of that when the process ends. A
//! stopped process keeps its lock.

use super::columns::millis;
use super::fault::Fault;
use super::open::{self, Sharing};
use super::settle::{self, Ending};
use crate::job::{Decision, JobId, Standing, Verdict, decide};
use crate::queue::{Beat, Lease, Recalled, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a new lock is tried for: another process may be looking whether it is taken.
const TRIES: u32 = 50;

/// A counter starts at a random number, so a worker that returns after a takeover is not mistaken for a
/// silent one.
const ENSURE: &str = "
    INSERT OR IGNORE INTO workers (start, name, started_at, lease_ms, public_url, boot, beat)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, random() >> 1)";

const BEAT: &str = "UPDATE workers SET beat = beat + 1 WHERE start = ?1";

const PULSES: &str = "SELECT start, beat, lease_ms, boot FROM workers";

const HELD: &str = "SELECT id, attempts FROM jobs WHERE worker = ?1";

const IS_CANCELLED: &str = "SELECT state = 'cancelled' AND attempts = ?2 FROM jobs WHERE id = ?1";

const RUNNING: &str = "
    SELECT seq, id, attempts, uncounted, max_attempts, kicks, seed_pinned FROM jobs WHERE worker = ?1 ORDER BY seq";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker's heartbeat, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) start: JobId,
    pub(super) count: i64,
    /// How long the worker's leases last.
    pub(super) lease: Duration,
    /// The boot of the machine on which it holds a lock.
    pub(super) boot: Option<String>,
}

/// What this process has seen of the workers' heartbeats, by its own monotonic clock. No other clock, and
/// no wall clock, counts.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<HashMap<JobId, (i64, Instant)>>);

impl Silence {
    /// Takes note of all heartbeats, read between `before` and `after`, and returns those that have been
    /// the same for as long as a lease of their worker lasts.
    pub(super) fn observe(&self, pulses: &[Pulse], before: Instant, after: Instant) -> Vec<Pulse> {
        let mut known = lock(&self.0);
        known.retain(|start, _| pulses.iter().any(|pulse| pulse.start == *start));
        let mut silent = Vec::new();
        for pulse in pulses {
            let seen = known.entry(pulse.start).or_insert((pulse.count, after));
            if seen.0 != pulse.count {
                *seen = (pulse.count, after);
            } else if before.saturating_duration_since(seen.1) >= pulse.lease {
                silent.push(pulse.clone());
            }
        }
        silent
    }
}

/// The locks by which processes of one machine know of each other's ends: a file for each start.
#[derive(Debug)]
pub(super) struct Locks {
    /// None where locks are not to be relied on.
    directory: Option<PathBuf>,
    boot: Option<String>,
    held: Mutex<HashMap<JobId, File>>,
}

impl Locks {
    /// Those beside the queue's file at `path`.
    pub(super) fn beside(path: &Path, sharing: Sharing) -> Self {
        let mut directory = OsString::from(path);
        directory.push(".workers");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|boot| boot.trim().to_owned()).filter(|boot| !boot.is_empty());
        let reliable = sharing == Sharing::OneMachine && boot.is_some() && !open::is_on_network(path);
        let directory = reliable.then(|| PathBuf::from(directory));
        Self { directory, boot, held: Mutex::default() }
    }

    fn file(&self, start: JobId) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(start.hex()))
    }

    /// Takes the lock of a start. Without one, its lease decides.
    pub(super) fn take(&self, start: JobId) {
        let Some(path) = self.file(start) else { return };
        let mut held = lock(&self.held);
        if held.contains_key(&start) {
            return;
        }
        match locked(&path) {
            Ok(file) => drop(held.insert(start, file)),
            Err(error) => tracing::warn!("{} cannot be locked: {error}", path.display()),
        }
    }

    /// The boot to record with a start, if its lock is held here.
    pub(super) fn boot(&self, start: JobId) -> Option<&str> {
        lock(&self.held).contains_key(&start).then_some(self.boot.as_deref()).flatten()
    }

    /// Lets go of the lock of a start that is no longer recorded.
    pub(super) fn release(&self, start: JobId) {
        if let Some(file) = lock(&self.held).remove(&start) {
            self.remove(start);
            drop(file);
        }
    }

    /// Removes the file of a start whose lock is held here, or was.
    pub(super) fn remove(&self, start: JobId) {
        if let Some(path) = self.file(start) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The workers whose processes have ended, with their locks. A file that is missing says nothing.
    pub(super) fn dead(&self, pulses: &[Pulse]) -> Vec<(Pulse, File)> {
        let here = |pulse: &&Pulse| pulse.boot.is_some() && pulse.boot == self.boot;
        let dead = pulses.iter().filter(here).filter_map(|pulse| {
            let file = File::open(self.file(pulse.start)?).ok()?;
            file.try_lock().ok()?;
            Some((pulse.clone(), file))
        });
        dead.collect()
    }

    /// Removes files of starts that are not recorded and that nobody holds.
    pub(super) fn sweep(&self, pulses: &[Pulse]) {
        let Some(directory) = &self.directory else { return };
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let start = entry.file_name().to_str().and_then(|name| name.parse::<JobId>().ok());
            if start.is_some_and(|start| pulses.iter().all(|pulse| pulse.start != start))
                && let Ok(file) = File::open(entry.path())
                && file.try_lock().is_ok()
            {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Makes a file and locks it; another process may remove it just then, which takes it for one that was left
/// over.
fn locked(path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let taken = file.try_lock();
        let is_there =
            || std::fs::metadata(path).is_ok_and(|found| file.metadata().is_ok_and(|own| own.ino() == found.ino()));
        match taken {
            Ok(()) if is_there() => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
            Ok(()) | Err(std::fs::TryLockError::WouldBlock) if tries == TRIES => {
                return Err(io::Error::other("another process holds it"));
            }
            Ok(()) | Err(std::fs::TryLockError::WouldBlock) => {}
        }
        tries += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes sure that a worker is known.
pub(super) fn ensure(connection: &Connection, worker: &WorkerId, boot: Option<&str>, now: i64) -> Result<(), Fault> {
    connection.prepare_cached(ENSURE)?.execute((
        worker.start.as_bytes(),
        &worker.name,
        now,
        millis(worker.lease),
        worker.public_url.as_ref().map(url::Url::as_str),
        boot,
    ))?;
    Ok(())
}

/// Beats once, and compares the worker's leases with those that it holds.
pub(super) fn beat(
    connection: &Connection,
    worker: &WorkerId,
    boot: Option<&str>,
    held: &[Lease],
    now: i64,
) -> Result<Beat, Fault> {
    // A worker that was given up for dead is known no more, and registers again.
    ensure(connection, worker, boot, now)?;
    connection.prepare_cached(BEAT)?.execute([worker.start.as_bytes()])?;
    let leases = leases(connection, worker.start)?;
    let known: HashSet<&Lease> = held.iter().collect();
    let unheld = leases.iter().filter(|lease| !known.contains(lease)).cloned().collect();
    Ok(Beat { recalled: missing(connection, &leases, held)?, unheld })
}

/// Those of `held` that are no longer the worker's.
pub(super) fn recalled(connection: &Connection, worker: &WorkerId, held: &[Lease]) -> Result<Vec<Recalled>, Fault> {
    missing(connection, &leases(connection, worker.start)?, held)
}

/// What a worker runs, as the queue has it.
fn leases(connection: &Connection, start: JobId) -> Result<Vec<Lease>, Fault> {
    let mut statement = connection.prepare_cached(HELD)?;
    let mut rows = statement.query([start.as_bytes()])?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        // A row that cannot be read is no lease that anybody could have.
        if let (Ok(id), Ok(attempt)) = (row.get(0), row.get(1)) {
            leases.push(Lease { id: JobId::from_bytes(id), attempt });
        }
    }
    Ok(leases)
}

fn missing(connection: &Connection, leases: &[Lease], held: &[Lease]) -> Result<Vec<Recalled>, Fault> {
    let leases: HashSet<&Lease> = leases.iter().collect();
    let mut recalled = Vec::new();
    for lease in held.iter().filter(|lease| !leases.contains(lease)) {
        let cancelled = connection
            .prepare_cached(IS_CANCELLED)?
            .query_row((lease.id.as_bytes(), lease.attempt), |row| row.get(0))
            .optional()?;
        // A job that was deleted had ended before, and no other worker gets it.
        recalled.push(Recalled { lease: lease.clone(), cancelled: cancelled.unwrap_or(true) });
    }
    Ok(recalled)
}

/// All workers' heartbeats.
pub(super) fn pulses(connection: &Connection) -> Result<Vec<Pulse>, Fault> {
    let mut statement = connection.prepare_cached(PULSES)?;
    let pulses = statement.query_map([], |row| {
        let lease = Duration::from_millis(row.get(2)?);
        Ok(Pulse { start: JobId::from_bytes(row.get(0)?), count: row.get(1)?, lease, boot: row.get(3)? })
    })?;
    Ok(pulses.collect::<Result<_, _>>()?)
}

/// Why a worker's attempts are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It has not beaten for a whole lease.
    Silent,
    /// Its process has ended.
    Dead,
}

/// Ends the attempts of a worker that was lost, unless it has beaten since.
pub(super) fn take_over(
    connection: &Connection,
    lost: &Pulse,
    loss: Loss,
    now: i64,
) -> Result<Vec<(Lease, Decision)>, Fault> {
    let name: Option<String> = connection
        .prepare_cached("SELECT name FROM workers WHERE start = ?1 AND (beat = ?2 OR ?3)")?
        .query_row((lost.start.as_bytes(), lost.count, loss == Loss::Dead), |row| row.get(0))
        .optional()?;
    let Some(name) = name else { return Ok(Vec::new()) };
    let message = match loss {
        Loss::Silent => {
            format!("worker {name} was not heard of for {} s; its lease has run out", lost.lease.as_secs_f64())
        }
        Loss::Dead => format!("the process of worker {name} has ended"),
    };
    let taken = end_all(connection, lost.start, &Verdict::Lost { message }, now)?;
    strike_off(connection, lost.start)?;
    Ok(taken)
}

/// Strikes a worker off. What it has not settled ends as interrupted.
pub(super) fn unregister(connection: &Connection, worker: &WorkerId, now: i64) -> Result<(), Fault> {
    let message = format!("worker {} has stopped", worker.name);
    end_all(connection, worker.start, &Verdict::Interrupted { message }, now)?;
    strike_off(connection, worker.start)
}

/// Ends attempts that their worker knows nothing of, as interrupted.
pub(super) fn put_back(connection: &Connection, worker: &WorkerId, leases: &[Lease], now: i64) -> Result<(), Fault> {
    let message = format!("worker {} was not told of this attempt", worker.name);
    let verdict = &Verdict::Interrupted { message };
    for lease in leases {
        if let Some(seq) = settle::leased(connection, worker, lease)? {
            let decision = Decision::Retry(Duration::ZERO);
            let attempt = lease.attempt;
            let ending = Ending { attempt, verdict, decision, usage: None, published: false, never_started: true };
            settle::end_attempt(connection, seq, &ending, now)?;
        }
    }
    Ok(())
}

fn strike_off(connection: &Connection, start: JobId) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM workers WHERE start = ?1")?.execute([start.as_bytes()])?;
    Ok(())
}

/// Ends what a worker runs.
fn end_all(
    connection: &Connection,
    start: JobId,
    verdict: &Verdict,
    now: i64,
) -> Result<Vec<(Lease, Decision)>, Fault> {
    let mut statement = connection.prepare_cached(RUNNING)?;
    let standing = |row: &Row<'_>| -> rusqlite::Result<_> {
        let lease = Lease { id: JobId::from_bytes(row.get(1)?), attempt: row.get(2)? };
        let standing = Standing {
            attempts: lease.attempt.saturating_sub(row.get(3)?),
            granted: settle::granted(row.get(4)?, row.get(5)?),
            seed_pinned: row.get(6)?,
        };
        Ok((lease, standing))
    };
    let running = statement.query_map([start.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, standing(row))))?;
    let mut ended = Vec::new();
    for (seq, found) in running.collect::<Result<Vec<_>, _>>()? {
        let (lease, standing) = match found.map_err(Fault::from) {
            Ok(found) => found,
            // It must not keep the others from being taken over.
            Err(fault) if fault.is_of_a_row() => {
                settle::bury(connection, seq, &fault, now)?;
                continue;
            }
            Err(fault) => return Err(fault),
        };
        // No such verdict makes a job wait, so there is nothing to jitter.
        let decision = decide(verdict, standing, 0.0);
        let attempt = lease.attempt;
        let ending = Ending { attempt, verdict, decision, usage: None, published: false, never_started: false };
        settle::end_attempt(connection, seq, &ending, now)?;
        ended.push((lease, decision));
    }
    Ok(ended)
}

#[cfg(test)]
mod tests;
