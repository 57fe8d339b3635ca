//! The queue on a real server, from the inside: who holds what, and where a process may be stopped.

use super::fixture::{Fixture, LEASE, claim, document, eventually, failed, find, settlement, submit, worker};
use super::stats::JobState;
use crate::job::{Decision, Document, JobId, Span, State, Tube, Verdict};
use crate::queue::{Action, Filter, Interest, Queue, QueueError, Refusal, Submission};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

mod crashes;
mod nodes;

const FINISH: Decision = Decision::Finish;

#[tokio::test]
async fn a_lease_is_kept_for_as_long_as_the_heart_beats_and_no_longer() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    submit(&queue, document()).await;
    let lease = claim(&queue, &me).await.unwrap().lease;
    let leases = [lease.clone()];
    let started = Instant::now();
    while started.elapsed() < 2 * LEASE {
        assert_eq!(queue.heartbeat(&me, &leases).await.unwrap(), []);
        tokio::time::sleep(LEASE / 5).await;
    }
    assert_eq!(fixture.stats(1).await.unwrap().timeouts, 0);
    // The heart has stopped, and the process has not.
    fixture.await_state(1, Some(JobState::Ready)).await;
    eventually("it is told so", async || !queue.heartbeat(&me, &leases).await.unwrap().is_empty()).await;
    let stale = queue.settle(&me, &lease, settlement(Verdict::Done, FINISH)).await;
    assert!(matches!(stale, Err(QueueError::Stale { attempt: 1, .. })), "{stale:?}");
    let again = claim(&fixture.queue("b"), &worker("b")).await.unwrap();
    assert_eq!((again.lease.attempt, again.attempts), (2, 2));
}

#[tokio::test]
async fn who_waits_for_jobs_reserves_none() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me, other) = (fixture.queue("a"), worker("a"), fixture.queue("b"));
    let tubes = [Tube::default()];
    let mut work = queue.watch(Interest::Work(tubes.to_vec()));
    let started = Instant::now();
    work.changed(Duration::from_millis(300)).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "there was nothing");
    let ((), id) = tokio::join!(work.changed(Duration::from_secs(20)), submit(&other, document()));
    assert!(started.elapsed() < Duration::from_secs(10), "it slept until its limit");
    let server = fixture.connection().await.stats().await.unwrap();
    assert_eq!((server.jobs.ready, fixture.stats(1).await.unwrap().reserves), (1, 0));
    let lease = claim(&queue, &me).await.unwrap().lease;
    assert_eq!((lease.id, lease.attempt), (id, 1));
    // Nor is anybody woken by what no claim would get.
    other.pause(&tubes[0], None).await.unwrap();
    submit(&other, document()).await;
    let started = Instant::now();
    work.changed(Duration::from_millis(300)).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "the tube is paused");
}

#[tokio::test]
async fn a_reservation_whose_time_was_over_before_its_answer_was_read_is_none() {
    let Some(fixture) = Fixture::new().await else { return };
    // Two processes of one data directory.
    let (stopped, queue, tubes) = (fixture.queue("a"), fixture.queue("a"), [Tube::default()]);
    submit(&queue, document()).await;
    let (connection, reserved) = stopped.shared.reserve(&tubes).await.unwrap().unwrap();
    fixture.signal("STOP");
    tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
    fixture.signal("CONT");
    fixture.await_state(1, Some(JobState::Ready)).await;
    let me = worker("b");
    let claimed = claim(&queue, &me).await;
    let examined = stopped.shared.examine(&worker("stopped"), connection, reserved).await;
    assert!(examined.unwrap().is_none(), "that is the reservation of another worker");
    let lease = claimed.unwrap().lease;
    assert_eq!(queue.recalled(&me, std::slice::from_ref(&lease)).await.unwrap(), []);
    queue.settle(&me, &lease, settlement(Verdict::Done, FINISH)).await.unwrap();
}

