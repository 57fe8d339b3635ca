//! Submitting: ids and what they are bound to, unique keys, and the modules that jobs are pinned to.

use super::subject::{Backend, SECOND, Subject, algorithm, by_hand, document, failed};
use crate::job::{AlgorithmName, Decision, Digest, Document, JobId, Shape, Span, State, Unique, UniqueFor, Verdict};
use crate::queue::{Action, Algorithm, Filter, QueueError, Refusal, Settled, Submission};
use serde_json::json;

pub(super) async fn job_is_found_as_it_was_submitted(queue: &Subject<impl Backend>) {
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

pub(super) async fn batch_with_one_bad_job_is_refused_as_a_whole(queue: &Subject<impl Backend>) {
    let taken = queue.submit(document()).await;
    let new = Submission { id: JobId::new(), document: document() };
    let clash = Submission { id: taken, document: Document { priority: 1, ..document() } };
    assert!(queue.queue().submit(vec![new.clone(), clash]).await.is_err());
    assert_eq!(queue.queue().find(new.id).await.unwrap(), None);
    queue.queue().submit(vec![new.clone(), new.clone()]).await.unwrap();
    assert_eq!([queue.lease("a").await.id, queue.lease("a").await.id], [taken, new.id]);
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn id_stays_bound_to_the_first_document(queue: &Subject<impl Backend>) {
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

pub(super) async fn unique_key_is_held_until_its_job_has_ended(queue: &Subject<impl Backend>) {
    let first = queue.submit(keyed(UniqueFor::Done)).await;
    let second = JobId::new();
    assert_eq!(holder(queue, second).await, Some(first));
    let lease = queue.lease("a").await;
    assert_eq!(holder(queue, second).await, Some(first), "it runs");
    queue.finish("a", &lease).await;
    assert_eq!(holder(queue, second).await, None);
    assert_eq!(holder(queue, second).await, None, "it is the same job");
    assert_eq!(holder(queue, JobId::new()).await, Some(second));
}

pub(super) async fn unique_key_for_a_time_outlives_its_job(queue: &Subject<impl Backend>) {
    let for_a_time = keyed(UniqueFor::For(Span(2 * SECOND)));
    let first = queue.ended(for_a_time, Verdict::Done, Decision::Finish).await;
    assert_eq!(holder(queue, JobId::new()).await, Some(first));
    queue.advance(2 * SECOND).await;
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn expired_job_holds_no_unique_key(queue: &Subject<impl Backend>) {
    queue.submit(Document { expires: Some("1s".parse().unwrap()), ..keyed(UniqueFor::Done) }).await;
    queue.advance(SECOND).await;
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn cancelled_job_holds_no_unique_key(queue: &Subject<impl Backend>) {
    let first = queue.submit(keyed(UniqueFor::Done)).await;
    queue.act(first, &by_hand()).await.unwrap();
    assert_eq!(holder(queue, JobId::new()).await, None);
}

pub(super) async fn kicked_job_takes_its_unique_key_again(queue: &Subject<impl Backend>) {
    let first = queue.ended(keyed(UniqueFor::Done), failed(), Decision::Bury).await;
    let second = queue.submit(keyed(UniqueFor::Done)).await;
    let before = queue.find(first).await;
    assert_eq!(queue.act(first, &Action::Kick).await, Err(Refusal::NotUnique(second)));
    assert_eq!(queue.find(first).await, before);
    let lease = queue.lease("a").await;
    assert_eq!(queue.settle("a", &lease, failed(), Decision::Bury).await, Settled::Counts);
    assert_eq!(queue.act(first, &Action::Kick).await, Ok(State::Ready));
    assert_eq!(holder(queue, JobId::new()).await, Some(first));
    assert_eq!(queue.act(second, &Action::Kick).await, Err(Refusal::NotUnique(first)));
}

fn name(text: &str) -> AlgorithmName {
    text.parse().unwrap()
}

fn digests(algorithm: &Algorithm) -> Vec<Digest> {
    algorithm.earlier.iter().map(|version| version.module).collect()
}

pub(super) async fn module_is_kept_by_name_and_by_digest(queue: &Subject<impl Backend>) {
    let elsewhere = queue.backend.elsewhere().await;
    assert_eq!(elsewhere.algorithm(&name("forecast")).await.unwrap(), None);
    assert!(elsewhere.algorithms().await.unwrap().is_empty());
    for (text, shape, size) in [("forecast", Shape::Algorithm, 3), ("storage", Shape::Command, 5 << 20)] {
        // Bytes that are neither text nor easy to compress.
        let bytes: Vec<u8> = (0..size as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let added = queue.queue().add(&name(text), shape, bytes.clone()).await.unwrap();
        assert_eq!((added.name.as_str(), added.current.shape, added.current.size), (text, shape, size));
        assert_eq!((added.current.module, added.earlier.len()), (Digest::of(&bytes), 0));
        assert_eq!(elsewhere.algorithm(&name(text)).await.unwrap(), Some(added));
        assert!(elsewhere.module(Digest::of(&bytes)).await.unwrap().is_some_and(|module| module == bytes));
    }
    assert_eq!(elsewhere.module(Digest::of("other")).await.unwrap(), None);
    let all: Vec<_> = elsewhere.algorithms().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(all, [name("forecast"), name("storage")]);
}

pub(super) async fn name_moves_on_and_earlier_modules_stay(queue: &Subject<impl Backend>) {
    let first = queue.add("x", b"one").await.current;
    queue.advance(SECOND).await;
    let second = queue.add("x", b"two").await;
    assert_eq!((second.current.module, &second.earlier), (Digest::of("two"), &vec![first.clone()]));
    queue.assert_between(first.added_at, second.current.added_at, SECOND);
    let third = queue.add("x", b"three").await;
    assert_eq!(digests(&third), [Digest::of("two"), Digest::of("one")], "latest first");
    let back = queue.add("x", b"one").await;
    assert_eq!(
        (back.current.module, digests(&back)),
        (Digest::of("one"), vec![Digest::of("three"), Digest::of("two")])
    );
    assert_eq!(queue.queue().algorithm(&name("x")).await.unwrap(), Some(back));
    for module in ["one", "two", "three"] {
        assert_eq!(queue.queue().module(Digest::of(module)).await.unwrap().as_deref(), Some(module.as_bytes()));
    }
}

pub(super) async fn adding_the_same_module_again_changes_nothing(queue: &Subject<impl Backend>) {
    queue.add("x", b"one").await;
    let before = queue.add("x", b"two").await;
    queue.advance(SECOND).await;
    assert_eq!(queue.add("x", b"two").await, before);
    assert_eq!(queue.queue().algorithms().await.unwrap(), [before]);
    let other = queue.add("y", b"two").await;
    assert_eq!((other.current.module, other.earlier.len()), (Digest::of("two"), 0), "names may share a module");
}

pub(super) async fn removed_name_is_gone_and_its_modules_stay(queue: &Subject<impl Backend>) {
    queue.add("x", b"one").await;
    queue.add("x", b"two").await;
    assert!(queue.queue().remove(&name("x")).await.unwrap());
    assert!(!queue.queue().remove(&name("x")).await.unwrap(), "it is gone");
    assert_eq!(queue.queue().algorithm(&name("x")).await.unwrap(), None);
    assert!(queue.queue().algorithms().await.unwrap().is_empty());
    for module in ["one", "two"] {
        assert_eq!(queue.queue().module(Digest::of(module)).await.unwrap().as_deref(), Some(module.as_bytes()));
    }
    let id = queue.submit(document()).await;
    assert_eq!(queue.find(id).await.module, None);
    assert_eq!(queue.add("x", b"one").await.current.module, Digest::of("one"), "the name can be given again");
}

pub(super) async fn underscore_and_hyphen_name_the_same_algorithm(queue: &Subject<impl Backend>) {
    queue.add("drunken_sailor", b"one").await;
    let added = queue.add("drunken-sailor", b"two").await;
    assert_eq!(digests(&added), [Digest::of("one")]);
    assert_eq!(queue.queue().algorithms().await.unwrap(), std::slice::from_ref(&added));
    for text in ["drunken_sailor", "drunken-sailor"] {
        assert_eq!(queue.queue().algorithm(&name(text)).await.unwrap().as_ref(), Some(&added));
        let id = queue.submit(Document { algorithm: algorithm(text), ..document() }).await;
        assert_eq!(queue.find(id).await.module, Some(Digest::of("two")));
        let filter = Filter { algorithm: Some(name(text)), ..Filter::default() };
        assert!(queue.list(&filter).await.contains(&id));
    }
    assert!(queue.queue().remove(&name("drunken_sailor")).await.unwrap());
    assert_eq!(queue.queue().algorithm(&name("drunken-sailor")).await.unwrap(), None);
}

pub(super) async fn job_is_pinned_to_the_module_of_its_submission(queue: &Subject<impl Backend>) {
    let before_any = queue.submit(document()).await;
    queue.add("x", b"one").await;
    let with_one = queue.submit(document()).await;
    queue.add("x", b"two").await;
    let with_two = queue.submit(document()).await;
    let named = format!("x@{}", Digest::of("one"));
    let by_digest = queue.submit(Document { algorithm: algorithm(&named), ..document() }).await;
    queue.queue().remove(&name("x")).await.unwrap();
    let [one, two] = [Some(Digest::of("one")), Some(Digest::of("two"))];
    for (id, module) in [(before_any, None), (with_one, one), (with_two, two), (by_digest, one)] {
        assert_eq!(queue.find(id).await.module, module);
        let claimed = queue.claim("a").await.unwrap();
        assert_eq!((claimed.lease.id, claimed.job.module), (id, module));
    }
}

pub(super) async fn resubmitting_is_a_no_op_after_the_name_moved_on(queue: &Subject<impl Backend>) {
    queue.add("x", b"one").await;
    let id = queue.submit(document()).await;
    let before = queue.find(id).await;
    queue.add("x", b"two").await;
    queue.resubmit(id, document()).await.unwrap();
    queue.queue().remove(&name("x")).await.unwrap();
    queue.resubmit(id, document()).await.unwrap();
    assert_eq!(queue.find(id).await, before);
    let pinned = Document { algorithm: algorithm(&format!("x@{}", Digest::of("one"))), ..document() };
    let other = queue.resubmit(id, pinned).await;
    assert!(matches!(other, Err(QueueError::IdTaken(taken)) if taken == id), "it is another document");
}

pub(super) async fn only_another_algorithm_pins_the_job_anew(queue: &Subject<impl Backend>) {
    queue.add("x", b"one").await;
    queue.add("y", b"other").await;
    let id = queue.submit(document()).await;
    queue.add("x", b"two").await;
    for patch in [json!({"priority": 7}), json!({"algorithm": "x"})] {
        assert_eq!(queue.update(id, patch).await, Ok(State::Ready));
        assert_eq!(queue.find(id).await.module, Some(Digest::of("one")), "the algorithm is the same");
    }
    assert_eq!(queue.update(id, json!({"algorithm": "y"})).await, Ok(State::Ready));
    assert_eq!(queue.find(id).await.module, Some(Digest::of("other")));
    assert_eq!(queue.update(id, json!({"algorithm": "unknown"})).await, Ok(State::Ready));
    assert_eq!(queue.claim("a").await.unwrap().job.module, None);
}
