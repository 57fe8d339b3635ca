//! Workers with a real queue that fails when it is told to.

mod pipeline;

use super::*;
use crate::config::{LimitsConfig, NanBits};
use crate::fetch::{Fetcher, Sender};
use crate::job::{Document, Progress, Record, State};
use crate::policy::{Purpose, Rules, UrlPolicy};
use crate::queue::sqlite::SqliteQueue;
use crate::queue::{
    Acted, Action, Claimed, Cursor, Delivered, Delivery, Filter, Interest, QueueError, Recalled, Retention, Settlement,
    Status, Submission, Watch,
};
use crate::registry::Registry;
use crate::sandbox::{Metering, Sandbox, SandboxConfig};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// A queue that can be told to fail.
pub(super) struct Unsteady {
    queue: SqliteQueue,
    fails_to_claim: AtomicBool,
    fails_to_settle: AtomicBool,
    /// The next settle is made, and said to have failed.
    fails_after_settling: AtomicBool,
    /// Whether it does not undo what was claimed in vain.
    keeps_claims: AtomicBool,
    /// The most jobs that were asked for at once.
    most: AtomicUsize,
    /// Jobs that were claimed, each as often as it was.
    claimed: AtomicUsize,
    /// Whether settles have to wait.
    holds_settles: watch::Sender<bool>,
    pub(super) ignores_heartbeats: AtomicBool,
    /// Whether heartbeats are told that somebody else has it locked.
    pub(super) is_locked: AtomicBool,
    /// Heartbeats that came.
    pub(super) heard: AtomicU32,
}

fn unless(fails: &AtomicBool) -> Result<(), QueueError> {
    match fails.load(Ordering::SeqCst) {
        true => Err(QueueError::Backend("the disk is on fire".to_owned())),
        false => Ok(()),
    }
}

#[async_trait]
impl Queue for Unsteady {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.queue.submit(jobs).await
    }
    async fn register(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.queue.register(worker).await
    }
    async fn claim(&self, worker: &WorkerId, tubes: &[Tube], most: usize) -> Result<Vec<Claimed>, QueueError> {
        unless(&self.fails_to_claim)?;
        self.most.fetch_max(most, Ordering::SeqCst);
        let claimed = self.queue.claim(worker, tubes, most).await?;
        self.claimed.fetch_add(claimed.len(), Ordering::SeqCst);
        Ok(claimed)
    }
    async fn heartbeat(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.heard.fetch_add(1, Ordering::SeqCst);
        if self.ignores_heartbeats.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_locked.load(Ordering::SeqCst) {
            return Err(QueueError::Busy("somebody has locked it".to_owned()));
        }
        self.queue.heartbeat(worker, leases).await
    }
    async fn recalled(&self, worker: &WorkerId, leases: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        self.queue.recalled(worker, leases).await
    }
    async fn progress(&self, lease: &Lease, progress: Progress) -> Result<(), QueueError> {
        self.queue.progress(lease, progress).await
    }
    async fn settle(&self, worker: &WorkerId, lease: &Lease, settlement: Settlement) -> Result<(), QueueError> {
        let _ = self.holds_settles.subscribe().wait_for(|holds| !holds).await;
        unless(&self.fails_to_settle)?;
        self.queue.settle(worker, lease, settlement).await?;
        unless(&AtomicBool::new(self.fails_after_settling.swap(false, Ordering::SeqCst)))
    }
    fn begin(&self, worker: &WorkerId, lease: &Lease) {
        self.queue.begin(worker, lease);
    }
    async fn give_back(&self, worker: &WorkerId, claimed: &Claimed) -> Result<(), QueueError> {
        self.queue.give_back(worker, claimed).await
    }
    fn undoes_claims(&self) -> bool {
        !self.keeps_claims.load(Ordering::SeqCst)
    }
    async fn take_over(&self, worker: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        self.queue.take_over(worker).await
    }
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.queue.find(id).await
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
    async fn has_work(&self, worker: &WorkerId, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.queue.has_work(worker, tubes).await
    }
    fn watch(&self, interest: Interest) -> Box<dyn Watch> {
        self.queue.watch(interest)
    }
    async fn unregister(&self, worker: &WorkerId) -> Result<(), QueueError> {
        self.queue.unregister(worker).await
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
    async fn deliveries(&self, worker: &WorkerId, lease: Duration, most: usize) -> Result<Vec<Delivery>, QueueError> {
        self.queue.deliveries(worker, lease, most).await
    }
    async fn delivered(&self, delivery: &Delivery, outcome: Delivered) -> Result<(), QueueError> {
        self.queue.delivered(delivery, outcome).await
    }
}

/// A node whose registry is empty, so that every attempt ends at once.
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
            fails_to_settle: AtomicBool::default(),
            fails_after_settling: AtomicBool::default(),
            keeps_claims: AtomicBool::default(),
            most: AtomicUsize::default(),
            claimed: AtomicUsize::default(),
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
        let registry = self.registry();
        let policy = UrlPolicy::new(Purpose::Input, Rules::default());
        let fetcher = Fetcher::new(policy, self.directory.path().to_owned()).unwrap();
        let executor = Executor::new(sandbox, registry, fetcher, LimitsConfig::default());
        let loopback = Rules { allow: vec!["127.0.0.1".parse().unwrap()], deny: Vec::new() };
        let sender = Sender::new(UrlPolicy::new(Purpose::Result, loopback)).unwrap();
        let queue = Arc::clone(&self.queue) as Arc<dyn Queue>;
        Worker::new(options, queue, executor, sender, Arc::clone(&self.results), observer).unwrap()
    }

    fn registry(&self) -> Registry {
        Registry::open(&self.directory.path().join("algorithms")).unwrap()
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

    pub(super) async fn find(&self, id: JobId) -> Record {
        self.queue.find(id).await.unwrap().unwrap()
    }

    pub(super) fn remove_result(&self, id: JobId) {
        self.results.remove(id).unwrap();
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
    assert_eq!((record.state, verdict.kind(), record.published), (State::Dead, "host-error", None));
    assert!(verdict.to_string().contains("a bug"), "{verdict}");
    let told = told.recv().await.unwrap();
    assert!(told.starts_with(&format!("attempt 1 of job {id} failed: ")), "{told}");
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_now_gives_up_settling_with_a_queue_that_fails() {
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
    // Whether the record names the directory is not known to a worker whose commits fail.
    assert!(fixture.results.published(id, 1).path().join("result.json").exists());
}

#[tokio::test]
async fn a_result_is_served_whose_settling_was_said_to_have_failed_after_it_was_done() {
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
    assert!(fixture.results.published(id, 1).path().join("result.json").exists());
    assert!(fixture.results.directory(id).join("result.json").exists());
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