#[tokio::test]
async fn a_job_that_one_node_has_given_back_is_not_dead_for_another() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let id = submit(&queue, Document { max_attempts: 1, ..document() }).await;
    for _ in 0..2 {
        let claimed = claim(&queue, &me).await.unwrap();
        queue.give_back(&me, &claimed).await.unwrap();
    }
    let claimed = claim(&fixture.queue("b"), &worker("b")).await.unwrap();
    assert_eq!((claimed.lease.id, claimed.attempts, claimed.granted), (id, 1, 1));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_taken_back_and_can_be_submitted_again() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    queue.register(&worker("a")).await.unwrap();
    let jobs = vec![document(); 3].into_iter().map(|document| Submission { id: JobId::new(), document });
    let jobs = jobs.collect::<Vec<_>>();
    let file = rusqlite::Connection::open(fixture.ledger("a")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END";
    file.execute_batch(full).unwrap();
    let refused = queue.submit(jobs.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("3 of 3 jobs had been put: 3 were taken back"), "{refused}");
    let waiting = async || fixture.connection().await.stats().await.unwrap().jobs.ready;
    assert_eq!(waiting().await, 0);
    file.execute_batch("DROP TRIGGER full").unwrap();
    queue.submit(jobs).await.unwrap();
    assert_eq!(waiting().await, 3);
}

