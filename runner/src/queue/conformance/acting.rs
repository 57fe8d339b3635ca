//! What operators do to jobs.

use super::Backend;
use super::subject::{SECOND, Subject, by_hand, delayed, document, failed, worker};
use crate::job::{Decision, Document, JobId, State, Verdict};
use crate::queue::{Action, Filter, QueueError, Recalled, Refusal};
use serde_json::json;

pub(super) async fn a_kicked_job_is_granted_as_many_attempts_again(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 2, ..document() }).await;
    for (attempt, granted, decision) in [
        (1, 2, Decision::Retry(SECOND)),
        (2, 2, Decision::Bury),
        (3, 4, Decision::Retry(SECOND)),
        (4, 4, Decision::Bury),
        (5, 6, Decision::Finish),
    ] {
        if let State::Dead = queue.state(id).await {
            assert!(queue.claim("a").await.is_none());
            assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
        }
        let claimed = queue.claim("a").await.unwrap();
        assert_eq!((claimed.lease.attempt, claimed.attempts, claimed.granted), (attempt, attempt, granted));
        queue.settle("a", &claimed.lease, failed(), decision).await.unwrap();
        queue.advance(SECOND).await;
    }
}

pub(super) async fn a_kicked_job_tells_of_the_past(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), failed(), Decision::Bury).await;
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    let record = queue.find(id).await;
    assert_eq!((record.state, record.kicks, record.finished_at), (State::Ready, 1, None));
    assert_eq!((record.verdict, record.published), (Some(failed()), Some(1)), "until there is another result");
    queue.assert_between(record.submitted_at, record.ready_at, 2 * SECOND);
    assert_eq!(record.history.unwrap().len(), 1);
}

pub(super) async fn a_delayed_job_is_kicked_without_a_grant(queue: &Subject<impl Backend>) {
    let id = queue.submit(delayed(600 * SECOND)).await;
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    let claimed = queue.claim("a").await.unwrap();
    assert_eq!((claimed.lease.id, claimed.granted), (id, 3));
    assert_eq!(queue.find(id).await.kicks, 0);
}

pub(super) async fn nothing_can_be_done_to_a_job_that_nobody_knows(queue: &Subject<impl Backend>) {
    for action in [by_hand(), Action::Kick, Action::Delete] {
        assert_eq!(queue.act(JobId::new(), &action).await, Err(Refusal::NoSuchJob));
        assert!(queue.queue().act(&[], &action).await.unwrap().is_empty());
    }
}

