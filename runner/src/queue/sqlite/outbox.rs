//! Results on their way to a `result_url`: the outbox.
//!
//! A row is written by the commit that publishes the result, and stays with it. Any worker on the database
//! sends it.

use super::columns::{integer, millis, some_time, time};
use super::fault::Fault;
use crate::job::{DeliveryRecord, DeliveryState, JobId};
use crate::queue::{Delivered, Delivery};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use std::time::Duration;
use url::Url;

/// What is kept of a reason, in characters.
const MAX_REASON: usize = 1000;

const REPLACED: &str = "
    UPDATE deliveries
    SET state = 'given-up', finished_at = ?2, next_at = NULL, reason = 'a newer attempt has a result of its own'
    WHERE seq = ?1 AND state = 'pending'";

/// Looking for the field's name first spares the parsing of documents that have none, which may be
/// megabytes.
const ADD: &str = "
    INSERT INTO deliveries (seq, attempt, url, state, since, next_at)
    SELECT seq, :attempt, json ->> '$.result_url', 'pending', :now, :now FROM documents
    WHERE seq = :seq AND instr(json, '\"result_url\":') > 0 AND json ->> '$.result_url' IS NOT NULL";

const IS_DUE: &str = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 'pending' AND next_at <= ?1)";

const DUE: &str = "
    SELECT deliveries.seq, jobs.id, attempt, url, tries, since FROM deliveries JOIN jobs USING (seq)
    WHERE deliveries.state = 'pending' AND next_at <= ?1
    ORDER BY next_at LIMIT ?2";

/// One that cannot be read would be due for ever.
const UNREADABLE: &str = "
    UPDATE deliveries SET state = 'given-up', finished_at = ?3, next_at = NULL, reason = ?4
    WHERE seq = ?1 AND attempt = ?2";

const TAKE: &str = "UPDATE deliveries SET tries = tries + 1, next_at = ?3 WHERE seq = ?1 AND attempt = ?2";

/// Only for whoever has taken it last.
const WAIT: &str = "
    UPDATE deliveries SET tries = tries - :untried, next_at = :next_at, reason = COALESCE(:reason, reason)
    WHERE seq = (SELECT seq FROM jobs WHERE id = :id) AND attempt = :attempt AND state = 'pending' AND tries = :tries";

const END: &str = "
    UPDATE deliveries
    SET state = :state, tries = tries - :untried, finished_at = :now, next_at = NULL, reason = :reason
    WHERE seq = (SELECT seq FROM jobs WHERE id = :id) AND attempt = :attempt AND state = 'pending'
        AND (:state = 'delivered' OR tries = :tries)";

const NEWEST: &str = "
    SELECT url, attempt, state, tries, since, next_at, finished_at, reason FROM deliveries
    WHERE seq = ?1 ORDER BY attempt DESC LIMIT 1";

/// Has the result of an attempt sent, if the job wants that. The results of its earlier attempts are not
/// sent any more.
pub(super) fn add(connection: &Connection, seq: i64, attempt: u32, now: i64) -> Result<(), Fault> {
    connection.prepare_cached(REPLACED)?.execute((seq, now))?;
    connection.prepare_cached(ADD)?.execute(named_params! {
        ":seq": seq, ":attempt": attempt, ":now": now,
    })?;
    Ok(())
}

/// Whether anything is to be sent at the time `now`.
pub(super) fn is_due(connection: &Connection, now: i64) -> Result<bool, Fault> {
    Ok(connection.prepare_cached(IS_DUE)?.query_row([now], |row| row.get(0))?)
}

