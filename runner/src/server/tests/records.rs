//! A queue that knows some records, and nothing else.

use crate::job::{Decision, JobId, Progress, Record, Tube};
use crate::queue::{
    Acted, Action, Claimed, Cursor, Delivered, Delivery, Filter, Interest, Lease, Queue, QueueError, Recalled,
    Retention, Settlement, Status, Submission, Watch, WorkerId,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Mutex;
use std::time::Duration;

/// Finds what it was given, or fails; a server asks for nothing else.
#[derive(Default)]
pub(super) struct Records {
    pub(super) records: Mutex<Vec<Record>>,
    pub(super) is_broken: Mutex<bool>,
    /// Whether it cannot tell what became of any job.
    pub(super) has_others: Mutex<bool>,
}

fn unasked<T>() -> Result<T, QueueError> {
    Err(QueueError::Backend("a server does not ask this".to_owned()))
}

#[async_trait]
impl Queue for Records {
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        if *self.is_broken.lock().unwrap() {
            return Err(QueueError::Backend("secret detail".to_owned()));
        }
        if *self.has_others.lock().unwrap() {
            let what = format!("tell what became of job {id}");
            return Err(QueueError::Unsupported { backend: "the queue", what, instead: "ask elsewhere" });
        }
        Ok(self.records.lock().unwrap().iter().find(|record| record.id == id).cloned())
    }
    async fn submit(&self, _: Vec<Submission>) -> Result<(), QueueError> {
        unasked()
    }
    async fn register(&self, _: &WorkerId) -> Result<(), QueueError> {
        unasked()
    }
    async fn claim(&self, _: &WorkerId, _: &[Tube], _: usize) -> Result<Vec<Claimed>, QueueError> {
        unasked()
    }
    async fn heartbeat(&self, _: &WorkerId, _: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        unasked()
    }
    async fn recalled(&self, _: &WorkerId, _: &[Lease]) -> Result<Vec<Recalled>, QueueError> {
        unasked()
    }
    async fn progress(&self, _: &Lease, _: Progress) -> Result<(), QueueError> {
        unasked()
    }
    async fn settle(&self, _: &WorkerId, _: &Lease, _: Settlement) -> Result<(), QueueError> {
        unasked()
    }
    fn begin(&self, _: &WorkerId, _: &Lease) {}
    async fn give_back(&self, _: &WorkerId, _: &Claimed) -> Result<(), QueueError> {
        unasked()
    }
    async fn take_over(&self, _: &WorkerId) -> Result<Vec<(Lease, Decision)>, QueueError> {
        unasked()
    }
    async fn list(&self, _: &Filter, _: Option<Cursor>, _: usize) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        unasked()
    }
    async fn status(&self) -> Result<Status, QueueError> {
        unasked()
    }
    async fn has_work(&self, _: &WorkerId, _: &[Tube]) -> Result<bool, QueueError> {
        unasked()
    }
    fn watch(&self, _: Interest) -> Box<dyn Watch> {
        Box::new(Nothing)
    }
    async fn unregister(&self, _: &WorkerId) -> Result<(), QueueError> {
        unasked()
    }
    async fn act(&self, _: &[JobId], _: &Action) -> Result<Vec<Acted>, QueueError> {
        unasked()
    }
    async fn pause(&self, _: &Tube, _: Option<Timestamp>) -> Result<(), QueueError> {
        unasked()
    }
    async fn resume(&self, _: &Tube) -> Result<bool, QueueError> {
        unasked()
    }
    async fn forget(&self, _: &Retention, _: usize) -> Result<usize, QueueError> {
        unasked()
    }
    async fn forgotten(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        unasked()
    }
    async fn deliveries(&self, _: &WorkerId, _: Duration, _: usize) -> Result<Vec<Delivery>, QueueError> {
        unasked()
    }
    async fn delivered(&self, _: &Delivery, _: Delivered) -> Result<(), QueueError> {
        unasked()
    }
}

struct Nothing;

#[async_trait]
impl Watch for Nothing {
    async fn changed(&mut self, _: Duration) {}
}
