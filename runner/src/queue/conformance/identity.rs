//! Ids, and what they are bound to.

use super::Backend;
use super::subject::{SECOND, Subject, document};
use crate::job::{Document, JobId, State};
use crate::queue::{Action, QueueError, Refusal, Submission};
use serde_json::json;

pub(super) async fn a_job_is_found_as_it_was_submitted(queue: &Subject<impl Backend>) {
    let asked = Document { priority: 7, tags: vec!["a".to_owned()], seed: Some(u64::MAX), ..document() };
    let id = queue.submit(asked.clone()).await;
    let record = queue.find(id).await;
    assert_eq!((record.id, record.state, record.attempts, record.kicks), (id, State::Ready, 0, 0));
    assert_eq!((&record.document, record.verdict.as_ref()), (&asked, None));
    assert_eq!(queue.claim("a").await.unwrap().job, record.job());
    assert_eq!(queue.queue().find(JobId::new()).await.unwrap(), None);
}

pub(super) async fn submitting_the_same_again_changes_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let before = queue.find(id).await;
    queue.advance(SECOND).await;
    let naming_itself = Document { id: Some(id), ..document() };
    for document in [document(), naming_itself] {
        queue.resubmit(id, document).await.unwrap();
    }
    assert_eq!(queue.find(id).await, before);
    assert_eq!(before.document.id, None, "the id stands beside it");
    let other = queue.resubmit(id, Document { priority: 1, ..document() }).await;
    assert!(matches!(other, Err(QueueError::IdTaken(taken)) if taken == id));
    queue.lease("a").await;
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn a_batch_with_one_job_that_cannot_be_is_refused_as_a_whole(queue: &Subject<impl Backend>) {
    let taken = queue.submit(document()).await;
    let new = Submission { id: JobId::new(), document: document() };
    let clash = Submission { id: taken, document: Document { priority: 1, ..document() } };
    assert!(queue.queue().submit(vec![new.clone(), clash]).await.is_err());
    assert_eq!(queue.queue().find(new.id).await.unwrap(), None);
    queue.queue().submit(vec![new.clone(), new.clone()]).await.unwrap();
    assert_eq!([queue.lease("a").await.id, queue.lease("a").await.id], [taken, new.id]);
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn an_id_stays_bound_to_what_was_first_submitted(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let urgent = || Document { priority: 1, ..document() };
    for priority in [1, 2, 1024, 1] {
        queue.update(id, json!({"priority": priority})).await.unwrap();
        let before = queue.find(id).await;
        queue.resubmit(id, document()).await.unwrap();
        assert_eq!(queue.find(id).await, before);
        assert!(matches!(queue.resubmit(id, urgent()).await, Err(QueueError::IdTaken(taken)) if taken == id));
    }
    assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Ready));
    queue.resubmit(id, document()).await.unwrap();
    assert_eq!(queue.queue().find(id).await.unwrap(), None, "it does not come back");
    assert!(matches!(queue.resubmit(id, urgent()).await, Err(QueueError::IdTaken(taken)) if taken == id));
    assert_eq!(queue.act(id, &Action::Kick).await, Err(Refusal::NoSuchJob));
}
