//! What the ledger should have and could not be given, because its disk is full, say, or somebody keeps it locked.
//!
//! A worker that goes on reserving meanwhile takes every job that passes by and can run none. So each of them writes down
//! first what is overdue, and reserves nothing while that fails.

use super::Shared;
use crate::queue::sqlite::Sighting;
use crate::queue::{QueueError, Unreadable};

/// Something to be written down.
pub(super) enum Overdue {
    /// That nothing has come of a job's reservation, through no fault of the job.
    GivenBack(Box<Sighting>),
    /// What was found, and is no job.
    Found(Box<Unreadable>),
}

impl Shared {
    /// Keeps in mind what could not be written down.
    pub(super) async fn or_overdue<T>(
        &self,
        written: Result<T, QueueError>,
        what: impl FnOnce() -> Overdue,
    ) -> Result<T, QueueError> {
        if written.is_err() {
            self.overdue.lock().await.push(what());
        }
        written
    }

    /// Writes down all that is overdue.
    pub(super) async fn catch_up(&self) -> Result<(), QueueError> {
        let mut overdue = self.overdue.lock().await;
        while let Some(next) = overdue.last() {
            match next {
                Overdue::GivenBack(sighting) => self.ledger.given_back(sighting.as_ref().clone()).await?,
                Overdue::Found(found) => self.ledger.note(found.as_ref().clone()).await?,
            }
            overdue.pop();
        }
        Ok(())
    }
}
