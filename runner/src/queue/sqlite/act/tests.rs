use super::*;
use crate::job::{Span, Tube};
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
use crate::queue::{Queue, QueueError, Recalled, Submission};
use serde_json::json;
use std::time::Duration;

async fn act(fixture: &Fixture, id: JobId, action: &Action) -> Result<State, Refusal> {
    let mut acted = fixture.queue.act(&[id], action).await.unwrap();
    assert_eq!((acted.len(), acted[0].id), (1, id));
    acted.remove(0).outcome
}

async fn update(fixture: &Fixture, id: JobId, patch: serde_json::Value) -> Result<State, Refusal> {
    act(fixture, id, &Action::Update(patch.as_object().unwrap().clone())).await
}

fn by_hand() -> Action {
    Action::Cancel { reason: "by hand".to_owned() }
}

fn delayed(seconds: u64) -> Document {
    Document { delay: Some(Span(Duration::from_secs(seconds))), ..document() }
}

/// A job in each state, in the order of [`State::ALL`].
async fn one_in_each_state(fixture: &Fixture) -> Vec<JobId> {
    let mut ids = Vec::new();
    for end in [Some(Decision::Finish), Some(Decision::Bury), None] {
        ids.push(fixture.submit(Document { priority: 0, ..document() }).await);
        let lease = fixture.claim("a").await.unwrap().lease;
        if let Some(end) = end {
            fixture.settle("a", &lease, failed(), end).await.unwrap();
        }
    }
    let cancelled = fixture.submit(document()).await;
    act(fixture, cancelled, &by_hand()).await.unwrap();
    let held = fixture.submit(Document { hold: true, ..document() }).await;
    let delayed = fixture.submit(delayed(60)).await;
    let ready = fixture.submit(document()).await;
    vec![held, delayed, ready, ids[2], ids[0], ids[1], cancelled]
}

#[tokio::test]
async fn what_can_be_done_follows_from_the_state_and_a_refusal_changes_nothing() {
    use State::{Cancelled, Dead, Delayed, Done, Held, Ready};
    let urgent = Action::Update([("priority".to_owned(), json!(7))].into_iter().collect());
    let can: [(Action, [Option<State>; 7]); 6] = [
        (by_hand(), [Some(Cancelled), Some(Cancelled), Some(Cancelled), Some(Cancelled), None, None, Some(Cancelled)]),
        (Action::Hold, [Some(Held), Some(Held), Some(Held), None, None, None, None]),
        (Action::Release, [Some(Ready), Some(Delayed), Some(Ready), None, None, None, None]),
        (Action::Kick, [None, Some(Ready), None, None, None, Some(Ready), None]),
        (urgent, [Some(Held), Some(Delayed), Some(Ready), None, None, Some(Dead), None]),
        (Action::Delete, [Some(Held), Some(Delayed), Some(Ready), None, Some(Done), Some(Dead), Some(Cancelled)]),
    ];
    for (action, expected) in can {
        let fixture = Fixture::new();
        let ids = one_in_each_state(&fixture).await;
        for (id, (state, expected)) in ids.iter().zip(State::ALL.into_iter().zip(expected)) {
            let before = fixture.find(*id).await;
            assert_eq!(before.state, state);
            match (act(&fixture, *id, &action).await, expected) {
                (Ok(state), Some(expected)) => assert_eq!(state, expected, "{action:?}"),
                (Err(Refusal::State(told, instead)), None) => {
                    assert_eq!(told, state);
                    assert!(!instead.is_empty(), "{action:?} of a job that is {state}");
                    assert_eq!(fixture.find(*id).await, before);
                }
                (outcome, expected) => panic!("{action:?}, {state}: {expected:?} was expected, {outcome:?} came"),
            }
            match (&action, expected) {
                (Action::Delete, Some(_)) => assert_eq!(fixture.queue.find(*id).await.unwrap(), None),
                (_, expected) => assert_eq!(fixture.find(*id).await.state, expected.unwrap_or(state)),
            }
        }
        let (records, _) = fixture.queue.list(&crate::queue::Filter::default(), None, 99).await.unwrap();
        let status = fixture.queue.status().await.unwrap();
        for state in State::ALL {
            let listed = records.iter().filter(|record| record.state == state).count();
            assert_eq!(status.states[&state], listed as u64, "{state} after {action:?}");
        }
    }
}

