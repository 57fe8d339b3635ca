//! Unique keys.

use super::Backend;
use super::subject::{SECOND, Subject, by_hand, document, failed};
use crate::job::{Decision, Document, JobId, Span, State, Unique, UniqueFor, Verdict};
use crate::queue::{Action, QueueError, Refusal};

fn keyed(period: UniqueFor) -> Document {
    Document { unique: Some(Unique { key: "nightly".to_owned(), period }), ..document() }
}

/// The job that is told to hold the key, if a second one is refused.
async fn holder(queue: &Subject<impl Backend>, second: JobId) -> Option<JobId> {
    match queue.resubmit(second, keyed(UniqueFor::Done)).await {
        Ok(()) => None,
        Err(QueueError::NotUnique { key, holder }) if key == "nightly" => Some(holder),
        Err(error) => panic!("{error}"),
    }
}

pub(super) async fn a_unique_key_is_held_until_its_job_has_ended(queue: &Subject<impl Backend>) {
    let first = queue.submit(keyed(UniqueFor::Done)).await;
    let second = JobId::new();
    assert_eq!(holder(queue, second).await, Some(first));
    let lease = queue.lease("a").await;
    assert_eq!(holder(queue, second).await, Some(first), "it runs");
    queue.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(holder(queue, second).await, None);
    assert_eq!(holder(queue, second).await, None, "it is the same job");
    assert_eq!(holder(queue, JobId::new()).await, Some(second));
}

pub(super) async fn a_unique_key_for_a_time_is_held_that_long_even_if_the_job_has_ended(queue: &Subject<impl Backend>) {
    let for_a_time = keyed(UniqueFor::For(Span(2 * SECOND)));
    let first = queue.ended(for_a_time, Verdict::Done, Decision::Finish).await;
    assert_eq!(holder(queue, JobId::new()).await, Some(first));
    queue.advance(2 * SECOND).await;
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn a_job_that_has_expired_holds_no_key(queue: &Subject<impl Backend>) {
    queue.submit(Document { expires: Some("1s".parse().unwrap()), ..keyed(UniqueFor::Done) }).await;
    queue.advance(SECOND).await;
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn a_job_that_is_cancelled_holds_no_key(queue: &Subject<impl Backend>) {
    let first = queue.submit(keyed(UniqueFor::Done)).await;
    queue.act(first, &by_hand()).await.unwrap();
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn a_kicked_job_takes_its_key_again_if_nobody_holds_it(queue: &Subject<impl Backend>) {
    let first = queue.ended(keyed(UniqueFor::Done), failed(), Decision::Bury).await;
    let second = queue.submit(keyed(UniqueFor::Done)).await;
    let before = queue.find(first).await;
    assert_eq!(queue.act(first, &Action::Kick).await, Err(Refusal::NotUnique(second)));
    assert_eq!(queue.find(first).await, before);
    let lease = queue.lease("a").await;
    queue.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
    assert_eq!(queue.act(first, &Action::Kick).await, Ok(State::Ready));
    assert_eq!(holder(queue, JobId::new()).await, Some(first));
    assert_eq!(queue.act(second, &Action::Kick).await, Err(Refusal::NotUnique(first)));
}
