//! Which job comes first.

use super::Backend;
use super::subject::{SECOND, Subject, delayed, document, failed};
use crate::job::{Decision, Document, JobId, Tube};

/// Everything that is ready, in the order in which it is claimed.
async fn drain(queue: &Subject<impl Backend>, tubes: &[Tube]) -> Vec<JobId> {
    let mut order = Vec::new();
    while let Some(claimed) = queue.claim_from("a", tubes, 1).await.pop() {
        order.push(claimed.lease.id);
    }
    order
}

pub(super) async fn the_most_urgent_job_comes_first_and_among_equals_the_first_submitted(
    queue: &Subject<impl Backend>,
) {
    let mut ids = Vec::new();
    for priority in [1024, 7, 1024, 0, 7, u32::MAX, 7] {
        ids.push(queue.submit(Document { priority, ..document() }).await);
    }
    let first = queue.claim("a").await.unwrap();
    assert_eq!((first.lease.id, first.lease.attempt, first.attempts, first.granted), (ids[3], 1, 1, 3));
    assert_eq!(drain(queue, &[Tube::default()]).await, [ids[1], ids[4], ids[6], ids[0], ids[2], ids[5]]);
}

pub(super) async fn a_retried_job_keeps_its_place_and_its_attempts_go_on(queue: &Subject<impl Backend>) {
    let first = queue.submit(document()).await;
    let second = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    assert_eq!(lease.id, first);
    queue.settle("a", &lease, failed(), Decision::Retry(SECOND)).await.unwrap();
    assert_eq!(queue.lease("a").await.id, second, "the first one waits");
    let third = queue.submit(document()).await;
    queue.advance(SECOND).await;
    let again = queue.claim("a").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (first, 2, 2));
    assert_eq!(queue.lease("a").await.id, third);
}

pub(super) async fn only_jobs_of_the_workers_tubes_are_claimed(queue: &Subject<impl Backend>) {
    let tube: Tube = "other".parse().unwrap();
    let id = queue.submit(Document { tube: tube.clone(), ..document() }).await;
    assert!(queue.claim("a").await.is_none());
    let claimed = queue.claim_from("a", &[Tube::default(), tube], 1).await.remove(0);
    assert_eq!((claimed.lease.id, claimed.job.document.tube.as_str()), (id, "other"));
}

pub(super) async fn the_most_urgent_of_several_tubes_comes_first(queue: &Subject<impl Backend>) {
    let tubes: [Tube; 2] = [Tube::default(), "other".parse().unwrap()];
    let mut ids = Vec::new();
    for (tube, priority) in [(0, 5), (1, 3), (0, 1), (1, 5), (0, 5)] {
        ids.push(queue.submit(Document { tube: tubes[tube].clone(), priority, ..document() }).await);
    }
    assert_eq!(drain(queue, &tubes).await, [ids[2], ids[1], ids[0], ids[3], ids[4]]);
}

pub(super) async fn a_claim_takes_as_many_as_it_may_in_their_order(queue: &Subject<impl Backend>) {
    let tubes: [Tube; 2] = [Tube::default(), "other".parse().unwrap()];
    let mut ids = Vec::new();
    for (tube, priority) in [(0, 5), (1, 3), (0, 1), (1, 5), (0, 5)] {
        ids.push(queue.submit(Document { tube: tubes[tube].clone(), priority, ..document() }).await);
    }
    queue.submit(delayed(600 * SECOND)).await;
    assert!(queue.claim_from("a", &tubes, 0).await.is_empty());
    let mut order = Vec::new();
    for (most, come) in [(2, 2), (1, 1), (9, 2), (9, 0)] {
        let claimed = queue.claim_from("a", &tubes, most).await;
        assert_eq!(claimed.len(), come);
        order.extend(claimed.iter().map(|claimed| claimed.lease.id));
    }
    assert_eq!(order, [ids[2], ids[1], ids[0], ids[3], ids[4]]);
}

pub(super) async fn a_pinned_job_is_for_exactly_the_worker_that_it_names(queue: &Subject<impl Backend>) {
    let pinned = queue.submit(Document { host: Some("node1".to_owned()), ..document() }).await;
    let anybodys = queue.submit(document()).await;
    let urgent = queue.submit(Document { host: Some("node1".to_owned()), priority: 0, ..document() }).await;
    assert_eq!(queue.lease("node10").await.id, anybodys);
    assert!(queue.claim("node10").await.is_none());
    assert!(queue.claim("node").await.is_none());
    assert_eq!([queue.lease("node1").await.id, queue.lease("node1").await.id], [urgent, pinned]);
}
