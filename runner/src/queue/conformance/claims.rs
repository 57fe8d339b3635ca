//! Which jobs a worker is given, and when: order, times, pauses and waiting for work.

use super::subject::{Backend, SECOND, Subject, by_hand, delayed, document, worker};
use crate::job::{Document, JobId, Span, State, Tube, Verdict, When};
use crate::queue::{Action, Filter, Refusal, Submission, Watch};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Longer than any wait that ends by itself, even on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn tubes() -> [Tube; 2] {
    [Tube::default(), "night".parse().unwrap()]
}

fn expiring(after: Duration) -> Document {
    Document { expires: Some(When::After(Span(after))), ..document() }
}

/// All ready jobs, in the order in which they are claimed.
async fn drain(queue: &Subject<impl Backend>, tubes: &[Tube]) -> Vec<JobId> {
    let mut order = Vec::new();
    while let Some(claimed) = queue.claim_from("a", tubes, 1).await.pop() {
        order.push(claimed.lease.id);
    }
    order
}

/// The next job of both tubes.
async fn claimed(queue: &Subject<impl Backend>) -> Option<JobId> {
    queue.claim_from("a", &tubes(), 1).await.pop().map(|claimed| claimed.lease.id)
}

pub(super) async fn most_urgent_job_comes_first_then_the_first_submitted(queue: &Subject<impl Backend>) {
    let mut ids = Vec::new();
    for priority in [1024, 7, 1024, 0, 7, u32::MAX, 7] {
        ids.push(queue.submit(Document { priority, ..document() }).await);
    }
    let first = queue.claim("a").await.unwrap();
    assert_eq!((first.lease.id, first.lease.attempt, first.attempts, first.granted), (ids[3], 1, 1, 3));
    assert_eq!(drain(queue, &[Tube::default()]).await, [ids[1], ids[4], ids[6], ids[0], ids[2], ids[5]]);
}

pub(super) async fn retried_job_keeps_its_place_and_its_attempts_go_on(queue: &Subject<impl Backend>) {
    let first = queue.submit(document()).await;
    let second = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    assert_eq!(lease.id, first);
    queue.fail("a", &lease).await;
    assert_eq!(queue.lease("a").await.id, second, "the first one waits");
    let third = queue.submit(document()).await;
    queue.advance(SECOND).await;
    let again = queue.claim("a").await.unwrap();
    assert_eq!((again.lease.id, again.lease.attempt, again.attempts), (first, 2, 2));
    assert_eq!(queue.lease("a").await.id, third);
}

pub(super) async fn only_jobs_of_the_given_tubes_are_claimed(queue: &Subject<impl Backend>) {
    let [default, night] = tubes();
    let id = queue.submit(Document { tube: night.clone(), ..document() }).await;
    assert!(queue.claim("a").await.is_none());
    let claimed = queue.claim_from("a", &[default, night], 1).await.remove(0);
    assert_eq!((claimed.lease.id, claimed.job.document.tube.as_str()), (id, "night"));
}

/// Five jobs in two tubes, in the order in which they are to be claimed.
async fn five_in_two_tubes(queue: &Subject<impl Backend>) -> [JobId; 5] {
    let mut ids = Vec::new();
    for (tube, priority) in [(0, 5), (1, 3), (0, 1), (1, 5), (0, 5)] {
        ids.push(queue.submit(Document { tube: tubes()[tube].clone(), priority, ..document() }).await);
    }
    [ids[2], ids[1], ids[0], ids[3], ids[4]]
}

pub(super) async fn most_urgent_job_of_several_tubes_comes_first(queue: &Subject<impl Backend>) {
    let order = five_in_two_tubes(queue).await;
    assert_eq!(drain(queue, &tubes()).await, order);
}

pub(super) async fn a_claim_takes_at_most_the_number_given_in_order(queue: &Subject<impl Backend>) {
    let expected = five_in_two_tubes(queue).await;
    queue.submit(delayed(600 * SECOND)).await;
    assert!(queue.claim_from("a", &tubes(), 0).await.is_empty());
    let mut order = Vec::new();
    for (most, come) in [(2, 2), (1, 1), (9, 2), (9, 0)] {
        let claimed = queue.claim_from("a", &tubes(), most).await;
        assert_eq!(claimed.len(), come);
        order.extend(claimed.iter().map(|claimed| claimed.lease.id));
    }
    assert_eq!(order, expected);
}

pub(super) async fn pinned_job_goes_only_to_the_worker_that_it_names(queue: &Subject<impl Backend>) {
    let pinned = queue.submit(Document { host: Some("node1".to_owned()), ..document() }).await;
    let free = queue.submit(document()).await;
    let urgent = queue.submit(Document { host: Some("node1".to_owned()), priority: 0, ..document() }).await;
    assert_eq!(queue.lease("node10").await.id, free);
    assert!(queue.claim("node10").await.is_none());
    assert!(queue.claim("node").await.is_none());
    assert_eq!([queue.lease("node1").await.id, queue.lease("node1").await.id], [urgent, pinned]);
}

