use super::*;
use crate::job::{Document, Span, Unique, UniqueFor};
use crate::queue::sqlite::fixture::{Fixture, document};
use crate::queue::{Action, Queue};
use rusqlite::StatementStatus;
use std::time::Duration;

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
    let fixture = with(2 * PIECE + 1, 30).await;
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(fixture.queue.forget(&ALL, 10).await.unwrap());
    }
    assert_eq!(forgotten, [10, 10, 10, 0]);
    fixture.advance(Duration::from_secs(3_600));
    assert_eq!(fixture.queue.forget(&ALL, 9_999).await.unwrap(), 2 * PIECE + 1, "nobody holds a key any more");
}

#[tokio::test]
async fn a_sweep_that_goes_on_does_not_look_again_at_what_it_has_passed() {
    let steps_with = async |stay: usize| {
        let fixture = with(stay, 20).await;
        assert_eq!(fixture.queue.forget(&ALL, 10).await.unwrap(), 10);
        let reached = *lock(&fixture.queue.shared.sweep.reached);
        let connection = fixture.reader();
        let mut statement = connection.prepare(&sql(&Whose::Own)).unwrap();
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
    let (found, _) = sought.look(&connection, &Whose::Own, Reached::beginning(2), 9).unwrap();
    assert_eq!(found, [1, 2, 3]);
    fixture.sql(
        "UPDATE jobs SET unique_key = 'k', unique_until = 9223372036854775807 WHERE seq = 2;
        DELETE FROM jobs WHERE seq = 3",
    );
    let removed = fixture.queue.write(move |connection, _| sought.remove(connection, &found)).await.unwrap();
    assert_eq!(removed, 1);
    assert!(matches!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 1));
}

#[test]
fn a_sweep_is_a_walk_along_an_index() {
    let fixture = Fixture::new();
    for (whose, steps) in [
        (Whose::Own, ["jobs_ended (state=? AND finished_at=? AND seq>?)", "jobs_ended (state=? AND finished_at>?"]),
        (
            Whose::Servers("".into()),
            [
                "placed_ended (host=? AND state=? AND finished_at=? AND seq>?)",
                "placed_ended (host=? AND state=? AND finished_at>?",
            ],
        ),
    ] {
        let plan = fixture.plan(&sql(&whose));
        let is_walk = !plan.contains("SCAN") && !plan.contains("TEMP");
        assert!(is_walk && steps.iter().all(|step| plan.contains(step)), "{whose:?}: {plan}");
    }
}
