//! What one data directory makes of what others do to the jobs of a server, and of what strangers put there.

use super::super::server::Connection;
use super::*;
use crate::queue::{Numbered, Retention};

const SECOND: Duration = Duration::from_secs(1);
/// What msg-qworker's producer puts.
const QWORKER: &str = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"x"},{}]"#;

async fn put(connection: &mut Connection, (priority, ttr): (u32, u32), body: &str) -> u64 {
    connection.put(&Tube::default(), priority, 0, ttr, body.as_bytes()).await.unwrap()
}

async fn listed(queue: &super::super::BeanstalkdQueue) -> Vec<(JobId, State)> {
    let (records, _) = queue.list(&Filter::default(), None, 100).await.unwrap();
    records.iter().map(|record| (record.id, record.state)).collect()
}

#[tokio::test]
async fn a_job_that_another_node_has_started_in_time_does_not_expire() {
    let Some(fixture) = Fixture::new().await else { return };
    let (submitter, node, them) = (fixture.queue("a"), fixture.queue("b"), worker("b"));
    let expiring = Document { expires: Some("2s".parse().unwrap()), ..document() };
    let id = submit(&submitter, expiring.clone()).await;
    let lease = claim(&node, &them).await.unwrap().lease;
    let waiting = submit(&submitter, expiring).await;
    for _ in 0..6 {
        node.heartbeat(&them, std::slice::from_ref(&lease)).await.unwrap();
        tokio::time::sleep(SECOND / 2).await;
    }
    assert_eq!(listed(&submitter).await, [(id, State::Running), (waiting, State::Cancelled)]);
    assert_eq!(find(&submitter, id).await.state, State::Running);
    let expired = find(&submitter, waiting).await;
    assert!(matches!(expired.verdict, Some(Verdict::Cancelled { .. })) && expired.finished_at.is_some());
    node.settle(&them, &lease, settlement(failed(), Decision::Retry(SECOND))).await.unwrap();
    fixture.await_state(1, Some(JobState::Ready)).await;
    assert_eq!(find(&submitter, id).await.state, State::Ready, "it is tried again");
    let again = claim(&submitter, &worker("a")).await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt), (id, 2));
    assert!(claim(&submitter, &worker("a")).await.is_none());
    assert_eq!((find(&submitter, waiting).await.state, fixture.stats(2).await), (State::Cancelled, None));
}

#[tokio::test]
async fn a_job_whose_priority_somebody_has_changed_runs_with_that_priority() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    let mut stranger = fixture.connection().await;
    let asked = Document { max_attempts: 9, ..document() };
    let submitted = submit(&queue, asked.clone()).await;
    put(&mut stranger, (9, 60), r#"{"algorithm": "x", "max_attempts": 9}"#).await;
    let me = worker("a");
    // Before the first attempt, and between two.
    for (priority, decision) in [(5, Decision::Retry(SECOND)), (7, FINISH)] {
        let mut reserved = Vec::new();
        while reserved.len() < 2 {
            reserved.extend(stranger.reserve(5).await.unwrap());
        }
        for one in reserved {
            assert!(stranger.release(one.number, priority, 0).await.unwrap());
        }
        let claimed = queue.claim(&me, &[Tube::default()], 9).await.unwrap();
        assert_eq!(claimed.len(), 2);
        for one in claimed {
            let record = find(&queue, one.lease.id).await;
            assert_eq!((one.job.document.priority, record.document.priority), (priority, priority));
            queue.settle(&me, &one.lease, settlement(failed(), decision)).await.unwrap();
        }
    }
    assert!(queue.unreadable().await.unwrap().is_empty());
    // What counts is what was submitted first.
    queue.submit(vec![Submission { id: submitted, document: asked }]).await.unwrap();
    assert_eq!(fixture.connection().await.stats().await.unwrap().jobs.ready, 0);
}

#[tokio::test]
async fn a_reservation_that_lasts_for_ever_is_one_of_ten_years() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    let number = put(&mut fixture.connection().await, (1024, u32::MAX), QWORKER).await;
    let other = submit(&queue, document()).await;
    let claimed = queue.claim(&worker("a"), &[Tube::default()], 9).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].job.document.ttr.unwrap().0.as_secs() / (366 * 24 * 3600)), (2, 10));
    assert_eq!(listed(&queue).await.len(), 2);
    assert_eq!(find(&queue, claimed[0].lease.id).await.number, Some(number));
    assert_eq!(find(&queue, other).await.state, State::Running);
}

