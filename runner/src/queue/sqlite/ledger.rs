//! What this data directory knows of jobs that a server keeps: which number the server gave to which id, the attempts
//! that were made from here, and the ends of attempts that are on their way to the server.
//!
//! Such a job has its row among the others, so its record, history, timings and deliveries are the same code's. No
//! worker of the file's own queue gets it: a row's `host` says who alone may take the job, and that is the server,
//! under a name that no worker has.

mod blame;
mod changes;
mod ending;
mod entry;
mod expiry;
mod identity;
mod kind;
mod missing;
mod serving;
mod sighting;
mod unreadable;

pub(in crate::queue) use ending::Intent;
pub(in crate::queue) use entry::Entry;
pub(in crate::queue) use kind::Kind;
pub(in crate::queue) use missing::Unended;
pub(in crate::queue) use sighting::{Ruling, Sighting};

use self::identity::{is_forgotten, known};
use super::SqliteQueue;
use super::forget::{Sweep, Whose};
use crate::job::{Digest, Document, State};
use crate::queue::{QueueError, Submission};
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The figures by which a server tells one reservation of a job from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::queue) struct Counts {
    /// How often it was reserved.
    pub(in crate::queue) reserves: u32,
    /// How often it was given back.
    pub(in crate::queue) releases: u32,
    /// How often a reservation lasted too long.
    pub(in crate::queue) timeouts: u32,
    /// How often it was kicked.
    pub(in crate::queue) kicks: u32,
}

/// Where a server has a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Place {
    /// The server's number for it.
    pub(in crate::queue) number: u64,
    /// The digest of its body, which tells it from another job to which the number was given before or since.
    pub(in crate::queue) body: Digest,
    /// The server's figures when an attempt last began here.
    pub(in crate::queue) counts: Counts,
}

/// The part of a queue's file that is about the jobs of one server.
#[derive(Clone)]
pub(in crate::queue) struct Ledger {
    queue: SqliteQueue,
    server: Arc<str>,
    sweep: Arc<Sweep>,
    /// How much of what is no job was taken note of.
    noted: Arc<AtomicU64>,
}

impl Ledger {
    /// What `queue`'s file knows of the jobs of `server`, which is known by its address.
    pub(in crate::queue) fn new(queue: SqliteQueue, server: &str) -> Self {
        let sweep = Arc::new(Sweep::new(Whose::Servers(host(server).into())));
        Self { queue, server: server.into(), sweep, noted: Arc::default() }
    }

    /// The file's queue.
    pub(in crate::queue) fn queue(&self) -> &SqliteQueue {
        &self.queue
    }

    /// Those of the jobs that are not known, in their order.
    ///
    /// # Errors
    /// [`QueueError::IdTaken`] for the first whose id is known with another document.
    pub(in crate::queue) async fn unknown(&self, jobs: Vec<Submission>) -> Result<Vec<Submission>, QueueError> {
        let host = host(&self.server);
        let sift = move |connection: &Connection| {
            let mut unknown = Vec::new();
            let mut seen = HashMap::new();
            for Submission { id, document } in jobs {
                let document = Document { id: None, ..document };
                let json = document.canonical();
                let known = match known(connection, id)? {
                    None => is_forgotten(connection, id, &json)?,
                    Some(known) => Some(known.host == host && known.was_submitted_as(&json)),
                };
                let is_same = known.or_else(|| seen.get(&id).map(|other| *other == json));
                match is_same {
                    Some(true) => {}
                    Some(false) => return Err(QueueError::IdTaken(id).into()),
                    None => {
                        seen.insert(id, json);
                        unknown.push(Submission { id, document });
                    }
                }
            }
            Ok(unknown)
        };
        self.queue.shared.reader.call(sift).await
    }

    /// Takes note of jobs that the server has accepted.
    pub(in crate::queue) async fn submitted(&self, jobs: Vec<(Submission, Place)>) -> Result<(), QueueError> {
        let server = Arc::clone(&self.server);
        self.queue
            .write_for(jobs.len(), move |connection, now| {
                for (Submission { id, document }, place) in jobs {
                    // A worker may have come across the job before.
                    if known(connection, id)?.is_none() {
                        sighting::insert(connection, &server, id, &document, place, now)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// How many jobs are in a state, as far as this file knows.
    pub(in crate::queue) async fn count(&self, state: State) -> Result<u64, QueueError> {
        let host = host(&self.server);
        let count = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("SELECT COALESCE(SUM(jobs), 0) FROM counts WHERE host = ?1 AND state = ?2")?;
            Ok(statement.query_row((host, state.as_str()), |row| row.get(0))?)
        };
        self.queue.shared.reader.call(count).await
    }
}

/// How the `host` of a server's job begins, as that of no document can: they have no control characters.
const MARK: char = '\u{1}';

/// Who alone may take a job of `server`.
fn host(server: &str) -> String {
    format!("{MARK}{server}")
}

/// The server whose job has this `host`, if it is one's.
pub(super) fn server_of(host: &str) -> Option<&str> {
    host.strip_prefix(MARK)
}

#[cfg(test)]
pub(super) mod tests;
