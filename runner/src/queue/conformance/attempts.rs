//! Attempts and their leases: one holder at a time, what ends an attempt, and what the record says of it.

use super::subject::{Backend, SECOND, Subject, by_hand, document, failed, worker};
use crate::job::{Decision, Document, Progress, Span, State, Tube, Verdict, When};
use crate::queue::{Action, Beat, Lease, Recalled, Report, Settled};
use std::slice::from_ref;

fn recalled(lease: &Lease, cancelled: bool) -> Vec<Recalled> {
    vec![Recalled { lease: lease.clone(), cancelled }]
}

async fn beat(queue: &Subject<impl Backend>, name: &str, held: &[Lease]) -> Beat {
    let mut beat = queue.queue().beat(&worker(name), held).await.unwrap();
    beat.unheld.sort_by_key(|lease| (lease.id, lease.attempt));
    beat
}

pub(super) async fn stale_lease_settles_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let old = queue.lease("a").await;
    queue.fail("a", &old).await;
    queue.advance(SECOND).await;
    let new = queue.lease("b").await;
    let before = queue.find(id).await;
    let by_another = queue.settle("c", &old, Verdict::Done, Decision::Finish).await;
    assert_eq!(by_another, Settled::Stale, "an old attempt of another worker");
    let by_another = queue.settle("a", &new, Verdict::Done, Decision::Finish).await;
    assert_eq!(by_another, Settled::Stale, "a running attempt of another worker");
    let unknown = Lease { attempt: 3, ..new.clone() };
    assert_eq!(queue.settle("b", &unknown, Verdict::Done, Decision::Finish).await, Settled::Stale, "no such attempt");
    assert_eq!(queue.find(id).await, before);
    queue.finish("b", &new).await;
}

pub(super) async fn settling_twice_counts_and_changes_nothing(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let first = queue.lease("a").await;
    queue.fail("a", &first).await;
    let waiting = queue.find(id).await;
    queue.fail("a", &first).await;
    assert_eq!(queue.find(id).await, waiting, "the job waits");
    queue.advance(SECOND).await;
    let second = queue.lease("a").await;
    let running = queue.find(id).await;
    queue.fail("a", &first).await;
    assert_eq!(queue.find(id).await, running, "the next attempt runs");
    queue.finish("a", &second).await;
    let (done, log) = (queue.find(id).await, queue.log(id, 2).await);
    queue.advance(SECOND).await;
    queue.finish("a", &second).await;
    assert_eq!((queue.find(id).await, queue.log(id, 2).await), (done, log), "the job is done");
}

pub(super) async fn job_of_a_lost_worker_goes_to_another(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    queue.queue().register(&worker("a")).await.unwrap();
    let lost = queue.lease("a").await;
    queue.lose("a").await;
    let again = queue.claim("b").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (id, 2, 2), "the lost attempt counts");
    assert_eq!(beat(queue, "a", from_ref(&lost)).await, Beat { recalled: recalled(&lost, false), unheld: vec![] });
    assert_eq!(queue.settle("a", &lost, Verdict::Done, Decision::Finish).await, Settled::Stale);
    assert_eq!(queue.state(id).await, State::Running);
    queue.finish("b", &again.lease).await;
    assert_eq!(queue.settle("a", &lost, Verdict::Done, Decision::Finish).await, Settled::Stale);
    assert_eq!((queue.state(id).await, queue.find(id).await.published), (State::Done, Some(2)));
}

pub(super) async fn losing_one_worker_leaves_the_others_their_leases(queue: &Subject<impl Backend>) {
    queue.submit_all(vec![document(); 2]).await;
    let (lost, kept) = (queue.lease("a").await, queue.lease("b").await);
    queue.lose("a").await;
    assert_eq!(queue.settle("a", &lost, Verdict::Done, Decision::Finish).await, Settled::Stale);
    assert!(queue.queue().recalled(&worker("b"), from_ref(&kept)).await.unwrap().is_empty());
    queue.finish("b", &kept).await;
    assert_eq!(queue.lease("c").await.id, lost.id);
}

