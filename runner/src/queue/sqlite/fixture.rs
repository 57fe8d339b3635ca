//! What the tests of this module share: a queue in a real file, and a wall clock that they set.

use super::{Sharing, SqliteQueue, open};
use crate::job::{Decision, Document, JobId, Record, Tube, Usage, Verdict};
pub(super) use crate::queue::conformance::{LEASE, document, failed, worker};
use crate::queue::{Claimed, Jobs, Lease, Outcome, QueueError, Settled, Settlement, Submission, Work, WorkerId};
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(super) struct Fixture {
    pub(super) queue: SqliteQueue,
    pub(super) directory: tempfile::TempDir,
    millis: Arc<AtomicI64>,
}

fn open_queue(directory: &Path, millis: &Arc<AtomicI64>) -> SqliteQueue {
    let millis = Arc::clone(millis);
    let clock = Arc::new(move || Timestamp::from_millisecond(millis.load(Ordering::SeqCst)).unwrap());
    SqliteQueue::open_with_clock(&directory.join("queue.db"), Sharing::OneMachine, clock).unwrap()
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let millis = Arc::new(AtomicI64::new(1_800_000_000_000));
        let queue = open_queue(directory.path(), &millis);
        Self { queue, directory, millis }
    }

    /// The same queue, as another process has it that goes by the same clock.
    pub(super) fn elsewhere(&self) -> SqliteQueue {
        open_queue(self.directory.path(), &self.millis)
    }

    /// What the wall clock says.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.millis.load(Ordering::SeqCst)).unwrap()
    }

    /// Where the file is.
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("queue.db")
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
    ) -> Result<Settled, QueueError> {
        self.settle_as(&worker(name), lease, verdict, decision).await
    }

    pub(super) async fn settle_as(
        &self,
        worker: &WorkerId,
        lease: &Lease,
        verdict: Verdict,
        decision: Decision,
    ) -> Result<Settled, QueueError> {
        let outcome = Outcome { document: (*b"{}").into(), log: (*b"log\n").into(), files: false };
        let settlement = Settlement { verdict, decision, usage: Usage::default(), outcome };
        self.queue.settle(worker, lease, settlement).await
    }

    pub(super) async fn find(&self, id: JobId) -> Record {
        self.queue.find(id).await.unwrap().unwrap()
    }

    /// Does to the file what the queue never would.
    pub(super) fn sql(&self, sql: &str) {
        let path = self.directory.path().join("queue.db");
        open::writer(&path, Sharing::OneMachine).unwrap().execute_batch(sql).unwrap();
    }

    pub(super) fn reader(&self) -> rusqlite::Connection {
        open::reader(&self.path(), Sharing::OneMachine).unwrap()
    }

    /// How SQLite means to go about a statement.
    pub(super) fn plan(&self, sql: &str) -> String {
        let connection = self.reader();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }
}
