mod gone;
mod plans;
mod strangers;

pub(in crate::queue::sqlite) use strangers::Strangers;

use super::*;
use crate::job::{Decision, JobId, Span, Tube, Usage, Verdict};
use crate::queue::sqlite::fixture::{Fixture, LEASE, document, failed, worker};
use crate::queue::{Queue, Retention, Settlement, Unreadable};
use jiff::Timestamp;
use std::time::{Duration, Instant};

const SERVER: &str = "beanstalkd://127.0.0.1:11300";

fn ledger(fixture: &Fixture) -> Ledger {
    Ledger::new(fixture.queue.clone(), SERVER)
}

impl Ledger {
    /// Leases the job on a reservation that lasts for long enough.
    async fn sight(&self, sighting: Sighting, worker: &crate::queue::WorkerId) -> Result<Ruling, QueueError> {
        self.sight_until(Instant::now() + Duration::from_secs(3_600), sighting, worker).await
    }
}

/// A job that was reserved for the `reserves`-th time.
fn sighting(id: Option<JobId>, document: &Document, number: u64, reserves: u32) -> Sighting {
    let counts = Counts { reserves, ..Counts::default() };
    let place = Place { number, body: Digest::of(document.canonical()), counts };
    let put_at = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
    Sighting { id, document: document.clone(), has_servers_ttr: false, place, put_at, deaths: 0 }
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
    let other = Document { seed: Some(1), ..document() };
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
async fn a_job_without_an_id_is_known_again_by_its_number_its_body_and_its_time() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let first = run(&ledger, sighting(None, &document(), 1, 1)).await;
    end(&ledger, &first, failed(), Decision::Retry(Duration::from_secs(1))).await;
    let again = run(&ledger, sighting(None, &document(), 1, 2)).await;
    assert_eq!((again.lease.id, again.lease.attempt), (first.lease.id, 2));
    // A server that has replayed its binlog has forgotten reservations, and its clock may have been set a little.
    let mut replayed = sighting(None, &document(), 1, 1);
    replayed.put_at += Duration::from_secs(1);
    let third = run(&ledger, replayed.clone()).await;
    assert_eq!((third.lease.id, third.lease.attempt, third.attempts), (first.lease.id, 3, 3));
    end(&ledger, &third, Verdict::Done, Decision::Finish).await;
    assert!(matches!(ledger.sight(replayed, &worker("a")).await.unwrap(), Ruling::Ended));
    // A server without a binlog gives its numbers again.
    let mut new = sighting(None, &document(), 1, 1);
    new.put_at -= Duration::from_secs(60);
    let new = run(&ledger, new).await;
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

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_nobody_from_seeing_the_others() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let [damaged, sound] = [1, 2].map(|number| sighting(Some(JobId::new()), &document(), number, 1));
    for one in [&damaged, &sound] {
        run(&ledger, one.clone()).await;
    }
    fixture.sql("UPDATE documents SET json = '{\"algorithm\":\"x\",\"ttr\":4294967295}' WHERE seq = 1");
    let (entries, next) = ledger.page(None, 10).await.unwrap();
    assert_eq!(
        (entries.iter().map(|entry| entry.record.id).collect::<Vec<_>>(), next),
        (vec![sound.id.unwrap()], None)
    );
    let refusal = ledger.find(damaged.id.unwrap()).await.unwrap_err().to_string();
    assert!(refusal.contains("ten years"), "{refusal}");
}

#[tokio::test]
async fn a_page_passes_over_the_jobs_of_other_servers_and_goes_on_where_it_ended() {
    let fixture = Fixture::new();
    let (ledger, other) = (ledger(&fixture), Ledger::new(fixture.queue.clone(), "beanstalkd://other:1"));
    let mut ids = Vec::new();
    for number in 1..=3 {
        run(&other, sighting(None, &document(), number, 1)).await;
        ids.push(run(&ledger, sighting(None, &document(), number, 1)).await.lease.id);
    }
    let (first, next) = ledger.page(None, 2).await.unwrap();
    let (second, last) = ledger.page(next, 2).await.unwrap();
    let found = first.iter().chain(&second).map(|entry| entry.record.id);
    assert_eq!((found.collect::<Vec<_>>(), last), (ids, None));
}

