//! A process that is stopped between any two steps of an end, and what others make of what it leaves.

use super::super::BeanstalkdQueue;
use super::*;
use crate::queue::{Claimed, WorkerId};

/// A process whose worker has claimed the only job.
async fn claimed(fixture: &Fixture, worker: &WorkerId) -> (BeanstalkdQueue, Claimed) {
    let queue = fixture.queue("a");
    submit(&queue, document()).await;
    let claimed = claim(&queue, worker).await.unwrap();
    (queue, claimed)
}

/// Ends an attempt as `settle` does, but only as many steps of it; then the process is gone.
async fn stopped_after(steps: usize, decision: Decision, verdict: Verdict) -> Option<(Fixture, JobId)> {
    let fixture = Fixture::new().await?;
    let me = worker("stopped");
    let (queue, claimed) = claimed(&fixture, &me).await;
    let (shared, lease) = (&queue.shared, &claimed.lease);
    let held = shared.held(lease).unwrap();
    if steps > 0 {
        shared.ledger.begin(&me, lease, settlement(verdict, decision), held.proof.instance).await.unwrap();
    }
    if steps > 1 {
        assert!(super::super::fence::shut(&held, decision).await.unwrap());
    }
    if steps > 2 {
        shared.ledger.commit(lease, &me).await.unwrap();
    }
    if steps > 3 {
        assert!(fixture.connection().await.delete(1).await.unwrap());
    }
    Some((fixture, lease.id))
}

/// What another process of the data directory has made of it.
async fn resolved(fixture: &Fixture, id: JobId) -> (BeanstalkdQueue, crate::job::Record) {
    let (queue, me) = (fixture.queue("a"), worker("next"));
    queue.register(&me).await.unwrap();
    eventually("nothing is under way", async || {
        queue.take_over(&me).await.unwrap();
        let shared = &queue.shared;
        shared.ledger.open().await.unwrap().is_empty() && shared.ledger.running().await.unwrap().is_empty()
    })
    .await;
    let record = find(&queue, id).await;
    (queue, record)
}

#[tokio::test]
async fn an_end_of_which_the_server_has_not_heard_is_a_lost_attempt() {
    for steps in [0, 1] {
        let Some((fixture, id)) = stopped_after(steps, FINISH, Verdict::Done).await else { return };
        let (queue, record) = resolved(&fixture, id).await;
        assert_eq!((record.state, record.published), (State::Ready, None), "after {steps} steps");
        assert!(matches!(record.history.unwrap()[0].verdict, Some(Verdict::Lost { .. })));
        let again = claim(&queue, &worker("next")).await.unwrap();
        assert_eq!((again.lease.attempt, again.attempts), (2, 2));
    }
}

#[tokio::test]
async fn an_end_of_which_the_server_has_heard_counts() {
    for steps in [2, 3, 4] {
        let Some((fixture, id)) = stopped_after(steps, FINISH, Verdict::Done).await else { return };
        let (_, record) = resolved(&fixture, id).await;
        assert_eq!((record.state, record.published), (State::Done, Some(1)), "after {steps} steps");
        assert_eq!(fixture.stats(1).await, None);
    }
    let wait = Decision::Retry(Duration::from_secs(30));
    for (decision, state, at_server) in
        [(wait, State::Delayed, JobState::Delayed), (Decision::Bury, State::Dead, JobState::Buried)]
    {
        let Some((fixture, id)) = stopped_after(2, decision, failed()).await else { return };
        let (_, record) = resolved(&fixture, id).await;
        assert_eq!((record.state, record.verdict), (state, Some(failed())));
        assert_eq!(fixture.stats(1).await.unwrap().state, at_server);
    }
    let cancelled = Verdict::Cancelled { message: "by hand".to_owned() };
    let Some((fixture, id)) = stopped_after(2, Decision::Cancel, cancelled).await else { return };
    assert_eq!(resolved(&fixture, id).await.1.state, State::Cancelled);
}

#[tokio::test]
async fn what_another_data_directory_has_buried_since_is_not_taken_for_ones_own() {
    let Some((fixture, id)) = stopped_after(1, FINISH, Verdict::Done).await else { return };
    fixture.await_state(1, Some(JobState::Ready)).await;
    let (other, them) = (fixture.queue("b"), worker("b"));
    let lease = claim(&other, &them).await.unwrap().lease;
    other.settle(&them, &lease, settlement(failed(), Decision::Bury)).await.unwrap();
    let (_, record) = resolved(&fixture, id).await;
    assert_eq!((record.state, record.published), (State::Dead, None), "it is dead, and nothing is published here");
    assert_eq!(fixture.stats(1).await.unwrap().state, JobState::Buried);
    assert_eq!(find(&other, id).await.verdict, Some(failed()));
}

