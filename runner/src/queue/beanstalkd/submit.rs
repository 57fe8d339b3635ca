//! Putting jobs into the server.

use super::Shared;
use super::body;
use super::claim::seconds;
use super::server::Connection;
use crate::job::{Digest, Document};
use crate::queue::sqlite::{Counts, Place};
use crate::queue::{QueueError, Submission};
use jiff::Timestamp;
use std::time::Duration;

/// A job whose body is as long as the server takes, or one byte shorter, breaks the replay of its binlog, which counts
/// the end of the line as well.
const REPLAY: usize = 2;

/// A job on its way.
struct Put {
    job: Submission,
    body: Vec<u8>,
    delay: u32,
}

impl Shared {
    /// Puts jobs that are not known into their tubes. All of them are looked at before the first one is put.
    ///
    /// A server keeps one job after the other: if one of them cannot be put, those before are taken back, unless a
    /// worker has been faster. A process that is killed meanwhile leaves some of them in the server, and has answered
    /// for none. Whoever submits again what was not answered for may put it twice; it is run once by each data
    /// directory that knows its end.
    pub(super) async fn submit(&self, jobs: Vec<Submission>) -> Result<(), QueueError> {
        for Submission { document, .. } in &jobs {
            if let Some(unsupported) = body::unsupported(document) {
                let (what, instead) = (unsupported.what.to_owned(), unsupported.instead);
                return Err(QueueError::Unsupported { backend: super::NAME, what, instead });
            }
        }
        let jobs = self.ledger.unknown(jobs).await?;
        if jobs.is_empty() {
            return Ok(());
        }
        let mut connection = self.server.connect().await?;
        let largest = connection.stats().await.map_err(|error| self.server.failed(&error))?.max_job_size;
        let now = Timestamp::now();
        let puts: Vec<Put> = jobs.into_iter().map(|job| self.prepare(job, now, largest)).collect::<Result<_, _>>()?;
        let (ttr, most) = (seconds(self.lease).max(1), puts.len());
        let mut placed = Vec::with_capacity(most);
        for Put { job, body, delay } in puts {
            let Document { tube, priority, .. } = &job.document;
            match connection.put(tube, *priority, delay, ttr, &body).await {
                Ok(number) => {
                    placed.push((job, Place { number, body: Digest::of(&body), counts: Counts::default() }));
                }
                Err(error) => {
                    let error = self.server.failed(&error);
                    return Err(self.undo(connection, &placed, most, error).await);
                }
            }
        }
        // What is not written down is not answered for, and would be put twice by whoever tries again.
        match self.ledger.submitted(placed.clone()).await {
            Ok(()) => {
                self.server.give_back(connection);
                Ok(())
            }
            Err(error) => {
                // A commit that fails may have been made, and what is known here is never put again.
                let jobs = placed.iter().map(|(job, _)| job.clone()).collect();
                match self.ledger.unknown(jobs).await {
                    Ok(unknown) if unknown.is_empty() => Ok(()),
                    Ok(_) => Err(self.undo(connection, &placed, most, error).await),
                    Err(_) => Err(error),
                }
            }
        }
    }

    fn prepare(&self, job: Submission, now: Timestamp, largest: usize) -> Result<Put, QueueError> {
        let Submission { id, document } = &job;
        let body = Document { id: Some(*id), ..document.clone() }.canonical().into_bytes();
        let most = largest.saturating_sub(REPLAY);
        if body.len() > most {
            return Err(QueueError::Backend(format!(
                "job {id} is {} bytes as JSON, and {} takes {most} (its max-job-size is {largest}, of which its \
                 binlog needs {REPLAY}); let `input` be a URL of large data, or start the server with a larger -z",
                body.len(),
                self.server.address()
            )));
        }
        let wait = u64::try_from(document.ready_at(now).duration_since(now).as_millis()).unwrap_or(0);
        let delay = seconds(Duration::from_millis(wait));
        if Duration::from_secs(delay.into()) < Duration::from_millis(wait) {
            return Err(QueueError::Backend(format!(
                "job {id} is to wait for longer than beanstalkd can have it wait, which is 136 years"
            )));
        }
        Ok(Put { job, body, delay })
    }

    /// Takes back what was put; returns what is to be told.
    async fn undo(
        &self,
        connection: Connection,
        placed: &[(Submission, Place)],
        most: usize,
        error: QueueError,
    ) -> QueueError {
        let mut connection = if connection.is_usable() { Ok(connection) } else { self.server.connect().await };
        let mut left = 0;
        for (_, place) in placed {
            let is_deleted = match connection.as_mut() {
                Ok(connection) => connection.delete(place.number).await.unwrap_or(false),
                Err(_) => false,
            };
            left += usize::from(!is_deleted);
        }
        if placed.is_empty() {
            return error;
        }
        let put = placed.len();
        QueueError::Backend(format!(
            "{error}; before that {put} of {most} jobs had been put: {} were taken back, and {left} may run, because they \
             were taken by then or the server is gone",
            put - left
        ))
    }
}
