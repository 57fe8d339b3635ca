//! Which job it is that a worker has reserved.
//!
//! The id tells, if there is one. Else it is the job of the same number, body and time of its put: the binlog has all
//! of them, so they are the same when the server has started again, whose counts are not. What the server says of a
//! job besides, its tube, priority and `ttr`, anybody may change there; it stays the same job.

use super::{Place, Sighting, host};
use crate::job::{Digest, Document, JobId, State};
use crate::queue::sqlite::fault::Fault;
use rusqlite::{Connection, OptionalExtension};

/// How far two looks at one job may differ about when it was put: its age is told in whole seconds, and an answer may
/// take a moment.
const APART_MS: i64 = 2_000;

pub(super) const SAME: &str = "
    SELECT id FROM placed CROSS JOIN jobs USING (seq)
    WHERE server = ?1 AND number = ?2 AND body = ?3 AND submitted_at BETWEEN ?4 - ?5 AND ?4 + ?5
    ORDER BY placed.seq DESC LIMIT 1";

pub(super) const KNOWN: &str = "
    SELECT jobs.seq, host, state, attempts, uncounted, submitted_as, json, number, body, COALESCE(placed.kicks, 0)
    FROM jobs CROSS JOIN documents USING (seq) LEFT JOIN placed USING (seq) WHERE id = ?1";

const ADOPT: &str = "
    UPDATE jobs SET tube = ?2, priority = ?3, submitted_as = COALESCE(submitted_as, ?4) WHERE seq = ?1";

/// A job as the file has it.
pub(super) struct Known {
    pub(super) seq: i64,
    pub(super) host: String,
    pub(super) state: State,
    /// The last attempt here.
    pub(super) attempts: u32,
    /// Kicks of which was made something.
    pub(super) kicks: u32,
    uncounted: u32,
    /// What it was submitted as, once that was changed.
    submitted_as: Option<[u8; 32]>,
    json: String,
    number: Option<u64>,
    body: Option<[u8; 32]>,
}

impl Known {
    /// Whether this is the document that it was submitted with.
    pub(super) fn was_submitted_as(&self, json: &str) -> bool {
        match self.submitted_as {
            Some(digest) => digest == *Digest::of(json).as_bytes(),
            None => self.json == json,
        }
    }

    /// Whether it last had this number.
    pub(super) fn has_number(&self, number: u64) -> bool {
        self.number == Some(number)
    }

    /// How many reservations under this number are known to have come to nothing.
    pub(super) fn in_vain(&self, number: u64) -> u32 {
        if self.has_number(number) { self.uncounted } else { 0 }
    }

    /// Whether it is the job that was reserved.
    pub(super) fn is(&self, server: &str, sighting: &Sighting) -> bool {
        let Sighting { document, has_servers_ttr, place, .. } = sighting;
        if self.host != host(server) {
            return false;
        }
        if self.body == Some(*place.body.as_bytes()) {
            return true;
        }
        let Ok(Document { tube, priority, ttr, .. }) = serde_json::from_str(&self.json) else { return false };
        let ttr = if *has_servers_ttr { ttr } else { document.ttr };
        Document { tube, priority, ttr, ..document.clone() }.canonical() == self.json
    }

    /// Has the job be what the server says now.
    pub(super) fn adopt(&self, connection: &Connection, document: &Document, json: &str) -> Result<(), Fault> {
        if self.json == json {
            return Ok(());
        }
        let was = Digest::of(&self.json);
        let row = (self.seq, document.tube.as_str(), document.priority, was.as_bytes());
        connection.prepare_cached(ADOPT)?.execute(row)?;
        connection.prepare_cached("UPDATE documents SET json = ?2 WHERE seq = ?1")?.execute((self.seq, json))?;
        Ok(())
    }
}

/// The job that has this id.
pub(super) fn known(connection: &Connection, id: JobId) -> Result<Option<Known>, Fault> {
    let mut statement = connection.prepare_cached(KNOWN)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state = row.get::<_, String>(2)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
    Ok(Some(Known {
        seq: row.get(0)?,
        host: row.get(1)?,
        state,
        attempts: row.get(3)?,
        uncounted: row.get(4)?,
        submitted_as: row.get(5)?,
        json: row.get(6)?,
        number: row.get(7)?,
        body: row.get(8)?,
        kicks: row.get(9)?,
    }))
}

/// Whether the job that had this id and was deleted had this document; nothing if there was none.
pub(super) fn is_forgotten(connection: &Connection, id: JobId, json: &str) -> Result<Option<bool>, Fault> {
    let document = connection
        .prepare_cached("SELECT document FROM forgotten WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get::<_, [u8; 32]>(0))
        .optional()?;
    Ok(document.map(|digest| digest == *Digest::of(json).as_bytes()))
}

/// The id of what was reserved; a new one if this is met for the first time, and brings none.
pub(super) fn id(connection: &Connection, server: &str, sighting: &Sighting) -> Result<JobId, Fault> {
    let &Sighting { id, place: Place { number, body, .. }, put_at, .. } = sighting;
    if let Some(id) = id {
        return Ok(id);
    }
    let row = (server, number, body.as_bytes(), put_at.as_millisecond(), APART_MS);
    let same = connection.prepare_cached(SAME)?.query_row(row, |row| Ok(JobId::from_bytes(row.get(0)?))).optional()?;
    Ok(same.unwrap_or_else(JobId::new))
}