#[tokio::test]
async fn a_job_expires_only_if_nobody_can_have_started_it() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let expiring = Document { expires: Some("5s".parse().unwrap()), max_attempts: 9, ..document() };
    let sight = async |id, number, reserves| {
        ledger.sight(sighting(Some(id), &expiring, number, reserves), &worker("a")).await.unwrap()
    };
    let [known, new, put_off, started] = std::array::from_fn(|_| JobId::new());
    for (id, number) in [(known, 1), (started, 4)] {
        let place = Place { number, body: Digest::of(expiring.canonical()), counts: Counts::default() };
        ledger.submitted(vec![(Submission { id, document: expiring.clone() }, place)]).await.unwrap();
    }
    ledger.given_back(sighting(Some(put_off), &expiring, 3, 1)).await.unwrap();
    let claimed = run(&ledger, sighting(Some(started), &expiring, 4, 1)).await;
    end(&ledger, &claimed, failed(), Decision::Retry(Duration::ZERO)).await;
    fixture.advance(Duration::from_secs(9));
    fixture.queue.forget(&Retention::default(), 9).await.unwrap();
    assert_eq!(fixture.claim("a").await.map(|_| ()), None);
    // What the clock alone says is never written down.
    assert_eq!(ledger.find(known).await.unwrap().unwrap().0.state, State::Ready);
    let entry = ledger.entry(known).await.unwrap().unwrap();
    assert!(entry.has_expired(0, fixture.now()) && !entry.has_expired(1, fixture.now()));
    assert_eq!(entry.expired().state, State::Cancelled);
    assert!(!ledger.entry(started).await.unwrap().unwrap().has_expired(0, fixture.now()));
    for (id, number) in [(known, 1), (new, 2), (started, 4)] {
        let ruling = sight(id, number, 2).await;
        assert!(matches!(ruling, Ruling::Run(_)), "another node may have started it: {ruling:?}");
    }
    for (id, number, reserves) in [(put_off, 3, 2), (JobId::new(), 5, 1)] {
        let ruling = sight(id, number, reserves).await;
        assert!(matches!(ruling, Ruling::Ended), "nobody can have started it: {ruling:?}");
    }
    assert_eq!(ledger.count(State::Cancelled).await.unwrap(), 2);
}

#[tokio::test]
async fn a_job_whose_figures_were_changed_at_the_server_is_the_same_job() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let submitted = Submission { id, document: document() };
    let body = Digest::of("the body");
    let place = Place { number: 1, body, counts: Counts::default() };
    ledger.submitted(vec![(submitted.clone(), place)]).await.unwrap();
    let urgent = Document { priority: 5, ..document() };
    let mut seen = sighting(Some(id), &urgent, 1, 2);
    seen.place.body = body;
    let claimed = run(&ledger, seen).await;
    assert_eq!(claimed.job.document, urgent);
    assert_eq!(ledger.find(id).await.unwrap().unwrap().0.document, urgent);
    end(&ledger, &claimed, failed(), Decision::Retry(Duration::from_secs(1))).await;
    // It is put again, spelled in another way, elsewhere, and with another time for an attempt.
    let again =
        Document { priority: 7, tube: "night".parse().unwrap(), ttr: Some(Span(Duration::from_secs(3))), ..document() };
    let seen = sighting(Some(id), &again, 2, 1);
    assert!(matches!(ledger.sight(seen.clone(), &worker("a")).await.unwrap(), Ruling::Taken(_)), "the time is its own");
    let claimed = run(&ledger, Sighting { has_servers_ttr: true, ..seen }).await;
    assert_eq!((claimed.lease.id, claimed.job.document), (id, again.clone()));
    assert_eq!(ledger.find(id).await.unwrap().unwrap().0.document, again);
    assert!(ledger.unknown(vec![submitted]).await.unwrap().is_empty(), "what counts was submitted first");
    let other = Submission { id, document: again };
    assert!(matches!(ledger.unknown(vec![other]).await, Err(QueueError::IdTaken(_))));
}

