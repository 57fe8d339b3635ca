//! Waiting for a change.

use super::Backend;
use super::subject::{SECOND, Subject, delayed, document};
use crate::job::{JobId, Tube};
use crate::queue::{Interest, Submission, Watch};
use std::time::{Duration, Instant};

/// Longer than any wait that ends by itself, even on a machine with much else to do.
const LONG: Duration = Duration::from_secs(30);

fn work() -> Interest {
    Interest::Work(vec![Tube::default()])
}

/// Lets everything that is on its way arrive.
async fn settle_down(watch: &mut Box<dyn Watch>) {
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

pub(super) async fn a_change_before_the_wait_is_not_missed(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch(work());
    settle_down(&mut watch).await;
    assert!(queue.claim("a").await.is_none());
    let id = queue.submit(document()).await;
    let started = Instant::now();
    watch.changed(LONG).await;
    assert!(started.elapsed() < LONG);
    assert_eq!(claimed_in_the_end(queue, &mut watch, Duration::ZERO).await, id);
}

pub(super) async fn everyone_who_waits_hears_of_every_change(queue: &Subject<impl Backend>) {
    let mut watches = [Interest::Anything, Interest::Anything].map(|interest| queue.queue().watch(interest));
    for watch in &mut watches {
        settle_down(watch).await;
    }
    queue.submit(document()).await;
    for watch in &mut watches {
        let started = Instant::now();
        watch.changed(LONG).await;
        assert!(started.elapsed() < LONG);
    }
}

pub(super) async fn a_change_through_another_handle_wakes_the_waiting(queue: &Subject<impl Backend>) {
    let elsewhere = queue.backend.elsewhere().await;
    let mut watch = queue.queue().watch(work());
    settle_down(&mut watch).await;
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

pub(super) async fn a_wait_ends_when_a_delayed_job_becomes_due(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch(work());
    let id = queue.submit(delayed(SECOND)).await;
    assert_eq!(claimed_in_the_end(queue, &mut watch, SECOND).await, id);
}

pub(super) async fn a_wait_ends_when_a_pause_does(queue: &Subject<impl Backend>) {
    let mut watch = queue.queue().watch(work());
    let id = queue.submit(document()).await;
    let until = queue.find(id).await.submitted_at + SECOND;
    queue.queue().pause(&Tube::default(), Some(until)).await.unwrap();
    assert_eq!(claimed_in_the_end(queue, &mut watch, SECOND).await, id);
    assert!(queue.claim("a").await.is_none());
}