#[tokio::test]
async fn who_cannot_write_anything_down_reserves_nothing() {
    let Some(fixture) = Fixture::new().await else { return };
    let (full, other, me) = (fixture.queue("full"), fixture.queue("b"), worker("full"));
    full.register(&me).await.unwrap();
    let id = submit(&other, Document { max_attempts: 1, ..document() }).await;
    fixture.connection().await.put(&Tube::default(), 2_000, 0, 60, b"rubbish").await.unwrap();
    let file = rusqlite::Connection::open(fixture.ledger("full")).unwrap();
    for table in ["jobs", "unreadable"] {
        let full =
            format!("CREATE TRIGGER full_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END");
        file.execute_batch(&full).unwrap();
    }
    for _ in 0..10 {
        full.claim(&me, &[Tube::default()], 1).await.unwrap_err();
    }
    let reserves = async |number| fixture.stats(number).await.unwrap().reserves;
    assert_eq!((reserves(1).await, reserves(2).await), (1, 0));
    let mut connection = fixture.connection().await;
    assert!(connection.kick_job(1).await.unwrap(), "it was put off");
    assert_eq!(claim(&other, &worker("b")).await.unwrap().lease.id, id, "a healthy node runs it");
    // There is a little room, and then more.
    file.execute_batch("DROP TRIGGER full_jobs").unwrap();
    for _ in 0..10 {
        full.claim(&me, &[Tube::default()], 1).await.unwrap_err();
    }
    assert_eq!(reserves(2).await, 1);
    file.execute_batch("DROP TRIGGER full_unreadable").unwrap();
    assert!(connection.kick_job(2).await.unwrap());
    assert!(claim(&full, &me).await.is_none());
    assert_eq!(fixture.stats(2).await.unwrap().state, JobState::Buried);
    assert_eq!(full.unreadable().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_answers_in_vain_is_not_asked_without_a_pause() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("beanstalkd://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut command, counted) = ([0; 100], Arc::clone(&counted));
            tokio::spawn(async move {
                while stream.read(&mut command).await.is_ok_and(|length| length > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(b"TIMED_OUT\r\n").await.unwrap();
                }
            });
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let ledger = crate::queue::sqlite::SqliteQueue::open(&directory.path().join("queue.db")).unwrap();
    let queue = super::BeanstalkdQueue::new(address, ledger, LEASE).unwrap();
    let mut work = queue.watch(Interest::Work(vec![Tube::default()]));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1_200) {
        work.changed(Duration::from_secs(1)).await;
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!((2..=26).contains(&asked), "{asked} times in 1.2 s");
    server.abort();
}

#[tokio::test]
async fn a_running_job_is_cancelled_through_the_file_and_deleted_by_its_worker() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let id = submit(&queue, document()).await;
    let lease = claim(&queue, &me).await.unwrap().lease;
    let cancel = Action::Cancel { reason: "by hand".to_owned() };
    let elsewhere = fixture.queue("b").act(&[id], &cancel).await.unwrap().remove(0);
    assert_eq!(elsewhere.outcome, Err(Refusal::NoSuchJob));
    // Another process of the same data directory.
    let acted = fixture.queue("a").act(&[id], &cancel).await.unwrap().remove(0);
    assert_eq!(acted.outcome, Ok(State::Cancelled));
    let recalled = queue.recalled(&me, std::slice::from_ref(&lease)).await.unwrap();
    assert!(recalled[0].cancelled);
    let cancelled = settlement(Verdict::Cancelled { message: "by hand".to_owned() }, Decision::Cancel);
    assert!(matches!(queue.settle(&me, &lease, cancelled).await, Err(QueueError::Stale { .. })));
    assert_eq!(fixture.stats(1).await, None);
    let record = find(&queue, id).await;
    assert_eq!((record.state, record.published), (State::Cancelled, None));
}

#[tokio::test]
async fn a_job_that_another_data_directory_runs_is_not_cancelled_from_here() {
    let Some(fixture) = Fixture::new().await else { return };
    let (ours, theirs) = (fixture.queue("a"), fixture.queue("b"));
    let id = submit(&ours, document()).await;
    claim(&theirs, &worker("b")).await.unwrap();
    assert_eq!(find(&ours, id).await.state, State::Running, "the server says so");
    let acted = ours.act(&[id], &Action::Cancel { reason: String::new() }).await.unwrap().remove(0);
    assert!(matches!(acted.outcome, Err(Refusal::Unsupported(why)) if why.contains("on that worker's node")));
    let acted = ours.act(&[id], &Action::Delete).await.unwrap().remove(0);
    assert!(matches!(acted.outcome, Err(Refusal::State(State::Running, _))));
}

#[tokio::test]
async fn what_a_server_has_a_command_for_can_be_done_to_waiting_and_dead_jobs() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let act = async |id: JobId, action: Action| queue.act(&[id], &action).await.unwrap().remove(0).outcome;
    let cancel = || Action::Cancel { reason: "no more".to_owned() };

    let waiting = submit(&queue, document()).await;
    assert_eq!(act(waiting, Action::Kick).await, Err(Refusal::State(State::Ready, " already")));
    assert_eq!(act(waiting, cancel()).await, Ok(State::Cancelled));
    assert_eq!(fixture.stats(1).await, None);
    assert_eq!(act(waiting, cancel()).await, Ok(State::Cancelled));

    let delayed = submit(&queue, Document { delay: Some(Span(Duration::from_secs(60))), ..document() }).await;
    assert_eq!(act(delayed, Action::Kick).await, Ok(State::Ready));
    let lease = claim(&queue, &me).await.unwrap().lease;
    assert_eq!(lease.id, delayed, "a kick says that its time has come");
    queue.settle(&me, &lease, settlement(failed(), Decision::Bury)).await.unwrap();
    assert_eq!(find(&queue, delayed).await.state, State::Dead);
    assert!(matches!(act(delayed, cancel()).await, Err(Refusal::State(State::Dead, _))));
    assert_eq!(act(delayed, Action::Kick).await, Ok(State::Ready));
    let again = claim(&queue, &me).await.unwrap();
    assert_eq!((again.lease.attempt, again.granted), (2, 6), "a kick of a dead job grants as many again");
    queue.settle(&me, &again.lease, settlement(failed(), Decision::Bury)).await.unwrap();
    assert_eq!(act(delayed, Action::Delete).await, Ok(State::Dead));
    assert_eq!((fixture.stats(2).await, queue.find(delayed).await.unwrap()), (None, None));
    queue.submit(vec![Submission { id: delayed, document: document() }]).await.unwrap_err();

    for action in [Action::Hold, Action::Release, Action::Update(serde_json::Map::new())] {
        assert!(
            matches!(act(waiting, action).await, Err(Refusal::Unsupported(why)) if why.contains("beanstalkd cannot"))
        );
    }
}

