//! Heartbeats by a clock that the tests set.

use super::*;
use crate::job::{Document, State};
use crate::queue::sqlite::fixture::{Fixture, LEASE, document, worker};
use crate::queue::sqlite::{Faults, QueueFile, Sharing, SqliteQueue, open};
use crate::queue::{Queue, QueueError};

#[test]
fn a_worker_is_silent_only_after_the_same_beat_for_a_whole_lease() {
    let start = Instant::now();
    let worker = JobId::new();
    let mut silence = Silence::default();
    let mut look = |count, seconds| {
        let at = start + Duration::from_secs_f64(seconds);
        !silence.observe(&[Beat { start: worker, count, lease: LEASE }], at, at).is_empty()
    };
    assert!(!look(1, 0.0));
    assert!(!look(1, 14.9));
    assert!(!look(2, 15.1), "it has beaten");
    assert!(!look(2, 30.0));
    assert!(look(2, 30.2));
    assert!(!look(3, 99.0), "it is back");
}

#[test]
fn the_time_that_reading_takes_is_to_the_workers_advantage() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let beat = Beat { start: JobId::new(), count: 1, lease: LEASE };
    let mut silence = Silence::default();
    assert!(silence.observe(&[beat], at(0), at(10)).is_empty());
    assert!(silence.observe(&[beat], at(16), at(40)).is_empty());
    assert_eq!(silence.observe(&[beat], at(41), at(41)), [beat]);
}

#[test]
fn workers_that_are_gone_are_forgotten() {
    let now = Instant::now();
    let mut silence = Silence::default();
    let beat = || Beat { start: JobId::new(), count: 1, lease: LEASE };
    silence.observe(&[beat(), beat()], now, now);
    silence.observe(&[], now, now);
    assert!(silence.0.is_empty());
}

fn clock(fixture_start: Instant, seconds: u64) -> impl Fn() -> Instant + Send + Sync {
    move || fixture_start + Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_job_is_taken_over_only_after_a_whole_lease_without_a_heartbeat() {
    let fixture = Fixture::new();
    let (start, observer) = (Instant::now(), worker("observer"));
    let id = fixture.submit(document()).await;
    fixture.queue.register(&worker("a")).await.unwrap();
    let claimed = fixture.claim("a").await.unwrap();
    fixture.queue.begin(&worker("a"), &claimed.lease);
    // A wall clock that jumps by a year steals nothing.
    fixture.advance(Duration::from_secs(365 * 86_400));
    for seconds in [0, 5, 14] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
    }
    assert!(fixture.queue.heartbeat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap().is_empty());
    for seconds in [16, 30] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
    }
    let taken = fixture.queue.take_over_by(clock(start, 31), &observer).await.unwrap();
    assert_eq!(taken, [(claimed.lease.clone(), Decision::Retry(Duration::ZERO))]);
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.attempts), (State::Ready, 1));
    let told = record.verdict.unwrap().to_string();
    assert!(told.starts_with("lost: worker a was not heard of for 15 s"), "{told}");
    let lost = fixture.queue.heartbeat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap();
    assert_eq!(lost, [Recalled { lease: claimed.lease.clone(), cancelled: false }]);
    let late = fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await;
    assert!(matches!(late, Err(QueueError::Stale { .. })));
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_its_holder_says_whoever_watches() {
    let fixture = Fixture::new();
    let start = Instant::now();
    fixture.submit_all(vec![document(); 2]).await;
    let patient = fixture.claim("patient").await.unwrap();
    let hasty = WorkerId { lease: Duration::from_secs(2), ..worker("hasty") };
    let claimed = fixture.queue.claim(&hasty, &[crate::job::Tube::default()], 1).await.unwrap().remove(0);
    for seconds in [0, 1] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &hasty).await.unwrap().is_empty());
    }
    assert!(fixture.queue.take_over_by(clock(start, 14), &hasty).await.unwrap().is_empty(), "patient has 15 s");
    let leases = |taken: Vec<(Lease, Decision)>| taken.into_iter().map(|(lease, _)| lease).collect::<Vec<_>>();
    let taken = fixture.queue.take_over_by(clock(start, 14), &worker("patient")).await.unwrap();
    assert_eq!(leases(taken), [claimed.lease]);
    let taken = fixture.queue.take_over_by(clock(start, 15), &hasty).await.unwrap();
    assert_eq!(leases(taken), [patient.lease]);
}