pub(super) async fn delayed_job_waits_for_its_time(queue: &Subject<impl Backend>) {
    let id = queue.submit(delayed(2 * SECOND)).await;
    assert_eq!(queue.state(id).await, State::Delayed);
    assert!(queue.claim("a").await.is_none());
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.lease("a").await.id, id);
    let record = queue.find(id).await;
    queue.assert_between(record.submitted_at, record.ready_at, 2 * SECOND);
}

pub(super) async fn due_job_takes_its_place_in_the_order_at_once(queue: &Subject<impl Backend>) {
    let urgent = queue.submit(Document { priority: 0, ..delayed(SECOND) }).await;
    let first = queue.submit(delayed(SECOND)).await;
    let second = queue.submit(document()).await;
    queue.advance(SECOND).await;
    for expected in [urgent, first, second] {
        assert_eq!(queue.lease("a").await.id, expected);
    }
}

pub(super) async fn new_job_is_held_delayed_or_ready(queue: &Subject<impl Backend>) {
    for (document, state) in [
        (document(), State::Ready),
        (delayed(5 * SECOND), State::Delayed),
        (Document { hold: true, ..delayed(5 * SECOND) }, State::Held),
        (Document { hold: true, ..document() }, State::Held),
        (Document { run_at: Some("2001-01-01T00:00:00Z".parse().unwrap()), ..document() }, State::Ready),
    ] {
        let id = queue.submit(document).await;
        assert_eq!(queue.state(id).await, state);
    }
}

pub(super) async fn job_that_is_not_started_in_time_is_cancelled(queue: &Subject<impl Backend>) {
    let id = queue.submit(expiring(2 * SECOND)).await;
    assert_eq!(queue.state(id).await, State::Ready);
    queue.advance(3 * SECOND).await;
    let before = queue.find(id).await;
    assert!(queue.claim("a").await.is_none());
    let record = queue.find(id).await;
    assert_eq!((record.state, record.attempts), (State::Cancelled, 0));
    assert!(matches!(record.verdict, Some(Verdict::Cancelled { .. })));
    queue.assert_between(record.submitted_at, record.finished_at.unwrap(), 2 * SECOND);
    assert_eq!(record, before, "no claim is needed to see it");
}

pub(super) async fn job_that_was_started_in_time_does_not_expire(queue: &Subject<impl Backend>) {
    let id = queue.submit(expiring(2 * SECOND)).await;
    let lease = queue.lease("a").await;
    queue.fail("a", &lease).await;
    queue.advance(3 * SECOND).await;
    let again = queue.lease("a").await;
    assert_eq!((again.id, again.attempt), (id, 2));
}

pub(super) async fn expired_job_is_cancelled_whatever_is_done_to_it(queue: &Subject<impl Backend>) {
    let actions = [by_hand(), Action::Hold, Action::Release, Action::Kick, Action::Update(serde_json::Map::new())];
    let ids = queue.submit_all(vec![expiring(SECOND); actions.len()]).await;
    queue.advance(2 * SECOND).await;
    for (id, action) in ids.iter().zip(actions) {
        let before = queue.find(*id).await;
        match queue.act(*id, &action).await {
            Ok(State::Cancelled) if matches!(action, Action::Cancel { .. }) => {}
            Err(Refusal::State(State::Cancelled, _)) => {}
            outcome => panic!("{action:?}: {outcome:?}"),
        }
        assert_eq!(queue.find(*id).await, before, "no action changes an expired job");
    }
    assert_eq!(queue.queue().status().await.unwrap().states[&State::Cancelled], 5, "it is written down");
}

pub(super) async fn expired_job_is_listed_as_cancelled(queue: &Subject<impl Backend>) {
    let expired: Vec<JobId> = queue
        .submit_all(vec![
            expiring(2 * SECOND),
            Document { hold: true, ..expiring(2 * SECOND) },
            Document { expires: expiring(2 * SECOND).expires, ..delayed(600 * SECOND) },
        ])
        .await;
    let lasting = queue.submit(document()).await;
    let everything = [expired.as_slice(), &[lasting]].concat();
    let waiting = Filter { states: vec![State::Held, State::Delayed, State::Ready], ..Filter::default() };
    let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
    assert_eq!(queue.list(&waiting).await, everything);
    queue.advance(2 * SECOND).await;
    assert_eq!(queue.list(&waiting).await, [lasting]);
    assert_eq!(queue.list(&cancelled).await, expired);
    assert_eq!(queue.list(&Filter::default()).await, everything);
}

