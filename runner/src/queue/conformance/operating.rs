//! What operators do with jobs: act on them, change them, list them, and delete them after a time.

use super::subject::{Backend, SECOND, Subject, algorithm, by_hand, delayed, document, failed, outcome_of};
use crate::job::{Decision, Document, JobId, Span, State, Tube, Unique, UniqueFor, Verdict};
use crate::queue::{Action, Filter, Outcome, Refusal, Retention, Settled};
use serde_json::json;
use std::time::Duration;

pub(super) async fn kick_grants_as_many_attempts_again(queue: &Subject<impl Backend>) {
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
        assert_eq!(queue.settle("a", &claimed.lease, failed(), decision).await, Settled::Counts);
        queue.advance(SECOND).await;
    }
}

pub(super) async fn kicked_job_keeps_its_past(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), failed(), Decision::Bury).await;
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    let record = queue.find(id).await;
    assert_eq!((record.state, record.kicks, record.finished_at), (State::Ready, 1, None));
    assert_eq!((record.verdict, record.published), (Some(failed()), Some(1)), "until there is another result");
    queue.assert_between(record.submitted_at, record.ready_at, 2 * SECOND);
    assert_eq!(record.history.unwrap().len(), 1);
}

pub(super) async fn kick_of_a_delayed_job_grants_no_attempts(queue: &Subject<impl Backend>) {
    let id = queue.submit(delayed(600 * SECOND)).await;
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    let claimed = queue.claim("a").await.unwrap();
    assert_eq!((claimed.lease.id, claimed.granted), (id, 3));
    assert_eq!(queue.find(id).await.kicks, 0);
}

pub(super) async fn unknown_job_is_refused_by_every_action(queue: &Subject<impl Backend>) {
    for action in [by_hand(), Action::Kick, Action::Delete] {
        assert_eq!(queue.act(JobId::new(), &action).await, Err(Refusal::NoSuchJob));
        assert!(queue.queue().act(&[], &action).await.unwrap().is_empty());
    }
}

pub(super) async fn waiting_job_is_cancelled_at_once(queue: &Subject<impl Backend>) {
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

pub(super) async fn held_job_keeps_its_place_until_it_is_released(queue: &Subject<impl Backend>) {
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

pub(super) async fn the_state_decides_what_can_be_done(queue: &Subject<impl Backend>) {
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

pub(super) async fn changed_job_is_claimed_with_its_changes(queue: &Subject<impl Backend>) {
    let first = queue.submit(document()).await;
    let id = queue.submit(document()).await;
    let patch = json!({
        "algorithm": "y", "tube": "night", "host": "node1", "priority": 0, "max_attempts": 9, "seed": 7,
        "params": {"a": {"b": 1}}, "limits": {"memory": "64MiB"}, "ttr": "5s",
    });
    assert_eq!(queue.update(id, patch).await, Ok(State::Ready));
    let more = json!({"params": {"a": {"c": 2}}, "ttr": null});
    assert_eq!(queue.update(id, more).await, Ok(State::Ready));
    let tubes = [Tube::default(), "night".parse().unwrap()];
    assert!(queue.claim_from("node10", &tubes[1..], 1).await.is_empty());
    let claimed = queue.claim_from("node1", &tubes, 2).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.lease.id).collect::<Vec<_>>(), [id, first]);
    assert_eq!(claimed[0].granted, 9);
    let document = &claimed[0].job.document;
    assert_eq!((document.ttr, document.seed, document.algorithm.to_string()), (None, Some(7), "y".to_owned()));
    assert_eq!(document.params["a"], json!({"b": 1, "c": 2}));
}

pub(super) async fn changed_job_is_listed_with_its_changes(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { tags: vec!["old".to_owned(), "both".to_owned()], ..document() }).await;
    let patch = json!({"algorithm": "y", "tube": "night", "tags": ["both", "new"]});
    assert_eq!(queue.update(id, patch).await, Ok(State::Ready));
    let night: Tube = "night".parse().unwrap();
    for (tag, found) in [("old", false), ("both", true), ("new", true)] {
        let filter = Filter {
            tubes: vec![night.clone()],
            algorithm: Some("y".parse().unwrap()),
            tags: vec![tag.to_owned()],
            ..Filter::default()
        };
        assert_eq!(queue.list(&filter).await.contains(&id), found, "{tag}");
    }
    let status = queue.queue().status().await.unwrap();
    assert_eq!(status.tubes, [(night, [(State::Ready, 1)].into())].into());
}

