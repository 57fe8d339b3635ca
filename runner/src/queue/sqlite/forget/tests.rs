use super::*;
use crate::job::{Decision, Document, Span, Unique, UniqueFor, Verdict};
use crate::queue::sqlite::fixture::{Fixture, document};
use crate::queue::sqlite::lock;
use crate::queue::sqlite::writer::Durable;
use crate::queue::{Action, Filter, Jobs};
use rusqlite::StatementStatus;

#[tokio::test]
async fn a_result_that_is_still_to_be_sent_is_not_forgotten() {
    let fixture = Fixture::new();
    let [sent, pending] = fixture.submit_all(vec![document(); 2]).await[..] else { unreachable!() };
    for _ in 0..2 {
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    }
    fixture.sql(
        "INSERT INTO deliveries (seq, attempt, url, state, since) VALUES
            (1, 1, 'http://a/', 'delivered', 0), (2, 1, 'http://a/', 'pending', 0); UPDATE outcomes SET files = 1",
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
    assert!(plan.contains("forgotten USING INDEX forgotten_files (place>?)") && !plan.contains("TEMP"), "{plan}");
}

const ALL: Retention =
    Retention { done: Some(Duration::ZERO), dead: Some(Duration::ZERO), cancelled: Some(Duration::ZERO) };

/// So many jobs that have ended and must stay, and after them so many that may go.
async fn with(stay: usize, go: usize) -> Fixture {
    let fixture = Fixture::new();
    let period = UniqueFor::For(Span(Duration::from_secs(3_600)));
    let holder = |number| Document { unique: Some(Unique { key: format!("{number}"), period }), ..document() };
    let mut ids = fixture.submit_all((0..stay).map(holder).collect()).await;
    ids.extend(fixture.submit_all(vec![document(); go]).await);
    fixture.queue.act(&ids, &Action::Cancel { reason: String::new() }).await.unwrap();
    fixture
}

#[tokio::test]
async fn what_may_go_is_found_behind_any_number_of_jobs_that_must_stay() {
    let fixture = with(2 * PART + 1, 30).await;
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(fixture.queue.forget(&ALL, 10).await.unwrap());
    }
    assert_eq!(forgotten, [10, 10, 10, 0]);
    fixture.advance(Duration::from_secs(3_600));
    assert_eq!(fixture.queue.forget(&ALL, 9_999).await.unwrap(), 2 * PART + 1, "nobody holds a key any more");
}

#[tokio::test]
async fn a_sweep_that_goes_on_does_not_look_again_at_what_it_has_passed() {
    let steps_with = async |stay: usize| {
        let fixture = with(stay, 20).await;
        assert_eq!(fixture.queue.forget(&ALL, 10).await.unwrap(), 10);
        let reached = lock(&fixture.queue.shared.sweep).jobs;
        let connection = fixture.reader();
        let mut statement = connection.prepare(ENDED).unwrap();
        let now = fixture.now().as_millisecond();
        let named = named_params! {
            ":state": "cancelled",
            ":before": now,
            ":now": now,
            ":finished_at": reached.finished_at,
            ":seq": reached.seq,
        };
        let next: usize = statement.query_row(named, |row| row.get(0)).unwrap();
        assert_eq!(next, stay + 11);
        statement.get_status(StatementStatus::VmStep)
    };
    assert_eq!(steps_with(3).await, steps_with(3_000).await);
}

#[tokio::test]
async fn looking_takes_no_writer_and_deleting_asks_again() {
    let fixture = with(0, 3).await;
    let now = fixture.now().as_millisecond();
    let sought = Sought { state: State::Cancelled, before: now, now };
    let connection = fixture.reader();
    let (found, _) = sought.look(&connection, Reached::beginning(2), 9).unwrap();
    assert_eq!(found, [1, 2, 3]);
    fixture.sql(
        "UPDATE jobs SET unique_key = 'k', unique_until = 9223372036854775807 WHERE seq = 2;
        DELETE FROM jobs WHERE seq = 3",
    );
    let removed =
        fixture.queue.write(1, Durable::Now, move |connection, _| sought.remove(connection, &found)).await.unwrap();
    assert_eq!(removed, (1, 3));
    assert!(matches!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 1));
}

#[test]
fn a_sweep_is_a_walk_along_an_index() {
    let plan = Fixture::new().plan(ENDED);
    assert!(!plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
    for step in ["jobs_ended (state=? AND finished_at=? AND rowid>?)", "jobs_ended (state=? AND finished_at>?"] {
        assert!(plan.contains(step), "{plan}");
    }
}
