//! Tubes that are paused.

use super::Backend;
use super::subject::{SECOND, Subject, document, worker};
use crate::job::{Decision, Document, JobId, Tube, Verdict};
use jiff::Timestamp;
use std::time::Duration;

fn tubes() -> [Tube; 2] {
    [Tube::default(), "night".parse().unwrap()]
}

async fn claimed(queue: &Subject<impl Backend>) -> Option<JobId> {
    queue.claim_from("a", &tubes(), 1).await.pop().map(|claimed| claimed.lease.id)
}

pub(super) async fn nothing_of_a_paused_tube_is_claimed_until_it_is_resumed(queue: &Subject<impl Backend>) {
    let [default, night] = tubes();
    queue.submit(document()).await;
    let running = queue.lease("a").await;
    let waiting = queue.submit(Document { priority: 0, ..document() }).await;
    let other = queue.submit(Document { tube: night, ..document() }).await;
    queue.queue().pause(&default, None).await.unwrap();
    assert_eq!(claimed(queue).await, Some(other));
    assert_eq!(claimed(queue).await, None);
    queue.settle("a", &running, Verdict::Done, Decision::Finish).await.unwrap();
    assert!(queue.queue().resume(&default).await.unwrap());
    assert!(!queue.queue().resume(&default).await.unwrap(), "there is none any more");
    assert_eq!(claimed(queue).await, Some(waiting));
}

pub(super) async fn a_tube_that_is_paused_without_an_end_is_no_work(queue: &Subject<impl Backend>) {
    let [default, night] = tubes();
    queue.submit(document()).await;
    queue.submit(Document { tube: night.clone(), ..document() }).await;
    let has_work = async |tubes: &[Tube]| queue.queue().has_work(&worker("a"), tubes).await.unwrap();
    assert!(has_work(std::slice::from_ref(&default)).await);
    queue.queue().pause(&default, None).await.unwrap();
    assert_eq!(queue.queue().status().await.unwrap().paused, [(default.clone(), None)].into());
    assert!(!has_work(std::slice::from_ref(&default)).await);
    assert!(has_work(&[default.clone(), night]).await);
    queue.queue().resume(&default).await.unwrap();
    assert!(has_work(std::slice::from_ref(&default)).await);
    assert!(queue.queue().status().await.unwrap().paused.is_empty());
}

pub(super) async fn a_pause_ends_at_its_time_and_other_processes_keep_it(queue: &Subject<impl Backend>) {
    let [default, _] = tubes();
    let id = queue.submit(document()).await;
    let until = queue.find(id).await.submitted_at + 3 * SECOND;
    queue.queue().pause(&default, Some(until)).await.unwrap();
    let has_work = queue.queue().has_work(&worker("a"), std::slice::from_ref(&default)).await.unwrap();
    assert!(has_work, "it will be");
    let paused = queue.queue().status().await.unwrap().paused;
    queue.assert_between(until, paused[&default].unwrap(), Duration::ZERO);
    assert_eq!(claimed(queue).await, None);
    let elsewhere = queue.backend.elsewhere().await;
    assert!(elsewhere.claim(&worker("b"), std::slice::from_ref(&default), 1).await.unwrap().is_empty());
    drop(elsewhere);
    queue.advance(3 * SECOND).await;
    assert!(queue.queue().status().await.unwrap().paused.is_empty());
    assert!(!queue.queue().resume(&default).await.unwrap(), "it has ended by itself");
    assert_eq!(claimed(queue).await, Some(id));
}

pub(super) async fn a_pause_until_a_time_that_is_past_is_none_and_ends_the_one_before(queue: &Subject<impl Backend>) {
    let [default, _] = tubes();
    let id = queue.submit(document()).await;
    queue.queue().pause(&default, None).await.unwrap();
    queue.queue().pause(&default, Some(Timestamp::UNIX_EPOCH)).await.unwrap();
    assert!(queue.queue().status().await.unwrap().paused.is_empty());
    assert!(!queue.queue().resume(&default).await.unwrap());
    assert_eq!(claimed(queue).await, Some(id));
}