pub(super) async fn changed_job_keeps_its_place(queue: &Subject<impl Backend>) {
    let ids = queue.submit_all(vec![document(); 3]).await;
    assert_eq!(queue.update(ids[0], json!({"params": {"a": 1}})).await, Ok(State::Ready));
    assert_eq!(queue.update(ids[1], json!({"priority": 1025})).await, Ok(State::Ready));
    assert_eq!(queue.update(ids[1], json!({"priority": null})).await, Ok(State::Ready));
    for id in ids {
        assert_eq!(queue.lease("a").await.id, id);
    }
}

pub(super) async fn times_in_a_change_count_from_the_change(queue: &Subject<impl Backend>) {
    let id = queue.submit(delayed(60 * SECOND)).await;
    let due_after = async |seconds| {
        let record = queue.find(id).await;
        queue.assert_between(record.submitted_at, record.ready_at, seconds * SECOND);
    };
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.update(id, json!({"priority": 1})).await, Ok(State::Delayed));
    due_after(60).await;
    assert_eq!(queue.update(id, json!({"delay": "60s"})).await, Ok(State::Delayed));
    due_after(62).await;
    let run_at = queue.find(id).await.submitted_at + 40 * SECOND;
    assert_eq!(queue.update(id, json!({"run_at": run_at.to_string()})).await, Ok(State::Delayed));
    due_after(40).await;
    let document = queue.find(id).await.document;
    assert_eq!((document.delay, document.run_at), (None, Some(run_at)));
    assert_eq!(queue.update(id, json!({"delay": 0})).await, Ok(State::Ready));
    due_after(2).await;
    assert_eq!(queue.find(id).await.document.run_at, None);
    assert_eq!(queue.act(id, &Action::Hold).await, Ok(State::Held));
    assert_eq!(queue.update(id, json!({"delay": 60})).await, Ok(State::Held));
    assert_eq!(queue.act(id, &Action::Release).await, Ok(State::Delayed));
    assert_eq!(queue.update(id, json!({"delay": null})).await, Ok(State::Ready));
    assert_eq!(queue.lease("a").await.id, id);
}

pub(super) async fn only_a_job_that_never_started_can_expire(queue: &Subject<impl Backend>) {
    let waiting = queue.submit(Document { priority: 2000, ..document() }).await;
    let started = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    assert_eq!(lease.id, started);
    queue.fail("a", &lease).await;
    let refused = queue.update(started, json!({"expires": "1s"})).await;
    assert!(matches!(&refused, Err(Refusal::Invalid(why)) if why.contains("was started before")), "{refused:?}");
    assert_eq!(queue.update(started, json!({"expires": null})).await, Ok(State::Delayed));
    assert_eq!(queue.update(waiting, json!({"expires": "1s"})).await, Ok(State::Ready));
    queue.advance(SECOND).await;
    assert_eq!(queue.state(waiting).await, State::Cancelled);
    assert_eq!(queue.lease("a").await.id, started);
    assert!(queue.claim("a").await.is_none());

    let past = queue.submit(document()).await;
    assert_eq!(queue.update(past, json!({"expires": "2001-01-01T00:00:00Z"})).await, Ok(State::Cancelled));
    assert!(matches!(queue.find(past).await.verdict, Some(Verdict::Cancelled { .. })));
}

