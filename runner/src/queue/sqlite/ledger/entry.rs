//! Jobs as this file has them, for whoever asks the server about them as well.

use super::{Counts, Ledger, Place, expiry};
use crate::job::{Digest, JobId, Record, State};
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::{self, time};
use crate::queue::{Cursor, QueueError};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::Arc;

/// The order of the tables is what keeps a look at one job from being one at all that the server has.
pub(super) const BY_ID: &str = "
    SELECT placed.seq, server, id, number, body, reserves, releases, timeouts, placed.kicks, submitted_at, attempts,
        uncounted, state = 'ready' AND finished_at IS NOT NULL
    FROM jobs CROSS JOIN placed USING (seq) WHERE id = ?1 AND server = ?2";

pub(super) const PAGE: &str = "
    SELECT placed.seq, server, id, number, body, reserves, releases, timeouts, placed.kicks, submitted_at, attempts,
        uncounted, state = 'ready' AND finished_at IS NOT NULL
    FROM placed CROSS JOIN jobs USING (seq) WHERE placed.seq > ?1 ORDER BY placed.seq LIMIT ?2";

pub(super) const NUMBERED: &str = "
    SELECT id FROM placed CROSS JOIN jobs USING (seq)
    WHERE server = ?1 AND number = ?2 ORDER BY placed.seq DESC LIMIT 1";

/// As many rows are looked at for one page; those of other servers, and of jobs that are missing, are passed over.
const LOOKED_AT: usize = 20_000;

/// No time is before this one, so that no job has expired by it.
const NEVER: i64 = i64::MIN;

/// A job of the server, as this file has it.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Entry {
    /// Its record, as if it never expired.
    pub(in crate::queue) record: Record,
    /// Where the server had it.
    pub(in crate::queue) place: Place,
    /// When it expires, unless an attempt was started from here.
    expires_at: Option<Timestamp>,
    /// Reservations of which is known here that nothing has come.
    in_vain: u32,
}

impl Entry {
    /// Whether the job has expired, if it waits, and the server has seen so many reservations of it.
    pub(in crate::queue) fn has_expired(&self, reserves: u32, now: Timestamp) -> bool {
        reserves <= self.in_vain && self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The record of a job that has expired.
    pub(in crate::queue) fn expired(self) -> Record {
        let verdict = Some(records::expired());
        Record { state: State::Cancelled, verdict, finished_at: self.expires_at, ..self.record }
    }
}

impl Ledger {
    /// One job with its history.
    pub(in crate::queue) async fn find(&self, id: JobId) -> Result<Option<(Record, Place)>, QueueError> {
        Ok(self.entry(id).await?.map(|Entry { record, place, .. }| (record, place)))
    }

    /// The same, with what is known of its expiry.
    pub(in crate::queue) async fn entry(&self, id: JobId) -> Result<Option<Entry>, QueueError> {
        let server = Arc::clone(&self.server);
        let find = move |connection: &Connection| {
            let found = connection.prepare_cached(BY_ID)?.query_row((id.as_bytes(), &server), row).optional()?;
            found.map_or(Ok(None), |found| entry(connection, &found))
        };
        self.queue.shared.reader.call(find).await
    }

    /// A page of jobs in order of submission, with their history, and where the next one starts. It may end early.
    /// Those that the server has no more are left out, and so are those whose rows cannot be read: `queue check` tells
    /// of them, and one such must not keep anybody from seeing the others.
    pub(in crate::queue) async fn page(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Entry>, Option<Cursor>), QueueError> {
        let server = Arc::clone(&self.server);
        let page = move |connection: &Connection| {
            let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
            let (mut entries, mut last, mut looked_at) = (Vec::new(), None, 0);
            let mut statement = connection.prepare_cached(PAGE)?;
            let mut rows = statement.query((after, i64::try_from(LOOKED_AT).unwrap_or(i64::MAX)))?;
            while entries.len() < limit {
                let Some(one) = rows.next()? else {
                    return Ok((entries, last.filter(|_| looked_at == LOOKED_AT)));
                };
                let found = row(one)?;
                (last, looked_at) = (Cursor::try_from(found.seq).ok(), looked_at + 1);
                if *found.server != *server || found.is_missing {
                    continue;
                }
                match entry(connection, &found) {
                    Ok(found) => entries.extend(found),
                    Err(fault) if fault.is_of_a_row() => {}
                    Err(fault) => return Err(fault),
                }
            }
            Ok((entries, last))
        };
        self.queue.shared.lister.call(page).await
    }

    /// The job to which the server last gave a number, as far as this file knows.
    pub(in crate::queue) async fn numbered(&self, number: u64) -> Result<Option<JobId>, QueueError> {
        let server = Arc::clone(&self.server);
        let find = move |connection: &Connection| {
            let id = connection.prepare_cached(NUMBERED)?.query_row((&server, number), |row| row.get(0)).optional()?;
            Ok(id.map(JobId::from_bytes))
        };
        self.queue.shared.reader.call(find).await
    }
}

/// What a row says by itself.
struct Found {
    seq: i64,
    server: String,
    id: JobId,
    place: Place,
    submitted_at: i64,
    was_started: bool,
    in_vain: u32,
    is_missing: bool,
}

fn row(row: &Row<'_>) -> rusqlite::Result<Found> {
    let counts = Counts { reserves: row.get(5)?, releases: row.get(6)?, timeouts: row.get(7)?, kicks: row.get(8)? };
    Ok(Found {
        seq: row.get(0)?,
        server: row.get(1)?,
        id: JobId::from_bytes(row.get(2)?),
        place: Place { number: row.get(3)?, body: Digest::from_bytes(row.get(4)?), counts },
        submitted_at: row.get(9)?,
        was_started: row.get::<_, u32>(10)? > 0,
        in_vain: row.get(11)?,
        is_missing: row.get(12)?,
    })
}

fn entry(connection: &Connection, found: &Found) -> Result<Option<Entry>, Fault> {
    let &Found { id, place, submitted_at, was_started, in_vain, is_missing, .. } = found;
    let Some(record) = records::find(connection, id, NEVER)? else { return Ok(None) };
    let expires_at = match was_started {
        true => None,
        false => expiry::expires_at(&record.document, submitted_at)?.map(time).transpose()?,
    };
    // Of a job that is missing, that is only when it was missed.
    let finished_at = record.finished_at.filter(|_| !is_missing);
    let record = Record { number: Some(place.number), finished_at, ..record };
    Ok(Some(Entry { record, place, expires_at, in_vain }))
}