#[tokio::test]
async fn each_job_of_a_call_gets_its_own_answer() {
    let fixture = Fixture::new();
    let [one, two] = fixture.submit_all(vec![document(); 2]).await[..] else { unreachable!() };
    let running = fixture.claim("a").await.unwrap().lease.id;
    assert_eq!(running, one);
    let unknown = JobId::new();
    let acted = fixture.queue.act(&[unknown, one, two, two], &Action::Delete).await.unwrap();
    let refused = |acted: &Acted| acted.outcome.clone().map_err(|refusal| refusal.to_string());
    assert_eq!(acted.iter().map(|acted| acted.id).collect::<Vec<_>>(), [unknown, one, two, two]);
    assert_eq!(
        acted.iter().map(refused).collect::<Vec<_>>(),
        [
            Err("no job has this id".to_owned()),
            Err("it is running; cancel it first".to_owned()),
            Ok(State::Ready),
            Err("no job has this id".to_owned()),
        ]
    );
    assert!(fixture.queue.act(&[], &Action::Hold).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_attempt_is_over_for_its_holder() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.advance(Duration::from_secs(3));
    let reason = "the\u{1b}[2J captain\u{202e} said so".to_owned();
    assert_eq!(act(&fixture, id, &Action::Cancel { reason }).await, Ok(State::Cancelled));
    let recalled = [Recalled { lease: lease.clone(), cancelled: true }];
    let leases = std::slice::from_ref(&lease);
    assert_eq!(fixture.queue.recalled(&worker("a"), leases).await.unwrap(), recalled);
    assert_eq!(fixture.queue.heartbeat(&worker("a"), leases).await.unwrap(), recalled);
    let late = fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await;
    assert!(matches!(late, Err(QueueError::Stale { .. })));
    let record = fixture.find(id).await;
    let verdict = Verdict::Cancelled { message: "the [2J captain  said so".to_owned() };
    assert_eq!((record.state, record.verdict.as_ref(), record.published), (State::Cancelled, Some(&verdict), None));
    let history = record.history.unwrap();
    assert_eq!((history[0].verdict.as_ref(), history[0].finished_at), (Some(&verdict), record.finished_at));
    assert_eq!(record.finished_at.unwrap().duration_since(history[0].started_at).as_secs(), 3);
}

#[tokio::test]
async fn a_job_that_is_cancelled_holds_its_key_no_more() {
    let fixture = Fixture::new();
    let keyed = || {
        let unique = Unique { key: "nightly".to_owned(), period: UniqueFor::Done };
        Document { unique: Some(unique), ..document() }
    };
    let first = fixture.submit(keyed()).await;
    act(&fixture, first, &by_hand()).await.unwrap();
    fixture.submit(keyed()).await;
}

#[tokio::test]
async fn a_released_job_waits_for_its_time_and_keeps_its_place() {
    let fixture = Fixture::new();
    let first = fixture.submit(document()).await;
    let second = fixture.submit(document()).await;
    let late = fixture.submit(Document { hold: true, ..delayed(60) }).await;
    assert_eq!(act(&fixture, first, &Action::Hold).await, Ok(State::Held));
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, second);
    let third = fixture.submit(document()).await;
    assert_eq!(act(&fixture, first, &Action::Release).await, Ok(State::Ready));
    assert_eq!(act(&fixture, late, &Action::Release).await, Ok(State::Delayed));
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, first);
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, third);
    assert!(fixture.claim("a").await.is_none());
    fixture.advance(Duration::from_secs(60));
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, late);
}