#[tokio::test]
async fn a_job_that_was_put_twice_is_tried_no_more_often_than_one() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let twice = Document { max_attempts: 2, ..document() };
    let sight = async |number, reserves| {
        ledger.sight(sighting(Some(id), &twice, number, reserves), &worker("a")).await.unwrap()
    };
    let (mut reserves, mut attempts) = ([0, 0], Vec::new());
    // While it runs under one number, it is met under the other again and again.
    for (running, waiting) in [(0, 1), (0, 1), (1, 0), (0, 1)] {
        reserves[running] += 1;
        match sight(running as u64 + 1, reserves[running]).await {
            Ruling::Run(claimed) => {
                for _ in 0..10 {
                    reserves[waiting] += 1;
                    assert!(matches!(sight(waiting as u64 + 1, reserves[waiting]).await, Ruling::Runs));
                }
                attempts.push((claimed.attempts, claimed.granted));
                end(&ledger, &claimed, failed(), Decision::Retry(Duration::ZERO)).await;
            }
            ruling => assert!(matches!(ruling, Ruling::Dead | Ruling::Ended), "{ruling:?}"),
        }
    }
    assert_eq!(attempts, [(1, 2), (2, 2)]);
    assert_eq!(ledger.find(id).await.unwrap().unwrap().0.state, State::Dead);
    // The same under changing numbers.
    let (other, mut attempts) = (JobId::new(), Vec::new());
    for (number, reserves) in [(8, 1), (9, 12), (8, 14)] {
        let seen = sighting(Some(other), &twice, number, reserves);
        if let Ruling::Run(claimed) = ledger.sight(seen, &worker("a")).await.unwrap() {
            attempts.push(claimed.attempts);
            end(&ledger, &claimed, failed(), Decision::Retry(Duration::ZERO)).await;
        }
    }
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test]
async fn who_finds_a_reservation_lost_too_late_leaves_the_next_attempts_end_alone() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let settlement =
        |decision| Settlement { verdict: Verdict::Done, decision, usage: Usage::default(), published: true };
    let first = run(&ledger, sighting(Some(id), &document(), 1, 1)).await.lease;
    ledger.begin(&worker("a"), &first, settlement(Decision::Finish), 1).await.unwrap();
    let second = run(&ledger, sighting(Some(id), &document(), 1, 2)).await.lease;
    ledger.begin(&worker("a"), &second, settlement(Decision::Finish), 1).await.unwrap();
    assert!(!ledger.lost(&first, true).await.unwrap());
    ledger.close(&first).await.unwrap();
    ledger.commit(&second, &worker("a")).await.unwrap();
    assert_eq!(ledger.find(id).await.unwrap().unwrap().0.published, Some(2));
}

#[tokio::test]
async fn a_reservation_that_comes_to_nothing_makes_no_job_of_one_that_was_deleted() {
    let fixture = Fixture::new();
    let (ledger, id) = (ledger(&fixture), JobId::new());
    let claimed = run(&ledger, sighting(Some(id), &document(), 1, 1)).await;
    end(&ledger, &claimed, Verdict::Done, Decision::Finish).await;
    assert_eq!(ledger.forget(&ALL, 9).await.unwrap(), 1);
    ledger.given_back(sighting(Some(id), &document(), 2, 1)).await.unwrap();
    let again = ledger.sight(sighting(Some(id), &document(), 2, 2), &worker("a")).await.unwrap();
    assert!(matches!(again, Ruling::Ended), "{again:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_worker_from_writing_down_what_it_gives_back() {
    let fixture = Fixture::new();
    let (ledger, seen) = (ledger(&fixture), sighting(Some(JobId::new()), &document(), 1, 1));
    run(&ledger, seen.clone()).await;
    fixture.sql("UPDATE jobs SET uncounted = -1");
    assert!(ledger.sight(seen.clone(), &worker("a")).await.is_err());
    ledger.given_back(seen).await.unwrap();
}

#[tokio::test]
async fn whoever_was_kept_from_the_file_until_his_reservation_was_over_changes_nothing() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let mine = run(&ledger, sighting(Some(JobId::new()), &document(), 1, 2)).await.lease;
    let late = ledger.sight_until(Instant::now(), sighting(Some(mine.id), &document(), 1, 1), &worker("b")).await;
    assert!(matches!(late, Err(QueueError::Busy(_))), "{late:?}");
    assert_eq!(fixture.queue.recalled(&worker("a"), std::slice::from_ref(&mine)).await.unwrap(), []);
}
