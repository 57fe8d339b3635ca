mod strangers;

pub(in crate::queue::sqlite) use strangers::Strangers;

use super::*;
use crate::job::{Decision, Span, Tube, Usage, Verdict};
use crate::queue::sqlite::fixture::{Fixture, LEASE, document, failed, worker};
use crate::queue::{Queue, Retention, Settlement, Unreadable};
use jiff::Timestamp;
use std::time::Duration;

const SERVER: &str = "beanstalkd://127.0.0.1:11300";

fn ledger(fixture: &Fixture) -> Ledger {
    Ledger::new(fixture.queue.clone(), SERVER)
}

/// A job that was reserved for the `reserves`-th time.
fn sighting(id: Option<JobId>, document: &Document, number: u64, reserves: u32) -> Sighting {
    let counts = Counts { reserves, ..Counts::default() };
    let place = Place { number, body: Digest::of(document.canonical()), counts };
    let put_at = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
    Sighting { id, document: document.clone(), place, put_at, deaths: 0 }
}

async fn run(ledger: &Ledger, sighting: Sighting) -> crate::queue::Claimed {
    match ledger.sight(sighting, &worker("a")).await.unwrap() {
        Ruling::Run(claimed) => *claimed,
        ruling => panic!("it is not run: {ruling:?}"),
    }
}

async fn end(ledger: &Ledger, claimed: &crate::queue::Claimed, verdict: Verdict, decision: Decision) {
    let settlement = Settlement { verdict, decision, usage: Usage::default(), published: true };
    ledger.begin(&worker("a"), &claimed.lease, settlement, 1).await.unwrap();
    ledger.commit(&claimed.lease, &worker("a")).await.unwrap();
    ledger.close(&claimed.lease).await.unwrap();
}

#[tokio::test]
async fn the_files_own_queue_and_the_jobs_of_a_server_do_not_see_each_other() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let own = fixture.submit(document()).await;
    let theirs = Submission { id: JobId::new(), document: document() };
    let place = Place { number: 1, body: Digest::of("x"), counts: Counts::default() };
    ledger.submitted(vec![(theirs.clone(), place)]).await.unwrap();
    let expiring = Document { expires: Some("1s".parse().unwrap()), ..document() };
    ledger.submitted(vec![(Submission { id: JobId::new(), document: expiring }, place)]).await.unwrap();
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, own);
    for name in ["a", SERVER, "\u{1}"] {
        assert!(fixture.claim(name).await.is_none(), "{name:?} is given a job of the server");
    }
    assert_eq!(fixture.queue.status().await.unwrap().states[&State::Ready], 0);
    let (listed, _) = fixture.queue.list(&crate::queue::Filter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [own]);
    assert_eq!(ledger.page(None, 10).await.unwrap().0.len(), 2);
    assert!(ledger.find(own).await.unwrap().is_none());
    assert!(Ledger::new(fixture.queue.clone(), "beanstalkd://other:1").find(theirs.id).await.unwrap().is_none());
    assert!(matches!(
        ledger.sight(sighting(Some(own), &document(), 3, 1), &worker("a")).await.unwrap(),
        Ruling::Taken(_)
    ));
}

#[tokio::test]
async fn attempts_are_counted_by_the_server_and_never_given_twice() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let retry = Decision::Retry(Duration::from_secs(1));
    // Attempts were made elsewhere before.
    let third = run(&ledger, sighting(Some(id), &document(), 7, 2)).await;
    assert_eq!((third.lease.attempt, third.attempts, third.granted), (2, 2, 3));
    end(&ledger, &third, failed(), retry).await;
    // The server has replayed its binlog.
    let next = run(&ledger, sighting(Some(id), &document(), 7, 1)).await;
    assert_eq!((next.lease.attempt, next.attempts), (3, 3));
    end(&ledger, &next, failed(), retry).await;
    let died = Sighting { deaths: 1, ..sighting(Some(id), &document(), 7, 4) };
    let used_up = ledger.sight(died, &worker("a")).await.unwrap();
    assert!(matches!(used_up, Ruling::Dead), "{used_up:?}");
    let again = ledger.sight(sighting(Some(id), &document(), 7, 5), &worker("a")).await.unwrap();
    assert!(matches!(again, Ruling::Dead), "nobody has kicked it");
    let mut kicked = sighting(Some(id), &document(), 7, 6);
    kicked.place.counts.kicks = 1;
    let kicked = run(&ledger, kicked).await;
    assert_eq!((kicked.lease.attempt, kicked.granted), (6, 6));
}

