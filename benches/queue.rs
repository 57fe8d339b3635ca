//! What the SQLite queue does in a second: submitting, and claiming and settling, alone and many at once.
//!
//! Everything is as a node has it: each answer comes only once the change is on disk.

use criterion::{Criterion, criterion_group, criterion_main};
use longboat::job::{Document, JobId, Tube};
use longboat::queue::sqlite::SqliteQueue;
use longboat::queue::{Jobs as _, QueueError, Submission, Work as _, WorkerId};
use longboat_benches::contest::{self, Contender};
use longboat_benches::{claimant, table};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const ROUNDS: usize = 15;
/// Callers at once, as the slots of several workers or a burst of submissions over HTTP are.
const MANY: usize = 64;
/// Jobs in one call, as `longboat submit --file` makes it.
const BULK: usize = 1_000;

fn queue(criterion: &mut Criterion) {
    // On the disk that the target directory is on: `/tmp` may be in memory, where syncing costs nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the disk has room");
    let bench = Bench::new(directory.path()).expect("a queue can be opened");
    // Each with how many jobs one call of it moves.
    let mut contenders = [
        Contender::new("submit, one by one", || bench.submit(1)),
        Contender::new("submit, 64 at once", || bench.submit_at_once(MANY)),
        Contender::new("submit, 1,000 in a call", || bench.submit(BULK)),
        Contender::timed("claim and settle, one by one", |calls| bench.work(calls, 1)),
        Contender::timed("claim and settle, 64 at once", |calls| bench.work(calls, MANY)),
    ];
    let jobs = [1, MANY, BULK, 1, MANY];
    let mut group = criterion.benchmark_group("queue");
    contest::alone(&mut group, &mut contenders);
    group.finish();
    let times = contest::in_turn(ROUNDS, &mut contenders);
    let rows = contenders.iter().zip(times).zip(jobs).map(|((contender, times), jobs)| {
        let call = times.median();
        vec![contender.name().to_owned(), table::seconds(call), format!("{:.0}", jobs as f64 / call)]
    });
    table::print("The SQLite queue, durable", &["", "a call, or a round of calls", "jobs a second"], rows);
}

struct Bench {
    runtime: Runtime,
    queue: SqliteQueue,
    worker: WorkerId,
    document: Document,
}

impl Bench {
    fn new(directory: &std::path::Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let queue = SqliteQueue::open(&directory.join("queue.db"))?;
        let worker = claimant::worker();
        runtime.block_on(queue.register(&worker))?;
        let document = Document::read(
            r#"{"algorithm": "forecast", "params": {"horizon": 48}, "input": "http://data/demand.csv"}"#,
        )?;
        Ok(Self { runtime, queue, worker, document })
    }

    fn submission(&self) -> Submission {
        Submission { id: JobId::new(), document: self.document.clone() }
    }

    fn submit(&self, jobs: usize) {
        let jobs = (0..jobs).map(|_| self.submission()).collect();
        self.runtime.block_on(self.queue.submit(jobs)).expect("new ids are taken");
    }

    fn submit_at_once(&self, callers: usize) {
        self.at_once(callers, |queue, bench| {
            let job = bench.submission();
            async move { queue.submit(vec![job]).await }
        });
    }

    /// Claims and settles `calls` times with so many callers, and tells how long that took.
    fn work(&self, calls: u64, callers: usize) -> Duration {
        self.submit(callers * calls as usize);
        let start = Instant::now();
        for _ in 0..calls {
            self.at_once(callers, |queue, bench| {
                let worker = bench.worker.clone();
                async move {
                    let claimed =
                        queue.claim(&worker, &[Tube::default()], 1).await?.pop().expect("a job for each was submitted");
                    queue.settle(&worker, &claimed.lease, claimant::done()).await.map(drop)
                }
            });
        }
        start.elapsed()
    }

    /// Lets so many tasks do the same at once, and waits for all.
    fn at_once<F>(&self, callers: usize, task: impl Fn(SqliteQueue, &Self) -> F)
    where
        F: Future<Output = Result<(), QueueError>> + Send + 'static,
    {
        let tasks: Vec<_> = (0..callers).map(|_| self.runtime.spawn(task(self.queue.clone(), self))).collect();
        for task in tasks {
            self.runtime.block_on(task).expect("no task panics").expect("the queue works");
        }
    }
}

fn config() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(200), Duration::from_secs(1));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measurement)
}

criterion_group! { name = benches; config = config(); targets = queue }
criterion_main!(benches);
