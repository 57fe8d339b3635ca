//! Workers with a real queue that fails when it is told to.

use super::*;
use crate::config::{LimitsConfig, NanBits};
use crate::fetch::{Fetcher, Sender};
use crate::job::{AlgorithmName, Digest, Document, Record, Shape, State};
use crate::policy::{Purpose, Rules, UrlPolicy};
use crate::queue::sqlite::SqliteQueue;
use crate::queue::{
    Acted, Action, Algorithm, Beat, Claimed, Cursor, Delivered, Delivery, Filter, Jobs, LogPiece, Modules, Outbox,
    Published, QueueError, Recalled, Report, Settled, Settlement, Status, Submission, Watch, Work,
};
use crate::sandbox::{LiveLog, Metering, Sandbox, SandboxConfig, Stop};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A queue that can be told to fail.
pub(super) struct Unsteady {
    queue: SqliteQueue,
    fails_to_claim: AtomicBool,
    /// The next claim is made, and said to have failed.
    fails_after_claiming: AtomicBool,
    fails_to_settle: AtomicBool,
    /// The next settle is made, and said to have failed.
    fails_after_settling: AtomicBool,
    /// The most jobs that were asked for at once.
    most: AtomicUsize,
    /// Whether settles have to wait.
    holds_settles: watch::Sender<bool>,
    pub(super) ignores_heartbeats: AtomicBool,
    /// Whether heartbeats are told that the queue is locked.
    pub(super) is_locked: AtomicBool,
    /// Heartbeats that came.
    pub(super) heard: AtomicU32,
}

fn unless(fails: bool) -> Result<(), QueueError> {
    match fails {
        true => Err(QueueError::Backend("the disk is on fire".to_owned())),
        false => Ok(()),
    }
}

#[async_trait]
impl Work for Unsteady {
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.queue.register(worker).await
    }
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        unless(self.fails_to_claim.load(Ordering::SeqCst))?;
        self.most.fetch_max(most, Ordering::SeqCst);
        let claimed = self.queue.claim(worker, tubes, most).await?;
        unless(!claimed.is_empty() && self.fails_after_claiming.swap(false, Ordering::SeqCst))?;
        Ok(claimed)
    }
    async fn beat(&self, worker: &WorkerId, held: &[Lease]) -> Result<Beat, QueueError> {
        self.heard.fetch_add(1, Ordering::SeqCst);
        if self.ignores_heartbeats.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_locked.load(Ordering::SeqCst) {
            return Err(QueueError::Busy("the queue is locked".to_owned()));
        }
        self.queue.beat(worker, held).await
    }
    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.queue.recalled(worker, leases).await
    }
    async fn put_back(&self, worker: &WorkerId, leases: &[Lease]) -> Result<(), QueueError> {
        self.queue.put_back(worker, leases).await
    }
    async fn report(&self, worker: &WorkerId, reports: Vec<Report>) -> Result<(), QueueError> {
        self.queue.report(worker, reports).await
    }
    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<Settled, QueueError> {
        let _ = self.holds_settles.subscribe().wait_for(|holds| !holds).await;
        unless(self.fails_to_settle.load(Ordering::SeqCst))?;
        let settled = self.queue.settle(worker, lease, settlement).await?;
        unless(self.fails_after_settling.swap(false, Ordering::SeqCst))?;
        Ok(settled)
    }
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        self.queue.take_over(worker).await
    }
    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.queue.has_work(worker, tubes).await
    }
    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.queue.unregister(worker).await
    }
}

#[async_trait]
impl Jobs for Unsteady {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.queue.submit(jobs).await
    }
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.queue.find(id).await
    }
    async fn result(&self, id: JobId, attempt: Option<u32>) -> Result<Option<Published>, QueueError> {
        self.queue.result(id, attempt).await
    }
    async fn log(&self, id: JobId, attempt: u32, from: u64) -> Result<Option<LogPiece>, QueueError> {
        self.queue.log(id, attempt, from).await
    }
    async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        self.queue.list(filter, after, limit).await
    }
    async fn status(&self) -> Result<Status, QueueError> {
        self.queue.status().await
    }
    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        self.queue.act(ids, action).await
    }
    async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        self.queue.pause(tube, until).await
    }
    async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        self.queue.resume(tube).await
    }
    async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.queue.forget(retention, most).await
    }
    async fn forgotten(&self, after: Option<Cursor>, most: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        self.queue.forgotten(after, most).await
    }
}

