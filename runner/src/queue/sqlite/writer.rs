//! A thread that writes: what waits is committed together.
//!
//! A commit costs nearly the same, whether it holds one command or two hundred. So the thread takes all commands that
//! are waiting into one transaction, each of several in a savepoint of its own, and answers them after the commit.
//!
//! An answer means that the change is on disk, except for claims, beats and reports. With a write-ahead log no commit
//! is synced under the file's lock: a second thread (`syncer`) syncs the log after it, and then answers. So a claim
//! never waits for the disk, and a loss of power undoes whole commits only. In shared mode every commit is synced.
//!
//! A command about many jobs has a transaction to itself and no savepoint. A savepoint keeps every page as
//! it was before, in memory, and SQLite goes through all of them at the end of each statement that has a
//! trigger.

use super::fault::Fault;
use super::open::{self, Locked, Sharing};
use super::syncer::Syncer;
use super::threads::{Changes, Lane, stopped};
use super::timings::Tally;
use crate::queue::QueueError;
use rusqlite::Connection;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The most commands that one transaction holds.
const GROUP: usize = 256;

/// A command about at most so many jobs is done among others. A claim is always.
pub(super) const FEW: usize = 128;

/// When a change must be on disk. In shared mode it always is before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Durable {
    /// With some later change.
    Later,
    /// Within a second.
    Soon,
    /// Before the answer.
    Now,
}

/// The way to a writing thread.
pub(super) struct Writer {
    lane: Lane<Box<dyn Command>>,
    path: PathBuf,
    locked: Locked,
    /// How often the log was synced.
    #[cfg(test)]
    syncs: Arc<std::sync::atomic::AtomicU32>,
}

/// What the thread is asked to do.
trait Command: Send {
    /// Whether it has a transaction to itself.
    fn is_alone(&self) -> bool;

    /// When its change must be on disk.
    fn durable(&self) -> Durable;

    /// Does the work; whether it is to be kept, with what it has added to the tally.
    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> bool;

    /// Tells what came of it, or why nothing did.
    fn answer(self: Box<Self>, committed: Result<(), &QueueError>, path: &Path);
}

struct Call<T, F> {
    alone: bool,
    durable: Durable,
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Command for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send,
{
    fn is_alone(&self) -> bool {
        self.alone
    }

    fn durable(&self) -> Durable {
        self.durable
    }

    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> bool {
        // Work whose caller has gone is not begun: a job must not be leased to a caller who has gone.
        if let Some(work) = self.work.take().filter(|_| !self.reply.is_closed()) {
            self.result = Some(work(connection, tally));
        }
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), &QueueError>, path: &Path) {
        let answer = match (self.result, committed) {
            (None, Ok(())) => return,
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(fault)), _) => Err(fault.at(path)),
            (Some(Ok(_)) | None, Err(why)) => Err(why.clone()),
        };
        let _ = self.reply.send(answer);
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        path: &Path,
        sharing: Sharing,
        changes: Arc<Changes>,
    ) -> Result<Self, Fault> {
        let syncer = match sharing {
            Sharing::OneMachine => Some(Syncer::start(path)?),
            Sharing::ManyMachines => None,
        };
        if syncer.is_some() {
            connection.pragma_update(None, "synchronous", "normal")?;
        }
        #[cfg(test)]
        let syncs = syncer.as_ref().map(|syncer| Arc::clone(&syncer.syncs)).unwrap_or_default();
        let mut thread = Thread { connection, changes, file: Opened::at(path)?, syncer };
        let locked = Locked::default();
        let found = locked.clone();
        let lane = Lane::start("queue-writer", move |commands| {
            found.watch_this_thread();
            thread.serve(commands);
        })?;
        Ok(Self {
            lane,
            path: path.to_owned(),
            locked,
            #[cfg(test)]
            syncs,
        })
    }

    /// How others' locks have kept the thread from the file.
    pub(super) fn locked(&self) -> &Locked {
        &self.locked
    }

    /// Runs `work`, which is about so many jobs, in a transaction, and returns what it returned once that
    /// is as durable as asked for. If it fails, nothing of it is kept. What it adds to the tally is counted
    /// at the end of the transaction, together with what the rest of the group has added.
    pub(super) async fn call<T, F>(&self, jobs: usize, durable: Durable, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let alone = jobs > FEW;
        self.lane.send(Box::new(Call { alone, durable, work: Some(work), result: None, reply })).await;
        answer.await.unwrap_or_else(|_| Err(stopped(&self.path)))
    }

    /// The same for a small change whose caller has to know after `patience` if the file is locked: the
    /// connection waits for longer than that.
    pub(super) async fn call_unless_locked<T, F>(&self, patience: Duration, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send + 'static,
    {
        tokio::select! {
            biased;
            answer = self.call(1, Durable::Later, work) => answer,
            () = self.locked.after(patience) => {
                Err(QueueError::Busy(format!("queue {}: another process keeps the file locked", self.path.display())))
            }
        }
    }
}

/// The file that is written to, which may have been removed or replaced since.
struct Opened {
    path: PathBuf,
    identity: (u64, u64),
}

