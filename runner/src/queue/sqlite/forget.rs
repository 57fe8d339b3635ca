//! What is left of jobs that are gone: their ids, and the digests of their documents as they were submitted.

use super::claim;
use super::fault::Fault;
use crate::job::{Digest, JobId, State};
use crate::queue::{Cursor, Retention};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};

/// A job that still holds a unique key, or whose result is still to be sent, is not forgotten yet.
const ENDED: &str = "
    SELECT seq FROM jobs INDEXED BY jobs_ended
    WHERE state = :state AND finished_at <= :before AND (unique_key IS NULL OR unique_until <= :now)
        AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = jobs.seq AND deliveries.state = 'pending')
    ORDER BY finished_at LIMIT :most";

const WHAT_STAYS: &str = "SELECT id, submitted_as, json FROM jobs LEFT JOIN documents USING (seq) WHERE seq = ?1";

const REMEMBER: &str = "INSERT OR REPLACE INTO forgotten (id, document, forgotten_at) VALUES (?1, ?2, ?3)";

const FORGOTTEN: &str = "SELECT place, id FROM forgotten WHERE place > ?1 ORDER BY place LIMIT ?2";

/// Deletes jobs that ended too long ago, `most` at most, and returns how many.
pub(super) fn forget(
    connection: &Connection,
    retention: &Retention,
    most: usize,
    now: Timestamp,
) -> Result<usize, Fault> {
    let now = now.as_millisecond();
    // Where no worker runs, nobody else would write down that they have expired.
    claim::cancel_expired(connection, now)?;
    let mut forgotten = 0;
    let Retention { done, dead, cancelled } = *retention;
    for (state, kept) in [(State::Done, done), (State::Dead, dead), (State::Cancelled, cancelled)] {
        let Some(kept) = kept else { continue };
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let named = named_params! {
            ":state": state.as_str(),
            ":before": now.saturating_sub(kept),
            ":now": now,
            ":most": i64::try_from(most - forgotten).unwrap_or(i64::MAX),
        };
        let mut statement = connection.prepare_cached(ENDED)?;
        let places = statement.query_map(named, |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        for &seq in &places {
            remove(connection, seq, now)?;
        }
        forgotten += places.len();
    }
    Ok(forgotten)
}

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
mod tests {
    use super::*;
    use crate::job::{Decision, Verdict};
    use crate::queue::sqlite::fixture::{Fixture, document};
    use crate::queue::{Action, Filter, Queue};
    use std::time::Duration;

    #[tokio::test]
    async fn a_result_that_is_still_to_be_sent_is_not_forgotten() {
        let fixture = Fixture::new();
        let [sent, pending] = fixture.submit_all(vec![document(); 2]).await[..] else { unreachable!() };
        for _ in 0..2 {
            let lease = fixture.claim("a").await.unwrap().lease;
            fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        }
        fixture.sql(
            "INSERT INTO deliveries (seq, attempt, store, url, state, since) VALUES
                (1, 1, zeroblob(16), 'http://a/', 'delivered', 0), (2, 1, zeroblob(16), 'http://a/', 'pending', 0)",
        );
        let all = Retention { done: Some(Duration::ZERO), ..Retention::default() };
        assert_eq!(fixture.queue.forget(&all, 9).await.unwrap(), 1);
        let (records, _) = fixture.queue.list(&Filter::default(), None, 9).await.unwrap();
        assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), [pending]);
        assert_eq!(fixture.queue.forgotten(None, 9).await.unwrap().0, [sent]);
        let deleted = fixture.queue.act(&[pending], &Action::Delete).await.unwrap();
        assert_eq!(deleted[0].outcome, Ok(State::Done), "an operator may");
    }

    #[test]
    fn forgetting_does_not_look_at_jobs_that_stay() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (ENDED, "jobs USING INDEX jobs_ended (state=? AND finished_at<?)"),
            (FORGOTTEN, "forgotten USING INTEGER PRIMARY KEY (rowid>?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
