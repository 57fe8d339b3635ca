//! Tubes that are paused. A pause whose time has come is as good as none.

use super::columns::time;
use super::fault::Fault;
use crate::job::Tube;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

const PAUSE: &str = "
    INSERT INTO paused (tube, since, until) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET since = excluded.since, until = excluded.until";

/// Part of every claim, once for each tube.
pub(super) const IS_PAUSED: &str = "SELECT 1 FROM paused WHERE tube = ?1 AND (until IS NULL OR until > ?2)";

const PAUSED: &str = "SELECT tube, until FROM paused WHERE until IS NULL OR until > ?1";

const ENDED: &str = "DELETE FROM paused WHERE until <= ?1";

const NEXT_END: &str = "
    SELECT until FROM paused INDEXED BY paused_until WHERE until IS NOT NULL AND until > ?1 ORDER BY until LIMIT 1";

/// Pauses a tube, instead of whatever pause there was.
pub(super) fn pause(
    connection: &Connection,
    tube: &Tube,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    let now = now.as_millisecond();
    let until = until.map(Timestamp::as_millisecond);
    connection.prepare_cached(PAUSE)?.execute((tube.as_str(), now, until))?;
    connection.prepare_cached(ENDED)?.execute([now])?;
    Ok(())
}

/// Ends a pause; whether there was one.
pub(super) fn resume(connection: &Connection, tube: &Tube, now: i64) -> Result<bool, Fault> {
    let was_paused = is_paused(connection, tube, now)?;
    connection.prepare_cached("DELETE FROM paused WHERE tube = ?1")?.execute([tube.as_str()])?;
    Ok(was_paused)
}

/// Whether no job of the tube is to be claimed now.
pub(super) fn is_paused(connection: &Connection, tube: &Tube, now: i64) -> Result<bool, Fault> {
    Ok(connection.prepare_cached(IS_PAUSED)?.exists((tube.as_str(), now))?)
}

/// Whether no job of the tube is to be claimed until somebody resumes it.
pub(super) fn is_paused_for_good(connection: &Connection, tube: &Tube) -> Result<bool, Fault> {
    Ok(connection.prepare_cached("SELECT 1 FROM paused WHERE tube = ?1 AND until IS NULL")?.exists([tube.as_str()])?)
}

/// Those of the tubes that are not paused.
pub(super) fn open<'a>(connection: &Connection, tubes: &'a [Tube], now: i64) -> Result<Vec<&'a Tube>, Fault> {
    let mut open = Vec::with_capacity(tubes.len());
    for tube in tubes {
        if !is_paused(connection, tube, now)? {
            open.push(tube);
        }
    }
    Ok(open)
}

/// All tubes that are paused, and until when, if that is known.
pub(super) fn paused(connection: &Connection, now: i64) -> Result<BTreeMap<Tube, Option<Timestamp>>, Fault> {
    let mut statement = connection.prepare_cached(PAUSED)?;
    let mut rows = statement.query([now])?;
    let mut paused = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let tube = row.get::<_, String>(0)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?;
        paused.insert(tube, row.get::<_, Option<i64>>(1)?.map(time).transpose()?);
    }
    Ok(paused)
}

/// When the next pause ends that had not ended at `after`.
pub(super) fn next_end(connection: &Connection, after: i64) -> Result<Option<i64>, Fault> {
    Ok(connection.prepare_cached(NEXT_END)?.query_row([after], |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Jobs, Work};

    #[tokio::test]
    async fn a_pause_survives_a_restart() {
        let fixture = Fixture::new();
        fixture.submit(document()).await;
        fixture.queue.pause(&Tube::default(), None).await.unwrap();
        let Fixture { directory, queue, .. } = fixture;
        drop(queue);
        let queue = SqliteQueue::open(&directory.path().join("queue.db")).unwrap();
        assert!(queue.claim(&worker("a"), &[Tube::default()], 1).await.unwrap().is_empty());
        assert!(queue.resume(&Tube::default()).await.unwrap());
        assert_eq!(queue.claim(&worker("a"), &[Tube::default()], 1).await.unwrap().len(), 1);
    }

    #[test]
    fn a_pause_costs_a_claim_one_seek_a_tube() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (IS_PAUSED, "paused USING PRIMARY KEY (tube=?)"),
            (NEXT_END, "paused USING COVERING INDEX paused_until (until>?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
