//! Deleting jobs, and what is left of them: their ids, and the digests of their documents as they were
//! submitted.
//!
//! Retention deletes jobs that ended too long ago. Not all of them may go, and there may be millions that
//! may not. So they are looked at a part at a time, where no writer waits for that, and a sweep whose
//! caller wants no more goes on with the next call from where it has come to.

use super::columns::{integer, json, millis};
use super::fault::Fault;
use crate::job::{Digest, JobId, State};
use crate::queue::{Cursor, Retention};
use rusqlite::{Connection, OptionalExtension, named_params};
use std::time::{Duration, Instant};

/// As many jobs are looked at in one part.
const PART: usize = 2_000;
/// After this time a transaction that deletes jobs ends, and others have their turn.
const TURN: Duration = Duration::from_millis(50);

/// As many jobs are deleted by one round of statements.
const TOGETHER: usize = 250;

/// What stays of a job. An attempt without an outcome may have left files: it was made by an old version,
/// or was lost after it had written them.
const WHAT_STAYS: &str = "
    SELECT id, submitted_as, json, EXISTS (
        SELECT 1 FROM attempts LEFT JOIN outcomes USING (seq, attempt) WHERE attempts.seq = jobs.seq AND files IS NOT 0),
        EXISTS (SELECT 1 FROM pieces WHERE pieces.seq = jobs.seq)
    FROM jobs LEFT JOIN documents USING (seq) WHERE seq = ?1";

const REMEMBER: &str = "INSERT OR REPLACE INTO forgotten (id, document, forgotten_at, files) VALUES (?1, ?2, ?3, ?4)";

const DELETE: [&str; 8] = [
    "DELETE FROM documents WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM tags WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM attempts WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM deliveries WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM outcomes WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM pieces WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM live WHERE seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(?1))",
];

const FORGOTTEN: &str = "
    SELECT place, id FROM forgotten INDEXED BY forgotten_files WHERE files = 1 AND place > ?1 ORDER BY place LIMIT ?2";

/// The jobs that have ended, in the order in which they have, and whether each may go: not while it holds a
/// unique key, nor while its result is still to be sent. No two parts have the same job, however many ended
/// in the same millisecond.
const ENDED: &str = "
    SELECT seq, finished_at, (unique_key IS NULL OR unique_until <= :now) AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.seq = jobs.seq AND deliveries.state = 'pending')
    FROM jobs INDEXED BY jobs_ended
    WHERE state = :state AND finished_at IS NOT NULL AND finished_at <= :before AND finished_at = :finished_at AND seq > :seq
    UNION ALL SELECT seq, finished_at, (unique_key IS NULL OR unique_until <= :now) AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.seq = jobs.seq AND deliveries.state = 'pending')
    FROM jobs INDEXED BY jobs_ended
    WHERE state = :state AND finished_at IS NOT NULL AND finished_at <= :before AND finished_at > :finished_at
    ORDER BY 2, 1";

const MAY_GO: &str = "
    SELECT 1 FROM jobs WHERE seq = :seq AND state = :state AND finished_at <= :before
        AND (unique_key IS NULL OR unique_until <= :now)
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = jobs.seq AND deliveries.state = 'pending')";

/// Deletes a job and all that belongs to it, and keeps what tells that it was there.
pub(super) fn remove(connection: &Connection, seq: i64, now: i64) -> Result<(), Fault> {
    remember(connection, seq, now)?;
    delete(connection, &[seq])
}

/// Keeps what tells that a job was there; whether parts of its outcomes are in pieces, which take time to
/// delete.
fn remember(connection: &Connection, seq: i64, now: i64) -> Result<bool, Fault> {
    let (id, document, has_files, has_pieces) = connection.prepare_cached(WHAT_STAYS)?.query_row([seq], |row| {
        let document = match row.get(1)? {
            Some(submitted_as) => submitted_as,
            // What cannot be read any more can still be deleted.
            None => *Digest::of(row.get_ref(2)?.as_bytes_or_null()?.unwrap_or_default()).as_bytes(),
        };
        Ok((row.get::<_, [u8; 16]>(0)?, document, row.get::<_, bool>(3)?, row.get(4)?))
    })?;
    connection.prepare_cached(REMEMBER)?.execute((id, document, now, has_files))?;
    Ok(has_pieces)
}