#[tokio::test]
async fn a_job_that_others_have_reserved_in_vain_is_tried_once_and_no_more() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let once = Document { max_attempts: 1, ..document() };
    let last = run(&ledger, sighting(Some(id), &once, 7, 9)).await;
    assert_eq!((last.lease.attempt, last.attempts, last.granted), (9, 1, 1));
    end(&ledger, &last, Verdict::Interrupted { message: "x".to_owned() }, Decision::Retry(Duration::ZERO)).await;
    let again = run(&ledger, sighting(Some(id), &once, 7, 10)).await;
    assert_eq!((again.lease.attempt, again.attempts, again.granted), (10, 1, 1));
    // It has taken this worker with it; the server, which was killed as well, does not know.
    let dead = ledger.sight(sighting(Some(id), &once, 7, 1), &worker("b")).await.unwrap();
    assert!(matches!(dead, Ruling::Dead), "{dead:?}");
    let elsewhere = Sighting { deaths: 1, ..sighting(None, &once, 8, 2) };
    assert!(matches!(ledger.sight(elsewhere, &worker("b")).await.unwrap(), Ruling::Dead));
}

#[tokio::test]
async fn what_has_ended_is_not_run_again_whatever_its_number() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let claimed = run(&ledger, sighting(Some(id), &document(), 1, 1)).await;
    let twin = ledger.sight(sighting(Some(id), &document(), 2, 1), &worker("b")).await.unwrap();
    assert!(matches!(twin, Ruling::Runs));
    end(&ledger, &claimed, Verdict::Done, Decision::Finish).await;
    let other = Document { priority: 1, ..document() };
    for number in [1, 2] {
        let same = ledger.sight(sighting(Some(id), &document(), number, 2), &worker("a")).await.unwrap();
        assert!(matches!(same, Ruling::Ended));
        let other = ledger.sight(sighting(Some(id), &other, number, 2), &worker("a")).await.unwrap();
        assert!(matches!(other, Ruling::Taken(why) if why.contains("with another document")));
    }
    ledger.removed(id).await.unwrap();
    let same = ledger.sight(sighting(Some(id), &document(), 3, 1), &worker("a")).await.unwrap();
    assert!(matches!(same, Ruling::Ended), "its id is still known");
    assert!(ledger.unknown(vec![Submission { id, document: document() }]).await.unwrap().is_empty());
    assert!(matches!(ledger.unknown(vec![Submission { id, document: other }]).await, Err(QueueError::IdTaken(_))));
}

#[tokio::test]
async fn a_job_without_an_id_is_known_again_by_its_number_and_its_body() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let first = run(&ledger, sighting(None, &document(), 1, 1)).await;
    end(&ledger, &first, failed(), Decision::Retry(Duration::from_secs(1))).await;
    let again = run(&ledger, sighting(None, &document(), 1, 2)).await;
    assert_eq!((again.lease.id, again.lease.attempt), (first.lease.id, 2));
    end(&ledger, &again, Verdict::Done, Decision::Finish).await;
    // A server without a binlog counts from 1 again.
    let new = run(&ledger, sighting(None, &document(), 1, 1)).await;
    assert_ne!(new.lease.id, first.lease.id);
    assert_eq!(ledger.numbered(1).await.unwrap(), Some(new.lease.id));
}

#[tokio::test]
async fn a_job_that_is_early_or_late_is_not_run() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let early = Document { delay: Some(Span(Duration::from_secs(9))), ..document() };
    let ruling = ledger.sight(sighting(Some(id), &early, 1, 1), &worker("a")).await.unwrap();
    assert!(matches!(ruling, Ruling::Early(wait) if wait.as_secs() == 9), "{ruling:?}");
    fixture.advance(Duration::from_secs(9));
    assert_eq!(run(&ledger, sighting(Some(id), &early, 1, 2)).await.attempts, 1);
    let late = Document { expires: Some("5s".parse().unwrap()), ..document() };
    let ruling = ledger.sight(sighting(None, &late, 2, 1), &worker("a")).await.unwrap();
    assert!(matches!(ruling, Ruling::Ended));
    assert_eq!(ledger.count(State::Cancelled).await.unwrap(), 1);
}

#[tokio::test]
async fn a_stale_lease_can_begin_no_end() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let old = run(&ledger, sighting(Some(id), &document(), 1, 1)).await;
    let new = run(&ledger, sighting(Some(id), &document(), 1, 2)).await;
    let done =
        Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage: Usage::default(), published: true };
    let stale = ledger.begin(&worker("a"), &old.lease, done.clone(), 1).await;
    assert!(matches!(stale, Err(QueueError::Stale { attempt: 1, .. })));
    assert!(matches!(ledger.commit(&old.lease, &worker("a")).await, Err(QueueError::Stale { .. })));
    ledger.begin(&worker("a"), &new.lease, done, 1).await.unwrap();
    assert!(!ledger.lost(&new.lease, false).await.unwrap(), "it is about to end");
    assert_eq!(ledger.open().await.unwrap().len(), 1);
    ledger.commit(&new.lease, &worker("a")).await.unwrap();
    ledger.commit(&new.lease, &worker("a")).await.unwrap();
    let (record, _) = ledger.find(id).await.unwrap().unwrap();
    assert_eq!((record.state, record.published, record.number), (State::Done, Some(2), Some(1)));
    assert!(matches!(record.history.unwrap()[0].verdict, Some(Verdict::Lost { .. })));
}

