//! Tubes that are paused. A pause whose time has come is as good as none.

use super::fault::Fault;
use super::records::time;
use crate::job::Tube;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

const PAUSE: &str = "
    INSERT INTO paused (tube, since, until) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET since = excluded.since, until = excluded.until";

const IS_PAUSED: &str = "SELECT 1 FROM paused WHERE tube = ?1 AND (until IS NULL OR until > ?2)";

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
    use crate::job::{Decision, Document, Verdict};
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::{Interest, Queue};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn nothing_of_a_paused_tube_is_claimed_until_it_is_resumed() {
        let fixture = Fixture::new();
        let (default, night) = (Tube::default(), "night".parse::<Tube>().unwrap());
        let lease = async || {
            let claimed = fixture.queue.claim(&worker("a"), &[Tube::default(), "night".parse().unwrap()], 9).await;
            claimed.unwrap().into_iter().map(|claimed| claimed.lease).collect::<Vec<_>>()
        };
        fixture.submit(document()).await;
        let running = lease().await.remove(0);
        let first = fixture.submit(Document { priority: 0, ..document() }).await;
        let other = fixture.submit(Document { tube: night.clone(), ..document() }).await;
        fixture.queue.pause(&default, None).await.unwrap();
        assert_eq!(fixture.queue.status().await.unwrap().paused, [(default.clone(), None)].into());
        assert!(!fixture.queue.has_work(&worker("a"), std::slice::from_ref(&default)).await.unwrap());
        assert!(fixture.queue.has_work(&worker("a"), &[default.clone(), night.clone()]).await.unwrap());
        assert_eq!(lease().await.iter().map(|lease| lease.id).collect::<Vec<_>>(), [other]);
        fixture.settle("a", &running, Verdict::Done, Decision::Finish).await.unwrap();
        assert!(fixture.queue.resume(&default).await.unwrap());
        assert!(!fixture.queue.resume(&default).await.unwrap(), "there is none any more");
        assert!(fixture.queue.status().await.unwrap().paused.is_empty());
        assert_eq!(lease().await.iter().map(|lease| lease.id).collect::<Vec<_>>(), [first]);
    }

    #[tokio::test]
    async fn a_pause_ends_at_its_time_and_survives_a_restart() {
        let fixture = Fixture::new();
        let tube = Tube::default();
        let id = fixture.submit(document()).await;
        let now = fixture.find(id).await.submitted_at;
        let until = now + Duration::from_secs(60);
        fixture.queue.pause(&tube, Some(until)).await.unwrap();
        assert_eq!(fixture.queue.status().await.unwrap().paused, [(tube.clone(), Some(until))].into());
        let again =
            SqliteQueue::open_with_clock(&fixture.directory.path().join("queue.db"), std::sync::Arc::new(move || now))
                .unwrap();
        assert!(again.claim(&worker("a"), std::slice::from_ref(&tube), 1).await.unwrap().is_empty());
        fixture.advance(Duration::from_millis(59_999));
        assert!(fixture.claim("a").await.is_none());
        fixture.advance(Duration::from_millis(1));
        assert!(fixture.queue.status().await.unwrap().paused.is_empty());
        assert!(fixture.queue.has_work(&worker("a"), std::slice::from_ref(&tube)).await.unwrap());
        assert!(!fixture.queue.resume(&tube).await.unwrap(), "it has ended by itself");
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, id);
    }

    #[tokio::test]
    async fn a_pause_until_a_time_that_is_past_is_none_and_ends_the_one_before() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        fixture.queue.pause(&Tube::default(), None).await.unwrap();
        fixture.queue.pause(&Tube::default(), Some(Timestamp::UNIX_EPOCH)).await.unwrap();
        assert!(fixture.queue.status().await.unwrap().paused.is_empty());
        assert!(!fixture.queue.resume(&Tube::default()).await.unwrap());
        assert_eq!(fixture.claim("a").await.unwrap().lease.id, id);
    }

    #[tokio::test]
    async fn a_wait_ends_when_a_pause_does() {
        let directory = tempfile::tempdir().unwrap();
        let queue = SqliteQueue::open(&directory.path().join("queue.db")).unwrap();
        let (tubes, limit) = ([Tube::default()], Duration::from_secs(20));
        let mut watch = queue.watch(Interest::Work(tubes.to_vec()));
        let job = crate::queue::Submission { id: crate::job::JobId::new(), document: document() };
        queue.submit(vec![job]).await.unwrap();
        queue.pause(&tubes[0], Some(Timestamp::now() + Duration::from_millis(300))).await.unwrap();
        let started = Instant::now();
        while queue.claim(&worker("a"), &tubes, 1).await.unwrap().is_empty() {
            watch.changed(limit).await;
        }
        assert!(started.elapsed() < limit / 2);
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
