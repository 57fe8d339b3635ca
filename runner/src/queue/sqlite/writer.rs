//! The one thread that writes: whatever waits is committed together.
//!
//! A commit costs an fsync, whether it holds one command or two hundred. So the thread takes all commands that
//! are waiting into one transaction, each of several in a savepoint of its own, and answers them after the commit: an
//! answer means that it is on disk.
//!
//! What is about many jobs has a transaction to itself and no savepoint. A savepoint keeps every page as it was before,
//! in memory, and SQLite goes through all of them at the end of each statement that has a trigger: with ids that are
//! spread over a long index, that is as many pages as rows.

use super::fault::Fault;
use super::lane::Lane;
use super::locked::{self, Locked};
use super::timings::Tally;
use super::watch::Changes;
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

/// The way to the writing thread.
pub(super) struct Writer {
    lane: Lane<Box<dyn Command>>,
    path: PathBuf,
    locked: Locked,
}

/// Jobs that a command may be about and still be done among others. One that is about more has a transaction to itself,
/// but for what a worker may have at most: it is claimed, given back and taken over among others.
pub(super) const FEW: usize = 128;

/// What the thread is asked to do.
trait Command: Send {
    /// Whether it has a transaction to itself.
    fn is_alone(&self) -> bool;

    /// Does the work; whether it is to be kept, with what it has added to the tally.
    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> bool;

    /// Tells what came of it, or why nothing did.
    fn answer(self: Box<Self>, committed: Result<(), &QueueError>, path: &Path);
}

struct Call<T, F, D> {
    alone: bool,
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, QueueError>>,
    /// Takes what would have been the answer, or nothing if it never came to that, if the command has failed.
    doubt: D,
}

impl<T, F, D> Command for Call<T, F, D>
where
    T: Send,
    F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send,
    D: FnOnce(Option<T>) + Send,
{
    fn is_alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, connection: &Connection, tally: &mut Tally) -> bool {
        // Work that nobody waits for any more is not begun: a job must not be leased to a caller who has gone.
        if let Some(work) = self.work.take().filter(|_| !self.reply.is_closed()) {
            self.result = Some(work(connection, tally));
        }
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), &QueueError>, path: &Path) {
        let (value, why) = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => return drop(self.reply.send(Ok(value))),
            (None, Ok(())) => return,
            (Some(Err(fault)), _) => (None, fault.at(path)),
            (Some(Ok(value)), Err(why)) => (Some(value), why.clone()),
            (None, Err(why)) => (None, why.clone()),
        };
        (self.doubt)(value);
        let _ = self.reply.send(Err(why));
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, path: &Path, changes: Arc<Changes>) -> Result<Self, Fault> {
        let file = Opened::at(path)?;
        let locked = Locked::default();
        let found = locked.clone();
        let lane = Lane::start("queue-writer", move |commands| {
            found.watch_this_thread();
            serve(&connection, commands, &changes, &file);
        })?;
        Ok(Self { lane, path: path.to_owned(), locked })
    }

    /// How others' locks have kept the thread from the file.
    pub(super) fn locked(&self) -> &Locked {
        &self.locked
    }

    /// Runs `work` in a transaction and returns what it returned, once that is on disk; if it fails, nothing of
    /// it is kept.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.call_or_doubt(work, drop).await
    }

    /// The same; if it fails, `doubt` is called before anything else is done. It is given what the work has returned if
    /// it was the commit that failed, which does not say that it was not made.
    pub(super) async fn call_or_doubt<T, F, D>(&self, work: F, doubt: D) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
        D: FnOnce(Option<T>) + Send + 'static,
    {
        self.send(false, move |connection, _| work(connection), doubt).await
    }

    /// The same for work on so many jobs, which may be more than [`FEW`].
    pub(super) async fn call_for<T, F>(&self, jobs: usize, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.send(jobs > FEW, move |connection, _| work(connection), drop).await
    }

    /// The same for work that somebody repeats who has to know after `patience` if the file is locked: the connection
    /// waits for longer than that.
    pub(super) async fn call_unless_locked<T, F>(&self, patience: Duration, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        tokio::select! {
            biased;
            answer = self.call(work) => answer,
            () = self.locked.after(patience) => {
                Err(QueueError::Busy(format!("queue {}: another process keeps the file locked", self.path.display())))
            }
        }
    }

    /// The same for work that ends attempts: what it adds to the tally is counted at the end of the transaction,
    /// together with what the rest of the group has added.
    pub(super) async fn call_and_count<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send + 'static,
    {
        self.send(false, work, drop).await
    }

    async fn send<T, F, D>(&self, alone: bool, work: F, doubt: D) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Tally) -> Result<T, Fault> + Send + 'static,
        D: FnOnce(Option<T>) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.lane.send(Box::new(Call { alone, work: Some(work), result: None, reply, doubt })).await;
        answer.await.unwrap_or_else(|_| Err(stopped(&self.path)))
    }
}

/// What is said when a thread of the queue is no more, which only a bug brings about.
pub(super) fn stopped(path: &Path) -> QueueError {
    QueueError::Backend(format!("queue {}: its thread has stopped; see the log, and restart", path.display()))
}

/// The file that is written to, which may no longer be the one in its place.
struct Opened {
    path: PathBuf,
    identity: (u64, u64),
}

impl Opened {
    fn at(path: &Path) -> Result<Self, Fault> {
        let identity = identity(path).map_err(|error| unseen(&error))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    /// What is accepted by a file that nobody can find any more is lost.
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

fn serve(connection: &Connection, mut commands: mpsc::Receiver<Box<dyn Command>>, changes: &Changes, file: &Opened) {
    let mut group = Vec::with_capacity(GROUP);
    while !group.is_empty() || commands.blocking_recv_many(&mut group, GROUP) > 0 {
        let together = together(&group);
        let before = connection.total_changes();
        let done = file.check().and_then(|()| commit(connection, &mut group[..together]));
        let committed = done.map_err(|fault| {
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            fault.at(&file.path)
        });
        if connection.total_changes() != before {
            changes.announce();
            if committed.is_err() {
                clear_log(connection, "TRUNCATE");
            }
        }
        for command in group.drain(..together) {
            command.answer(committed.as_ref().map(|&()| ()), &file.path);
        }
    }
}

/// How many commands, from the first on, are done in one transaction.
fn together(group: &[Box<dyn Command>]) -> usize {
    group.iter().position(|command| command.is_alone()).unwrap_or(group.len()).max(1)
}

fn commit(connection: &Connection, group: &mut [Box<dyn Command>]) -> Result<(), Fault> {
    let execute = |sql| connection.prepare_cached(sql)?.execute([]);
    let before = connection.total_changes();
    if group.iter().any(|command| command.is_alone()) {
        clear_log(connection, "PASSIVE");
    }
    execute("BEGIN IMMEDIATE")?;
    locked::got();
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

/// Brings what the log holds to its place. Done before much is written, so that nothing but that is in the log should it
/// fail; done after that, so that a disk which this has filled is as it was.
fn clear_log(connection: &Connection, how: &str) {
    // If others are in the way, or the disk does not give it, the log stays: nobody may write while readers are waited for.
    let clear = || connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
    let _ = locked::without_waiting(clear);
}

fn rolled_back() -> Fault {
    Fault::Unusable("SQLite rolled a transaction back; nothing was changed: try again".to_owned())
}

#[cfg(test)]
mod tests;