#[async_trait]
impl Outbox for Unsteady {
    async fn deliveries(&self, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        self.queue.deliveries(lease, most).await
    }
    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        self.queue.delivered(delivery, outcome).await
    }
}

#[async_trait]
impl Modules for Unsteady {
    async fn add(&self, name: &AlgorithmName, shape: Shape, bytes: Vec<u8>) -> Result<Algorithm, QueueError> {
        self.queue.add(name, shape, bytes).await
    }
    async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError> {
        self.queue.algorithms().await
    }
    async fn algorithm(&self, name: &AlgorithmName) -> Result<Option<Algorithm>, QueueError> {
        self.queue.algorithm(name).await
    }
    async fn remove(&self, name: &AlgorithmName) -> Result<bool, QueueError> {
        self.queue.remove(name).await
    }
    async fn module(&self, digest: Digest) -> Result<Option<Vec<u8>>, QueueError> {
        self.queue.module(digest).await
    }
}

impl Queue for Unsteady {
    fn watch(&self) -> Box<dyn Watch> {
        self.queue.watch()
    }
}

/// A node without algorithms, so that most attempts end at once.
pub(super) struct Fixture {
    directory: tempfile::TempDir,
    pub(super) queue: Arc<Unsteady>,
    results: Arc<Results>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let queue = Arc::new(Unsteady {
            queue: SqliteQueue::open(&directory.path().join("queue.db")).unwrap(),
            fails_to_claim: AtomicBool::default(),
            fails_after_claiming: AtomicBool::default(),
            fails_to_settle: AtomicBool::default(),
            fails_after_settling: AtomicBool::default(),
            most: AtomicUsize::default(),
            holds_settles: watch::Sender::new(false),
            ignores_heartbeats: AtomicBool::default(),
            is_locked: AtomicBool::default(),
            heard: AtomicU32::default(),
        });
        let results = Arc::new(Results::open(&directory.path().join("results")).unwrap());
        Self { directory, queue, results }
    }

    pub(super) fn worker(&self) -> Worker {
        self.observed(Arc::new(|_| {}))
    }

    fn observed(&self, observer: Observer) -> Worker {
        self.worker_with(WorkerOptions { max_jobs: Some(1), ..options(2) }, observer)
    }

    fn worker_with(&self, options: WorkerOptions, observer: Observer) -> Worker {
        let config = SandboxConfig {
            slots: 2,
            threads: 1,
            max_memory: 64 << 20,
            cache: None,
            metering: Metering::IN_GUEST,
            nan_bits: NanBits::Platform,
        };
        let sandbox = Arc::new(Sandbox::new(&config).unwrap());
        let policy = UrlPolicy::new(Purpose::Input, Rules::default());
        let fetcher = Fetcher::new(policy, self.directory.path().to_owned()).unwrap();
        let (modules, cache) = (Arc::clone(&self.queue) as _, self.directory.path().join("algorithms"));
        let executor = Executor::new(sandbox, modules, cache, fetcher, LimitsConfig::default());
        let loopback = Rules { allow: vec!["127.0.0.1".parse().unwrap()], deny: Vec::new() };
        let sender = Sender::new(UrlPolicy::new(Purpose::Result, loopback)).unwrap();
        let queue = Arc::clone(&self.queue) as Arc<dyn Queue>;
        Worker::new(options, queue, executor, sender, Arc::clone(&self.results), observer)
    }

    /// A worker, and the troubles that it tells of.
    fn troubled(&self) -> (Worker, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let observer: Observer = Arc::new(move |event| {
            if let Event::Trouble { doing, reason } = event {
                let _ = sender.send(format!("{doing} failed: {reason}"));
            }
        });
        (self.observed(observer), receiver)
    }

    async fn submit(&self) -> JobId {
        self.submit_for(None).await
    }

    /// Submits a job whose result is wanted at `result_url`.
    pub(super) async fn submit_for(&self, result_url: Option<Url>) -> JobId {
        let document = Document { max_attempts: 1, result_url, ..Document::new("unknown".parse().unwrap()) };
        let id = JobId::new();
        self.queue.submit(vec![Submission { id, document }]).await.unwrap();
        id
    }

    async fn submit_many(&self, count: usize) -> Vec<JobId> {
        let document = Document { max_attempts: 1, ..Document::new("unknown".parse().unwrap()) };
        let ids: Vec<_> = (0..count).map(|_| JobId::new()).collect();
        let jobs = ids.iter().map(|id| Submission { id: *id, document: document.clone() });
        self.queue.submit(jobs.collect()).await.unwrap();
        ids
    }

    /// Submits a job whose guest goes on until it is stopped.
    async fn submit_endless(&self) -> JobId {
        self.register("endless", r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#)
            .await;
        let ttr = Some("1h".parse().unwrap());
        let limits = serde_json::from_str(r#"{"fuel": 1000000000000}"#).unwrap();
        let document = Document { ttr, limits, priority: 0, ..Document::new("endless".parse().unwrap()) };
        let id = JobId::new();
        self.queue.submit(vec![Submission { id, document }]).await.unwrap();
        id
    }

    async fn register(&self, name: &str, module: &str) {
        let bytes = wat::parse_str(module).unwrap();
        self.queue.add(&name.parse().unwrap(), Shape::Command, bytes).await.unwrap();
    }

    async fn cancel(&self, id: JobId) {
        let cancel = Action::Cancel { reason: "enough".to_owned() };
        assert_eq!(self.queue.act(&[id], &cancel).await.unwrap()[0].outcome, Ok(State::Cancelled));
    }

    pub(super) async fn find(&self, id: JobId) -> Record {
        self.queue.find(id).await.unwrap().unwrap()
    }

    /// Takes away what the attempts of all jobs have left.
    pub(super) fn remove_outcomes(&self) {
        let connection = rusqlite::Connection::open(self.directory.path().join("queue.db")).unwrap();
        connection.execute("DELETE FROM outcomes", []).unwrap();
    }

    async fn count(&self, state: State) -> u64 {
        self.queue.status().await.unwrap().states[&state]
    }

    fn start(&self, options: WorkerOptions) -> Running {
        let (sender, told) = mpsc::unbounded_channel();
        let observer: Observer = Arc::new(move |event| {
            let told = match event {
                Event::Started { job, attempt, .. } => Told::Started(job.id, *attempt),
                Event::Ended { job, attempt, .. } => Told::Ended(job.id, *attempt),
                Event::Cancelled { job, attempt } => Told::Cancelled(job.id, *attempt),
                Event::Stale { job, attempt } => Told::Stale(job.id, *attempt),
                _ => return,
            };
            let _ = sender.send(told);
        });
        let worker = self.worker_with(options, observer);
        let (shutdown, receiver) = watch::channel(Shutdown::No);
        Running { worker: tokio::spawn(worker.run(receiver)), shutdown, told }
    }
}

/// Has a lease be held whose guest runs, and returns the means to stop it.
pub(super) fn guest(shared: &Shared) -> Arc<Stop> {
    let stop = Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)));
    let (_, progress) = watch::channel(None);
    let guest = leases::Guest { stop: Arc::clone(&stop), progress, log: Arc::new(LiveLog::new(1)) };
    shared.leases.add(Lease { id: JobId::new(), attempt: 1 }, guest);
    stop
}

