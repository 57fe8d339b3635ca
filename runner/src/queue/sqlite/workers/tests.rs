//! Heartbeats by a clock that the tests set.

use super::*;
use crate::job::{Document, State};
use crate::queue::sqlite::fixture::{Fixture, LEASE, document, worker};
use crate::queue::sqlite::writer::Durable;
use crate::queue::sqlite::{Faults, QueueFile, Sharing, SqliteQueue, open};
use crate::queue::{Settled, Work};

#[test]
fn a_worker_is_silent_only_after_the_same_beat_for_a_whole_lease() {
    let start = Instant::now();
    let worker = JobId::new();
    let silence = Silence::default();
    let look = |count, seconds| {
        let at = start + Duration::from_secs_f64(seconds);
        !silence.observe(&[Pulse { start: worker, count, lease: LEASE, boot: None }], at, at).is_empty()
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
    let beat = Pulse { start: JobId::new(), count: 1, lease: LEASE, boot: None };
    let silence = Silence::default();
    assert!(silence.observe(std::slice::from_ref(&beat), at(0), at(10)).is_empty());
    assert!(silence.observe(std::slice::from_ref(&beat), at(16), at(40)).is_empty());
    assert_eq!(silence.observe(std::slice::from_ref(&beat), at(41), at(41)), [beat]);
}

#[test]
fn workers_that_are_gone_are_forgotten() {
    let now = Instant::now();
    let silence = Silence::default();
    let beat = || Pulse { start: JobId::new(), count: 1, lease: LEASE, boot: None };
    silence.observe(&[beat(), beat()], now, now);
    silence.observe(&[], now, now);
    assert!(lock(&silence.0).is_empty());
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
    // A wall clock that jumps by a year steals nothing.
    fixture.advance(Duration::from_secs(365 * 86_400));
    for seconds in [0, 5, 14] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
    }
    assert!(fixture.queue.beat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap() == Beat::default());
    for seconds in [16, 30] {
        assert!(fixture.queue.take_over_by(clock(start, seconds), &observer).await.unwrap().is_empty());
    }
    let taken = fixture.queue.take_over_by(clock(start, 31), &observer).await.unwrap();
    assert_eq!(taken, [(claimed.lease.clone(), Decision::Retry(Duration::ZERO))]);
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.attempts), (State::Ready, 1));
    let told = record.verdict.unwrap().to_string();
    assert!(told.starts_with("lost: worker a was not heard of for 15 s"), "{told}");
    let lost = fixture.queue.beat(&worker("a"), std::slice::from_ref(&claimed.lease)).await.unwrap().recalled;
    assert_eq!(lost, [Recalled { lease: claimed.lease.clone(), cancelled: false }]);
    let late = fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await;
    assert_eq!(late.unwrap(), Settled::Stale);
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
    let silent = fixture.queue.shared.reader.call(pulses).await.unwrap().remove(0);
    fixture.queue.beat(&worker("a"), &[]).await.unwrap();
    let work = move |connection: &Connection, _| take_over(connection, &silent, Loss::Silent, 0);
    let taken = fixture.queue.write(1, Durable::Now, work).await.unwrap();
    assert!(taken.is_empty());
    fixture.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await.unwrap();
}