#[tokio::test]
async fn a_tube_is_paused_and_resumed_if_it_is_there() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let (tube, none) = (Tube::default(), "none".parse().unwrap());
    submit(&queue, document()).await;
    queue.pause(&tube, None).await.unwrap();
    assert!(claim(&queue, &me).await.is_none());
    assert!(!queue.has_work(&me, std::slice::from_ref(&tube)).await.unwrap());
    assert_eq!(queue.status().await.unwrap().paused, [(tube.clone(), None)].into());
    assert!(queue.resume(&tube).await.unwrap());
    assert!(!queue.resume(&tube).await.unwrap());
    assert!(queue.has_work(&me, &[tube]).await.unwrap());
    assert!(claim(&queue, &me).await.is_some());
    assert!(matches!(queue.pause(&none, None).await, Err(QueueError::Unsupported { .. })));
    assert!(!queue.resume(&none).await.unwrap());
}

#[tokio::test]
async fn submitting_the_same_again_puts_nothing_and_another_document_is_refused() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    let id = submit(&queue, document()).await;
    let same = Submission { id, document: Document { id: Some(id), ..document() } };
    let other = Submission { id, document: Document { priority: 7, ..document() } };
    let new = Submission { id: JobId::new(), document: document() };
    queue.submit(vec![same.clone(), same.clone()]).await.unwrap();
    let refused = queue.submit(vec![new.clone(), other]).await;
    assert!(matches!(refused, Err(QueueError::IdTaken(taken)) if taken == id), "{refused:?}");
    assert_eq!(fixture.connection().await.stats().await.unwrap().jobs.ready, 1);
    queue.submit(vec![new.clone(), same, new]).await.unwrap();
    assert_eq!(fixture.connection().await.stats().await.unwrap().jobs.ready, 2);
}

#[tokio::test]
async fn a_server_that_takes_no_more_says_so() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    assert_eq!(queue.caveats().await.unwrap(), [""; 0]);
    fixture.signal("USR1");
    eventually("it drains", async || !queue.caveats().await.unwrap().is_empty()).await;
    let job = Submission { id: JobId::new(), document: document() };
    let refused = queue.submit(vec![job.clone()]).await.unwrap_err().to_string();
    assert!(refused.contains("takes no more jobs"), "{refused}");
    assert!(queue.find(job.id).await.unwrap().is_none());
}

#[tokio::test]
async fn jobs_are_claimed_in_the_servers_order_and_listed_in_that_of_their_submission() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let mut ids = Vec::new();
    for priority in [5, 3, 5, 0] {
        ids.push(submit(&queue, Document { priority, ..document() }).await);
    }
    let claimed = queue.claim(&me, &[Tube::default()], 3).await.unwrap();
    assert_eq!(claimed.iter().map(|one| one.lease.id).collect::<Vec<_>>(), [ids[3], ids[1], ids[0]]);
    let (records, next) = queue.list(&Filter::default(), None, 10).await.unwrap();
    assert_eq!((records.iter().map(|record| record.id).collect::<Vec<_>>(), next), (ids.clone(), None));
    let ready = Filter { states: vec![State::Ready], ..Filter::default() };
    let (first, next) = queue.list(&ready, None, 2).await.unwrap();
    let (second, _) = queue.list(&ready, next, 2).await.unwrap();
    assert_eq!([first, second].concat().iter().map(|record| record.id).collect::<Vec<_>>(), [ids[2]]);
    let status = queue.status().await.unwrap();
    assert_eq!((status.states[&State::Ready], status.states[&State::Running]), (1, 3));
    let refused = queue.list(&Filter { tags: vec!["x".to_owned()], ..Filter::default() }, None, 1).await;
    assert!(matches!(refused, Err(QueueError::Unsupported { .. })));
}