pub(super) async fn job_that_loses_all_its_attempts_is_dead(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 2, ..document() }).await;
    for (attempt, name) in [(1, "a"), (2, "b")] {
        assert_eq!(queue.lease(name).await.attempt, attempt);
        queue.lose(name).await;
    }
    assert!(queue.claim("c").await.is_none());
    let record = queue.find(id).await;
    assert_eq!((record.state, record.attempts, record.published), (State::Dead, 2, None));
    assert_eq!(record.verdict.as_ref().map(Verdict::kind), Some("lost"));
}

pub(super) async fn every_claim_counts_as_an_attempt(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    for attempt in 1..=3 {
        let claimed = queue.claim("a").await.unwrap();
        assert_eq!((claimed.lease.attempt, claimed.attempts, claimed.granted), (attempt, attempt, 3));
        let record = queue.find(id).await;
        assert_eq!(
            (record.state, record.attempts, record.history.unwrap().len()),
            (State::Running, attempt, attempt as usize)
        );
        queue.lose("a").await;
    }
    assert_eq!(queue.state(id).await, State::Dead);
}

pub(super) async fn interrupted_attempt_does_not_count(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 1, ..document() }).await;
    let lease = queue.lease("a").await;
    let interrupted = Verdict::Interrupted { message: "worker a was told to stop".to_owned() };
    assert_eq!(queue.settle("a", &lease, interrupted, Decision::Retry(SECOND)).await, Settled::Counts);
    queue.advance(SECOND).await;
    let again = queue.claim("a").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts, again.granted), (id, 2, 1, 1));
}

pub(super) async fn unregistered_worker_leaves_its_jobs_ready(queue: &Subject<impl Backend>) {
    let id = queue.submit(Document { max_attempts: 1, ..document() }).await;
    queue.queue().register(&worker("a")).await.unwrap();
    let lease = queue.lease("a").await;
    queue.queue().unregister(&worker("a")).await.unwrap();
    assert!(queue.queue().status().await.unwrap().workers.iter().all(|worker| worker.name != "a"));
    assert_eq!(queue.settle("a", &lease, Verdict::Done, Decision::Finish).await, Settled::Stale);
    let again = queue.claim("b").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (id, 2, 1), "it does not count");
}

pub(super) async fn beat_and_recalled_tell_which_leases_are_lost(queue: &Subject<impl Backend>) {
    queue.submit_all(vec![document(); 2]).await;
    let leases = [queue.lease("a").await, queue.lease("a").await];
    assert_eq!(beat(queue, "a", &leases).await, Beat::default());
    assert!(queue.queue().recalled(&worker("a"), &leases).await.unwrap().is_empty());
    queue.finish("a", &leases[0]).await;
    let lost = recalled(&leases[0], false);
    assert_eq!(queue.queue().recalled(&worker("a"), &leases).await.unwrap(), lost);
    assert_eq!(beat(queue, "a", &leases).await, Beat { recalled: lost, unheld: vec![] });
    let of_another = queue.queue().recalled(&worker("b"), &leases[1..]).await.unwrap();
    assert_eq!(of_another, recalled(&leases[1], false), "it never was b's");
    queue.finish("a", &leases[1]).await;
}

pub(super) async fn beat_names_the_leases_that_the_worker_does_not_hold(queue: &Subject<impl Backend>) {
    queue.submit_all(vec![document(); 4]).await;
    let claimed = queue.claim_from("a", &[Tube::default()], 3).await;
    let mut leases: Vec<Lease> = claimed.into_iter().map(|claimed| claimed.lease).collect();
    queue.lease("b").await;
    leases.sort_by_key(|lease| lease.id);
    assert_eq!(beat(queue, "a", &[]).await, Beat { recalled: vec![], unheld: leases.clone() });
    assert_eq!(beat(queue, "a", &leases[1..2]).await.unheld, [leases[0].clone(), leases[2].clone()]);
    let of_another_attempt = Lease { attempt: 2, ..leases[0].clone() };
    let expected = Beat { recalled: recalled(&of_another_attempt, false), unheld: leases[..1].to_vec() };
    assert_eq!(beat(queue, "a", &[of_another_attempt, leases[1].clone(), leases[2].clone()]).await, expected);
    for lease in &leases {
        queue.finish("a", lease).await;
    }
    assert_eq!(beat(queue, "a", &[]).await, Beat::default());
}

