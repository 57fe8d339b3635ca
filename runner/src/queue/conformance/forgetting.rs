//! What is left of jobs that are gone.

use super::Backend;
use super::subject::{SECOND, Subject, by_hand, document, failed};
use crate::job::{Decision, Document, Span, Unique, UniqueFor, Verdict};
use crate::queue::{Action, Filter, Retention};
use std::time::Duration;

pub(super) async fn deleted_ids_are_told_page_by_page_and_a_reader_can_go_on_later(queue: &Subject<impl Backend>) {
    assert_eq!(queue.queue().forgotten(None, 9).await.unwrap(), (vec![], None));
    let mut ids = queue.submit_all(vec![document(); 5]).await;
    ids.reverse();
    queue.queue().act(&ids, &Action::Delete).await.unwrap();
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let (page, last) = queue.queue().forgotten(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        told.extend(page);
        match last {
            Some(_) => after = last,
            None => break,
        }
    }
    assert_eq!(told, ids);
    let one_more = queue.submit(document()).await;
    queue.act(one_more, &Action::Delete).await.unwrap();
    assert_eq!(queue.queue().forgotten(after, 9).await.unwrap().0, [one_more]);
    assert_eq!(queue.queue().forgotten(Some(u64::MAX), 9).await.unwrap(), (vec![], None));
}

pub(super) async fn each_kind_of_ending_is_kept_for_its_own_time_and_what_waits_for_ever(
    queue: &Subject<impl Backend>,
) {
    let waiting = queue.submit(Document { hold: true, ..document() }).await;
    let done = queue.ended(document(), Verdict::Done, Decision::Finish).await;
    let dead = queue.ended(document(), failed(), Decision::Bury).await;
    let cancelled = queue.submit(document()).await;
    queue.act(cancelled, &by_hand()).await.unwrap();
    let forget = async |retention: Retention| queue.queue().forget(&retention, 99).await.unwrap();
    let retention = Retention { done: Some(2 * SECOND), dead: None, cancelled: Some(600 * SECOND) };
    assert_eq!(forget(retention).await, 0);
    queue.advance(2 * SECOND).await;
    assert_eq!(forget(retention).await, 1);
    assert_eq!(queue.list(&Filter::default()).await, [waiting, dead, cancelled]);
    assert_eq!(forget(Retention::default()).await, 0);
    assert_eq!(forget(Retention { dead: Some(Duration::MAX), ..retention }).await, 0);
    assert_eq!(forget(Retention { cancelled: Some(SECOND), ..retention }).await, 1);
    assert_eq!(forget(Retention { dead: Some(Duration::ZERO), ..retention }).await, 1);
    queue.resubmit(done, document()).await.unwrap();
    assert_eq!(queue.list(&Filter::default()).await, [waiting], "what is forgotten is still known");
}

pub(super) async fn no_more_are_forgotten_at_once_than_was_asked_and_the_oldest_first(queue: &Subject<impl Backend>) {
    let mut ids = Vec::new();
    for decision in [Decision::Finish, Decision::Finish, Decision::Bury, Decision::Finish, Decision::Bury] {
        ids.push(queue.ended(document(), failed(), decision).await);
    }
    let all = Retention { done: Some(Duration::ZERO), dead: Some(Duration::ZERO), cancelled: None };
    assert_eq!(queue.queue().forget(&all, 0).await.unwrap(), 0);
    for (forgotten, left) in [(2, ids[2..].to_vec()), (2, ids[4..].to_vec()), (1, vec![])] {
        assert_eq!(queue.queue().forget(&all, 2).await.unwrap(), forgotten);
        assert_eq!(queue.list(&Filter::default()).await, left);
    }
}

pub(super) async fn a_job_is_not_forgotten_while_it_holds_a_unique_key(queue: &Subject<impl Backend>) {
    let unique = Some(Unique { key: "k".to_owned(), period: UniqueFor::For(Span(2 * SECOND)) });
    queue.ended(Document { unique, ..document() }, Verdict::Done, Decision::Finish).await;
    let all = Retention { done: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 0);
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 1);
}
