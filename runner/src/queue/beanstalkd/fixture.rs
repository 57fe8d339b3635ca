//! What the tests of this module share: a real server on a loopback port, and data directories that use it.

use super::BeanstalkdQueue;
use super::client::Client;
use super::server::Connection;
use super::stats::{JobState, JobStats};
use crate::job::{Decision, Document, JobId, Record, Tube, Usage, Verdict};
use crate::queue::sqlite::SqliteQueue;
use crate::queue::{Claimed, Home, Queue, Settlement, Submission, WorkerId};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long the leases of [`worker`] last, and how long a reservation does of what is submitted.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server; it is killed when dropped.
pub(super) struct Fixture {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

/// The smallest document there is.
pub(super) fn document() -> Document {
    Document::new("x".parse().unwrap())
}

/// The worker of this name.
pub(super) fn worker(name: &str) -> WorkerId {
    let home = Home { store: JobId::from_bytes([7; 16]), public_url: None };
    WorkerId { start: JobId::new(), name: name.to_owned(), lease: LEASE, home }
}

/// A failure that may pass.
pub(super) fn failed() -> Verdict {
    Verdict::Failed { message: "the sea was rough".to_owned(), permanent: false, exit_code: Some(10) }
}

/// What is settled with this verdict and decision.
pub(super) fn settlement(verdict: Verdict, decision: Decision) -> Settlement {
    Settlement { verdict, decision, usage: Usage::default(), published: true }
}

impl Fixture {
    /// A server with a binlog; nothing where there is none to start, which is said.
    pub(super) async fn new() -> Option<Self> {
        match Self::start().await {
            Ok(fixture) => Some(fixture),
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
                eprintln!("skipped: {reason}");
                None
            }
        }
    }

    /// A server with a binlog, or why there is none.
    pub(super) async fn start() -> Result<Self, &'static str> {
        let directory = tempfile::tempdir().unwrap();
        // Somebody may be faster in taking the port that was free a moment ago.
        for _ in 0..10 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = match spawn(port, directory.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err("there is no beanstalkd here; on Debian: apt-get install beanstalkd");
                }
                child => child.unwrap(),
            };
            if listens(&mut child, port).await {
                return Ok(Self { child, port, directory });
            }
        }
        panic!("no port is free");
    }

    /// Kills the server, and starts it again on what it has written.
    pub(super) async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.port, self.directory.path()).unwrap();
        assert!(listens(&mut self.child, self.port).await, "somebody has taken the port");
    }

    /// The queue as a process of the data directory `name` has it.
    pub(super) fn queue(&self, name: &str) -> BeanstalkdQueue {
        let ledger = SqliteQueue::open(&self.ledger(name)).unwrap();
        let address = format!("beanstalkd://127.0.0.1:{}", self.port).parse().unwrap();
        BeanstalkdQueue::new(address, ledger, LEASE).unwrap()
    }

    /// The file of the data directory `name`.
    pub(super) fn ledger(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).join("queue.db")
    }

    /// A connection of somebody else's.
    pub(super) async fn connection(&self) -> Connection {
        Client::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// What the server has under a number.
    pub(super) async fn stats(&self, number: u64) -> Option<JobStats> {
        self.connection().await.stats_job(number).await.unwrap()
    }

    /// Waits until the server has a job in a state.
    pub(super) async fn await_state(&self, number: u64, state: Option<JobState>) {
        eventually("the server's state", async || self.stats(number).await.map(|stats| stats.state) == state).await;
    }

    /// Tells the process something.
    pub(super) fn signal(&self, name: &str) {
        let told = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }
}

fn spawn(port: u16, directory: &Path) -> std::io::Result<Child> {
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

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it is so.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what} is still not so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submits one job.
pub(super) async fn submit(queue: &BeanstalkdQueue, document: Document) -> JobId {
    let id = JobId::new();
    queue.submit(vec![Submission { id, document }]).await.unwrap();
    id
}

/// Claims one job, if there is one.
pub(super) async fn claim(queue: &BeanstalkdQueue, worker: &WorkerId) -> Option<Claimed> {
    queue.claim(worker, &[Tube::default()], 1).await.unwrap().pop()
}

/// A job that is known.
pub(super) async fn find(queue: &BeanstalkdQueue, id: JobId) -> Record {
    queue.find(id).await.unwrap().unwrap()
}