/// What the observer was told, with the attempt's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Started(JobId, u32),
    Ended(JobId, u32),
    Cancelled(JobId, u32),
    Stale(JobId, u32),
}

struct Running {
    worker: JoinHandle<anyhow::Result<u64>>,
    shutdown: watch::Sender<Shutdown>,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Running {
    async fn told(&mut self) -> Told {
        within(20.0, self.told.recv()).await.expect("the worker goes on")
    }

    /// Lets the worker finish, and returns how many attempts it has made.
    async fn end(self) -> u64 {
        self.shutdown.send_modify(|told| *told = (*told).max(Shutdown::Drain));
        within(20.0, self.worker).await.unwrap().unwrap()
    }
}

/// How a worker works that nothing but a signal ends.
fn options(slots: u32) -> WorkerOptions {
    WorkerOptions {
        name: "a".to_owned(),
        tubes: vec![Tube::default()],
        slots,
        max_jobs: None,
        until_empty: false,
        lease: Duration::from_secs(15),
        heartbeat: Duration::from_secs(5),
        public_url: None,
        retention: Retention::default(),
        intakes: Vec::new(),
        data_dir: PathBuf::new(),
        old_buried: Vec::new(),
    }
}

pub(super) async fn within<T>(seconds: f64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs_f64(seconds), future).await.expect("it takes too long")
}

