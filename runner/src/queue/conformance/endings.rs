//! What is left when an attempt has ended.

use super::Backend;
use super::subject::{SECOND, Subject, document, failed};
use crate::job::{Decision, Progress, State, Verdict};

pub(super) async fn a_done_job_is_over(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), Verdict::Done, Decision::Finish).await;
    let record = queue.find(id).await;
    assert_eq!((record.state, record.verdict, record.published), (State::Done, Some(Verdict::Done), Some(1)));
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn a_buried_job_waits_for_a_kick(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), failed(), Decision::Bury).await;
    queue.advance(SECOND).await;
    assert!(queue.claim("a").await.is_none());
    let record = queue.find(id).await;
    assert_eq!((record.state, record.verdict), (State::Dead, Some(failed())));
}

pub(super) async fn a_done_job_tells_all_of_its_life(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.settle("a", &lease, failed(), Decision::Retry(SECOND)).await.unwrap();
    let waiting = queue.find(id).await;
    assert_eq!((waiting.state, waiting.verdict, waiting.finished_at), (State::Delayed, Some(failed()), None));
    queue.advance(SECOND).await;
    let lease = queue.lease("b").await;
    queue.advance(2 * SECOND).await;
    queue.settle("b", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    let record = queue.find(id).await;
    assert_eq!((record.state, record.attempts, record.published), (State::Done, 2, Some(2)));
    queue.assert_between(record.submitted_at, record.finished_at.unwrap(), 3 * SECOND);
    let history = record.history.unwrap();
    let told: Vec<_> = history.iter().map(|one| (one.attempt, one.worker.as_str(), one.verdict.clone())).collect();
    assert_eq!(told, [(1, "a", Some(failed())), (2, "b", Some(Verdict::Done))]);
    queue.assert_between(history[1].started_at, history[1].finished_at.unwrap(), 2 * SECOND);
    assert!(history.iter().all(|one| one.usage.is_some()));
}

pub(super) async fn a_cancelled_attempt_leaves_no_result(queue: &Subject<impl Backend>) {
    let cancelled = Verdict::Cancelled { message: "by hand".to_owned() };
    let id = queue.ended(document(), cancelled, Decision::Cancel).await;
    let record = queue.find(id).await;
    assert_eq!((record.state, record.published), (State::Cancelled, None));
}

pub(super) async fn progress_is_told_while_the_attempt_runs(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let progress = Progress { fraction: 0.5, message: "half".to_owned() };
    queue.queue().progress(&lease, progress.clone()).await.unwrap();
    assert_eq!(queue.find(id).await.progress, Some(progress));
    queue.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(queue.find(id).await.progress, None);
}
