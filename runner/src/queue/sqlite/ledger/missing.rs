//! Jobs that their server has no more although they have not ended here: another node has ended them, or somebody has
//! deleted them at the server.
//!
//! What became of them cannot be told from here. Their rows stay as they are, ready, and have the time at which they
//! were missed, which no other job that waits has. Pages leave them out, and after a time those that were not tried here
//! are deleted. One that is met again, because the server had been started without its binlog, say, is a job like any
//! other, even if its row is gone: so nothing is kept by which it would be taken for one that has ended.
//!
//! Those that died here and that the server has no more were deleted there, or kicked, and ended by another node. They too
//! have the time at which they were missed, and are deleted when that is long ago; their ids stay known, since they have
//! ended here.

use super::{Counts, Ledger, Place, host};
use crate::job::{Digest, JobId, State};
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::forget::Sought;
use crate::queue::{Cursor, QueueError};
use rusqlite::{Connection, OptionalExtension, named_params};
use std::sync::Arc;
use std::time::Duration;

/// Only a job that still waits, and where it was looked for.
pub(super) const MISS: &str = "
    UPDATE jobs SET state = 'ready', finished_at = :now
    WHERE id = :id AND state IN ('delayed', 'ready') AND finished_at IS NULL AND EXISTS (
        SELECT 1 FROM placed WHERE placed.seq = jobs.seq AND server = :server AND number = :number AND body = :body)";

const FIND_AGAIN: &str = "UPDATE jobs SET finished_at = NULL WHERE seq = ?1 AND state = 'ready'";

const FIND_BY_ID: &str = "UPDATE jobs SET finished_at = NULL WHERE id = ?1 AND state = 'ready'";

pub(super) const MISSING: &str = "
    SELECT seq FROM jobs INDEXED BY placed_ended
    WHERE host = :host AND unicode(host) IS 1 AND state = 'ready' AND finished_at <= :before AND attempts = 0
    ORDER BY finished_at LIMIT :most";

/// Only one that is dead still, and where it was looked for.
const MISS_DEAD: &str = "
    UPDATE placed SET missed_at = COALESCE(missed_at, :now)
    WHERE server = :server AND number = :number AND body = :body AND seq = (
        SELECT seq FROM jobs WHERE id = :id AND state = 'dead')
    RETURNING seq, missed_at";

const FIND_DEAD: &str = "
    UPDATE placed SET missed_at = NULL WHERE seq = (SELECT seq FROM jobs WHERE id = ?1) AND missed_at IS NOT NULL";

/// Whoever looks at all of them goes on where the last look has ended.
pub(super) const UNENDED: &str = "
    SELECT placed.seq, server, id, number, body, state,
        CASE state WHEN 'dead' THEN missed_at IS NOT NULL ELSE finished_at IS NOT NULL END
    FROM placed CROSS JOIN jobs USING (seq) WHERE placed.seq > ?1 ORDER BY placed.seq LIMIT ?2";

/// As many rows are looked at in one go.
const LOOKED_AT: i64 = 20_000;

/// How a job stands that the server ought to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Unended {
    /// It is dead, or else it waits.
    pub(in crate::queue) is_dead: bool,
    /// The server had it no more.
    pub(in crate::queue) is_missing: bool,
}