#[tokio::test]
async fn a_kicked_job_is_granted_as_many_attempts_again_and_tells_of_the_past() {
    let fixture = Fixture::new();
    let id = fixture.submit(Document { max_attempts: 2, ..document() }).await;
    for _ in 0..2 {
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
    }
    let last = fixture.claim("a").await.unwrap();
    assert_eq!((last.attempts, last.granted), (3, 2));
    fixture.settle("a", &last.lease, failed(), Decision::Bury).await.unwrap();
    fixture.advance(Duration::from_secs(5));
    assert_eq!(act(&fixture, id, &Action::Kick).await, Ok(State::Ready));
    let record = fixture.find(id).await;
    assert_eq!((record.kicks, record.verdict, record.finished_at), (1, Some(failed()), None));
    assert_eq!(record.published, Some(3), "the last result stays until there is another");
    assert_eq!(record.ready_at.duration_since(record.submitted_at).as_secs(), 5);
    let again = fixture.claim("a").await.unwrap();
    assert_eq!((again.lease.attempt, again.attempts, again.granted), (4, 4, 4));
}

#[tokio::test]
async fn a_delayed_job_is_kicked_without_a_grant() {
    let fixture = Fixture::new();
    let id = fixture.submit(delayed(60)).await;
    assert_eq!(act(&fixture, id, &Action::Kick).await, Ok(State::Ready));
    let claimed = fixture.claim("a").await.unwrap();
    assert_eq!((claimed.lease.id, claimed.granted), (id, 3));
    assert_eq!(fixture.find(id).await.kicks, 0);
}

#[tokio::test]
async fn a_kicked_job_takes_its_key_again_if_nobody_holds_it() {
    let fixture = Fixture::new();
    let unique = Some(Unique { key: "nightly".to_owned(), period: UniqueFor::Done });
    let keyed = Document { unique, ..document() };
    let bury = async || {
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
    };
    let first = fixture.submit(keyed.clone()).await;
    bury().await;
    let second = fixture.submit(keyed.clone()).await;
    let before = fixture.find(first).await;
    assert_eq!(act(&fixture, first, &Action::Kick).await, Err(Refusal::NotUnique(second)));
    assert_eq!(fixture.find(first).await, before);
    bury().await;
    assert_eq!(act(&fixture, first, &Action::Kick).await, Ok(State::Ready));
    let third = Submission { id: JobId::new(), document: keyed };
    let refused = fixture.queue.submit(vec![third]).await;
    assert!(matches!(refused, Err(QueueError::NotUnique { holder, .. }) if holder == first));
    assert_eq!(act(&fixture, second, &Action::Kick).await, Err(Refusal::NotUnique(first)));
}

#[tokio::test]
async fn no_number_of_kicks_is_too_many() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
    fixture.sql("UPDATE jobs SET kicks = 4294967295");
    assert_eq!(act(&fixture, id, &Action::Kick).await, Ok(State::Ready));
    let again = fixture.claim("a").await.unwrap();
    assert_eq!((again.granted, fixture.find(id).await.kicks), (u32::MAX, u32::MAX));
}