#[tokio::test]
async fn unheld_attempts_are_put_back_and_still_expire() {
    let fixture = Fixture::new();
    let expiring = Document { expires: Some("1h".parse().unwrap()), max_attempts: 1, ..document() };
    fixture.submit_all(vec![expiring; 2]).await;
    let tubes = [crate::job::Tube::default()];
    let claimed = fixture.queue.claim(&worker("a"), &tubes, 2).await.unwrap();
    let [held, unheld] = [0, 1].map(|one| claimed[one].lease.clone());
    let beat = fixture.queue.beat(&worker("a"), std::slice::from_ref(&held)).await.unwrap();
    assert_eq!(beat, Beat { recalled: Vec::new(), unheld: vec![unheld.clone()] });
    fixture.queue.put_back(&worker("b"), &beat.unheld).await.unwrap();
    assert_eq!(fixture.find(unheld.id).await.state, State::Running, "it is not that worker's");
    fixture.queue.put_back(&worker("a"), &beat.unheld).await.unwrap();
    let file = QueueFile::new(&fixture.path(), Sharing::OneMachine);
    assert_eq!(file.check().unwrap().faults, Faults::default());
    let again = fixture.claim("b").await.unwrap();
    assert_eq!((again.lease, again.attempts), (Lease { attempt: 2, ..unheld.clone() }, 1));
    fixture.queue.put_back(&worker("b"), &[Lease { attempt: 2, ..unheld.clone() }]).await.unwrap();
    fixture.advance(Duration::from_secs(3_600));
    assert_eq!(fixture.find(unheld.id).await.state, State::Cancelled, "it was never started");
    assert_eq!(fixture.queue.beat(&worker("a"), &[held]).await.unwrap(), Beat::default());
}

#[tokio::test]
async fn killed_workers_attempts_are_taken_over_at_once() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let ids = fixture.submit_all(vec![document(); 2]).await;
    let killed = fixture.elsewhere();
    killed.register(&worker("killed")).await.unwrap();
    let tubes = [crate::job::Tube::default()];
    let lease = killed.claim(&worker("killed"), &tubes, 1).await.unwrap().remove(0).lease;
    let stopped = fixture.elsewhere();
    stopped.register(&worker("stopped")).await.unwrap();
    stopped.claim(&worker("stopped"), &tubes, 1).await.unwrap();
    let observer = worker("observer");
    assert!(fixture.queue.take_over_by(clock(start, 0), &observer).await.unwrap().is_empty(), "both live");
    // The system lets go of a lock when its process ends, just as when the file is closed.
    drop(killed);
    let taken = fixture.queue.take_over_by(clock(start, 0), &observer).await.unwrap();
    assert_eq!(taken, [(lease, Decision::Retry(Duration::ZERO))]);
    let told = fixture.find(ids[0]).await.verdict.unwrap().to_string();
    assert_eq!(told, "lost: the process of worker killed has ended");
    let files = || std::fs::read_dir(fixture.directory.path().join("queue.db.workers")).unwrap().count();
    assert_eq!(files(), 1, "the dead start's file is removed");
    // A file that is missing says nothing: then the lease decides.
    std::fs::remove_dir_all(fixture.directory.path().join("queue.db.workers")).unwrap();
    drop(stopped);
    assert!(fixture.queue.take_over_by(clock(start, 14), &observer).await.unwrap().is_empty());
    assert_eq!(fixture.queue.take_over_by(clock(start, 15), &observer).await.unwrap().len(), 1);
}

#[tokio::test]
async fn successor_takes_over_at_its_first_look() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let killed = fixture.elsewhere();
    killed.register(&worker("a")).await.unwrap();
    killed.claim(&worker("a"), &[crate::job::Tube::default()], 1).await.unwrap();
    drop(killed);
    let successor = WorkerId { start: JobId::new(), ..worker("a") };
    fixture.queue.register(&successor).await.unwrap();
    assert_eq!(fixture.queue.take_over(&successor).await.unwrap().len(), 1);
    assert_eq!(fixture.find(id).await.state, State::Ready);
    fixture.queue.unregister(&successor).await.unwrap();
    let files = std::fs::read_dir(fixture.directory.path().join("queue.db.workers")).unwrap().count();
    assert_eq!(files, 0, "a start that said goodbye leaves no file");
}

#[tokio::test]
async fn lock_of_another_boot_says_nothing() {
    let fixture = Fixture::new();
    fixture.submit(document()).await;
    let killed = fixture.elsewhere();
    killed.register(&worker("a")).await.unwrap();
    killed.claim(&worker("a"), &[crate::job::Tube::default()], 1).await.unwrap();
    drop(killed);
    fixture.sql("UPDATE workers SET boot = 'another'");
    assert!(fixture.queue.take_over(&worker("b")).await.unwrap().is_empty());
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
