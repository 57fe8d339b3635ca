//! A thread that reads; WAL lets it do so without waiting for the writer, or the writer for it.

use super::fault::Fault;
use super::lane::Lane;
use super::writer::stopped;
use crate::queue::QueueError;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

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
