//! The intake on a real server, with a queue whose jobs the tests move from state to state.

use super::client::{Client, JobState, JobStats};
use super::server::Connection;
use super::*;
use crate::job::{AlgorithmName, Digest, Document, JobId, Record, Shape, State};
use crate::queue::{
    Acted, Action, Algorithm, Beat, Claimed, Cursor, Delivered, Delivery, Filter, Jobs, Lease, LogPiece, Modules,
    Outbox, Published, QueueError, Recalled, Refusal, Report, Retention, Settled, Settlement, Status, Submission,
    Version, Watch, Work, WorkerId,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::net::TcpStream;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without a heartbeat all reservations are given up.
const LEASE: Duration = Duration::from_secs(2);
const ID: &str = "bc3a9250-99b9-012e-0f06-549a20077664";

/// A queue in memory. It knows the algorithm `x`.
#[derive(Default)]
struct Shelf {
    jobs: Mutex<HashMap<JobId, (Document, Record)>>,
    paused: Mutex<BTreeMap<Tube, Option<Timestamp>>>,
    is_broken: AtomicBool,
    submitted: AtomicU32,
}

impl Shelf {
    fn check(&self) -> Result<(), QueueError> {
        match self.is_broken.load(Ordering::SeqCst) {
            true => Err(unused()),
            false => Ok(()),
        }
    }

    fn change(&self, id: JobId, change: impl FnOnce(&mut Record)) {
        change(&mut self.jobs.lock().unwrap().get_mut(&id).unwrap().1);
    }

    fn set(&self, id: JobId, state: State) {
        self.change(id, |record| record.state = state);
    }

    fn record(&self, id: JobId) -> Option<Record> {
        self.jobs.lock().unwrap().get(&id).map(|(_, record)| record.clone())
    }

    fn ids(&self) -> Vec<JobId> {
        self.jobs.lock().unwrap().keys().copied().collect()
    }
}

fn unused() -> QueueError {
    QueueError::Backend("the disk is full".to_owned())
}

#[async_trait]
impl Jobs for Shelf {
    async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        self.check()?;
        for Submission { id, document } in jobs {
            let mut known = self.jobs.lock().unwrap();
            match known.get(&id) {
                Some((submitted, _)) if *submitted == document => {}
                Some(_) => return Err(QueueError::IdTaken(id)),
                None => {
                    self.submitted.fetch_add(1, Ordering::SeqCst);
                    known.insert(id, (document.clone(), record(id, document)));
                }
            }
        }
        Ok(())
    }

    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.check()?;
        Ok(self.record(id))
    }

    async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        self.check()?;
        assert_eq!(*action, Action::Kick);
        let mut jobs = self.jobs.lock().unwrap();
        let mut kick = |id| {
            let (_, record) = jobs.get_mut(&id).ok_or(Refusal::NoSuchJob)?;
            if record.state != State::Dead {
                return Err(Refusal::State(record.state, ""));
            }
            (record.state, record.kicks) = (State::Ready, record.kicks + 1);
            Ok(State::Ready)
        };
        Ok(ids.iter().map(|id| Acted { id: *id, outcome: kick(*id) }).collect())
    }

    async fn status(&self) -> Result<Status, QueueError> {
        Ok(Status { paused: self.paused.lock().unwrap().clone(), ..Status::default() })
    }

    async fn result(&self, _: JobId, _: Option<u32>) -> Result<Option<Published>, QueueError> {
        Err(unused())
    }

    async fn log(&self, _: JobId, _: u32, _: u64) -> Result<Option<LogPiece>, QueueError> {
        Err(unused())
    }

    async fn list(&self, _: &Filter, _: Option<Cursor>, _: usize) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        Err(unused())
    }

    async fn pause(&self, _: &Tube, _: Option<Timestamp>) -> Result<(), QueueError> {
        Err(unused())
    }

    async fn resume(&self, _: &Tube) -> Result<bool, QueueError> {
        Err(unused())
    }

    async fn forget(&self, _: &Retention, _: usize) -> Result<usize, QueueError> {
        Err(unused())
    }

    async fn forgotten(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        Err(unused())
    }
}