#[tokio::test]
async fn a_worker_that_was_stopped_for_a_while_does_not_take_over_its_own_attempts() {
    let fixture = Fixture::new();
    let start = Instant::now();
    fixture.submit(document()).await;
    let claimed = fixture.claim("a").await.unwrap();
    for seconds in [0, 1000] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &worker("a")).await.unwrap().is_empty());
    }
    fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_was_given_up_and_comes_back_is_watched_from_the_beginning() {
    let fixture = Fixture::new();
    let (start, observer) = (Instant::now(), worker("observer"));
    // Another process has been watching as well, and does not take part in the take-over.
    let bystander = SqliteQueue::open(&fixture.directory.path().join("queue.db")).unwrap();
    fixture.submit(document()).await;
    fixture.claim("a").await.unwrap();
    for (queue, seconds, taken) in [(&fixture.queue, 0, 0), (&bystander, 0, 0), (&fixture.queue, 15, 1)] {
        assert_eq!(queue.take_over_by(clock(start, seconds), &observer).await.unwrap().len(), taken);
    }
    let again = fixture.claim("a").await.unwrap();
    for (queue, seconds) in [(&fixture.queue, 16), (&bystander, 16), (&fixture.queue, 30), (&bystander, 30)] {
        let taken = queue.take_over_by(clock(start, seconds), &observer).await.unwrap();
        assert!(taken.is_empty(), "{seconds} s: {taken:?}");
    }
    fixture.settle("a", &again.lease, Verdict::Done, Decision::Finish).await.unwrap();
}

#[tokio::test]
async fn a_beat_that_comes_before_the_take_over_saves_the_lease() {
    let fixture = Fixture::new();
    fixture.submit(document()).await;
    let claimed = fixture.claim("a").await.unwrap();
    let silent = fixture.queue.shared.reader.call(beats).await.unwrap();
    fixture.queue.heartbeat(&worker("a"), &[]).await.unwrap();
    let taken = fixture.queue.write(move |connection, _| take_over(connection, &silent, |_| None, 0)).await.unwrap();
    assert!(taken.is_empty());
    fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await.unwrap();
}

#[tokio::test]
async fn what_a_lost_worker_had_claimed_and_not_begun_does_not_count() {
    let fixture = Fixture::new();
    let start = Instant::now();
    fixture.submit_all(vec![Document { max_attempts: 1, ..document() }; 3]).await;
    fixture.queue.register(&worker("a")).await.unwrap();
    let claimed = fixture.queue.claim(&worker("a"), &[crate::job::Tube::default()], 3).await.unwrap();
    let [settled, running, waiting] = [0, 1, 2].map(|one| claimed[one].lease.clone());
    fixture.queue.begin(&worker("a"), &settled);
    fixture.queue.begin(&worker("a"), &running);
    fixture.settle("a", &settled, Verdict::Done, Decision::Finish).await.unwrap();
    // As another process sees it.
    let queue = fixture.elsewhere();
    assert!(queue.take_over_by(clock(start, 0), &worker("b")).await.unwrap().is_empty());
    let taken = queue.take_over_by(clock(start, 15), &worker("b")).await.unwrap();
    assert_eq!(taken, [(running.clone(), Decision::Bury), (waiting.clone(), Decision::Retry(Duration::ZERO))]);
    let lost = fixture.find(running.id).await.verdict.unwrap().to_string();
    assert!(lost.starts_with("lost: worker a was not heard of"), "{lost}");
    let told = fixture.find(waiting.id).await.verdict.unwrap().to_string();
    assert!(told.starts_with("interrupted: worker a") && told.ends_with("it had not begun the attempt"), "{told}");
    let again = fixture.claim("b").await.unwrap();
    assert_eq!((again.lease, again.attempts), (Lease { id: waiting.id, attempt: 2 }, 1));
}