#[tokio::test]
async fn what_the_next_holder_has_done_since_the_server_was_killed_is_not_taken_for_ones_own() {
    let retry = Decision::Retry(Duration::from_secs(30));
    for (decision, verdict, theirs, state) in [
        (FINISH, Verdict::Done, Decision::Bury, State::Dead),
        (Decision::Bury, failed(), Decision::Bury, State::Dead),
        (retry, failed(), retry, State::Delayed),
    ] {
        let Some((mut fixture, id)) = stopped_after(1, decision, verdict).await else { return };
        fixture.restart().await;
        let (other, them) = (fixture.queue("b"), worker("b"));
        let lease = claim(&other, &them).await.unwrap().lease;
        let counts = fixture.stats(1).await.unwrap();
        assert_eq!((counts.reserves, counts.releases), (1, 0), "it is as if it had been the first to reserve the job");
        other.settle(&them, &lease, settlement(failed(), theirs)).await.unwrap();
        let (_, record) = resolved(&fixture, id).await;
        assert_eq!((record.state, record.published), (state, None), "{decision:?}");
        assert!(matches!(record.history.unwrap()[0].verdict, Some(Verdict::Lost { .. })));
        assert!(fixture.stats(1).await.is_some(), "the server has it still");
    }
}

#[tokio::test]
async fn a_holder_whose_server_was_killed_is_told_that_it_comes_too_late() {
    let Some(mut fixture) = Fixture::new().await else { return };
    let me = worker("late");
    let (queue, claimed) = claimed(&fixture, &me).await;
    fixture.restart().await;
    let (other, them) = (fixture.queue("b"), worker("b"));
    let theirs = claim(&other, &them).await.unwrap().lease;
    let stale = queue.settle(&me, &claimed.lease, settlement(Verdict::Done, FINISH)).await;
    assert!(matches!(stale, Err(QueueError::Stale { attempt: 1, .. })), "{stale:?}");
    other.settle(&them, &theirs, settlement(Verdict::Done, FINISH)).await.unwrap();
    assert_eq!(find(&other, claimed.lease.id).await.published, Some(1));
}

#[tokio::test]
async fn a_done_job_is_finished_after_its_server_was_killed() {
    let Some((mut fixture, id)) = stopped_after(2, FINISH, Verdict::Done).await else { return };
    fixture.restart().await;
    let (_, record) = resolved(&fixture, id).await;
    assert_eq!((record.state, record.published), (State::Done, Some(1)));
    assert_eq!(fixture.stats(1).await, None);
}

#[tokio::test]
async fn nobody_takes_a_job_for_dead_whose_result_another_node_publishes() {
    let Some(fixture) = Fixture::new().await else { return };
    let ours = fixture.queue("a");
    let id = submit(&ours, document()).await;
    let me = worker("b");
    {
        let theirs = fixture.queue("b");
        let lease = claim(&theirs, &me).await.unwrap().lease;
        let held = theirs.shared.held(&lease).unwrap();
        let done = settlement(Verdict::Done, FINISH);
        theirs.shared.ledger.begin(&me, &lease, done, held.proof.instance).await.unwrap();
        assert!(super::super::fence::shut(&held, FINISH).await.unwrap());
    }
    assert_eq!(find(&ours, id).await.state, State::Running);
    assert_eq!(ours.list(&Filter::default(), None, 9).await.unwrap().0[0].state, State::Running);
    for action in [Action::Kick, Action::Delete, Action::Cancel { reason: String::new() }] {
        let refused = ours.act(&[id], &action).await.unwrap().remove(0).outcome;
        let why = ", and its result is being published";
        assert_eq!(refused, Err(Refusal::State(State::Running, why)), "{action:?}");
    }
    // Whoever published it has died; another process of its data directory goes on.
    let theirs = fixture.queue("b");
    theirs.register(&worker("next")).await.unwrap();
    assert_eq!(find(&theirs, id).await.published, Some(1));
    assert_eq!(fixture.stats(1).await, None);
}

#[tokio::test]
async fn a_job_that_is_kicked_by_hand_while_its_result_is_published_has_its_own_priority_again() {
    let Some((fixture, id)) = stopped_after(2, FINISH, Verdict::Done).await else { return };
    assert!(fixture.connection().await.kick_job(1).await.unwrap());
    let (other, them) = (fixture.queue("b"), worker("b"));
    for attempt in [2, 3] {
        let claimed = claim(&other, &them).await.unwrap();
        assert_eq!((claimed.lease.attempt, claimed.job.document.priority), (attempt, document().priority));
        let again = settlement(failed(), Decision::Retry(Duration::ZERO));
        other.settle(&them, &claimed.lease, again).await.unwrap();
        assert_eq!(fixture.stats(1).await.unwrap().priority, document().priority);
        fixture.await_state(1, Some(JobState::Ready)).await;
    }
    let (_, record) = resolved(&fixture, id).await;
    assert_eq!((record.state, record.published), (State::Ready, None), "it is to be done again");
}