#[tokio::test]
async fn a_changed_job_is_found_and_claimed_as_what_it_is_now() {
    let fixture = Fixture::new();
    let tagged = Document { tags: vec!["old".to_owned(), "both".to_owned()], ..document() };
    let first = fixture.submit(document()).await;
    let id = fixture.submit(tagged).await;
    let patch = json!({
        "algorithm": "y", "tube": "night", "host": "node1", "priority": 0, "max_attempts": 9, "seed": 7,
        "tags": ["both", "new"], "params": {"a": {"b": 1}}, "limits": {"memory": "64MiB"}, "ttr": "5s",
    });
    assert_eq!(update(&fixture, id, patch).await, Ok(State::Ready));
    assert_eq!(update(&fixture, id, json!({"params": {"a": {"c": 2}}, "ttr": null})).await, Ok(State::Ready));
    let night: Tube = "night".parse().unwrap();
    let claimed = fixture.queue.claim(&worker("node1"), &[Tube::default(), night.clone()], 2).await.unwrap();
    assert_eq!(claimed.iter().map(|claimed| claimed.lease.id).collect::<Vec<_>>(), [id, first]);
    assert_eq!(claimed[0].granted, 9);
    let document = &claimed[0].job.document;
    assert_eq!((document.params["a"].clone(), document.ttr, document.seed), (json!({"b": 1, "c": 2}), None, Some(7)));
    assert_eq!(document.algorithm.to_string(), "y");
    for (tag, found) in [("old", false), ("both", true), ("new", true)] {
        let filter = crate::queue::Filter {
            tubes: vec![night.clone()],
            algorithm: Some("y".parse().unwrap()),
            tags: vec![tag.to_owned()],
            ..Default::default()
        };
        let (records, _) = fixture.queue.list(&filter, None, 9).await.unwrap();
        assert_eq!(records.iter().any(|record| record.id == id), found, "{tag}");
    }
    let status = fixture.queue.status().await.unwrap();
    assert_eq!(status.tubes[&night], [(State::Running, 1)].into());
}

#[tokio::test]
async fn times_in_a_change_count_from_then_and_one_replaces_the_other() {
    let fixture = Fixture::new();
    let id = fixture.submit(delayed(60)).await;
    fixture.advance(Duration::from_secs(30));
    assert_eq!(update(&fixture, id, json!({"priority": 1})).await, Ok(State::Delayed));
    let due = async || {
        let record = fixture.find(id).await;
        record.ready_at.duration_since(record.submitted_at).as_secs()
    };
    assert_eq!(due().await, 60, "what is not named stays");
    assert_eq!(update(&fixture, id, json!({"delay": "60s"})).await, Ok(State::Delayed));
    assert_eq!(due().await, 90);
    let run_at = fixture.find(id).await.submitted_at + Duration::from_secs(40);
    assert_eq!(update(&fixture, id, json!({"run_at": run_at.to_string()})).await, Ok(State::Delayed));
    assert_eq!(due().await, 40);
    let document = fixture.find(id).await.document;
    assert_eq!((document.delay, document.run_at), (None, Some(run_at)));
    assert_eq!(update(&fixture, id, json!({"delay": 0})).await, Ok(State::Ready));
    assert_eq!((due().await, fixture.find(id).await.document.run_at), (30, None));
    assert_eq!(act(&fixture, id, &Action::Hold).await, Ok(State::Held));
    assert_eq!(update(&fixture, id, json!({"delay": 5})).await, Ok(State::Held));
    assert_eq!(act(&fixture, id, &Action::Release).await, Ok(State::Delayed));
    assert_eq!(update(&fixture, id, json!({"delay": null})).await, Ok(State::Ready));
    assert_eq!(update(&fixture, id, json!({"expires": "10s"})).await, Ok(State::Ready));
    fixture.advance(Duration::from_secs(10));
    assert_eq!(fixture.find(id).await.state, State::Cancelled);
}

#[tokio::test]
async fn only_a_job_that_has_not_started_can_be_made_to_expire() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
    assert_eq!(update(&fixture, id, json!({"expires": "1s"})).await, Ok(State::Ready));
    fixture.advance(Duration::from_secs(1));
    assert_eq!(fixture.claim("a").await.unwrap().lease.id, id, "it was started before it would have expired");

    let fresh = fixture.submit(document()).await;
    assert_eq!(update(&fixture, fresh, json!({"expires": "2001-01-01T00:00:00Z"})).await, Ok(State::Cancelled));
    let record = fixture.find(fresh).await;
    assert!(matches!(record.verdict, Some(Verdict::Cancelled { .. })));
    assert_eq!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 1, "it is written down");
}