#[async_trait]
impl Modules for Shelf {
    async fn algorithm(&self, name: &AlgorithmName) -> Result<Option<Algorithm>, QueueError> {
        self.check()?;
        let (module, added_at) = (Digest::of("x"), Timestamp::UNIX_EPOCH);
        let current = Version { module, shape: Shape::Command, size: 1, added_at };
        Ok((name.as_str() == "x").then(|| Algorithm { name: name.clone(), current, earlier: Vec::new() }))
    }

    async fn module(&self, _: Digest) -> Result<Option<Vec<u8>>, QueueError> {
        Ok(None)
    }

    async fn add(&self, _: &AlgorithmName, _: Shape, _: Vec<u8>) -> Result<Algorithm, QueueError> {
        Err(unused())
    }

    async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError> {
        Err(unused())
    }

    async fn remove(&self, _: &AlgorithmName) -> Result<bool, QueueError> {
        Err(unused())
    }
}

#[async_trait]
impl Outbox for Shelf {
    async fn deliveries(&self, _: Duration, _: usize) -> Result<Vec<Delivery>, QueueError> {
        Err(unused())
    }

    async fn delivered(&self, _: &Delivery, _: Delivered) -> Result<(), QueueError> {
        Err(unused())
    }
}

#[async_trait]
impl Work for Shelf {
    async fn register(&self, _: &WorkerId) -> Result<(), QueueError> {
        Err(unused())
    }

    async fn claim(&self, _: &WorkerId, _: &[Tube], _: usize) -> Result<Vec<Claimed>, QueueError> {
        Err(unused())
    }

    async fn beat(&self, _: &WorkerId, _: &[Lease]) -> Result<Beat, QueueError> {
        Err(unused())
    }

    async fn recalled(&self, _: &WorkerId, _: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        Err(unused())
    }

    async fn put_back(&self, _: &WorkerId, _: &[Lease]) -> Result<(), QueueError> {
        Err(unused())
    }

    async fn report(&self, _: &WorkerId, _: Vec<Report>) -> Result<(), QueueError> {
        Err(unused())
    }

    async fn settle(&self, _: &WorkerId, _: &Lease, _: Settlement) -> Result<Settled, QueueError> {
        Err(unused())
    }

    async fn take_over(&self, _: &WorkerId) -> Result<Vec<(Lease, crate::job::Decision)>, QueueError> {
        Err(unused())
    }

    async fn has_work(&self, _: &WorkerId, _: &[Tube]) -> Result<bool, QueueError> {
        Err(unused())
    }

    async fn unregister(&self, _: &WorkerId) -> Result<(), QueueError> {
        Err(unused())
    }
}

/// Something may always have changed.
struct Always;

#[async_trait]
impl Watch for Always {
    async fn changed(&mut self, _: Duration) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Queue for Shelf {
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Always)
    }
}

/// The record of a job that was just submitted.
fn record(id: JobId, document: Document) -> Record {
    let now = Timestamp::now();
    let ready_at = document.ready_at(now);
    let state = match ready_at > now {
        _ if document.hold => State::Held,
        true => State::Delayed,
        false => State::Ready,
    };
    Record {
        id,
        state,
        attempts: 0,
        verdict: None,
        submitted_at: now,
        ready_at,
        started_at: None,
        finished_at: None,
        published: None,
        kicks: 0,
        public_url: None,
        module: None,
        progress: None,
        document,
        history: None,
        delivery: None,
    }
}

/// A server with a binlog, a queue, and a data directory.
struct Fixture {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
    shelf: Arc<Shelf>,
}

