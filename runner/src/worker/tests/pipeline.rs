//! What happens to attempts on their way into a slot, and behind it.

use super::*;
use crate::job::{Input, Shape};
use crate::results::Results;
use std::io;
use std::time::Instant;
use tokio::task::JoinHandle;

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

impl Fixture {
    fn start(&self, options: WorkerOptions) -> Running {
        self.start_after(options, |_| {})
    }

    /// Starts a worker to which something is done before.
    fn start_after(&self, options: WorkerOptions, prepare: impl FnOnce(&Worker)) -> Running {
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
        prepare(&worker);
        let (shutdown, receiver) = watch::channel(Shutdown::No);
        Running { worker: tokio::spawn(worker.run(receiver)), shutdown, told }
    }

    /// Submits a job that nothing but an order ends within a minute.
    async fn submit_endless(&self) -> JobId {
        let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#);
        self.registry().add("endless".parse().unwrap(), &module.unwrap(), Shape::Command).unwrap();
        let fuel = serde_json::json!({"fuel": 1_000_000_000_000_u64});
        let limits = serde_json::from_value(fuel).unwrap();
        let document = Document { limits, priority: 0, ..Document::new("endless".parse().unwrap()) };
        let id = JobId::new();
        self.queue.submit(vec![Submission { id, document }]).await.unwrap();
        id
    }

    async fn submit_many(&self, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.submit().await);
        }
        ids
    }

    async fn cancel(&self, id: JobId) {
        let action = Action::Cancel { reason: "it is enough".to_owned() };
        self.queue.act(&[id], &action).await.unwrap().remove(0).outcome.unwrap();
    }

    async fn count(&self, state: State) -> u64 {
        self.queue.status().await.unwrap().states[&state]
    }
}

#[tokio::test]
async fn a_slot_is_free_while_what_ran_in_it_is_settled() {
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
async fn as_many_jobs_as_were_asked_for_are_started_and_no_others_touched() {
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
async fn jobs_that_were_claimed_ahead_in_vain_go_to_other_workers_as_if_nothing_had_been() {
    let fixture = Fixture::new();
    let endless = fixture.submit_endless().await;
    let quick = fixture.submit_many(10).await;
    let mut running = fixture.start_after(options(1), |worker| {
        // As if a hundred jobs were just ending, for as long as it takes to start the worker.
        (0..100).for_each(|_| worker.shared.pace.ended(Duration::ZERO, Instant::now() + Duration::from_secs(5)));
    });
    assert_eq!(running.told().await, Told::Started(endless, 1));
    assert_eq!(fixture.queue.most.load(Ordering::SeqCst), 101, "a hundred ahead");
    let other = WorkerId { start: JobId::new(), name: "other".to_owned(), ..fixture.worker().shared.id.clone() };
    let mut claimed = Vec::new();
    let all = async {
        while claimed.len() < quick.len() {
            claimed.extend(fixture.queue.claim(&other, &[Tube::default()], 10).await.unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(20.0, all).await;
    let attempts: Vec<_> = claimed.iter().map(|claimed| (claimed.lease.attempt, claimed.attempts)).collect();
    assert_eq!(attempts, [(1, 1); 10]);
    running.shutdown.send_replace(Shutdown::Now);
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn nothing_is_claimed_ahead_where_that_cannot_be_undone() {
    let fixture = Fixture::new();
    fixture.queue.keeps_claims.store(true, Ordering::SeqCst);
    let endless = fixture.submit_endless().await;
    let quick = fixture.submit_many(10).await;
    let mut running = fixture.start_after(options(1), |worker| {
        (0..100).for_each(|_| worker.shared.pace.ended(Duration::ZERO, Instant::now() + Duration::from_secs(5)));
    });
    assert_eq!(running.told().await, Told::Started(endless, 1));
    // A claim takes no more than some milliseconds.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((fixture.count(State::Running).await, fixture.count(State::Ready).await), (1, quick.len() as u64));
    assert_eq!(fixture.queue.most.load(Ordering::SeqCst), 1);
    running.shutdown.send_replace(Shutdown::Now);
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn no_more_documents_wait_in_memory_than_have_a_place_there() {
    let fixture = Fixture::new();
    let endless = fixture.submit_endless().await;
    let large = Input::One(format!("data:,{}", "x".repeat(3 << 20)).parse().unwrap());
    let document = Document { input: Some(large), ..Document::new("unknown".parse().unwrap()) };
    let jobs = (0..12).map(|_| Submission { id: JobId::new(), document: document.clone() });
    fixture.queue.submit(jobs.collect()).await.unwrap();
    let mut running = fixture.start_after(options(1), |worker| {
        (0..100).for_each(|_| worker.shared.pace.ended(Duration::ZERO, Instant::now() + Duration::from_secs(5)));
    });
    assert_eq!(running.told().await, Told::Started(endless, 1));
    // They wait for a tenth of a second for a slot, and are given back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.queue.claimed.load(Ordering::SeqCst), 1 + 6, "6 of 3 MiB are more than 16 MiB");
    running.shutdown.send_replace(Shutdown::Now);
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn a_running_guest_is_stopped_when_its_job_is_cancelled_and_its_log_is_kept() {
    let fixture = Fixture::new();
    let id = fixture.submit_endless().await;
    let mut running = fixture.start(options(1));
    assert_eq!(running.told().await, Told::Started(id, 1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.cancel(id).await;
    assert_eq!(within(5.0, running.told()).await, Told::Cancelled(id, 1));
    let record = fixture.find(id).await;
    assert_eq!((record.state, record.published), (State::Cancelled, None));
    let left = fixture.results.published(id, 1);
    assert!(left.log().is_ok() && !fixture.results.directory(id).join("result.json").exists());
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn a_job_that_is_cancelled_after_its_guest_has_ended_leaves_nothing() {
    let fixture = Fixture::new();
    let id = fixture.submit().await;
    fixture.queue.holds_settles.send_replace(true);
    let mut running = fixture.start(options(1));
    assert_eq!(running.told().await, Told::Started(id, 1));
    let place = fixture.results.published(id, 1).path().to_owned();
    let placed = async {
        while !place.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(20.0, placed).await;
    fixture.cancel(id).await;
    fixture.queue.holds_settles.send_replace(false);
    assert_eq!(running.told().await, Told::Cancelled(id, 1));
    assert!(!place.exists());
    assert_eq!(running.end().await, 1);
}

#[tokio::test]
async fn a_result_that_cannot_be_synced_is_an_error_of_the_host_and_is_not_there() {
    let mut fixture = Fixture::new();
    let root = fixture.directory.path().join("broken");
    let broken = Results::open_with(&root, |_| Ok(Box::new(|_| Err(io::Error::other("the disk is on fire")))));
    fixture.results = Arc::new(broken.unwrap());
    let ids = fixture.submit_many(5).await;
    let running = fixture.start(WorkerOptions { max_jobs: Some(5), ..options(2) });
    assert_eq!(within(20.0, running.worker).await.unwrap().unwrap(), 5);
    for id in ids {
        let record = fixture.find(id).await;
        let verdict = record.verdict.unwrap();
        assert_eq!((verdict.kind(), record.published), ("host-error", None));
        assert!(verdict.to_string().contains("the disk is on fire"), "{verdict}");
        assert!(!fixture.results.published(id, 1).path().exists());
    }
}