pub(super) async fn paused_tube_gives_no_jobs_until_it_is_resumed(queue: &Subject<impl Backend>) {
    let [default, night] = tubes();
    queue.submit(document()).await;
    let running = queue.lease("a").await;
    let waiting = queue.submit(Document { priority: 0, ..document() }).await;
    let other = queue.submit(Document { tube: night, ..document() }).await;
    queue.queue().pause(&default, None).await.unwrap();
    assert_eq!(claimed(queue).await, Some(other));
    assert_eq!(claimed(queue).await, None);
    queue.finish("a", &running).await;
    assert!(queue.queue().resume(&default).await.unwrap());
    assert!(!queue.queue().resume(&default).await.unwrap(), "there is no pause now");
    assert_eq!(claimed(queue).await, Some(waiting));
}

pub(super) async fn tube_that_is_paused_without_an_end_is_no_work(queue: &Subject<impl Backend>) {
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

pub(super) async fn pause_holds_in_all_processes_until_its_time(queue: &Subject<impl Backend>) {
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

pub(super) async fn pause_until_a_past_time_ends_the_one_before(queue: &Subject<impl Backend>) {
    let [default, _] = tubes();
    let id = queue.submit(document()).await;
    queue.queue().pause(&default, None).await.unwrap();
    queue.queue().pause(&default, Some(Timestamp::UNIX_EPOCH)).await.unwrap();
    assert!(queue.queue().status().await.unwrap().paused.is_empty());
    assert!(!queue.queue().resume(&default).await.unwrap());
    assert_eq!(claimed(queue).await, Some(id));
}

/// Waits until no news arrives any more.
async fn quiet(watch: &mut Box<dyn Watch>) {
    loop {
        let started = Instant::now();
        watch.changed(Duration::from_millis(200)).await;
        if started.elapsed() >= Duration::from_millis(200) {
            return;
        }
    }
}

/// Claims a job as soon as there is one, while time passes.
async fn claimed_in_the_end(queue: &Subject<impl Backend>, watch: &mut Box<dyn Watch>, passing: Duration) -> JobId {
    let started = Instant::now();
    let waiting = async {
        loop {
            if let Some(claimed) = queue.claim("a").await {
                break claimed.lease.id;
            }
            watch.changed(LONG).await;
        }
    };
    let (id, ()) = tokio::join!(waiting, queue.advance(passing));
    assert!(started.elapsed() < LONG, "it slept until its limit");
    id
}

pub(super) async fn change_before_the_wait_is_not_missed(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch();
    quiet(&mut watch).await;
    assert!(queue.claim("a").await.is_none());
    let id = queue.submit(document()).await;
    let started = Instant::now();
    watch.changed(LONG).await;
    assert!(started.elapsed() < LONG);
    assert_eq!(claimed_in_the_end(queue, &mut watch, Duration::ZERO).await, id);
}

pub(super) async fn every_watch_is_told_of_every_change(queue: &Subject<impl Backend>) {
    let mut watches = [queue.queue().watch(), queue.queue().watch()];
    for watch in &mut watches {
        quiet(watch).await;
    }
    queue.submit(document()).await;
    for watch in &mut watches {
        let started = Instant::now();
        watch.changed(LONG).await;
        assert!(started.elapsed() < LONG);
    }
}

pub(super) async fn change_through_another_handle_ends_the_wait(queue: &Subject<impl Backend>) {
    let elsewhere = queue.backend.elsewhere().await;
    let mut watch = queue.queue().watch();
    quiet(&mut watch).await;
    let job = Submission { id: JobId::new(), document: document() };
    let (id, started) = (job.id, Instant::now());
    let submit = async {
        // The wait comes first.
        tokio::time::sleep(Duration::from_millis(100)).await;
        elsewhere.submit(vec![job]).await.unwrap();
    };
    tokio::join!(watch.changed(LONG), submit);
    assert!(started.elapsed() < LONG);
    assert_eq!(claimed_in_the_end(queue, &mut watch, Duration::ZERO).await, id);
}

pub(super) async fn wait_ends_when_a_delayed_job_becomes_due(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch();
    let id = queue.submit(delayed(SECOND)).await;
    assert_eq!(claimed_in_the_end(queue, &mut watch, SECOND).await, id);
}

pub(super) async fn wait_ends_when_a_pause_ends(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch();
    let id = queue.submit(document()).await;
    let until = queue.find(id).await.submitted_at + SECOND;
    queue.queue().pause(&Tube::default(), Some(until)).await.unwrap();
    assert_eq!(claimed_in_the_end(queue, &mut watch, SECOND).await, id);
    assert!(queue.claim("a").await.is_none());
}