impl Opened {
    fn at(path: &Path) -> Result<Self, Fault> {
        let identity = identity(path).map_err(|error| unseen(&error))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    /// What a file accepts that nobody can find any more is lost.
    fn check(&self) -> Result<(), Fault> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unseen(&error)),
            _ => {
                let why = "it was removed or replaced while it was in use; stop all that use it, and start them again";
                Err(Fault::Unusable(why.to_owned()))
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn unseen(error: &io::Error) -> Fault {
    Fault::Unusable(format!("it cannot be looked at: {error}"))
}

/// What the writing thread has.
struct Thread {
    connection: Connection,
    changes: Arc<Changes>,
    file: Opened,
    /// Syncs the write-ahead log, if there is one.
    syncer: Option<Syncer>,
}

impl Thread {
    fn serve(&mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        let mut group = Vec::with_capacity(GROUP);
        while !group.is_empty() || commands.blocking_recv_many(&mut group, GROUP) > 0 {
            let together = together(&group);
            let before = self.connection.total_changes();
            let done = self
                .file
                .check()
                .and_then(|()| self.mend())
                .and_then(|()| in_transaction(&self.connection, &mut group[..together]));
            let committed = done.map_err(|fault| {
                if !self.connection.is_autocommit() {
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                fault.at(&self.file.path)
            });
            let has_changed = self.connection.total_changes() != before;
            if has_changed {
                self.changes.announce();
                if committed.is_err() {
                    clear_log(&self.connection, "TRUNCATE");
                }
            }
            self.answer(group.drain(..together), committed.as_ref().map(|&()| ()), has_changed);
        }
    }

    /// Answers commands, and those that promise durability once the log is synced.
    fn answer(
        &self,
        commands: impl Iterator<Item = Box<dyn Command>>,
        committed: Result<(), &QueueError>,
        has_changed: bool,
    ) {
        let path = &self.file.path;
        let (Some(syncer), Ok(())) = (&self.syncer, committed) else {
            commands.for_each(|command| command.answer(committed, path));
            return;
        };
        let (durable, others): (Vec<_>, Vec<_>) = commands.partition(|command| command.durable() == Durable::Now);
        let owes = has_changed && others.iter().any(|command| command.durable() == Durable::Soon);
        if !durable.is_empty() {
            let path = path.clone();
            syncer.now(Box::new(move |synced| {
                let unsynced = |error| Fault::Unusable(format!("its log cannot be synced: {error}")).at(&path);
                let synced = synced.map_err(unsynced);
                durable.into_iter().for_each(|command| command.answer(synced.as_ref().map(|&()| ()), &path));
            }));
        } else if owes {
            syncer.soon();
        }
        others.into_iter().for_each(|command| command.answer(Ok(()), path));
    }

    /// After a sync that failed, brings everything in the log to its place, which syncs it anew.
    fn mend(&self) -> Result<(), Fault> {
        let Some(syncer) = self.syncer.as_ref().filter(|syncer| syncer.has_failed()) else { return Ok(()) };
        let is_busy: bool = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if is_busy {
            return Err(Fault::Unusable("its log could not be synced, and is in use: try again".to_owned()));
        }
        syncer.is_mended();
        Ok(())
    }
}

/// How many commands, from the first on, are done in one transaction.
fn together(group: &[Box<dyn Command>]) -> usize {
    group.iter().position(|command| command.is_alone()).unwrap_or(group.len()).max(1)
}

/// Does the commands in one transaction.
fn in_transaction(connection: &Connection, group: &mut [Box<dyn Command>]) -> Result<(), Fault> {
    let execute = |sql| connection.prepare_cached(sql)?.execute([]);
    let before = connection.total_changes();
    if group.iter().any(|command| command.is_alone() && command.durable() == Durable::Now) {
        clear_log(connection, "PASSIVE");
    }
    execute("BEGIN IMMEDIATE")?;
    open::got_lock();
    let mut tally = Tally::default();
    if let [command] = group {
        if !command.run(connection, &mut tally) {
            // After some failures, a full disk among them, SQLite itself has rolled everything back.
            if !connection.is_autocommit() {
                execute("ROLLBACK")?;
            }
            if command.is_alone() && connection.total_changes() != before {
                clear_log(connection, "TRUNCATE");
            }
            return Ok(());
        }
    } else {
        for command in group {
            execute("SAVEPOINT command")?;
            let before = tally.len();
            let keep = command.run(connection, &mut tally);
            if connection.is_autocommit() {
                return Err(rolled_back());
            }
            if !keep {
                execute("ROLLBACK TO command")?;
                tally.truncate(before);
            }
            execute("RELEASE command")?;
        }
    }
    if connection.is_autocommit() {
        return Err(rolled_back());
    }
    tally.write(connection)?;
    execute("COMMIT")?;
    Ok(())
}

/// Brings what the log holds to its place. Done before much is written, so that nothing but that is in the
/// log should it fail; done after that, so that a disk which this has filled is as it was.
fn clear_log(connection: &Connection, how: &str) {
    // If others are in the way, or the disk does not give it, the log stays: nobody may write while readers
    // are waited for.
    let clear = || connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
    let _ = open::without_waiting(clear);
}

fn rolled_back() -> Fault {
    Fault::Unusable("SQLite rolled a transaction back; nothing was changed: try again".to_owned())
}

#[cfg(test)]
mod tests;
