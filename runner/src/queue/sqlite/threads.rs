//! Threads that own a connection each, and what they have in common: the way to one of them, and news of
//! commits.
//!
//! Readers do not wait for the writer with a write-ahead log, nor the writer for them.

use super::fault::{Fault, no_thread};
use super::open::{self, Sharing};
use crate::queue::QueueError;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// As many commands wait for a thread; then their senders wait too.
const WAITING: usize = 1024;

/// The way to a thread that owns a connection and does what it is sent, one command after the other. When
/// this is dropped, the thread does what is still waiting, and ends.
pub(super) struct Lane<C> {
    sender: Option<mpsc::Sender<C>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> Lane<C> {
    /// Starts a thread that runs `serve` until no more commands can come.
    pub(super) fn start(name: &str, serve: impl FnOnce(mpsc::Receiver<C>) + Send + 'static) -> Result<Self, Fault> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(receiver));
        let thread = thread.map_err(|error| no_thread(&error))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Sends a command. If the thread is gone, the command is dropped, and with it its way to answer.
    pub(super) async fn send(&self, command: C) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(command).await;
        }
    }
}

impl<C> Drop for Lane<C> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// The error when a thread of the queue has ended, which only a bug causes.
pub(super) fn stopped(path: &Path) -> QueueError {
    QueueError::Backend(format!("queue {}: its thread has stopped; see the log, and restart", path.display()))
}

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

/// As many callers read at once without a thread.
const AT_ONCE: usize = 4;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The way to a reading thread.
pub(super) struct Reader {
    lane: Lane<Query>,
    path: PathBuf,
}

impl Reader {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, path: &Path) -> Result<Self, Fault> {
        let lane = Lane::start("queue-reader", move |mut queries: mpsc::Receiver<Query>| {
            while let Some(query) = queries.blocking_recv() {
                query(&connection);
            }
        })?;
        Ok(Self { lane, path: path.to_owned() })
    }

    /// Runs `work`, which sees one state of the queue from beginning to end.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |connection: &Connection| {
            if !reply.is_closed() {
                let _ = reply.send(in_snapshot(connection, work));
            }
        });
        self.lane.send(query).await;
        match answer.await {
            Ok(result) => result.map_err(|fault| fault.at(&self.path)),
            Err(_) => Err(stopped(&self.path)),
        }
    }
}

fn in_snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    let snapshot = connection.unchecked_transaction()?;
    let value = work(&snapshot)?;
    snapshot.commit()?;
    Ok(value)
}

/// Connections that a caller uses on its own thread, for a single statement that reads little.
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Opens the connections. In shared mode there are none: each read asks a file server, and may wait for
    /// a writer.
    pub(super) fn open(path: &Path, sharing: Sharing) -> Result<Self, Fault> {
        let many = if sharing == Sharing::OneMachine { AT_ONCE } else { 0 };
        let idle = (0..many).map(|_| open::reader(path, sharing)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(idle) })
    }

    /// Runs `work` here, unless all connections are in use.
    pub(super) fn try_here<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Option<Result<T, Fault>> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = idle().pop()?;
        let done = work(&connection);
        idle().push(connection);
        Some(done)
    }
}
