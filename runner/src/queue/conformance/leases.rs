//! One holder at a time, and what becomes of an attempt whose holder is gone.

use super::Backend;
use super::subject::{SECOND, Subject, document, failed, worker};
use crate::job::{Decision, Document, Progress, State, Tube, Verdict};
use crate::queue::{QueueError, Recalled};

fn is_stale(result: &Result<(), QueueError>) -> bool {
    matches!(result, Err(QueueError::Stale { .. }))
}

pub(super) async fn a_stale_lease_settles_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let old = queue.lease("a").await;
    queue.settle("a", &old, failed(), Decision::Retry(SECOND)).await.unwrap();
    queue.advance(SECOND).await;
    let new = queue.lease("b").await;
    let before = queue.find(id).await;
    assert!(is_stale(&queue.settle("a", &old, Verdict::Done, Decision::Finish).await), "an old attempt");
    assert!(is_stale(&queue.settle("a", &new, Verdict::Done, Decision::Finish).await), "another's attempt");
    assert_eq!(queue.find(id).await, before);
    queue.settle("b", &new, Verdict::Done, Decision::Finish).await.unwrap();
    let before = queue.find(id).await;
    assert!(is_stale(&queue.settle("b", &new, failed(), Decision::Bury).await), "settled before");
    assert_eq!(queue.find(id).await, before);
}

pub(super) async fn a_lost_workers_job_is_for_another_and_the_late_one_comes_to_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    queue.queue().register(&worker("a")).await.unwrap();
    let lost = queue.lease("a").await;
    queue.lose("a").await;
    let again = queue.claim("b").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (id, 2, 2), "the lost attempt counts");
    let recalled = queue.queue().heartbeat(&worker("a"), std::slice::from_ref(&lost)).await.unwrap();
    assert_eq!(recalled, [Recalled { lease: lost.clone(), cancelled: false }]);
    assert!(is_stale(&queue.settle("a", &lost, Verdict::Done, Decision::Finish).await));
    assert_eq!(queue.state(id).await, State::Running);
    queue.settle("b", &again.lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert!(is_stale(&queue.settle("a", &lost, Verdict::Done, Decision::Finish).await));
    assert_eq!(queue.state(id).await, State::Done);
}

pub(super) async fn a_lost_worker_takes_no_other_with_it(queue: &Subject<impl Backend>) {
    queue.submit_all(vec![document(); 2]).await;
    let (lost, kept) = (queue.lease("a").await, queue.lease("b").await);
    queue.lose("a").await;
    assert!(is_stale(&queue.settle("a", &lost, Verdict::Done, Decision::Finish).await));
    assert!(queue.queue().recalled(&worker("b"), std::slice::from_ref(&kept)).await.unwrap().is_empty());
    queue.settle("b", &kept, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(queue.lease("c").await.id, lost.id);
}

pub(super) async fn a_job_that_loses_every_worker_is_buried_in_the_end(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 2, ..document() }).await;
    for (attempt, name) in [(1, "a"), (2, "b")] {
        assert_eq!(queue.lease(name).await.attempt, attempt);
        queue.lose(name).await;
    }
    assert!(queue.claim("c").await.is_none());
    assert_eq!(queue.state(id).await, State::Dead);
}

pub(super) async fn an_interrupted_attempt_does_not_count(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 1, ..document() }).await;
    let lease = queue.lease("a").await;
    let interrupted = Verdict::Interrupted { message: "worker a was told to stop".to_owned() };
    queue.settle("a", &lease, interrupted, Decision::Retry(SECOND)).await.unwrap();
    queue.advance(SECOND).await;
    let again = queue.claim("a").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts, again.granted), (id, 2, 1, 1));
}

pub(super) async fn a_job_that_is_given_back_keeps_its_place_and_its_attempts(queue: &Subject<impl Backend>) {
    let ids = queue.submit_all(vec![Document { max_attempts: 1, ..document() }; 2]).await;
    let claimed = queue.claim_from("a", &[Tube::default()], 1).await.remove(0);
    assert_eq!(claimed.lease.id, ids[0]);
    assert!(is_stale(&queue.queue().give_back(&worker("b"), &claimed).await), "another cannot give it back");
    queue.queue().give_back(&worker("a"), &claimed).await.unwrap();
    assert!(is_stale(&queue.queue().give_back(&worker("a"), &claimed).await), "nor can the same do it twice");
    assert!(is_stale(&queue.settle("a", &claimed.lease, Verdict::Done, Decision::Finish).await));
    queue.advance(SECOND).await;
    for id in ids {
        let again = queue.claim("b").await.unwrap();
        assert_eq!((again.lease.id, again.attempts, again.granted), (id, 1, 1));
    }
}

pub(super) async fn a_worker_that_says_goodbye_gives_back_what_it_holds(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 1, ..document() }).await;
    let lease = queue.lease("a").await;
    queue.queue().unregister(&worker("a")).await.unwrap();
    assert!(is_stale(&queue.settle("a", &lease, Verdict::Done, Decision::Finish).await));
    queue.advance(SECOND).await;
    let again = queue.claim("b").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (id, 2, 1));
}

pub(super) async fn a_heartbeat_tells_which_leases_are_lost(queue: &Subject<impl Backend>) {
    queue.submit_all(vec![document(); 2]).await;
    let leases = [queue.lease("a").await, queue.lease("a").await];
    assert!(queue.queue().heartbeat(&worker("a"), &leases).await.unwrap().is_empty());
    assert!(queue.queue().recalled(&worker("a"), &leases).await.unwrap().is_empty());
    queue.settle("a", &leases[0], Verdict::Done, Decision::Finish).await.unwrap();
    let recalled = [Recalled { lease: leases[0].clone(), cancelled: false }];
    assert_eq!(queue.queue().recalled(&worker("a"), &leases).await.unwrap(), recalled);
    assert_eq!(queue.queue().heartbeat(&worker("a"), &leases).await.unwrap(), recalled);
    queue.settle("a", &leases[1], Verdict::Done, Decision::Finish).await.unwrap();
}

pub(super) async fn what_a_stale_lease_says_of_its_progress_is_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let old = queue.lease("a").await;
    queue.settle("a", &old, failed(), Decision::Retry(SECOND)).await.unwrap();
    queue.advance(SECOND).await;
    queue.lease("b").await;
    let progress = Progress { fraction: 0.5, message: "half".to_owned() };
    queue.queue().progress(&old, progress).await.unwrap();
    assert_eq!(queue.find(id).await.progress, None);
}