#[tokio::test]
async fn a_job_whose_attempt_a_lost_worker_had_not_begun_expires_when_it_would_have() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let expiring = Document { expires: Some("1h".parse().unwrap()), ..document() };
    fixture.submit_all(vec![expiring; 2]).await;
    fixture.queue.register(&worker("a")).await.unwrap();
    let claimed = fixture.queue.claim(&worker("a"), &[crate::job::Tube::default()], 2).await.unwrap();
    fixture.queue.begin(&worker("a"), &claimed[0].lease);
    let queue = fixture.elsewhere();
    assert!(queue.take_over_by(clock(start, 0), &worker("b")).await.unwrap().is_empty());
    assert_eq!(queue.take_over_by(clock(start, 15), &worker("b")).await.unwrap().len(), 2);
    let file = QueueFile::new(&fixture.path(), Sharing::OneMachine);
    assert_eq!(file.check().unwrap().faults, Faults::default());
    let (copy, mut exported) = (Fixture::new(), Vec::new());
    file.export(&mut exported).unwrap();
    QueueFile::new(&copy.path(), Sharing::OneMachine).import(&mut exported.as_slice()).unwrap();
    for fixture in [&fixture, &copy] {
        fixture.advance(Duration::from_secs(3_600));
        let states = [fixture.find(claimed[0].lease.id).await.state, fixture.find(claimed[1].lease.id).await.state];
        assert_eq!(states, [State::Ready, State::Cancelled]);
    }
    assert_eq!(fixture.claim("b").await.unwrap().lease, Lease { attempt: 2, ..claimed[0].lease.clone() });
}

#[tokio::test]
async fn nothing_is_taken_over_before_those_who_were_kept_out_by_a_long_lock_had_their_turn() {
    let fixture = Fixture::new();
    let (start, observer) = (Instant::now(), worker("observer"));
    fixture.submit(document()).await;
    fixture.queue.register(&worker("a")).await.unwrap();
    fixture.claim("a").await.unwrap();
    let first = fixture.queue.take_over_by(clock(start, 100), &observer).await.unwrap();
    assert!(first.is_empty(), "it sees the heartbeat for the first time");
    let other = open::writer(&fixture.path(), Sharing::OneMachine).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waits = fixture.submit(document());
    let asks = async {
        tokio::time::sleep(LEASE / 10 + Duration::from_millis(200)).await;
        let late = fixture.queue.take_over_by(clock(start, 200), &observer);
        let ends = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            other.execute_batch("ROLLBACK").unwrap();
        };
        tokio::join!(late, ends).0
    };
    let (_, taken) = tokio::join!(waits, asks);
    assert!(taken.unwrap().is_empty(), "a heartbeat may be on its way");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(fixture.queue.take_over_by(clock(start, 200), &observer).await.unwrap().len(), 1, "it was not");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_job_from_being_taken_over() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let ids = fixture.submit_all(vec![document(); 2]).await;
    fixture.queue.claim(&worker("a"), &[crate::job::Tube::default()], 2).await.unwrap();
    fixture.sql("UPDATE jobs SET kicks = -1 WHERE seq = 1");
    assert!(fixture.queue.take_over_by(clock(start, 0), &worker("b")).await.unwrap().is_empty());
    let taken = fixture.queue.take_over_by(clock(start, 15), &worker("b")).await.unwrap();
    assert_eq!(taken.iter().map(|(lease, _)| lease.id).collect::<Vec<_>>(), ids[1..]);
}