pub(super) async fn change_to_an_invalid_document_is_refused(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let before = queue.find(id).await;
    for (patch, part) in [
        (json!({"priority": "high"}), "priority: invalid type: string \"high\", expected u32"),
        (json!({"algorithm": null}), "missing field `algorithm`"),
        (json!({"delay": 1, "run_at": "2030-01-01T00:00:00Z"}), "delay and run_at: give one of them, not both"),
        (json!({"tags": [""]}), "tags: from 1 to 200 bytes"),
        (json!({"params": 7}), "params: invalid type"),
        (json!({"hold": false}), "\"hold\" cannot be changed; what can be is algorithm, params, input,"),
        (json!({"unique": null}), "\"unique\" cannot be changed"),
        (json!({"id": null}), "\"id\" cannot be changed"),
        (json!({"prority\u{1b}[2J": 1}), r#""prority\u{1b}[2J" cannot be changed"#),
        (json!({"input": format!("data:,{}", "x".repeat(5 << 20))}), "a job document is at most 4194304 bytes"),
    ] {
        match queue.update(id, patch).await {
            Err(Refusal::Invalid(message)) => assert!(message.contains(part), "{message}"),
            outcome => panic!("{outcome:?} instead of {part}"),
        }
    }
    assert_eq!(queue.find(id).await, before);
}

/// A job that waits for as long as a test may take.
fn later() -> Document {
    delayed(600 * SECOND)
}

pub(super) async fn every_job_is_listed_once_in_order_of_submission(queue: &Subject<impl Backend>) {
    let mut ids = Vec::new();
    for waits in [true, false, false, true, true, false, true] {
        ids.push(queue.submit(if waits { later() } else { document() }).await);
    }
    assert_eq!(queue.lease("a").await.id, ids[1]);
    let states = vec![State::Running, State::Delayed, State::Delayed];
    let delayed_or_running = Filter { states, ..Filter::default() };
    for limit in [1, 2, 3, 7, 8, usize::MAX] {
        let listed = async |filter: &Filter| {
            queue.list_by(filter, limit).await.iter().map(|record| record.id).collect::<Vec<_>>()
        };
        assert_eq!(listed(&Filter::default()).await, ids);
        assert_eq!(listed(&delayed_or_running).await, [ids[0], ids[1], ids[3], ids[4], ids[6]]);
    }
}

pub(super) async fn listing_can_be_filtered(queue: &Subject<impl Backend>) {
    let tube: Tube = "night".parse().unwrap();
    let plain = queue.submit(later()).await;
    let other = queue.submit(Document { algorithm: algorithm("y"), ..later() }).await;
    let nightly = queue.submit(Document { tube: tube.clone(), ..later() }).await;
    let ready = queue.submit(Document { tube: tube.clone(), ..document() }).await;
    let in_tube = Filter { tubes: vec![tube], ..Filter::default() };
    assert_eq!(queue.list(&in_tube).await, [nightly, ready]);
    let of_algorithm = Filter { algorithm: Some("x".parse().unwrap()), ..Filter::default() };
    assert_eq!(queue.list(&of_algorithm).await, [plain, nightly, ready]);
    let delayed = Filter { states: vec![State::Delayed], ..Filter::default() };
    assert_eq!(queue.list(&delayed).await, [plain, other, nightly]);
    assert_eq!(queue.list(&Filter { tubes: in_tube.tubes, ..delayed }).await, [nightly]);
}

pub(super) async fn listing_can_be_filtered_by_everything_at_once(queue: &Subject<impl Backend>) {
    let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let tube: Tube = "night".parse().unwrap();
    queue.submit(Document { tags: tagged(&["a"]), ..document() }).await;
    queue.submit(Document { tags: tagged(&["a"]), tube: tube.clone(), ..later() }).await;
    let wanted = Document { tags: tagged(&["b", "a", "b"]), tube: tube.clone(), ..document() };
    let wanted = queue.submit(wanted).await;
    queue.submit(Document { tube: tube.clone(), ..document() }).await;
    let other = Document::new("y".parse().unwrap());
    queue.submit(Document { tags: tagged(&["a"]), tube: tube.clone(), ..other }).await;
    let filter = Filter {
        states: vec![State::Ready],
        tubes: vec![tube],
        algorithm: Some("x".parse().unwrap()),
        tags: vec!["a".to_owned()],
        ..Filter::default()
    };
    assert_eq!(queue.list(&filter).await, [wanted]);
    let injected = Filter { tags: vec!["a' OR 1=1 --".to_owned()], ..Filter::default() };
    assert!(queue.list(&injected).await.is_empty());
}

pub(super) async fn status_counts_every_state(queue: &Subject<impl Backend>) {
    assert_eq!(queue.queue().status().await.unwrap().states, State::ALL.map(|state| (state, 0)).into());
    queue.ended(document(), Verdict::Done, Decision::Finish).await;
    queue.ended(document(), failed(), Decision::Bury).await;
    queue.submit(later()).await;
    let cancelled = queue.submit(document()).await;
    queue.act(cancelled, &by_hand()).await.unwrap();
    queue.submit(Document { tube: "night".parse().unwrap(), ..document() }).await;
    let status = queue.queue().status().await.unwrap();
    for state in State::ALL {
        let filter = Filter { states: vec![state], ..Filter::default() };
        assert_eq!(status.states[&state], queue.list(&filter).await.len() as u64, "{state}");
    }
    assert_eq!(status.states.values().sum::<u64>(), 5);
}

/// Submits a job, ends it, with files or without, and deletes it.
async fn deleted(queue: &Subject<impl Backend>, files: bool) -> JobId {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let outcome = Outcome { files, ..outcome_of(&lease) };
    queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome).await;
    assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Done));
    id
}