/// Deletes jobs and all that belongs to them, each table at once: left to the foreign keys, it takes three
/// times as long.
fn delete(connection: &Connection, places: &[i64]) -> Result<(), Fault> {
    if places.is_empty() {
        return Ok(());
    }
    let list = json(&places)?;
    for sql in DELETE {
        connection.prepare_cached(sql)?.execute([&list])?;
    }
    Ok(())
}

/// A page of deleted jobs that may have left files, in the order of their deletion, and the place after
/// which to go on.
pub(super) fn forgotten(
    connection: &Connection,
    after: Option<Cursor>,
    most: usize,
) -> Result<(Vec<JobId>, Option<Cursor>), Fault> {
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(FORGOTTEN)?;
    let mut rows = statement.query((after, integer(most)))?;
    let (mut ids, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        ids.push(JobId::from_bytes(row.get(1)?));
    }
    Ok((ids, last))
}

/// How far a sweep along all jobs that have ended has come: the job that was looked at last, by when it
/// ended and by its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// Which kind of ending is looked at.
    kind: usize,
    finished_at: i64,
    seq: i64,
}

impl Default for Reached {
    fn default() -> Self {
        Self::beginning(0)
    }
}

impl Reached {
    fn beginning(kind: usize) -> Self {
        Self { kind, finished_at: i64::MIN, seq: 0 }
    }

    /// What is looked for from here on at the time `now`; none at the end of the sweep.
    pub(super) fn sought(&mut self, retention: &Retention, now: i64) -> Option<Sought> {
        let Retention { done, dead, cancelled } = *retention;
        let kinds = [(State::Done, done), (State::Dead, dead), (State::Cancelled, cancelled)];
        loop {
            match kinds.get(self.kind)? {
                (state, Some(kept)) => {
                    return Some(Sought { state: *state, before: now.saturating_sub(millis(*kept)), now });
                }
                (_, None) => *self = Self::beginning(self.kind + 1),
            }
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought {
    state: State,
    /// Until when it must have ended.
    before: i64,
    now: i64,
}

impl Sought {
    /// The places of jobs that may go, `most` at most, and how far this has come.
    pub(super) fn look(
        self,
        connection: &Connection,
        from: Reached,
        most: usize,
    ) -> Result<(Vec<i64>, Reached), Fault> {
        let mut statement = connection.prepare_cached(ENDED)?;
        let mut rows = statement.query(named_params! {
            ":state": self.state.as_str(),
            ":before": self.before,
            ":now": self.now,
            ":finished_at": from.finished_at,
            ":seq": from.seq,
        })?;
        let (mut found, mut looked_at) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let reached = Reached { seq: row.get(0)?, finished_at: row.get(1)?, ..from };
            looked_at += 1;
            if row.get::<_, Option<bool>>(2)? == Some(true) {
                found.push(reached.seq);
            }
            if found.len() == most || looked_at == PART {
                return Ok((found, reached));
            }
        }
        Ok((found, Reached::beginning(from.kind + 1)))
    }

    /// Deletes those of them that may still go, from the first on, until it is others' turn. Returns how
    /// many it has deleted, and how many it has looked at.
    pub(super) fn remove(self, connection: &Connection, places: &[i64]) -> Result<(usize, usize), Fault> {
        let started = Instant::now();
        let mut statement = connection.prepare_cached(MAY_GO)?;
        let (mut gone, mut removed, mut looked_at) = (Vec::new(), 0, 0);
        for seq in places {
            looked_at += 1;
            let named = named_params! {
                ":seq": seq,
                ":state": self.state.as_str(),
                ":before": self.before,
                ":now": self.now,
            };
            let mut is_full = false;
            if statement.query_row(named, |_| Ok(())).optional()?.is_some() {
                is_full = remember(connection, *seq, self.now)?;
                gone.push(*seq);
                removed += 1;
            }
            if is_full || gone.len() == TOGETHER {
                delete(connection, &gone)?;
                gone.clear();
            }
            if gone.is_empty() && started.elapsed() > TURN {
                break;
            }
        }
        delete(connection, &gone)?;
        Ok((removed, looked_at))
    }
}

#[cfg(test)]
mod tests;