#[tokio::test]
async fn two_processes_may_end_the_same_attempt() {
    let Some(fixture) = Fixture::new().await else { return };
    let me = worker("slow");
    let (queue, claimed) = claimed(&fixture, &me).await;
    let (shared, lease) = (&queue.shared, &claimed.lease);
    let done = settlement(Verdict::Done, FINISH);
    let held = shared.held(lease).unwrap();
    shared.ledger.begin(&me, lease, done.clone(), held.proof.instance).await.unwrap();
    assert!(super::super::fence::shut(&held, FINISH).await.unwrap());
    *held.phase.lock().await = super::super::held::Phase::Fenced;
    // It has been stopped for a moment, and another process takes it for dead.
    let (_, record) = resolved(&fixture, lease.id).await;
    assert_eq!((record.state, record.published), (State::Done, Some(1)));
    queue.settle(&me, lease, done).await.unwrap();
    assert_eq!(find(&queue, lease.id).await.history, record.history);
}

#[tokio::test]
async fn a_number_that_was_given_again_is_another_job() {
    let Some((fixture, id)) = stopped_after(3, FINISH, Verdict::Done).await else { return };
    // As a server without a binlog would: the number is there, and the body is another one.
    let shared = &fixture.queue("a").shared;
    let place = shared.ledger.find(id).await.unwrap().unwrap().1;
    let mut connection = fixture.connection().await;
    assert!(super::super::fence::is_there(&mut connection, place).await.unwrap());
    let body = crate::job::Digest::of("another");
    let other = crate::queue::sqlite::Place { body, ..place };
    assert!(!super::super::fence::is_there(&mut connection, other).await.unwrap());
}

#[tokio::test]
async fn a_job_is_given_back_by_a_worker_that_ends() {
    let Some(fixture) = Fixture::new().await else { return };
    let me = worker("leaving");
    let (queue, claimed) = claimed(&fixture, &me).await;
    queue.register(&me).await.unwrap();
    assert_eq!(queue.status().await.unwrap().workers[0].running, 1);
    queue.unregister(&me).await.unwrap();
    assert_eq!(fixture.stats(1).await.unwrap().state, JobState::Ready);
    let record = find(&queue, claimed.lease.id).await;
    assert!(matches!(record.verdict, Some(Verdict::Interrupted { .. })));
    assert!(queue.status().await.unwrap().workers.is_empty());
    let again = claim(&queue, &worker("next")).await.unwrap();
    assert_eq!((again.lease.attempt, again.attempts), (2, 1));
}

#[tokio::test]
async fn an_attempt_whose_server_was_killed_is_not_held_against_the_job_while_its_worker_lives() {
    let Some(mut fixture) = Fixture::new().await else { return };
    let (queue, me, other) = (fixture.queue("a"), worker("a"), fixture.queue("a"));
    queue.register(&me).await.unwrap();
    let id = submit(&queue, Document { max_attempts: 1, ..document() }).await;
    for attempt in 1..=3 {
        let claimed = claim(&queue, &me).await.unwrap();
        assert_eq!((claimed.lease.id, claimed.attempts), (id, 1), "attempt {attempt}");
        fixture.restart().await;
        queue.heartbeat(&me, &[]).await.unwrap();
        // This process finds that out, or another one of the data directory does.
        if attempt % 2 == 1 {
            let taken = other.take_over(&worker("b")).await.unwrap();
            assert_eq!(taken.iter().map(|(lease, _)| lease).collect::<Vec<_>>(), [&claimed.lease]);
        } else {
            let leases = std::slice::from_ref(&claimed.lease);
            eventually("it is told", async || !queue.recalled(&me, leases).await.unwrap().is_empty()).await;
        }
        let stale = queue.settle(&me, &claimed.lease, settlement(Verdict::Done, FINISH)).await;
        assert!(matches!(stale, Err(QueueError::Stale { .. })), "{stale:?}");
        assert_eq!(find(&queue, id).await.state, State::Ready);
    }
    let history = find(&queue, id).await.history.unwrap();
    assert!(history.len() == 3 && history.iter().all(|one| matches!(one.verdict, Some(Verdict::Interrupted { .. }))));
    // Its heart has beaten just now, and its process is no more.
    let claimed = claim(&queue, &me).await.unwrap();
    queue.heartbeat(&me, &[]).await.unwrap();
    drop(queue);
    fixture.restart().await;
    let taken = other.take_over(&worker("b")).await.unwrap();
    assert_eq!(taken.iter().map(|(lease, _)| lease).collect::<Vec<_>>(), [&claimed.lease]);
    let last = find(&other, id).await.history.unwrap().pop().unwrap();
    assert!(matches!(last.verdict, Some(Verdict::Lost { .. })), "{last:?}");
}