pub(super) async fn put_back_makes_jobs_ready_without_counting(queue: &Subject<impl Backend>) {
    let ids = queue.submit_all(vec![Document { max_attempts: 1, ..document() }; 3]).await;
    let claimed = queue.claim_from("a", &[Tube::default()], 3).await;
    let kept = claimed[2].lease.clone();
    let unheld = beat(queue, "a", from_ref(&kept)).await.unheld;
    queue.queue().put_back(&worker("a"), &unheld).await.unwrap();
    assert_eq!(beat(queue, "a", from_ref(&kept)).await, Beat::default());
    for id in &ids[..2] {
        let record = queue.find(*id).await;
        assert_eq!((record.state, record.attempts), (State::Ready, 1));
        let history = record.history.unwrap();
        assert_eq!(history[0].verdict.as_ref().map(Verdict::kind), Some("interrupted"));
    }
    for id in &ids[..2] {
        let again = queue.claim("b").await.unwrap();
        assert_eq!((again.lease.id, again.lease.attempt, again.attempts, again.granted), (*id, 2, 1, 1));
    }
    assert_eq!(queue.settle("a", &claimed[0].lease, Verdict::Done, Decision::Finish).await, Settled::Stale);
    queue.finish("a", &kept).await;
}

pub(super) async fn put_back_job_can_expire_as_before(queue: &Subject<impl Backend>) {
    let expires = Some(When::After(Span(2 * SECOND)));
    let ids = queue.submit_all(vec![Document { expires, ..document() }; 2]).await;
    let claimed = queue.claim_from("a", &[Tube::default()], 2).await;
    queue.queue().put_back(&worker("a"), from_ref(&claimed[0].lease)).await.unwrap();
    assert_eq!(queue.state(ids[0]).await, State::Ready);
    queue.advance(3 * SECOND).await;
    assert_eq!(queue.state(ids[0]).await, State::Cancelled, "no attempt was started in time");
    assert_eq!(queue.state(ids[1]).await, State::Running);
    assert!(queue.claim("b").await.is_none());
}

pub(super) async fn put_back_leaves_leases_of_others_alone(queue: &Subject<impl Backend>) {
    let ids = queue.submit_all(vec![document(); 2]).await;
    let (settled, of_b) = (queue.lease("a").await, queue.lease("b").await);
    queue.finish("a", &settled).await;
    let before = (queue.find(ids[0]).await, queue.find(ids[1]).await);
    let unknown = Lease { attempt: 9, ..of_b.clone() };
    queue.queue().put_back(&worker("a"), &[settled, of_b.clone(), unknown]).await.unwrap();
    assert_eq!((queue.find(ids[0]).await, queue.find(ids[1]).await), before);
    queue.finish("b", &of_b).await;
}

pub(super) async fn cancel_takes_the_lease_from_its_holder(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.advance(2 * SECOND).await;
    let reason = "the\u{1b}[2J captain\u{202e} said so".to_owned();
    assert_eq!(queue.act(id, &Action::Cancel { reason }).await, Ok(State::Cancelled));
    assert_eq!(queue.queue().recalled(&worker("a"), from_ref(&lease)).await.unwrap(), recalled(&lease, true));
    assert_eq!(beat(queue, "a", from_ref(&lease)).await, Beat { recalled: recalled(&lease, true), unheld: vec![] });
    assert_eq!(queue.settle("a", &lease, Verdict::Done, Decision::Finish).await, Settled::Cancelled);
    let record = queue.find(id).await;
    let verdict = Verdict::Cancelled { message: "the [2J captain  said so".to_owned() };
    assert_eq!((record.state, record.verdict.as_ref(), record.published), (State::Cancelled, Some(&verdict), None));
    let history = record.history.unwrap();
    assert_eq!((history[0].verdict.as_ref(), history[0].finished_at), (Some(&verdict), record.finished_at));
    queue.assert_between(history[0].started_at, record.finished_at.unwrap(), 2 * SECOND);
}

pub(super) async fn lease_of_a_deleted_job_is_recalled_as_cancelled(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.act(id, &by_hand()).await.unwrap();
    assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Cancelled));
    assert_eq!(beat(queue, "a", from_ref(&lease)).await, Beat { recalled: recalled(&lease, true), unheld: vec![] });
    let late = queue.settle("a", &lease, Verdict::Done, Decision::Finish).await;
    assert_ne!(late, Settled::Counts);
    assert_eq!(queue.queue().find(id).await.unwrap(), None);
    assert_eq!((queue.document(id).await, queue.log(id, 1).await), (None, None));
}