pub(super) async fn deleted_ids_with_files_are_told_page_by_page(queue: &Subject<impl Backend>) {
    assert_eq!(queue.queue().forgotten(None, 9).await.unwrap(), (vec![], None));
    let mut ids = Vec::new();
    for files in [true, true, false, true, true, false, true, false] {
        let id = deleted(queue, files).await;
        ids.extend(files.then_some(id));
    }
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let (page, last) = queue.queue().forgotten(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        told.extend(page);
        match last {
            Some(_) => after = last,
            None => break,
        }
    }
    assert_eq!(told, ids, "without the jobs that left no files");
    let one_more = deleted(queue, true).await;
    assert_eq!(queue.queue().forgotten(after, 9).await.unwrap().0, [one_more], "a reader goes on later");
    assert_eq!(queue.queue().forgotten(Some(u64::MAX), 9).await.unwrap(), (vec![], None));
}

pub(super) async fn files_of_a_failed_attempt_are_told_as_well(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let outcome = Outcome { files: true, ..outcome_of(&lease) };
    queue.settle_with("a", &lease, failed(), Decision::Retry(SECOND), outcome).await;
    queue.advance(SECOND).await;
    let lease = queue.lease("a").await;
    queue.finish("a", &lease).await;
    assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Done));
    assert_eq!(queue.queue().forgotten(None, 9).await.unwrap().0, [id]);
}

pub(super) async fn lost_attempt_may_have_left_files(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    queue.lease("a").await;
    queue.lose("a").await;
    let lease = queue.lease("b").await;
    queue.finish("b", &lease).await;
    assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Done));
    assert_eq!(queue.queue().forgotten(None, 9).await.unwrap().0, [id]);
}

pub(super) async fn each_kind_of_end_has_its_own_retention(queue: &Subject<impl Backend>) {
    let waiting = queue.submit(Document { hold: true, ..document() }).await;
    let done = queue.ended(document(), Verdict::Done, Decision::Finish).await;
    let dead = queue.ended(document(), failed(), Decision::Bury).await;
    let cancelled = queue.submit(document()).await;
    queue.act(cancelled, &by_hand()).await.unwrap();
    let forget = async |retention: Retention| queue.queue().forget(&retention, 99).await.unwrap();
    let retention = Retention { done: Some(2 * SECOND), dead: None, cancelled: Some(600 * SECOND) };
    assert_eq!(forget(retention).await, 0);
    queue.advance(2 * SECOND).await;
    assert_eq!(forget(retention).await, 1);
    assert_eq!(queue.list(&Filter::default()).await, [waiting, dead, cancelled]);
    assert_eq!(forget(Retention::default()).await, 0);
    assert_eq!(forget(Retention { dead: Some(Duration::MAX), ..retention }).await, 0);
    assert_eq!(forget(Retention { cancelled: Some(SECOND), ..retention }).await, 1);
    assert_eq!(forget(Retention { dead: Some(Duration::ZERO), ..retention }).await, 1);
    queue.resubmit(done, document()).await.unwrap();
    assert_eq!(queue.list(&Filter::default()).await, [waiting], "what is forgotten is still known");
}

pub(super) async fn oldest_ended_jobs_are_forgotten_first(queue: &Subject<impl Backend>) {
    let mut ids = Vec::new();
    for decision in [Decision::Finish, Decision::Finish, Decision::Bury, Decision::Finish, Decision::Bury] {
        ids.push(queue.ended(document(), failed(), decision).await);
    }
    let all = Retention { done: Some(Duration::ZERO), dead: Some(Duration::ZERO), cancelled: None };
    assert_eq!(queue.queue().forget(&all, 0).await.unwrap(), 0);
    for (forgotten, left) in [(2, ids[2..].to_vec()), (2, ids[4..].to_vec()), (1, vec![])] {
        assert_eq!(queue.queue().forget(&all, 2).await.unwrap(), forgotten);
        assert_eq!(queue.list(&Filter::default()).await, left);
    }
}

pub(super) async fn job_that_holds_a_unique_key_is_not_forgotten(queue: &Subject<impl Backend>) {
    let unique = Some(Unique { key: "k".to_owned(), period: UniqueFor::For(Span(2 * SECOND)) });
    queue.ended(Document { unique, ..document() }, Verdict::Done, Decision::Finish).await;
    let all = Retention { done: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 0);
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 1);
}