#[tokio::test]
async fn an_attempt_that_panics_ends_as_an_error_of_the_host() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let worker = fixture.observed(Arc::new(move |event| match event {
        Event::Started { .. } => panic!("a bug"),
        Event::Trouble { doing, reason } => sender.send(format!("{doing} failed: {reason}")).unwrap(),
        _ => {}
    }));
    let (_sender, shutdown) = watch::channel(Shutdown::No);
    assert_eq!(within(20.0, worker.run(shutdown)).await.unwrap(), 1);
    let record = fixture.find(id).await;
    let verdict = record.verdict.unwrap();
    assert_eq!((record.state, verdict.kind()), (State::Dead, "host-error"));
    assert!(verdict.to_string().contains("a bug"), "{verdict}");
    let told = told.recv().await.unwrap();
    assert!(told.starts_with(&format!("attempt 1 of job {id} failed: ")), "{told}");
}

#[tokio::test]
async fn a_failing_queue_is_settled_with_until_the_worker_is_to_stop_now() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    fixture.queue.fails_to_settle.store(true, Ordering::SeqCst);
    let (worker, mut told) = fixture.troubled();
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(worker.run(shutdown));
    for _ in 0..2 {
        let told = within(20.0, told.recv()).await.unwrap();
        assert!(told.starts_with("settling a job failed: "), "{told}");
    }
    sender.send_replace(Shutdown::Drain);
    within(20.0, told.recv()).await.expect("it goes on until it is told to stop now");
    sender.send_replace(Shutdown::Now);
    assert_eq!(within(20.0, running).await.unwrap().unwrap(), 1);
    let mut last = String::new();
    while let Some(told) = told.recv().await {
        last = told;
    }
    assert!(last.starts_with(&format!("settling attempt 1 of job {id} for the last time failed: ")), "{last}");
}

