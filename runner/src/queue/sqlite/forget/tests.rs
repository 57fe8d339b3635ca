use super::*;
use crate::job::{Decision, State, Verdict};
use crate::queue::sqlite::fixture::{Fixture, document};
use crate::queue::{Action, Filter, Queue, Retention};
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
fn what_was_forgotten_is_read_along_its_places() {
    let plan = Fixture::new().plan(FORGOTTEN);
    assert!(plan.contains("forgotten USING INTEGER PRIMARY KEY (rowid>?)") && !plan.contains("TEMP"), "{plan}");
}
