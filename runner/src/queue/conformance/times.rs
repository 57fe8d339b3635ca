//! Not before, and not after.

use super::Backend;
use super::subject::{SECOND, Subject, by_hand, delayed, document, failed};
use crate::job::{Decision, Document, JobId, State, Verdict, When};
use crate::queue::{Action, Filter, Refusal};
use std::time::Duration;

fn expiring(after: Duration) -> Document {
    Document { expires: Some(When::After(crate::job::Span(after))), ..document() }
}

pub(super) async fn a_delayed_job_waits_for_its_time(queue: &Subject<impl Backend>) {
    let id = queue.submit(delayed(2 * SECOND)).await;
    assert_eq!(queue.state(id).await, State::Delayed);
    assert!(queue.claim("a").await.is_none());
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.lease("a").await.id, id);
    let record = queue.find(id).await;
    queue.assert_between(record.submitted_at, record.ready_at, 2 * SECOND);
}

pub(super) async fn a_job_whose_time_has_come_is_in_its_place_at_once(queue: &Subject<impl Backend>) {
    let urgent = queue.submit(Document { priority: 0, ..delayed(SECOND) }).await;
    let first = queue.submit(delayed(SECOND)).await;
    let second = queue.submit(document()).await;
    queue.advance(SECOND).await;
    for expected in [urgent, first, second] {
        assert_eq!(queue.lease("a").await.id, expected);
    }
}

pub(super) async fn a_job_begins_held_delayed_or_ready(queue: &Subject<impl Backend>) {
    for (document, state) in [
        (document(), State::Ready),
        (delayed(5 * SECOND), State::Delayed),
        (Document { hold: true, ..delayed(5 * SECOND) }, State::Held),
        (Document { hold: true, ..document() }, State::Held),
        (Document { run_at: Some("2001-01-01T00:00:00Z".parse().unwrap()), ..document() }, State::Ready),
    ] {
        let id = queue.submit(document).await;
        assert_eq!(queue.state(id).await, state);
    }
}

pub(super) async fn a_job_that_expires_before_it_is_started_is_cancelled(queue: &Subject<impl Backend>) {
    let id = queue.submit(expiring(2 * SECOND)).await;
    assert_eq!(queue.state(id).await, State::Ready);
    queue.advance(3 * SECOND).await;
    let before = queue.find(id).await;
    assert!(queue.claim("a").await.is_none());
    let record = queue.find(id).await;
    assert_eq!((record.state, record.attempts), (State::Cancelled, 0));
    assert!(matches!(record.verdict, Some(Verdict::Cancelled { .. })));
    queue.assert_between(record.submitted_at, record.finished_at.unwrap(), 2 * SECOND);
    assert_eq!(record, before, "no claim is needed to see it");
}

pub(super) async fn a_job_that_was_started_in_time_does_not_expire(queue: &Subject<impl Backend>) {
    let id = queue.submit(expiring(2 * SECOND)).await;
    let lease = queue.lease("a").await;
    queue.settle("a", &lease, failed(), Decision::Retry(SECOND)).await.unwrap();
    queue.advance(3 * SECOND).await;
    let again = queue.lease("a").await;
    assert_eq!((again.id, again.attempt), (id, 2));
}

pub(super) async fn a_job_that_has_expired_is_cancelled_for_whoever_acts_on_it(queue: &Subject<impl Backend>) {
    let actions = [by_hand(), Action::Hold, Action::Release, Action::Kick, Action::Update(serde_json::Map::new())];
    let ids = queue.submit_all(vec![expiring(SECOND); actions.len()]).await;
    queue.advance(2 * SECOND).await;
    for (id, action) in ids.iter().zip(actions) {
        let before = queue.find(*id).await;
        match queue.act(*id, &action).await {
            Ok(State::Cancelled) if matches!(action, Action::Cancel { .. }) => {}
            Err(Refusal::State(State::Cancelled, _)) => {}
            outcome => panic!("{action:?}: {outcome:?}"),
        }
        assert_eq!(queue.find(*id).await, before, "it had expired, and nobody's wish changes that");
    }
    assert_eq!(queue.queue().status().await.unwrap().states[&State::Cancelled], 5, "it is written down");
}

pub(super) async fn a_job_that_has_expired_is_listed_as_cancelled(queue: &Subject<impl Backend>) {
    let expired: Vec<JobId> = queue
        .submit_all(vec![
            expiring(2 * SECOND),
            Document { hold: true, ..expiring(2 * SECOND) },
            Document { expires: expiring(2 * SECOND).expires, ..delayed(600 * SECOND) },
        ])
        .await;
    let lasting = queue.submit(document()).await;
    let everything = [expired.as_slice(), &[lasting]].concat();
    let waiting = Filter { states: vec![State::Held, State::Delayed, State::Ready], ..Filter::default() };
    let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
    assert_eq!(queue.list(&waiting).await, everything);
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.list(&waiting).await, [lasting]);
    assert_eq!(queue.list(&cancelled).await, expired);
    assert_eq!(queue.list(&Filter::default()).await, everything);
}