#[tokio::test]
async fn a_settle_that_was_made_and_said_to_have_failed_counts() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    fixture.queue.fails_after_settling.store(true, Ordering::SeqCst);
    let (worker, mut told) = fixture.troubled();
    let (_sender, shutdown) = watch::channel(Shutdown::No);
    assert_eq!(within(20.0, worker.run(shutdown)).await.unwrap(), 1);
    let told = told.recv().await.unwrap();
    assert!(told.starts_with("settling a job failed: "), "{told}");
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.published), (State::Dead, Some(1)));
    assert!(fixture.queue.result(id, None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_that_was_made_and_said_to_have_failed_is_put_back() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    fixture.queue.fails_after_claiming.store(true, Ordering::SeqCst);
    let heartbeat = Duration::from_millis(100);
    let mut running = fixture.start(WorkerOptions { heartbeat, ..options(1) });
    assert_eq!(running.told().await, Told::Started(id, 2));
    assert_eq!(running.told().await, Told::Ended(id, 2));
    let history = fixture.find(id).await.history.unwrap();
    assert_eq!(history[0].verdict.as_ref().unwrap().kind(), "interrupted", "it does not count");
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn a_worker_whose_queue_fails_ends_when_it_is_told_to() {
    let fixture = Fixture::new();
    fixture.queue.fails_to_claim.store(true, Ordering::SeqCst);
    let (worker, mut told) = fixture.troubled();
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(worker.run(shutdown));
    within(20.0, told.recv()).await.unwrap();
    sender.send_replace(Shutdown::Drain);
    assert_eq!(within(PAUSE.as_secs_f64() * 0.8, running).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_slot_is_free_as_soon_as_its_guest_has_ended() {
    let fixture = Fixture::new();
    fixture.submit_many(3).await;
    fixture.queue.holds_settles.send_replace(true);
    let mut running = fixture.start(options(1));
    for _ in 0..3 {
        assert!(matches!(running.told().await, Told::Started(..)));
    }
    assert_eq!(fixture.count(State::Running).await, 3, "none of them is settled");
    fixture.queue.holds_settles.send_replace(false);
    assert_eq!(running.end().await, 3);
    assert_eq!(fixture.count(State::Dead).await, 3);
}

#[tokio::test]
async fn a_worker_that_drains_waits_for_what_is_not_settled() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    fixture.queue.holds_settles.send_replace(true);
    let mut running = fixture.start(options(1));
    assert_eq!(running.told().await, Told::Started(id, 1));
    running.shutdown.send_replace(Shutdown::Drain);
    let mut worker = running.worker;
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut worker).await.is_err(), "it waits");
    fixture.queue.holds_settles.send_replace(false);
    assert_eq!(within(20.0, worker).await.unwrap().unwrap(), 1);
    assert_eq!(fixture.find(id).await.state, State::Dead);
}

#[tokio::test]
async fn as_many_jobs_as_were_asked_for_are_started_and_no_others() {
    let fixture = Fixture::new();
    let ids = fixture.submit_many(150).await;
    let running = fixture.start(WorkerOptions { max_jobs: Some(100), ..options(2) });
    assert_eq!(within(60.0, running.worker).await.unwrap().unwrap(), 100);
    assert_eq!((fixture.count(State::Dead).await, fixture.count(State::Ready).await), (100, 50));
    for id in &ids[100..] {
        assert_eq!(fixture.find(*id).await.attempts, 0, "it was not claimed for nothing");
    }
}

#[tokio::test]
async fn no_more_jobs_are_claimed_than_there_are_free_slots() {
    let fixture = Fixture::new();
    let endless = fixture.submit_endless().await;
    fixture.submit_many(100).await;
    let mut running = fixture.start(options(2));
    assert_eq!(running.told().await, Told::Started(endless, 1));
    while fixture.count(State::Dead).await < 100 {
        running.told().await;
        assert!(fixture.count(State::Running).await <= 2 + 100, "the others wait to be settled");
    }
    assert_eq!(fixture.queue.most.load(Ordering::SeqCst), 2);
    running.shutdown.send_replace(Shutdown::Now);
    assert_eq!(running.end().await, 101);
}

#[tokio::test]
async fn a_cancelled_guest_is_stopped_and_its_log_is_kept() {
    let fixture = Fixture::new();
    let id = fixture.submit_endless().await;
    let mut running = fixture.start(options(1));
    assert_eq!(running.told().await, Told::Started(id, 1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.cancel(id).await;
    assert_eq!(within(5.0, running.told()).await, Told::Cancelled(id, 1));
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.published), (State::Cancelled, None));
    assert!(fixture.queue.log(id, 1, 0).await.unwrap().is_some_and(|piece| piece.is_last));
    assert_eq!(fixture.queue.result(id, Some(1)).await.unwrap(), None);
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn a_job_cancelled_after_its_guest_has_ended_leaves_no_files() {
    let fixture = Fixture::new();
    fixture.register("writer", WRITER).await;
    let id = JobId::new();
    let document = Document::new("writer".parse().unwrap());
    fixture.queue.submit(vec![Submission { id, document }]).await.unwrap();
    fixture.queue.holds_settles.send_replace(true);
    let mut running = fixture.start(options(1));
    assert_eq!(running.told().await, Told::Started(id, 1));
    let files = fixture.results.reader().files(id, 1);
    let kept = async {
        while fixture.results.reader().files(id, 1).open("a").is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(20.0, kept).await;
    fixture.cancel(id).await;
    fixture.queue.holds_settles.send_replace(false);
    assert_eq!(running.told().await, Told::Cancelled(id, 1));
    assert!(!files.path().exists() && !fixture.results.reader().directory(id).exists());
    assert_eq!(running.end().await, 1);
}

/// Creates an empty file in its result directory, and returns 1.
const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "a1\00\00\01\00\00\00\01\00\00\00")
    (func (export "_start")
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
                (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16))
            (then unreachable))
        (drop (call $write (i32.const 1) (i32.const 4) (i32.const 1) (i32.const 16)))))"#;

#[tokio::test]
async fn files_that_cannot_be_kept_are_an_error_of_the_host() {
    let fixture = Fixture::new();
    fixture.register("writer", WRITER).await;
    let id = JobId::new();
    let document = Document { max_attempts: 1, ..Document::new("writer".parse().unwrap()) };
    fixture.queue.submit(vec![Submission { id, document }]).await.unwrap();
    let in_the_way = fixture.results.reader().directory(id);
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "a file where a directory should be").unwrap();
    let running = fixture.start(WorkerOptions { max_jobs: Some(1), ..options(1) });
    assert_eq!(within(20.0, running.worker).await.unwrap().unwrap(), 1);
    let record = fixture.find(id).await;
    let verdict = record.verdict.unwrap();
    assert_eq!((record.state, verdict.kind()), (State::Dead, "host-error"));
    assert!(verdict.to_string().contains("keeping its files failed"), "{verdict}");
    let document = fixture.queue.result(id, None).await.unwrap().unwrap().document;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((&document["verdict"]["kind"], &document["state"]), (&"host-error".into(), &"dead".into()));
}