pub(super) async fn a_waiting_job_is_cancelled_at_once(queue: &Subject<impl Backend>) {
    for document in [document(), delayed(600 * SECOND)] {
        let id = queue.submit(document).await;
        for _ in 0..2 {
            assert_eq!(queue.act(id, &by_hand()).await, Ok(State::Cancelled));
            let record = queue.find(id).await;
            let verdict = Verdict::Cancelled { message: "by hand".to_owned() };
            assert_eq!((record.state, record.attempts, record.verdict), (State::Cancelled, 0, Some(verdict)));
        }
    }
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn a_cancelled_attempt_is_over_for_its_holder(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.advance(2 * SECOND).await;
    let reason = "the\u{1b}[2J captain\u{202e} said so".to_owned();
    assert_eq!(queue.act(id, &Action::Cancel { reason }).await, Ok(State::Cancelled));
    let recalled = [Recalled { lease: lease.clone(), cancelled: true }];
    let leases = std::slice::from_ref(&lease);
    assert_eq!(queue.queue().recalled(&worker("a"), leases).await.unwrap(), recalled);
    assert_eq!(queue.queue().heartbeat(&worker("a"), leases).await.unwrap(), recalled);
    let late = queue.settle("a", &lease, Verdict::Done, Decision::Finish).await;
    assert!(matches!(late, Err(QueueError::Stale { .. })));
    let record = queue.find(id).await;
    let verdict = Verdict::Cancelled { message: "the [2J captain  said so".to_owned() };
    assert_eq!((record.state, record.verdict.as_ref(), record.published), (State::Cancelled, Some(&verdict), None));
    let history = record.history.unwrap();
    assert_eq!((history[0].verdict.as_ref(), history[0].finished_at), (Some(&verdict), record.finished_at));
    queue.assert_between(history[0].started_at, record.finished_at.unwrap(), 2 * SECOND);
}

pub(super) async fn a_held_job_is_not_claimed_until_it_is_released_and_keeps_its_place(queue: &Subject<impl Backend>) {
    let first = queue.submit(document()).await;
    let second = queue.submit(document()).await;
    let late = queue.submit(Document { hold: true, ..delayed(3 * SECOND) }).await;
    assert_eq!(queue.act(first, &Action::Hold).await, Ok(State::Held));
    assert_eq!(queue.lease("a").await.id, second);
    assert!(queue.claim("a").await.is_none());
    let third = queue.submit(document()).await;
    assert_eq!(queue.act(first, &Action::Release).await, Ok(State::Ready));
    assert_eq!(queue.act(late, &Action::Release).await, Ok(State::Delayed));
    assert_eq!(queue.lease("a").await.id, first);
    assert_eq!(queue.lease("a").await.id, third);
    assert!(queue.claim("a").await.is_none());
    queue.advance(3 * SECOND).await;
    assert_eq!(queue.lease("a").await.id, late);
}

pub(super) async fn each_job_of_a_call_gets_its_own_answer(queue: &Subject<impl Backend>) {
    let waiting = queue.submit_all(vec![document(); 2]).await[1];
    let running = queue.lease("a").await.id;
    let unknown = JobId::new();
    let ids = [unknown, running, waiting, waiting];
    let acted = queue.queue().act(&ids, &Action::Delete).await.unwrap();
    assert_eq!(acted.iter().map(|acted| acted.id).collect::<Vec<_>>(), ids);
    assert_eq!(
        acted.into_iter().map(|acted| acted.outcome.map_err(|refusal| refusal.to_string())).collect::<Vec<_>>(),
        [
            Err("no job has this id".to_owned()),
            Err("it is running; cancel it first".to_owned()),
            Ok(State::Ready),
            Err("no job has this id".to_owned()),
        ]
    );
    assert_eq!(queue.state(running).await, State::Running);
    assert_eq!(queue.queue().find(waiting).await.unwrap(), None);
}

/// A job in each state, in the order of [`State::ALL`].
async fn one_in_each_state(queue: &Subject<impl Backend>) -> [JobId; 7] {
    let done = queue.ended(document(), Verdict::Done, Decision::Finish).await;
    let dead = queue.ended(document(), failed(), Decision::Bury).await;
    let running = queue.submit(document()).await;
    assert_eq!(queue.lease("a").await.id, running);
    let cancelled = queue.submit(document()).await;
    queue.act(cancelled, &by_hand()).await.unwrap();
    let held = queue.submit(Document { hold: true, ..document() }).await;
    let delayed = queue.submit(delayed(600 * SECOND)).await;
    let ready = queue.submit(document()).await;
    [held, delayed, ready, running, done, dead, cancelled]
}

/// What comes of each action in each state; where there is nothing, it is refused.
fn table() -> [(Action, [Option<State>; 7]); 6] {
    use State::{Cancelled, Dead, Delayed, Done, Held, Ready};
    let update = Action::Update([("priority".to_owned(), json!(7))].into_iter().collect());
    let (cancelled, held) = (Some(Cancelled), Some(Held));
    [
        (by_hand(), [cancelled, cancelled, cancelled, cancelled, None, None, cancelled]),
        (Action::Hold, [held, held, held, None, None, None, None]),
        (Action::Release, [Some(Ready), Some(Delayed), Some(Ready), None, None, None, None]),
        (Action::Kick, [None, Some(Ready), None, None, None, Some(Ready), None]),
        (update, [held, Some(Delayed), Some(Ready), None, None, Some(Dead), None]),
        (Action::Delete, [held, Some(Delayed), Some(Ready), None, Some(Done), Some(Dead), cancelled]),
    ]
}

pub(super) async fn what_can_be_done_follows_from_the_state(queue: &Subject<impl Backend>) {
    for (action, outcomes) in table() {
        let ids = one_in_each_state(queue).await;
        for ((id, state), expected) in ids.into_iter().zip(State::ALL).zip(outcomes) {
            let before = queue.find(id).await;
            assert_eq!(before.state, state);
            match (queue.act(id, &action).await, expected) {
                (Ok(state), Some(expected)) => {
                    assert_eq!(state, expected, "{action:?}");
                    let after = queue.queue().find(id).await.unwrap().map(|record| record.state);
                    assert_eq!(after, (action != Action::Delete).then_some(expected));
                }
                (Err(Refusal::State(told, instead)), None) => {
                    assert_eq!(told, state);
                    assert!(!instead.is_empty(), "{action:?} of a job that is {state}");
                    assert_eq!(queue.find(id).await, before, "a refusal changes nothing");
                }
                (outcome, expected) => panic!("{action:?}, {state}: {expected:?} was expected, {outcome:?} came"),
            }
        }
        let status = queue.queue().status().await.unwrap();
        let records = queue.list_by(&Filter::default(), 100).await;
        for state in State::ALL {
            let listed = records.iter().filter(|record| record.state == state).count();
            assert_eq!(status.states[&state], listed as u64, "{state} after {action:?}");
        }
        // What is left makes room for the next round.
        for record in records {
            let _ = queue.act(record.id, &by_hand()).await;
            queue.act(record.id, &Action::Delete).await.unwrap();
        }
    }
}