#[tokio::test]
async fn jobs_that_another_node_has_ended_are_left_out_and_forgotten() {
    let Some(fixture) = Fixture::new().await else { return };
    let (submitter, node, them) = (fixture.queue("a"), fixture.queue("b"), worker("b"));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submit(&submitter, document()).await);
    }
    for one in node.claim(&them, &[Tube::default()], 2).await.unwrap() {
        node.settle(&them, &one.lease, settlement(Verdict::Done, FINISH)).await.unwrap();
    }
    let known = async || submitter.shared.ledger.page(None, 9).await.unwrap().0.len();
    assert!(matches!(submitter.find(ids[0]).await, Err(QueueError::Unsupported { .. })));
    assert_eq!(known().await, 2);
    // A worker's housekeeping finds the other one, though nobody asks.
    let hour = Retention { done: Some(3600 * SECOND), ..Retention::default() };
    assert_eq!(submitter.forget(&hour, 9).await.unwrap(), 0);
    assert_eq!(known().await, 1);
    assert_eq!(listed(&submitter).await, [(ids[2], State::Ready)]);
    let at_once = Retention { done: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(submitter.forget(&at_once, 9).await.unwrap(), 2);
    assert_eq!(submitter.find(ids[0]).await.unwrap(), None);
    assert_eq!(find(&node, ids[0]).await.state, State::Done);
    assert_eq!(listed(&submitter).await, [(ids[2], State::Ready)]);
}

#[tokio::test]
async fn rubbish_is_known_for_as_long_as_it_lies_there_and_can_be_kicked_and_deleted() {
    let Some(fixture) = Fixture::new().await else { return };
    let queue = fixture.queue("a");
    let mut stranger = fixture.connection().await;
    for body in ["one", "two", "three"] {
        put(&mut stranger, (1, 60), body).await;
    }
    assert!(claim(&queue, &worker("a")).await.is_none());
    let numbers = async || queue.unreadable().await.unwrap().iter().map(|one| one.number).collect::<Vec<_>>();
    assert_eq!(numbers().await, [1, 2, 3]);
    assert!(stranger.delete(1).await.unwrap());
    assert_eq!(numbers().await, [2, 3]);
    assert!(queue.numbered(1).await.unwrap().is_none());
    assert!(matches!(queue.numbered(2).await.unwrap(), Some(Numbered::Unreadable(found)) if found.length == 3));
    let act = async |number, action| queue.act_on_unreadable(number, &action).await.unwrap();
    assert_eq!(act(1, Action::Delete).await, Err(Refusal::NoSuchJob));
    assert!(matches!(act(2, Action::Hold).await, Err(Refusal::Unsupported(_))));
    assert_eq!(act(2, Action::Delete).await, Ok(State::Dead));
    assert_eq!((fixture.stats(2).await, numbers().await), (None, vec![3]));
    assert_eq!(act(3, Action::Kick).await, Ok(State::Ready));
    assert_eq!(numbers().await, [0; 0]);
    assert!(claim(&queue, &worker("a")).await.is_none());
    assert_eq!(numbers().await, [3], "it is no job still");
}

#[tokio::test]
async fn a_dead_job_that_the_server_has_no_more_is_shown_and_not_listed() {
    let Some(fixture) = Fixture::new().await else { return };
    let (queue, me) = (fixture.queue("a"), worker("a"));
    let id = submit(&queue, document()).await;
    let lease = claim(&queue, &me).await.unwrap().lease;
    queue.settle(&me, &lease, settlement(failed(), Decision::Bury)).await.unwrap();
    assert_eq!(listed(&queue).await, [(id, State::Dead)]);
    assert!(fixture.connection().await.delete(1).await.unwrap());
    assert_eq!(listed(&queue).await, []);
    assert_eq!(find(&queue, id).await.state, State::Dead);
    let retention = Retention { done: Some(Duration::ZERO), dead: None, cancelled: None };
    queue.forget(&retention, 9).await.unwrap();
    assert!(queue.find(id).await.unwrap().is_none());
}
