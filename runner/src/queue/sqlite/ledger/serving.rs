//! The workers of this data directory that take jobs of the server.

use super::Ledger;
use crate::queue::sqlite::records::time;
use crate::queue::{QueueError, WorkerId, WorkerStatus};
use rusqlite::Connection;
use std::sync::Arc;

const BEAT: &str = "
    INSERT INTO serving (start, server, name, started_at, lease_ms, beat_at) VALUES (?1, ?2, ?3, ?4, ?5, ?4)
    ON CONFLICT DO UPDATE SET beat_at = excluded.beat_at";

/// Twice as long as a lease may be between two heartbeats of a busy worker; the server decides about leases.
pub(super) const SERVING: &str = "
    SELECT name, started_at, (SELECT COUNT(*) FROM jobs WHERE worker = start) FROM serving
    WHERE server = ?1 AND beat_at + 2 * lease_ms >= ?2 ORDER BY name, started_at";

impl Ledger {
    /// Announces a worker: that it lives can be told by others from now on.
    pub(in crate::queue) async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        let marks = self.queue.shared.begun.files();
        self.beat(worker).await?;
        self.queue.keep_marks(worker.start, marks).await
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
        self.queue.shared.begun.forget(start);
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