/// Takes what is due, the longest due first; it is due again after `lease`. How many of the `most` could
/// not be read comes with it.
pub(super) fn take(
    connection: &Connection,
    lease: Duration,
    most: usize,
    now: Timestamp,
) -> Result<(Vec<Delivery>, usize), Fault> {
    let now = now.as_millisecond();
    let mut statement = connection.prepare_cached(DUE)?;
    let due = statement.query_map((now, integer(most)), |row| Ok((row.get(0)?, row.get(2)?, delivery(row))))?;
    let (mut taken, mut unreadable) = (Vec::new(), 0);
    for (seq, attempt, delivery) in due.collect::<Result<Vec<(i64, i64, _)>, _>>()? {
        match delivery {
            Ok(delivery) => {
                connection.prepare_cached(TAKE)?.execute((seq, attempt, after(now, lease)))?;
                taken.push(delivery);
            }
            Err(fault) if fault.is_of_a_row() => {
                connection.prepare_cached(UNREADABLE)?.execute((seq, attempt, now, shortened(&fault.to_string())))?;
                unreadable += 1;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok((taken, unreadable))
}

fn delivery(row: &Row<'_>) -> Result<Delivery, Fault> {
    Ok(Delivery {
        id: JobId::from_bytes(row.get(1)?),
        attempt: row.get(2)?,
        url: url(row, 3)?,
        tries: row.get(4)?,
        since: time(row.get(5)?)?,
    })
}

/// Keeps what came of a delivery.
pub(super) fn end(
    connection: &Connection,
    delivery: &Delivery,
    outcome: &Delivered,
    now: Timestamp,
) -> Result<(), Fault> {
    let now = now.as_millisecond();
    let untried = matches!(outcome, Delivered::Untried { .. } | Delivered::TooLate { .. });
    let wait = |wait: Duration, reason: Option<&str>| {
        connection.prepare_cached(WAIT)?.execute(named_params! {
            ":id": delivery.id.as_bytes(), ":attempt": delivery.attempt, ":tries": delivery.tries.saturating_add(1),
            ":untried": untried, ":next_at": after(now, wait), ":reason": reason.map(shortened),
        })
    };
    let end = |state: &str, reason: Option<&str>| {
        connection.prepare_cached(END)?.execute(named_params! {
            ":id": delivery.id.as_bytes(), ":attempt": delivery.attempt, ":tries": delivery.tries.saturating_add(1),
            ":untried": untried, ":state": state, ":now": now, ":reason": reason.map(shortened),
        })
    };
    match outcome {
        Delivered::Yes => end("delivered", None),
        Delivered::Untried { after } => wait(*after, None),
        Delivered::Again { after, reason } => wait(*after, Some(reason)),
        Delivered::TooLate { reason } | Delivered::GivenUp { reason } => end("given-up", Some(reason)),
    }?;
    Ok(())
}

/// How the sending of a job's newest result stands, if it is sent at all.
pub(super) fn newest(connection: &Connection, seq: i64) -> Result<Option<DeliveryRecord>, Fault> {
    let mut statement = connection.prepare_cached(NEWEST)?;
    let mut rows = statement.query([seq])?;
    rows.next()?.map(record).transpose()
}

/// How a delivery stands, from its columns.
pub(super) fn record(row: &Row<'_>) -> Result<DeliveryRecord, Fault> {
    Ok(DeliveryRecord {
        url: url(row, 0)?,
        attempt: row.get(1)?,
        state: state(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        tries: row.get(3)?,
        since: time(row.get(4)?)?,
        next_at: some_time(row, 5)?,
        finished_at: some_time(row, 6)?,
        reason: row.get(7)?,
    })
}

fn after(now: i64, wait: Duration) -> i64 {
    now.saturating_add(millis(wait))
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

fn url(row: &Row<'_>, column: usize) -> Result<Url, Fault> {
    row.get::<_, String>(column)?.parse().map_err(|error| Fault::corrupt("a result_url", error))
}

fn state(text: &str) -> Result<DeliveryState, Fault> {
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| Fault::corrupt("the state of a delivery", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Document, State, Verdict};
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Outbox, Work, WorkerId};

    const LEASE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn wanted() -> Document {
        Document { result_url: Some("https://hooks.example.org/x?token=1".parse().unwrap()), ..document() }
    }

    /// A job that has ended, and what is due of it.
    async fn ended(fixture: &Fixture, document: Document, decision: Decision) -> JobId {
        let id = fixture.submit(document).await;
        end_one(fixture, decision).await;
        id
    }

    async fn end_one(fixture: &Fixture, decision: Decision) {
        let lease = fixture.claim("a").await.unwrap().lease;
        let verdict = if decision == Decision::Finish { Verdict::Done } else { failed() };
        fixture.settle("a", &lease, verdict, decision).await.unwrap();
    }

    async fn due(fixture: &Fixture) -> Vec<Delivery> {
        fixture.queue.deliveries(LEASE, 10).await.unwrap()
    }

    async fn tell(fixture: &Fixture, delivery: &Delivery, outcome: Delivered) -> DeliveryRecord {
        fixture.queue.delivered(delivery, outcome).await.unwrap();
        fixture.find(delivery.id).await.delivery.unwrap()
    }

    fn again(after: Duration) -> Delivered {
        Delivered::Again { after, reason: "nobody listens".to_owned() }
    }

    #[tokio::test]
    async fn a_result_that_is_wanted_elsewhere_is_due_as_soon_as_its_job_is_done_or_dead() {
        let fixture = Fixture::new();
        for decision in [Decision::Finish, Decision::Bury] {
            let id = ended(&fixture, wanted(), decision).await;
            let [delivery] = &due(&fixture).await[..] else { panic!("one is due") };
            assert_eq!((delivery.id, delivery.attempt, delivery.tries), (id, 1, 0));
            assert_eq!(Some(&delivery.url), wanted().result_url.as_ref());
            let record = fixture.find(id).await;
            assert_eq!(record.finished_at, Some(delivery.since));
            let delivery = record.delivery.unwrap();
            assert_eq!((delivery.state, delivery.tries), (DeliveryState::Pending, 1));
        }
    }

    #[tokio::test]
    async fn nothing_is_due_of_a_job_without_a_place_for_its_result_or_without_a_result() {
        let fixture = Fixture::new();
        let mut nested = document();
        nested.params.insert("result_url".to_owned(), "http://nested.example/".into());
        ended(&fixture, nested, Decision::Finish).await;
        ended(&fixture, wanted(), Decision::Cancel).await;
        let retried = ended(&fixture, wanted(), Decision::Retry(SECOND)).await;
        assert!(due(&fixture).await.is_empty());
        assert_eq!(fixture.find(retried).await.delivery, None);
    }

    #[tokio::test]
    async fn what_is_taken_is_nobody_elses_until_the_lease_is_over() {
        let fixture = Fixture::new();
        ended(&fixture, wanted(), Decision::Finish).await;
        let first = due(&fixture).await.remove(0);
        assert!(due(&fixture).await.is_empty());
        fixture.advance(LEASE);
        let second = due(&fixture).await.remove(0);
        assert_eq!((second.tries, &second.url, second.since), (1, &first.url, first.since));
        let late = tell(&fixture, &first, again(Duration::ZERO)).await;
        assert_eq!((late.tries, late.reason), (2, None), "another has taken it meanwhile");
        let late = tell(&fixture, &first, Delivered::GivenUp { reason: "x".to_owned() }).await;
        assert_eq!(late.state, DeliveryState::Pending);
        let late = tell(&fixture, &first, Delivered::Yes).await;
        assert_eq!(late.state, DeliveryState::Delivered, "what has arrived has arrived");
        let later = tell(&fixture, &second, again(SECOND)).await;
        assert_eq!((later.state, later.next_at), (DeliveryState::Delivered, None));
    }

    #[tokio::test]
    async fn a_try_that_failed_is_made_again_after_its_wait_and_one_that_was_not_made_is_not_counted() {
        let fixture = Fixture::new();
        ended(&fixture, wanted(), Decision::Finish).await;
        let delivery = due(&fixture).await.remove(0);
        let waiting = tell(&fixture, &delivery, again(SECOND)).await;
        assert_eq!((waiting.tries, waiting.reason.as_deref()), (1, Some("nobody listens")));
        assert!(due(&fixture).await.is_empty());
        fixture.advance(SECOND);
        let delivery = due(&fixture).await.remove(0);
        let waiting = tell(&fixture, &delivery, Delivered::Untried { after: SECOND }).await;
        assert_eq!((waiting.tries, waiting.reason.as_deref()), (1, Some("nobody listens")));
        fixture.advance(SECOND);
        let delivery = due(&fixture).await.remove(0);
        assert_eq!(delivery.tries, 1);
        let given_up = tell(&fixture, &delivery, Delivered::GivenUp { reason: "é".repeat(9000) }).await;
        assert_eq!((given_up.state, given_up.tries, given_up.next_at), (DeliveryState::GivenUp, 2, None));
        assert_eq!(given_up.reason.unwrap().chars().count(), MAX_REASON);
        fixture.advance(LEASE);
        assert!(due(&fixture).await.is_empty());
    }

    #[tokio::test]
    async fn one_that_is_given_up_without_a_try_says_how_often_it_was_tried() {
        let fixture = Fixture::new();
        ended(&fixture, wanted(), Decision::Finish).await;
        let delivery = due(&fixture).await.remove(0);
        let too_late = tell(&fixture, &delivery, Delivered::TooLate { reason: "nobody answers".to_owned() }).await;
        assert_eq!((too_late.state, too_late.tries, too_late.next_at), (DeliveryState::GivenUp, 0, None));
        assert_eq!(too_late.reason.as_deref(), Some("nobody answers"));
    }

    #[tokio::test]
    async fn the_longest_due_is_taken_first_and_no_more_than_was_asked_for() {
        let fixture = Fixture::new();
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(ended(&fixture, wanted(), Decision::Finish).await);
            fixture.advance(SECOND);
        }
        let taken = fixture.queue.deliveries(LEASE, 2).await.unwrap();
        assert_eq!(taken.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids[..2]);
        assert_eq!(due(&fixture).await.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids[2..]);
    }

    #[tokio::test]
    async fn result_is_served_where_its_worker_is() {
        let fixture = Fixture::new();
        let public_url = Some("http://node1.example/results".parse().unwrap());
        let other = WorkerId { public_url: public_url.clone(), ..worker("b") };
        let id = fixture.submit(wanted()).await;
        let lease = fixture.queue.claim(&other, &[crate::job::Tube::default()], 1).await.unwrap().remove(0).lease;
        fixture.settle_as(&other, &lease, Verdict::Done, Decision::Finish).await.unwrap();
        assert_eq!(due(&fixture).await.len(), 1, "any worker sends it");
        let record = fixture.find(id).await;
        assert_eq!((record.state, record.public_url), (State::Done, public_url));
        let here = ended(&fixture, document(), Decision::Finish).await;
        assert_eq!(fixture.find(here).await.public_url, None);
    }

    #[tokio::test]
    async fn a_newer_result_is_sent_in_place_of_an_older_one() {
        let fixture = Fixture::new();
        let id = ended(&fixture, Document { max_attempts: 1, ..wanted() }, Decision::Bury).await;
        let older = due(&fixture).await.remove(0);
        fixture.sql("UPDATE jobs SET state = 'ready', kicks = 1, finished_at = NULL");
        end_one(&fixture, Decision::Finish).await;
        let newer = due(&fixture).await.remove(0);
        assert_eq!((newer.id, newer.attempt, newer.tries), (id, 2, 0));
        let record = tell(&fixture, &older, again(SECOND)).await;
        assert_eq!((record.attempt, record.state), (2, DeliveryState::Pending));
        fixture.advance(LEASE);
        assert_eq!(due(&fixture).await.iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn what_is_due_is_found_by_its_index() {
        let fixture = Fixture::new();
        for sql in [IS_DUE, DUE] {
            let plan = fixture.plan(sql);
            assert!(plan.contains("deliveries_due") && !plan.contains("SCAN deliveries"), "{plan}");
        }
        let plan = fixture.plan("SELECT 1 FROM deliveries WHERE seq = 1 AND state = 'pending'");
        assert!(plan.contains("PRIMARY KEY"), "{plan}");
    }

    #[tokio::test]
    async fn a_delivery_that_cannot_be_read_is_given_up_and_holds_up_no_other() {
        let fixture = Fixture::new();
        for _ in 0..4 {
            ended(&fixture, wanted(), Decision::Finish).await;
        }
        fixture.sql("UPDATE deliveries SET url = 'nowhere' WHERE seq IN (1, 3)");
        let leased = fixture.queue.deliveries(LEASE, 2).await.unwrap();
        assert_eq!(leased.len(), 2, "as many as were asked for");
        let sql = "SELECT state || ': ' || reason FROM deliveries WHERE seq = 1";
        let told: String = fixture.reader().query_row(sql, [], |row| row.get(0)).unwrap();
        assert!(told.starts_with("given-up: a result_url cannot be read"), "{told}");
    }
}