#[tokio::test]
async fn a_change_that_makes_no_job_is_refused_in_the_documents_own_words() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let before = fixture.find(id).await;
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
        match update(&fixture, id, patch).await {
            Err(Refusal::Invalid(message)) => assert!(message.contains(part), "{message}"),
            outcome => panic!("{outcome:?} instead of {part}"),
        }
    }
    assert_eq!(fixture.find(id).await, before);
}

#[tokio::test]
async fn an_id_stays_bound_to_what_was_first_submitted_through_changes_and_deletion() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let submit = async |document: Document| fixture.queue.submit(vec![Submission { id, document }]).await;
    let urgent = Document { priority: 1, ..document() };
    let steps = [json!({"priority": 1}), json!({"priority": 2}), json!({"priority": 1024}), json!({"priority": 1})];
    for patch in steps {
        update(&fixture, id, patch).await.unwrap();
        let before = fixture.find(id).await;
        submit(document()).await.unwrap();
        assert_eq!(fixture.find(id).await, before);
        assert!(matches!(submit(urgent.clone()).await, Err(QueueError::IdTaken(taken)) if taken == id));
    }
    assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Ready));
    submit(document()).await.unwrap();
    assert_eq!(fixture.queue.find(id).await.unwrap(), None, "it does not come back");
    assert!(matches!(submit(urgent).await, Err(QueueError::IdTaken(taken)) if taken == id));
    assert_eq!(act(&fixture, id, &Action::Kick).await, Err(Refusal::NoSuchJob));
}

#[tokio::test]
async fn nothing_of_a_deleted_job_is_left_but_its_id() {
    let fixture = Fixture::new();
    let id = fixture.submit(Document { tags: vec!["a".to_owned()], ..document() }).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Done));
    fixture.queue.unregister(&worker("a")).await.unwrap();
    let connection = crate::queue::sqlite::schema::open_reader(&fixture.directory.path().join("queue.db")).unwrap();
    for table in ["jobs", "documents", "tags", "attempts"] {
        let rows: u32 = connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(fixture.queue.forgotten(None, 9).await.unwrap().0, [id]);
}

#[tokio::test]
async fn a_job_that_has_expired_is_cancelled_for_whoever_acts_on_it() {
    for action in [by_hand(), Action::Hold, Action::Release, Action::Kick, Action::Update(Default::default())] {
        let fixture = Fixture::new();
        let id = fixture.submit(Document { expires: Some("10s".parse().unwrap()), ..document() }).await;
        fixture.advance(Duration::from_secs(12));
        let before = fixture.find(id).await;
        match act(&fixture, id, &action).await {
            Ok(State::Cancelled) if matches!(action, Action::Cancel { .. }) => {}
            Err(Refusal::State(State::Cancelled, _)) => {}
            outcome => panic!("{action:?}: {outcome:?}"),
        }
        assert_eq!(fixture.find(id).await, before, "it had expired, and nobody's wish changes that");
        assert_eq!(fixture.queue.status().await.unwrap().states[&State::Cancelled], 1, "it is written down");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_read_can_only_be_deleted() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    fixture.sql("UPDATE documents SET json = CAST(x'ff' AS TEXT)");
    assert!(fixture.claim("a").await.is_none(), "it is buried");
    for action in [Action::Kick, Action::Update(Default::default())] {
        let refusal = act(&fixture, id, &action).await.unwrap_err().to_string();
        assert!(refusal.contains("cannot be read") && refusal.ends_with("; delete it"), "{refusal}");
    }
    assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Dead));
    assert_eq!(fixture.queue.find(id).await.unwrap(), None);
}

#[test]
fn finding_a_job_is_a_seek() {
    let plan = Fixture::new().plan(FIND);
    assert!(plan.contains("jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"), "{plan}");
}
