//! What is left of jobs that are gone: their ids, and the digests of their documents as they were submitted.

mod sweep;

pub(super) use sweep::{Sought, Sweep, Whose};

use super::fault::Fault;
use crate::job::{Digest, JobId};
use crate::queue::Cursor;
use rusqlite::Connection;

const WHAT_STAYS: &str = "SELECT id, submitted_as, json FROM jobs LEFT JOIN documents USING (seq) WHERE seq = ?1";

const REMEMBER: &str = "INSERT OR REPLACE INTO forgotten (id, document, forgotten_at) VALUES (?1, ?2, ?3)";

const FORGOTTEN: &str = "SELECT place, id FROM forgotten WHERE place > ?1 ORDER BY place LIMIT ?2";

/// Deletes a job and all that belongs to it, and keeps what tells that it was there.
pub(super) fn remove(connection: &Connection, seq: i64, now: i64) -> Result<(), Fault> {
    let (id, document) = connection.prepare_cached(WHAT_STAYS)?.query_row([seq], |row| {
        let document = match row.get(1)? {
            Some(submitted_as) => submitted_as,
            // What cannot be read any more can still be deleted.
            None => *Digest::of(row.get_ref(2)?.as_bytes_or_null()?.unwrap_or_default()).as_bytes(),
        };
        Ok((row.get::<_, [u8; 16]>(0)?, document))
    })?;
    connection.prepare_cached(REMEMBER)?.execute((id, document, now))?;
    connection.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// A page of deleted jobs in the order of their deletion, and the place after which to go on.
pub(super) fn forgotten(
    connection: &Connection,
    after: Option<Cursor>,
    most: usize,
) -> Result<(Vec<JobId>, Option<Cursor>), Fault> {
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(FORGOTTEN)?;
    let mut rows = statement.query((after, most))?;
    let (mut ids, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        ids.push(JobId::from_bytes(row.get(1)?));
    }
    Ok((ids, last))
}

#[cfg(test)]
mod tests;
