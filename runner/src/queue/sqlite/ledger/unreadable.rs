//! What was found among a server's jobs and is none.

use super::Ledger;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::time;
use crate::queue::{QueueError, Unreadable};
use rusqlite::{Connection, Row, named_params};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// About as many are remembered of one server; older ones are still buried there.
const MOST: i64 = 10_000;
/// Those that are too many are dropped once for so many that are found, since that takes a walk past all others.
const DROPPED: u64 = 100;

const COLUMNS: &str =
    "SELECT number, tube, length, excerpt, reason, worker, found_at FROM unreadable WHERE server = ?1";

const NOTE: &str = "
    INSERT OR REPLACE INTO unreadable (server, number, tube, length, excerpt, reason, worker, found_at)
    VALUES (:server, :number, :tube, :length, :excerpt, :reason, :worker, :found_at)";

const DROP: &str = "
    DELETE FROM unreadable WHERE server = ?1 AND number IN (
        SELECT number FROM unreadable WHERE server = ?1 ORDER BY found_at DESC LIMIT -1 OFFSET ?2)";

pub(super) const FORGET: &str = "DELETE FROM unreadable WHERE server = ?1 AND number = ?2";

impl Ledger {
    /// Takes note of one.
    pub(in crate::queue) async fn note(&self, found: Unreadable) -> Result<(), QueueError> {
        let server = Arc::clone(&self.server);
        let drops = self.noted.fetch_add(1, Ordering::Relaxed).is_multiple_of(DROPPED);
        self.queue
            .write(move |connection, _| {
                connection.prepare_cached(NOTE)?.execute(named_params! {
                    ":server": &*server,
                    ":number": found.number,
                    ":tube": found.tube.as_str(),
                    ":length": found.length,
                    ":excerpt": found.excerpt,
                    ":reason": found.reason,
                    ":worker": found.worker,
                    ":found_at": found.found_at.as_millisecond(),
                })?;
                if drops {
                    connection.prepare_cached(DROP)?.execute((&*server, MOST))?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets what was found under these numbers.
    pub(in crate::queue) async fn forget_unreadable(&self, numbers: Vec<u64>) -> Result<(), QueueError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let (server, most) = (Arc::clone(&self.server), numbers.len());
        let forget_all =
            move |connection: &Connection| numbers.iter().try_for_each(|number| forget(connection, &server, *number));
        self.queue.write_for(most, move |connection, _| forget_all(connection)).await
    }

    /// All that are remembered, in order of their numbers; or the one with this number.
    pub(in crate::queue) async fn unreadable(&self, number: Option<u64>) -> Result<Vec<Unreadable>, QueueError> {
        let server = Arc::clone(&self.server);
        let list = move |connection: &Connection| {
            let sql = format!("{COLUMNS} AND (?2 IS NULL OR number = ?2) ORDER BY number");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query((&*server, number))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(unreadable(row)?);
            }
            Ok(found)
        };
        self.queue.shared.lister.call(list).await
    }
}

/// Forgets what was found under a number.
pub(super) fn forget(connection: &Connection, server: &str, number: u64) -> Result<(), Fault> {
    connection.prepare_cached(FORGET)?.execute((server, number))?;
    Ok(())
}

fn unreadable(row: &Row<'_>) -> Result<Unreadable, Fault> {
    Ok(Unreadable {
        number: row.get(0)?,
        tube: row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?,
        length: row.get(2)?,
        excerpt: row.get(3)?,
        reason: row.get(4)?,
        worker: row.get(5)?,
        found_at: time(row.get(6)?)?,
    })
}
