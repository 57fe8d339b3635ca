//! What the tests of this module share: a queue in a real file, and a wall clock that they set.

use super::{SqliteQueue, schema};
use crate::job::{Decision, Document, JobId, Record, Tube, Usage, Verdict};
use crate::queue::{Claimed, Home, Lease, Queue, QueueError, Settlement, Submission, WorkerId};
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(super) struct Fixture {
    pub(super) queue: SqliteQueue,
    pub(super) directory: tempfile::TempDir,
    millis: Arc<AtomicI64>,
}

/// The smallest document there is.
pub(super) fn document() -> Document {
    Document::new("x".parse().unwrap())
}

/// How long the leases of [`worker`] last.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// The worker of this name; its identity follows from the name.
pub(super) fn worker(name: &str) -> WorkerId {
    let mut start = [0; 16];
    start[..16.min(name.len())].copy_from_slice(&name.as_bytes()[..16.min(name.len())]);
    WorkerId { start: JobId::from_bytes(start), name: name.to_owned(), lease: LEASE, home: home() }
}

/// Where the tests' workers keep results: nowhere.
pub(super) fn home() -> Home {
    Home { store: JobId::from_bytes([7; 16]), public_url: None }
}

/// A failure that may pass.
pub(super) fn failed() -> Verdict {
    Verdict::Failed { message: "the sea was rough".to_owned(), permanent: false, exit_code: Some(10) }
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let millis = Arc::new(AtomicI64::new(1_800_000_000_000));
        let clock = Arc::clone(&millis);
        let clock = Arc::new(move || Timestamp::from_millisecond(clock.load(Ordering::SeqCst)).unwrap());
        let queue = SqliteQueue::open_with_clock(&directory.path().join("queue.db"), clock).unwrap();
        Self { queue, directory, millis }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.millis.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(super) async fn submit(&self, document: Document) -> JobId {
        self.submit_all(vec![document]).await[0]
    }

    pub(super) async fn submit_all(&self, documents: Vec<Document>) -> Vec<JobId> {
        let jobs: Vec<_> = documents.into_iter().map(|document| Submission { id: JobId::new(), document }).collect();
        let ids = jobs.iter().map(|job| job.id).collect();
        self.queue.submit(jobs).await.unwrap();
        ids
    }

    pub(super) async fn claim(&self, name: &str) -> Option<Claimed> {
        self.queue.claim(&worker(name), &[Tube::default()], 1).await.unwrap().pop()
    }

    pub(super) async fn settle(
        &self,
        name: &str,
        lease: &Lease,
        verdict: Verdict,
        decision: Decision,
    ) -> Result<(), QueueError> {
        let settlement = Settlement { verdict, decision, usage: Usage::default(), published: true };
        self.queue.settle(&worker(name), lease, settlement).await
    }

    pub(super) async fn find(&self, id: JobId) -> Record {
        self.queue.find(id).await.unwrap().unwrap()
    }

    /// Does to the file what the queue never would.
    pub(super) fn sql(&self, sql: &str) {
        schema::open_writer(&self.directory.path().join("queue.db")).unwrap().execute_batch(sql).unwrap();
    }

    /// The time by the queue's clock, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        self.millis.load(Ordering::SeqCst)
    }

    pub(super) fn reader(&self) -> rusqlite::Connection {
        schema::open_reader(&self.directory.path().join("queue.db")).unwrap()
    }

    /// How SQLite means to go about a statement.
    pub(super) fn plan(&self, sql: &str) -> String {
        let connection = self.reader();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }
}
