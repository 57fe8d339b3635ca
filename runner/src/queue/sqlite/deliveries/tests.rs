//! The outbox in a real file, with the time under the tests' control.

use super::*;
use crate::job::{Decision, Document, State, Verdict};
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
use crate::queue::{Home, Queue, WorkerId};

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
    fixture.queue.deliveries(&worker("a"), LEASE, 10).await.unwrap()
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
    let taken = fixture.queue.deliveries(&worker("a"), LEASE, 2).await.unwrap();
    assert_eq!(taken.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids[..2]);
    assert_eq!(due(&fixture).await.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids[2..]);
}

#[tokio::test]
async fn a_result_is_sent_from_the_store_that_holds_it_and_served_where_its_worker_is() {
    let fixture = Fixture::new();
    let public_url = Some("http://node1.example/results".parse().unwrap());
    let elsewhere = Home { store: JobId::from_bytes([8; 16]), public_url: public_url.clone() };
    let other = WorkerId { home: elsewhere, ..worker("b") };
    let id = fixture.submit(wanted()).await;
    let lease = fixture.queue.claim(&other, &[crate::job::Tube::default()], 1).await.unwrap().remove(0).lease;
    let settlement = crate::queue::Settlement {
        verdict: Verdict::Done,
        decision: Decision::Finish,
        usage: crate::job::Usage::default(),
        published: true,
    };
    fixture.queue.settle(&other, &lease, settlement).await.unwrap();
    assert!(due(&fixture).await.is_empty(), "another store's worker is given nothing");
    let restarted = WorkerId { start: JobId::new(), ..other };
    assert_eq!(fixture.queue.deliveries(&restarted, LEASE, 10).await.unwrap().len(), 1);
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.public_url), (State::Done, public_url));
    let here = ended(&fixture, document(), Decision::Finish).await;
    assert_eq!((fixture.find(here).await.public_url, worker("a").home.public_url), (None, None));
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
    let leased = fixture.queue.deliveries(&worker("a"), LEASE, 2).await.unwrap();
    assert_eq!(leased.len(), 2, "as many as were asked for");
    let sql = "SELECT state || ': ' || reason FROM deliveries WHERE seq = 1";
    let told: String = fixture.reader().query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(told.starts_with("given-up: a result_url cannot be read"), "{told}");
}