#[tokio::test]
async fn workers_are_listed_for_as_long_as_they_beat() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    ledger.beat(&worker("a")).await.unwrap();
    run(&ledger, sighting(None, &document(), 1, 1)).await;
    let workers = ledger.workers().await.unwrap();
    assert_eq!((workers[0].name.as_str(), workers[0].running), ("a", 1));
    fixture.advance(LEASE * 3);
    assert!(ledger.workers().await.unwrap().is_empty());
    ledger.beat(&worker("a")).await.unwrap();
    assert_eq!(ledger.workers().await.unwrap()[0].started_at, workers[0].started_at);
    ledger.gone(&worker("a")).await.unwrap();
    assert!(ledger.workers().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_job_is_remembered_under_its_number() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let found = |number, reason: &str| Unreadable {
        number,
        tube: Tube::default(),
        length: 5,
        excerpt: "\"hello\"".to_owned(),
        reason: reason.to_owned(),
        worker: "a".to_owned(),
        found_at: Timestamp::from_millisecond(1_800_000_000_000).unwrap(),
    };
    for (number, reason) in [(7, "first"), (3, "other"), (7, "second")] {
        ledger.note(found(number, reason)).await.unwrap();
    }
    assert_eq!(ledger.unreadable(None).await.unwrap(), [found(3, "other"), found(7, "second")]);
    assert_eq!(ledger.unreadable(Some(3)).await.unwrap(), [found(3, "other")]);
    assert!(Ledger::new(fixture.queue.clone(), "beanstalkd://other:1").unreadable(None).await.unwrap().is_empty());
}

const ALL: Retention =
    Retention { done: Some(Duration::ZERO), dead: Some(Duration::ZERO), cancelled: Some(Duration::ZERO) };

#[tokio::test]
async fn the_file_forgets_no_job_of_a_server_nor_the_server_one_of_the_file() {
    let fixture = Fixture::new();
    let strangers = Strangers::beside(&fixture).await;
    let own = fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
    fixture.advance(Duration::from_secs(60));
    let other = Ledger::new(fixture.queue.clone(), "beanstalkd://other:1");
    assert_eq!(other.forget(&ALL, 99).await.unwrap(), 0);
    assert_eq!(fixture.queue.forget(&ALL, 99).await.unwrap(), 1);
    assert_eq!(fixture.queue.find(own).await.unwrap(), None);
    strangers.assert_unchanged(&fixture);
    let without_dead = Retention { dead: None, ..ALL };
    assert_eq!(ledger(&fixture).forget(&without_dead, 99).await.unwrap(), 1, "one was cancelled");
}

#[tokio::test]
async fn a_job_is_not_forgotten_before_the_server_has_heard_of_its_end() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let lease = run(&ledger, sighting(Some(id), &document(), 1, 1)).await.lease;
    let done =
        Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage: Usage::default(), published: true };
    ledger.begin(&worker("a"), &lease, done, 1).await.unwrap();
    ledger.commit(&lease, &worker("a")).await.unwrap();
    assert_eq!(ledger.forget(&ALL, 9).await.unwrap(), 0);
    assert_eq!(ledger.open().await.unwrap().len(), 1);
    ledger.close(&lease).await.unwrap();
    assert_eq!(ledger.forget(&ALL, 9).await.unwrap(), 1);
    assert!(ledger.find(id).await.unwrap().is_none());
}

#[tokio::test]
async fn of_too_much_that_is_no_job_the_oldest_is_dropped_now_and_then() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    fixture.sql(&format!(
        "INSERT INTO unreadable WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10050)
            SELECT '{SERVER}', n, 'default', 1, 'x', 'x', 'a', n FROM numbers"
    ));
    let mut left = Vec::new();
    for number in 20_001..=20_102 {
        let found = Unreadable {
            number,
            tube: Tube::default(),
            length: 1,
            excerpt: "x".to_owned(),
            reason: "x".to_owned(),
            worker: "a".to_owned(),
            found_at: Timestamp::from_millisecond(i64::try_from(number).unwrap()).unwrap(),
        };
        ledger.note(found).await.unwrap();
        let count = fixture.reader().query_row("SELECT COUNT(*) FROM unreadable", [], |row| row.get::<_, u32>(0));
        left.push(count.unwrap());
    }
    assert_eq!((left[0], left[99], left[100], left[101]), (10_000, 10_099, 10_000, 10_001));
    assert_eq!(ledger.unreadable(None).await.unwrap()[0].number, 152);
}
