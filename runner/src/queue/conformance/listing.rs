//! Looking at many jobs.

use super::Backend;
use super::subject::{SECOND, Subject, by_hand, delayed, document, failed};
use crate::job::{Decision, Document, State, Tube, Verdict};
use crate::queue::Filter;

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

pub(super) async fn a_listing_can_be_narrowed(queue: &Subject<impl Backend>) {
    let tube: Tube = "night".parse().unwrap();
    let plain = queue.submit(later()).await;
    let other = queue.submit(Document { algorithm: Document::new("y".parse().unwrap()).algorithm, ..later() }).await;
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

pub(super) async fn a_listing_can_be_narrowed_by_everything_at_once(queue: &Subject<impl Backend>) {
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

pub(super) async fn the_status_counts_every_state(queue: &Subject<impl Backend>) {
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
