//! A worker that claims and settles jobs without running them.

use longboat::job::{Decision, Document, JobId, Tube, Usage, Verdict};
use longboat::queue::sqlite::SqliteQueue;
use longboat::queue::{Jobs as _, Outcome, Settlement, Submission, Work as _, WorkerId};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A worker as the queue sees it.
pub fn worker() -> WorkerId {
    WorkerId { start: JobId::new(), name: "bench".to_owned(), lease: Duration::from_secs(15), public_url: None }
}

/// The settlement of a job that is done.
pub fn done() -> Settlement {
    let outcome = Outcome { document: vec![b'x'; 800].into(), ..Outcome::default() };
    Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage: Usage::default(), outcome }
}

/// How long claiming and settling took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Took {
    /// All claims.
    pub claimed: Duration,
    /// All settles.
    pub settled: Duration,
}

/// Submits, claims and settles so many jobs so many times, so that the queue is as long afterwards as before. Submitting
/// is not counted, and all settles are asked for at once.
///
/// # Panics
/// If the queue does not do as it is told.
pub fn turn_over(
    runtime: &Runtime,
    queue: &SqliteQueue,
    tubes: &[Tube],
    document: &Document,
    calls: u64,
    jobs: usize,
) -> Took {
    let worker = worker();
    let mut took = Took::default();
    for _ in 0..calls {
        let new = (0..jobs).map(|_| Submission { id: JobId::new(), document: document.clone() });
        runtime.block_on(queue.submit(new.collect())).expect("new ids are taken");
        let start = Instant::now();
        let claimed = runtime.block_on(queue.claim(&worker, tubes, jobs)).expect("the queue works");
        took.claimed += start.elapsed();
        assert_eq!(claimed.len(), jobs, "as many jobs were submitted");
        let start = Instant::now();
        let settle = claimed.into_iter().map(|claimed| {
            let (queue, worker) = (queue.clone(), worker.clone());
            runtime.spawn(async move { queue.settle(&worker, &claimed.lease, done()).await })
        });
        for settled in settle.collect::<Vec<_>>() {
            runtime.block_on(settled).expect("no task panics").expect("the lease is this worker's");
        }
        took.settled += start.elapsed();
    }
    took
}