impl Fixture {
    /// Nothing where there is no beanstalkd, which is said.
    async fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // Another process may be faster in taking the port that was free a moment ago.
        for _ in 0..10 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = match spawn(port, directory.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let reason = "there is no beanstalkd here; on Debian: apt-get install beanstalkd";
                    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
                    eprintln!("skipped: {reason}");
                    return None;
                }
                child => child.unwrap(),
            };
            if listens(&mut child, port).await {
                return Some(Self { child, port, directory, shelf: Arc::default() });
            }
        }
        panic!("no port is free");
    }

    /// Kills the server, and starts it again on its binlog.
    async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.port, self.directory.path()).unwrap();
        assert!(listens(&mut self.child, self.port).await, "another process has taken the port");
    }

    fn name(&self) -> String {
        format!("beanstalkd://127.0.0.1:{}", self.port)
    }

    /// An intake of a worker with two slots, of which so many are free. Its heart beats once.
    fn intake(&self, free: usize) -> Running {
        self.intake_with(free, Vec::new())
    }

    fn intake_with(&self, free: usize, old_buried: Vec<OldBuried>) -> Running {
        let (data_dir, tubes) = (self.directory.path().to_owned(), vec![Tube::default()]);
        let options = Options { worker: "me".to_owned(), tubes, slots: 2, data_dir, old_buried };
        Running::start(self.name().parse().unwrap(), self.shelf.clone(), options, free)
    }

    async fn connection(&self) -> Connection {
        Client::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// Puts a job of some seconds' ttr, and returns its number.
    async fn put(&self, ttr: u32, body: &str) -> u64 {
        self.connection().await.put(&Tube::default(), 7, 0, ttr, body.as_bytes()).await.unwrap()
    }

    async fn stats(&self, number: u64) -> Option<JobStats> {
        self.connection().await.stats_job(number).await.unwrap()
    }

    /// Waits until the server has a job in a state, or has it no more.
    async fn at_server(&self, number: u64, state: Option<JobState>) {
        eventually(&format!("{number} is {state:?}"), async || {
            self.stats(number).await.map(|stats| stats.state) == state
        })
        .await;
    }

    /// Waits until the queue has a job in a state.
    async fn here(&self, id: JobId, state: State) {
        eventually("the job's state", async || self.shelf.record(id).is_some_and(|record| record.state == state)).await;
    }

    fn reasons(&self) -> Vec<(u64, String)> {
        let rubbish = rubbish(self.directory.path()).unwrap();
        rubbish.into_iter().map(|rubbish| (rubbish.number, rubbish.reason)).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, directory: &Path) -> io::Result<Child> {
    let mut command = Command::new("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-f", "0", "-b"]).arg(directory);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Waits until a server listens; whether it does.
async fn listens(child: &mut Child, port: u16) -> bool {
    while child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what} is still not so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An intake with what its worker tells it through.
struct Running {
    intake: Intake,
    gate: Arc<Gate>,
}

impl Running {
    fn start(address: Address, queue: Arc<dyn Queue>, options: Options, free: usize) -> Self {
        let gate = Arc::new(Gate::new(LEASE));
        let intake = Intake::start(vec![address], queue, Arc::clone(&gate), options).unwrap();
        gate.set_free(free);
        Self { intake, gate }
    }

    async fn has_work(&self) -> bool {
        self.intake.has_work().await
    }

    async fn stop(self) {
        self.intake.stop().await;
    }
}

/// A heart that beats until this is dropped.
struct Beats(tokio::task::JoinHandle<()>);

impl Beats {
    fn of(intake: &Running) -> Self {
        let gate = Arc::clone(&intake.gate);
        Self(tokio::spawn(async move {
            loop {
                gate.beat();
                tokio::time::sleep(LEASE / 8).await;
            }
        }))
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn id() -> JobId {
    ID.parse().unwrap()
}

fn job(fields: &str) -> String {
    format!(r#"{{"id": "{ID}", "algorithm": "x"{fields}}}"#)
}

#[tokio::test]
async fn job_is_kept_reserved_until_it_is_done_then_deleted() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(1, &job(r#", "tags": ["a"]"#)).await;
    fixture.here(id(), State::Ready).await;
    let document = fixture.shelf.record(id()).unwrap().document;
    assert_eq!((document.priority, document.tags), (7, vec!["a".to_owned()]));
    assert!(intake.has_work().await);
    fixture.shelf.set(id(), State::Running);
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let stats = fixture.stats(number).await.unwrap();
    assert_eq!(stats.state, JobState::Reserved, "its ttr of a second was over three times");
    fixture.shelf.set(id(), State::Done);
    fixture.at_server(number, None).await;
    assert_eq!(fixture.shelf.submitted.load(Ordering::SeqCst), 1);
    assert!(!intake.has_work().await);
    intake.stop().await;
}

#[tokio::test]
async fn dead_job_is_buried_and_a_kick_there_is_a_kick_here() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    for kicks in 0..3 {
        fixture.here(id(), State::Ready).await;
        assert_eq!(fixture.shelf.record(id()).unwrap().kicks, kicks);
        fixture.shelf.set(id(), State::Dead);
        fixture.at_server(number, Some(JobState::Buried)).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(fixture.stats(number).await.unwrap().state, JobState::Buried, "it stays so");
        assert!(fixture.connection().await.kick_job(number).await.unwrap());
    }
    fixture.here(id(), State::Ready).await;
    fixture.shelf.set(id(), State::Cancelled);
    fixture.at_server(number, None).await;
    assert_eq!(fixture.reasons(), []);
}

#[tokio::test]
async fn kick_without_a_note_is_a_kick_too() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    fixture.here(id(), State::Ready).await;
    fixture.shelf.set(id(), State::Dead);
    fixture.at_server(number, Some(JobState::Buried)).await;
    intake.stop().await;
    std::fs::remove_file(fixture.directory.path().join("intake.jsonl")).unwrap();
    assert!(fixture.connection().await.kick_job(number).await.unwrap());
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    fixture.here(id(), State::Ready).await;
    assert_eq!(fixture.shelf.record(id()).unwrap().kicks, 1);
}

#[tokio::test]
async fn known_jobs_are_adopted_deleted_or_buried() {
    let Some(fixture) = Fixture::new().await else { return };
    for (state, at_server) in [
        (State::Running, Some(JobState::Reserved)),
        (State::Done, None),
        (State::Cancelled, None),
        (State::Dead, Some(JobState::Buried)),
    ] {
        let id = JobId::new();
        let body = format!(r#"{{"id": "{id}", "algorithm": "x"}}"#);
        let document = Document { id: None, priority: 7, ..Document::read(&body).unwrap() };
        fixture.shelf.submit(vec![Submission { id, document }]).await.unwrap();
        fixture.shelf.set(id, state);
        let number = fixture.put(60, &body).await;
        let intake = fixture.intake(1);
        let _beats = Beats::of(&intake);
        fixture.at_server(number, at_server).await;
        assert_eq!(fixture.shelf.record(id).unwrap().state, state);
        if state == State::Running {
            fixture.shelf.set(id, State::Done);
            fixture.at_server(number, None).await;
        }
        intake.stop().await;
    }
    assert_eq!(fixture.reasons(), []);
}

#[tokio::test]
async fn job_without_an_id_is_known_again() {
    let Some(fixture) = Fixture::new().await else { return };
    let number = fixture.put(60, r#"{"algorithm": "x"}"#).await;
    for _ in 0..3 {
        let intake = fixture.intake(1);
        let _beats = Beats::of(&intake);
        fixture.at_server(number, Some(JobState::Reserved)).await;
        eventually("it is submitted", async || fixture.shelf.submitted.load(Ordering::SeqCst) > 0).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        intake.stop().await;
        fixture.at_server(number, Some(JobState::Ready)).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(fixture.shelf.submitted.load(Ordering::SeqCst), 1);
    // The same text is another job if it is put again.
    let other = fixture.put(60, r#"{"algorithm": "x"}"#).await;
    let intake = fixture.intake(2);
    let _beats = Beats::of(&intake);
    eventually("there are two", async || fixture.shelf.ids().len() == 2).await;
    fixture.shelf.ids().into_iter().for_each(|id| fixture.shelf.set(id, State::Done));
    fixture.at_server(number, None).await;
    fixture.at_server(other, None).await;
}

#[tokio::test]
async fn rubbish_is_buried_with_its_reason() {
    let Some(fixture) = Fixture::new().await else { return };
    let first = fixture.put(60, &job("")).await;
    let mut numbers = Vec::new();
    for body in ["hello", "", r#"{"algorithm": "x", "colour": 1}"#, &job(r#", "max_attempts": 9"#)] {
        numbers.push(fixture.put(60, body).await);
    }
    let intake = fixture.intake(2);
    let _beats = Beats::of(&intake);
    for number in &numbers {
        fixture.at_server(*number, Some(JobState::Buried)).await;
    }
    fixture.at_server(first, Some(JobState::Reserved)).await;
    let mut reasons = fixture.reasons();
    reasons.sort();
    assert_eq!(reasons.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers);
    for ((_, reason), part) in reasons.iter().zip(["not JSON", "empty", "colour", "submitted before"]) {
        assert!(reason.contains(part), "{reason}");
    }
    // What an operator deletes there is not listed any more.
    assert!(fixture.connection().await.delete(numbers[0]).await.unwrap());
    eventually("it is gone from the list", async || fixture.reasons().len() == 3).await;
}

#[tokio::test]
async fn unknown_algorithm_is_released_thrice_then_buried() {
    let Some(fixture) = Fixture::new().await else { return };
    let number = fixture.put(60, r#"{"algorithm": "another"}"#).await;
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let started = Instant::now();
    fixture.at_server(number, Some(JobState::Delayed)).await;
    fixture.at_server(number, Some(JobState::Buried)).await;
    assert!(started.elapsed() > Duration::from_secs(6), "{:?}", started.elapsed());
    let stats = fixture.stats(number).await.unwrap();
    assert_eq!((stats.releases, stats.priority), (3, 7));
    assert!(fixture.reasons()[0].1.contains("algorithm another"));
    assert_eq!(fixture.shelf.ids(), []);
}

#[tokio::test]
async fn reservation_is_given_up_when_the_heart_stops() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    fixture.here(id(), State::Ready).await;
    drop(beats);
    let stopped = Instant::now();
    fixture.at_server(number, Some(JobState::Ready)).await;
    let took = stopped.elapsed();
    assert!(took > LEASE / 2 && took < LEASE * 2, "{took:?}");
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(fixture.stats(number).await.unwrap().state, JobState::Ready, "nothing is taken without a heart");
    let _beats = Beats::of(&intake);
    fixture.at_server(number, Some(JobState::Reserved)).await;
}

#[tokio::test]
async fn no_more_is_reserved_than_slots_are_free() {
    let Some(fixture) = Fixture::new().await else { return };
    for _ in 0..30 {
        fixture.put(60, r#"{"algorithm": "x"}"#).await;
    }
    let intake = fixture.intake(0);
    let _beats = Beats::of(&intake);
    let reserved = async || fixture.connection().await.stats_tube(&Tube::default()).await.unwrap().unwrap().reserved;
    let steady = async |expected| {
        eventually("jobs are taken", async || reserved().await == expected).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(reserved().await, expected);
    };
    steady(0).await;
    intake.gate.set_free(2);
    steady(2).await;
    // Jobs that wait for their next attempt keep the reservation and no slot, up to slots + 16.
    for _ in 0..20 {
        fixture.shelf.ids().into_iter().for_each(|id| fixture.shelf.set(id, State::Delayed));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    steady(18).await;
}

#[tokio::test]
async fn job_that_waits_long_leaves_its_server() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(2);
    let _beats = Beats::of(&intake);
    fixture.shelf.paused.lock().unwrap().insert("night".parse().unwrap(), None);
    for (tube, fields, state) in [
        ("default", r#""hold": true"#, State::Held),
        ("default", r#""delay": "2h""#, State::Delayed),
        ("default", r#""host": "another""#, State::Ready),
    ] {
        let id = JobId::new();
        let body = format!(r#"{{"id": "{id}", "algorithm": "x", {fields}}}"#);
        let number = fixture.connection().await.put(&tube.parse().unwrap(), 7, 0, 60, body.as_bytes()).await.unwrap();
        fixture.at_server(number, None).await;
        assert_eq!(fixture.shelf.record(id).unwrap().state, state);
    }
    // A short wait and a pin to this worker are no reason.
    let number = fixture.put(60, &job(r#", "delay": "20s", "host": "me""#)).await;
    fixture.here(id(), State::Delayed).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.stats(number).await.unwrap().state, JobState::Reserved);
    fixture.shelf.set(id(), State::Ready);
    fixture.shelf.paused.lock().unwrap().insert(Tube::default(), None);
    fixture.at_server(number, None).await;
    assert_eq!(fixture.shelf.record(id()).unwrap().state, State::Ready);
}

#[tokio::test]
async fn job_kicked_here_has_its_buried_original_deleted() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    fixture.here(id(), State::Ready).await;
    fixture.shelf.set(id(), State::Dead);
    fixture.at_server(number, Some(JobState::Buried)).await;
    intake.stop().await;
    fixture.shelf.act(&[id()], &Action::Kick).await.unwrap();
    // Another job has the number that was noted: it is left alone.
    let other = fixture.put(60, "hello").await;
    let note = std::fs::read_to_string(fixture.directory.path().join("intake.jsonl")).unwrap();
    let mut claimed = fixture.connection().await;
    let reserved = claimed.reserve().await.unwrap().unwrap();
    assert_eq!((reserved.number, claimed.bury(other, 7).await.unwrap()), (other, true));
    let (from, to) = (format!("\"number\":{number},"), format!("\"number\":{other},"));
    let other_note = note.replace(&from, &to).replace("\"put_at\":\"2", "\"put_at\":\"1");
    assert_ne!(note, other_note);
    std::fs::write(fixture.directory.path().join("intake.jsonl"), note + &other_note).unwrap();
    let intake = fixture.intake(0);
    let _beats = Beats::of(&intake);
    fixture.at_server(number, None).await;
    assert_eq!(fixture.stats(other).await.unwrap().state, JobState::Buried);
    assert_eq!(fixture.shelf.record(id()).unwrap().state, State::Ready);
    let file = fixture.directory.path().join("intake.jsonl");
    eventually("the notes are gone", async || std::fs::read(&file).unwrap().is_empty()).await;
}

#[tokio::test]
async fn restarted_server_is_found_again_and_jobs_adopted() {
    let Some(mut fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    fixture.here(id(), State::Ready).await;
    fixture.shelf.set(id(), State::Running);
    fixture.restart().await;
    fixture.at_server(number, Some(JobState::Reserved)).await;
    fixture.child.kill().unwrap();
    fixture.child.wait().unwrap();
    fixture.shelf.set(id(), State::Done);
    assert!(intake.has_work().await, "a server that cannot be asked may have work");
    fixture.restart().await;
    fixture.at_server(number, None).await;
    assert_eq!(fixture.shelf.submitted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn stopping_tells_of_ended_jobs_and_gives_the_others_back() {
    let Some(fixture) = Fixture::new().await else { return };
    let intake = fixture.intake(2);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    let other = fixture.put(60, r#"{"algorithm": "x"}"#).await;
    eventually("both are here", async || fixture.shelf.ids().len() == 2).await;
    fixture.at_server(other, Some(JobState::Reserved)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.shelf.set(id(), State::Done);
    let started = Instant::now();
    intake.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    fixture.at_server(number, None).await;
    fixture.at_server(other, Some(JobState::Ready)).await;
}

#[tokio::test]
async fn broken_queue_leaves_jobs_at_the_server() {
    let Some(fixture) = Fixture::new().await else { return };
    fixture.shelf.is_broken.store(true, Ordering::SeqCst);
    let intake = fixture.intake(1);
    let _beats = Beats::of(&intake);
    let number = fixture.put(60, &job("")).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fixture.at_server(number, Some(JobState::Ready)).await;
    let stats = fixture.stats(number).await.unwrap();
    assert_eq!((stats.releases, stats.buries), (0, 0), "another node can take it");
    fixture.shelf.is_broken.store(false, Ordering::SeqCst);
    fixture.here(id(), State::Ready).await;
}

#[tokio::test]
async fn old_burials_of_done_jobs_are_deleted() {
    let Some(fixture) = Fixture::new().await else { return };
    let mut connection = fixture.connection().await;
    let mut bury = async |body: &str, priority| {
        let number = fixture.put(60, body).await;
        assert_eq!(connection.reserve().await.unwrap().unwrap().number, number);
        assert!(connection.bury(number, priority).await.unwrap());
        number
    };
    let marked = (1 << 31) + 77;
    let done = bury(&job(""), marked).await;
    let dead = bury(&job(""), 7).await;
    let other = bury(&format!(r#"{{"id": "{}", "algorithm": "x"}}"#, JobId::new()), marked).await;
    let old = |number| OldBuried { server: fixture.name(), number, id: id() };
    let intake = fixture.intake_with(0, vec![old(done), old(dead), old(other), old(99)]);
    let _beats = Beats::of(&intake);
    fixture.at_server(done, None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in [dead, other] {
        assert_eq!(fixture.stats(number).await.unwrap().state, JobState::Buried);
    }
}

#[tokio::test]
async fn server_that_answers_nonsense_is_asked_less_and_less() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = format!("beanstalkd://{}", listener.local_addr().unwrap()).parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        worker: "me".to_owned(),
        tubes: vec![Tube::default()],
        slots: 4,

        data_dir: directory.path().to_owned(),
        old_buried: Vec::new(),
    };
    let intake = Running::start(address, Arc::<Shelf>::default(), options, 4);
    let _beats = Beats::of(&intake);
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tries = count.load(Ordering::SeqCst);
    assert!((3..=8).contains(&tries), "{tries} tries in 3 s");
    serving.abort();
    intake.stop().await;
}
