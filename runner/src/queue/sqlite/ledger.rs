//! What this data directory knows of jobs that a server keeps: which number the server gave to which id, the attempts
//! that were made from here, and the ends of attempts that are on their way to the server.
//!
//! Such a job has its row among the others, so its record, history, timings and deliveries are the same code's. No
//! worker of the file's own queue gets it: a row's `host` says who alone may take the job, and that is the server,
//! under a name that no worker has.

mod blame;
mod changes;
mod ending;
mod kind;
mod sighting;
mod unreadable;

pub(in crate::queue) use ending::Intent;
pub(in crate::queue) use kind::Kind;
pub(in crate::queue) use sighting::{Ruling, Sighting};

use super::SqliteQueue;
use super::fault::Fault;
use super::forget::{Sweep, Whose};
use super::records::{self, time};
use crate::job::{Digest, Document, JobId, Record, State};
use crate::queue::{Cursor, QueueError, Submission, WorkerId, WorkerStatus};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

const PLACED: &str = "
    SELECT jobs.seq, id, number, body, reserves, releases, timeouts, placed.kicks
    FROM placed CROSS JOIN jobs USING (seq)";

const BEAT: &str = "
    INSERT INTO serving (start, server, name, started_at, lease_ms, beat_at) VALUES (?1, ?2, ?3, ?4, ?5, ?4)
    ON CONFLICT DO UPDATE SET beat_at = excluded.beat_at";

/// Twice as long as a lease may be between two heartbeats of a busy worker; the server decides about leases.
const SERVING: &str = "
    SELECT name, started_at, (SELECT COUNT(*) FROM jobs WHERE worker = start) FROM serving
    WHERE server = ?1 AND beat_at + 2 * lease_ms >= ?2 ORDER BY name, started_at";

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
                    Some(known) => Some(known.host == host && known.json == json),
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
            .write(move |connection, now| {
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

    /// One job with its history.
    pub(in crate::queue) async fn find(&self, id: JobId) -> Result<Option<(Record, Place)>, QueueError> {
        let (server, now) = (Arc::clone(&self.server), (self.queue.shared.clock)().as_millisecond());
        let find = move |connection: &Connection| {
            let placed = connection
                .prepare_cached(&format!("{PLACED} WHERE id = ?1 AND server = ?2"))?
                .query_row((id.as_bytes(), &server), place)
                .optional()?;
            let Some((_, id, place)) = placed else { return Ok(None) };
            Ok(records::find(connection, id, now)?.map(|record| (numbered(record, place), place)))
        };
        self.queue.shared.reader.call(find).await
    }

    /// A page of jobs in order of submission, with their history, and where the next one starts.
    pub(in crate::queue) async fn page(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<(Record, Place)>, Option<Cursor>), QueueError> {
        let (server, now) = (Arc::clone(&self.server), (self.queue.shared.clock)().as_millisecond());
        let page = move |connection: &Connection| {
            let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(&format!(
                "{PLACED} WHERE server = ?1 AND placed.seq > ?2 ORDER BY placed.seq LIMIT ?3"
            ))?;
            let rows = statement.query_map((&server, after, i64::try_from(limit).unwrap_or(i64::MAX)), place)?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let last = rows.last().filter(|_| rows.len() == limit).and_then(|(seq, ..)| Cursor::try_from(*seq).ok());
            let mut jobs = Vec::new();
            for (_, id, place) in rows {
                jobs.extend(records::find(connection, id, now)?.map(|record| (numbered(record, place), place)));
            }
            Ok((jobs, last))
        };
        self.queue.shared.lister.call(page).await
    }

    /// The job to which the server last gave a number, as far as this file knows.
    pub(in crate::queue) async fn numbered(&self, number: u64) -> Result<Option<JobId>, QueueError> {
        let server = Arc::clone(&self.server);
        let find = move |connection: &Connection| {
            let placed = connection
                .prepare_cached(&format!(
                    "{PLACED} WHERE server = ?1 AND number = ?2 ORDER BY placed.seq DESC LIMIT 1"
                ))?
                .query_row((&server, number), place);
            Ok(placed.optional()?.map(|(_, id, _)| id))
        };
        self.queue.shared.reader.call(find).await
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

    /// Takes note of a worker, for whoever asks who works here.
    pub(in crate::queue) async fn beat(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let (server, beating) = (Arc::clone(&self.server), worker.clone());
        self.queue
            .beat(worker, move |connection, now| {
                let lease = i64::try_from(beating.lease.as_millis()).unwrap_or(i64::MAX / 4);
                let row = (beating.start.as_bytes(), &server, &beating.name, now.as_millisecond(), lease);
                connection.prepare_cached(BEAT)?.execute(row)?;
                // Nobody asks any more for those who have gone without a word.
                connection
                    .prepare_cached("DELETE FROM serving WHERE beat_at + 100 * lease_ms < ?1")?
                    .execute([now.as_millisecond()])?;
                Ok(())
            })
            .await
    }

    /// Strikes a worker off.
    pub(in crate::queue) async fn gone(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let start = worker.start;
        self.queue
            .write(move |connection, _| {
                connection.prepare_cached("DELETE FROM serving WHERE start = ?1")?.execute([start.as_bytes()])?;
                Ok(())
            })
            .await
    }

    /// The workers that use this file.
    pub(in crate::queue) async fn workers(&self) -> Result<Vec<WorkerStatus>, QueueError> {
        let (server, now) = (Arc::clone(&self.server), (self.queue.shared.clock)().as_millisecond());
        let list = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(SERVING)?;
            let mut rows = statement.query((&server, now))?;
            let mut workers = Vec::new();
            while let Some(row) = rows.next()? {
                workers.push(WorkerStatus { name: row.get(0)?, started_at: time(row.get(1)?)?, running: row.get(2)? });
            }
            Ok(workers)
        };
        self.queue.shared.reader.call(list).await
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

fn place(row: &Row<'_>) -> rusqlite::Result<(i64, JobId, Place)> {
    let counts = Counts { reserves: row.get(4)?, releases: row.get(5)?, timeouts: row.get(6)?, kicks: row.get(7)? };
    let place = Place { number: row.get(2)?, body: Digest::from_bytes(row.get(3)?), counts };
    Ok((row.get(0)?, JobId::from_bytes(row.get(1)?), place))
}

fn numbered(record: Record, place: Place) -> Record {
    Record { number: Some(place.number), ..record }
}

/// A job as the file has it.
struct Known {
    seq: i64,
    host: String,
    state: State,
    json: String,
}

fn known(connection: &Connection, id: JobId) -> Result<Option<Known>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT jobs.seq, host, state, json FROM jobs JOIN documents USING (seq) WHERE id = ?1")?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state = row.get::<_, String>(2)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
    Ok(Some(Known { seq: row.get(0)?, host: row.get(1)?, state, json: row.get(3)? }))
}

/// Whether the job that had this id and was deleted had this document; nothing if there was none.
fn is_forgotten(connection: &Connection, id: JobId, json: &str) -> Result<Option<bool>, Fault> {
    let document = connection
        .prepare_cached("SELECT document FROM forgotten WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get::<_, [u8; 32]>(0))
        .optional()?;
    Ok(document.map(|digest| digest == *Digest::of(json).as_bytes()))
}

#[cfg(test)]
pub(super) mod tests;
