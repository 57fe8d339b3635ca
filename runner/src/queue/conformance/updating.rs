//! Changing what a job asks for.

use super::Backend;
use super::subject::{SECOND, Subject, delayed, document, failed};
use crate::job::{Decision, Document, State, Tube, Verdict};
use crate::queue::{Action, Filter, Refusal};
use serde_json::json;

pub(super) async fn a_changed_job_is_claimed_as_what_it_is_now(queue: &Subject<impl Backend>) {
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

pub(super) async fn a_changed_job_is_found_as_what_it_is_now(queue: &Subject<impl Backend>) {
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

pub(super) async fn a_change_keeps_the_jobs_place(queue: &Subject<impl Backend>) {
    let ids = queue.submit_all(vec![document(); 3]).await;
    assert_eq!(queue.update(ids[0], json!({"params": {"a": 1}})).await, Ok(State::Ready));
    assert_eq!(queue.update(ids[1], json!({"priority": 1025})).await, Ok(State::Ready));
    assert_eq!(queue.update(ids[1], json!({"priority": null})).await, Ok(State::Ready));
    for id in ids {
        assert_eq!(queue.lease("a").await.id, id);
    }
}

pub(super) async fn times_in_a_change_count_from_then_and_one_replaces_the_other(queue: &Subject<impl Backend>) {
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

pub(super) async fn only_a_job_that_has_not_started_can_be_made_to_expire(queue: &Subject<impl Backend>) {
    let waiting = queue.submit(Document { priority: 2000, ..document() }).await;
    let started = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    assert_eq!(lease.id, started);
    queue.settle("a", &lease, failed(), Decision::Retry(SECOND)).await.unwrap();
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

pub(super) async fn a_change_that_makes_no_job_is_refused_in_the_documents_own_words(queue: &Subject<impl Backend>) {
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