pub(super) async fn progress_is_told_while_the_attempt_runs(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let half = Some(Progress { fraction: 0.5, message: "half".to_owned() });
    for progress in [half.clone(), None] {
        let report = Report { lease: lease.clone(), progress, log: vec![] };
        queue.queue().report(&worker("a"), vec![report]).await.unwrap();
        assert_eq!(queue.find(id).await.progress, half, "no progress is no change");
    }
    queue.finish("a", &lease).await;
    assert_eq!(queue.find(id).await.progress, None);
}

pub(super) async fn reports_under_a_stale_lease_are_dropped(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let old = queue.lease("a").await;
    queue.fail("a", &old).await;
    queue.advance(SECOND).await;
    let new = queue.lease("b").await;
    let log = queue.log(id, 1).await;
    let progress = Some(Progress { fraction: 0.5, message: "half".to_owned() });
    let stale = |lease: &Lease| Report { lease: lease.clone(), progress: progress.clone(), log: b"late".to_vec() };
    let good = Report { lease: new.clone(), progress: None, log: b"in time".to_vec() };
    queue.queue().report(&worker("a"), vec![stale(&old), stale(&new)]).await.unwrap();
    queue.queue().report(&worker("b"), vec![stale(&old), good]).await.unwrap();
    assert_eq!(queue.find(id).await.progress, None);
    assert_eq!(queue.log(id, 1).await, log);
    assert_eq!(queue.queue().log(id, 2, 0).await.unwrap().unwrap().bytes, b"in time");
}

pub(super) async fn done_job_is_over(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), Verdict::Done, Decision::Finish).await;
    let record = queue.find(id).await;
    assert_eq!((record.state, record.verdict, record.published), (State::Done, Some(Verdict::Done), Some(1)));
    assert!(queue.claim("a").await.is_none());
}

pub(super) async fn dead_job_waits_for_a_kick(queue: &Subject<impl Backend>) {
    let id = queue.ended(document(), failed(), Decision::Bury).await;
    queue.advance(SECOND).await;
    assert!(queue.claim("a").await.is_none());
    let record = queue.find(id).await;
    assert_eq!((record.state, record.verdict), (State::Dead, Some(failed())));
}

pub(super) async fn record_tells_every_attempt_with_its_times(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.fail("a", &lease).await;
    let waiting = queue.find(id).await;
    assert_eq!((waiting.state, waiting.verdict, waiting.finished_at), (State::Delayed, Some(failed()), None));
    queue.advance(SECOND).await;
    let lease = queue.lease("b").await;
    queue.advance(2 * SECOND).await;
    queue.finish("b", &lease).await;
    let record = queue.find(id).await;
    assert_eq!((record.state, record.attempts, record.published), (State::Done, 2, Some(2)));
    queue.assert_between(record.submitted_at, record.finished_at.unwrap(), 3 * SECOND);
    let history = record.history.unwrap();
    let told: Vec<_> = history.iter().map(|one| (one.attempt, one.worker.as_str(), one.verdict.clone())).collect();
    assert_eq!(told, [(1, "a", Some(failed())), (2, "b", Some(Verdict::Done))]);
    queue.assert_between(history[1].started_at, history[1].finished_at.unwrap(), 2 * SECOND);
    assert_eq!(record.started_at, Some(history[1].started_at));
    assert!(history.iter().all(|one| one.usage.is_some()));
}

pub(super) async fn attempt_that_ends_cancelled_leaves_no_result(queue: &Subject<impl Backend>) {
    let cancelled = Verdict::Cancelled { message: "by hand".to_owned() };
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    assert_ne!(queue.settle("a", &lease, cancelled, Decision::Cancel).await, Settled::Stale);
    let record = queue.find(id).await;
    assert_eq!((record.state, record.published), (State::Cancelled, None));
    assert_eq!(queue.document(id).await, None);
    assert!(queue.log(id, 1).await.is_some_and(|log| !log.is_empty()), "its log is kept");
}