impl Ledger {
    /// Jobs that wait or are dead as far as this file knows, `most` at most, and the place after which to go on; none at
    /// the end.
    pub(in crate::queue) async fn unended(
        &self,
        after: Cursor,
        most: usize,
    ) -> Result<(Vec<(JobId, Place, Unended)>, Option<Cursor>), QueueError> {
        let server = Arc::clone(&self.server);
        let list = move |connection: &Connection| {
            let (mut unended, mut last) = (Vec::new(), None);
            let mut statement = connection.prepare_cached(UNENDED)?;
            let mut rows = statement.query((i64::try_from(after).unwrap_or(i64::MAX), LOOKED_AT))?;
            while unended.len() < most {
                let Some(row) = rows.next()? else { break };
                last = Cursor::try_from(row.get::<_, i64>(0)?).ok();
                if row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? != &*server {
                    continue;
                }
                let is_dead = match row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)? {
                    "delayed" | "ready" => false,
                    "dead" => true,
                    _ => continue,
                };
                let stands = Unended { is_dead, is_missing: row.get(6)? };
                let (number, body) = (row.get(3)?, Digest::from_bytes(row.get(4)?));
                let place = Place { number, body, counts: Counts::default() };
                unended.push((JobId::from_bytes(row.get(2)?), place, stands));
            }
            Ok((unended, last))
        };
        self.queue.shared.lister.call(list).await
    }

    /// Takes note of jobs that the server has no more.
    pub(in crate::queue) async fn miss(&self, jobs: Vec<(JobId, Place)>) -> Result<(), QueueError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let server = Arc::clone(&self.server);
        self.queue
            .write_for(jobs.len(), move |connection, now| {
                for (id, Place { number, body, .. }) in jobs {
                    connection.prepare_cached(MISS)?.execute(named_params! {
                        ":id": id.as_bytes(),
                        ":server": &*server,
                        ":number": number,
                        ":body": body.as_bytes(),
                        ":now": now.as_millisecond(),
                    })?;
                }
                Ok(())
            })
            .await
    }

    /// Takes note of missing jobs that the server has after all.
    pub(in crate::queue) async fn found(&self, jobs: Vec<JobId>) -> Result<(), QueueError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let rows = jobs.len();
        let find = move |connection: &Connection, _| {
            for id in jobs {
                connection.prepare_cached(FIND_BY_ID)?.execute([id.as_bytes()])?;
                connection.prepare_cached(FIND_DEAD)?.execute([id.as_bytes()])?;
            }
            Ok(())
        };
        self.queue.write_for(rows, find).await
    }

    /// Takes note of dead jobs that the server has no more, and deletes those that have been missing for longer than they
    /// are kept, if they may go.
    pub(in crate::queue) async fn miss_dead(
        &self,
        jobs: Vec<(JobId, Place)>,
        kept: Duration,
    ) -> Result<(), QueueError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let server = Arc::clone(&self.server);
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        self.queue
            .write_for(jobs.len(), move |connection, now| {
                let now = now.as_millisecond();
                let before = now.saturating_sub(kept);
                let mut long_missing = Vec::new();
                for (id, Place { number, body, .. }) in jobs {
                    let place = named_params! {
                        ":id": id.as_bytes(),
                        ":server": &*server,
                        ":number": number,
                        ":body": body.as_bytes(),
                        ":now": now,
                    };
                    let missed = connection
                        .prepare_cached(MISS_DEAD)?
                        .query_row(place, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
                    long_missing.extend(missed.optional()?.filter(|(_, at)| *at <= before).map(|(seq, _)| seq));
                }
                Sought { state: State::Dead, before, now }.remove(connection, &long_missing).map(drop)
            })
            .await
    }

    /// Deletes jobs that have been missing for longer than they are kept, `most` at most, and returns how many.
    pub(in crate::queue) async fn forget_missing(&self, kept: Duration, most: usize) -> Result<usize, QueueError> {
        let host = host(&self.server);
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        self.queue
            .write_for(most, move |connection, now| {
                let now = now.as_millisecond();
                let mut statement = connection.prepare_cached(MISSING)?;
                let rows = statement.query_map(
                    named_params! {
                        ":before": now.saturating_sub(kept),
                        ":host": host,
                        ":most": i64::try_from(most).unwrap_or(i64::MAX),
                    },
                    |row| row.get(0),
                )?;
                let places = rows.collect::<Result<Vec<i64>, _>>()?;
                for &seq in &places {
                    connection.prepare_cached("DELETE FROM jobs WHERE seq = ?1")?.execute([seq])?;
                }
                Ok(places.len())
            })
            .await
    }
}

/// The server has the job after all.
pub(super) fn find_again(connection: &Connection, seq: i64) -> Result<(), Fault> {
    connection.prepare_cached(FIND_AGAIN)?.execute([seq])?;
    Ok(())
}
