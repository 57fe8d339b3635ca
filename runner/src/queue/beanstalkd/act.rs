//! What can be done to jobs in a server from outside: by their numbers, and only what it has a command for.

use super::claim::{counts, seconds};
use super::server::Connection;
use super::stats::{JobState, JobStats};
use super::{NAME, Shared, fence, mark};
use crate::job::{JobId, Record, State, Tube};
use crate::queue::sqlite::Place;
use crate::queue::{Acted, Action, QueueError, Refusal};
use jiff::Timestamp;
use std::time::Duration;

/// How often a job may change under the hand of who acts on it.
const TRIES: usize = 5;

type Outcome = Result<State, Refusal>;

impl Shared {
    /// Does the same to each of these jobs, one after the other.
    pub(super) async fn act(&self, ids: &[JobId], action: &Action) -> Result<Vec<Acted>, QueueError> {
        let mut acted = Vec::with_capacity(ids.len());
        for &id in ids {
            acted.push(Acted { id, outcome: self.act_on(id, action).await? });
        }
        Ok(acted)
    }

    async fn act_on(&self, id: JobId, action: &Action) -> Result<Outcome, QueueError> {
        let unsupported = |what: &str| Ok(Err(Refusal::Unsupported(format!("beanstalkd cannot {what}"))));
        match action {
            Action::Hold => return unsupported("hold a job; cancel it, and submit it again later"),
            Action::Release => {
                return unsupported("hold a job, so none is to be released; a kick makes a delayed one ready");
            }
            Action::Update(_) => return unsupported("change a job; cancel it, and submit another one"),
            Action::Cancel { .. } | Action::Kick | Action::Delete => {}
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let Some((record, place)) = self.ledger.find(id).await? else { return Ok(Err(Refusal::NoSuchJob)) };
            if matches!(record.state, State::Done | State::Cancelled) {
                return self.act_on_ended(&record, action).await;
            }
            let mut connection = self.server.connect().await?;
            let stats = fence::look(&mut connection, place).await.map_err(|error| self.server.failed(&error))?;
            if stats.as_ref().is_some_and(|stats| mark::is_publishing(&record, stats)) {
                self.server.give_back(connection);
                return Ok(Err(Refusal::State(State::Running, ", and its result is being published")));
            }
            let outcome = match action {
                Action::Cancel { reason } => self.cancel(&mut connection, &record, place, stats, reason).await?,
                Action::Kick => self.kick(&mut connection, &record, place, stats).await?,
                _ => self.delete(&mut connection, &record, place, stats).await?,
            };
            self.server.give_back(connection);
            match outcome {
                Some(outcome) => return Ok(outcome),
                None if tries < TRIES => {}
                None => return Ok(Err(Refusal::Unsupported("it changes all the time; try again".to_owned()))),
            }
        }
    }

    async fn act_on_ended(&self, record: &Record, action: &Action) -> Result<Outcome, QueueError> {
        match (action, record.state) {
            (Action::Delete, state) => {
                self.ledger.removed(record.id).await?;
                Ok(Ok(state))
            }
            (Action::Cancel { .. }, State::Cancelled) => Ok(Ok(State::Cancelled)),
            (_, state) => Ok(Err(Refusal::State(state, ", and has ended"))),
        }
    }

    /// Cancels a job that waits, or one that a worker of this data directory runs; nothing if it has changed meanwhile.
    async fn cancel(
        &self,
        connection: &mut Connection,
        record: &Record,
        place: Place,
        stats: Option<JobStats>,
        reason: &str,
    ) -> Result<Option<Outcome>, QueueError> {
        match stats.map(|stats| (stats.state, counts(&stats) == place.counts)) {
            None => return Ok(Some(Err(gone(place)))),
            Some((JobState::Buried, _)) => return Ok(Some(Err(Refusal::State(State::Dead, ", and has ended")))),
            Some((JobState::Reserved, true)) if record.state == State::Running => {
                // Its worker finds out from the file, stops the guest, and deletes the job.
                return Ok(self.ledger.cancelled(record.id, reason).await?.map(Ok));
            }
            Some((JobState::Reserved, _)) => {
                return Ok(Some(Err(Refusal::Unsupported(
                    "beanstalkd cannot cancel a job that another worker runs; do it on that worker's node".to_owned(),
                ))));
            }
            Some((JobState::Ready | JobState::Delayed, _)) => {}
        }
        if !connection.delete(place.number).await.map_err(|error| self.server.failed(&error))? {
            return Ok(None);
        }
        Ok(self.ledger.cancelled(record.id, reason).await?.map(Ok))
    }

    async fn kick(
        &self,
        connection: &mut Connection,
        record: &Record,
        place: Place,
        stats: Option<JobStats>,
    ) -> Result<Option<Outcome>, QueueError> {
        let Some(stats) = stats else { return Ok(Some(Err(gone(place)))) };
        match stats.state {
            JobState::Ready => return Ok(Some(Err(Refusal::State(State::Ready, " already")))),
            JobState::Reserved => return Ok(Some(Err(Refusal::State(State::Running, "")))),
            JobState::Buried | JobState::Delayed => {}
        }
        if !connection.kick_job(place.number).await.map_err(|error| self.server.failed(&error))? {
            return Ok(None);
        }
        self.ledger.kicked(record.id, stats.kicks, stats.state == JobState::Buried).await?;
        Ok(Some(Ok(State::Ready)))
    }

    async fn delete(
        &self,
        connection: &mut Connection,
        record: &Record,
        place: Place,
        stats: Option<JobStats>,
    ) -> Result<Option<Outcome>, QueueError> {
        let state = match stats.as_ref().map(|stats| stats.state) {
            Some(JobState::Reserved) => State::Running,
            Some(JobState::Ready) => State::Ready,
            Some(JobState::Delayed) => State::Delayed,
            Some(JobState::Buried) | None => State::Dead,
        };
        if state == State::Running {
            return Ok(Some(Err(Refusal::State(State::Running, "; cancel it first"))));
        }
        let is_gone = stats.is_none();
        if !is_gone && !connection.delete(place.number).await.map_err(|error| self.server.failed(&error))? {
            return Ok(None);
        }
        self.ledger.removed(record.id).await?;
        Ok(Some(Ok(state)))
    }

    /// Pauses a tube.
    pub(super) async fn pause(&self, tube: &Tube, until: Option<Timestamp>) -> Result<(), QueueError> {
        let left = until.map(|until| until.duration_since(Timestamp::now()));
        let left = left.map_or(u32::MAX, |left| seconds(Duration::try_from(left).unwrap_or_default()));
        let mut connection = self.server.connect().await?;
        let is_paused = connection.pause(tube, left).await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        if is_paused {
            return Ok(());
        }
        Err(QueueError::Unsupported {
            backend: NAME,
            what: format!("pause tube {tube}, because there is none of that name"),
            instead: "a tube is there only while it has jobs, or somebody uses or watches it: start a worker for it first",
        })
    }

    /// Ends a pause; whether there was one.
    pub(super) async fn resume(&self, tube: &Tube) -> Result<bool, QueueError> {
        let mut connection = self.server.connect().await?;
        let resumed = async {
            let was_paused = connection.stats_tube(tube).await?.is_some_and(|stats| stats.pause_left > 0);
            Ok(was_paused && connection.pause(tube, 0).await?)
        };
        let resumed = resumed.await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        Ok(resumed)
    }
}

/// What is said of a job that the server has no more.
fn gone(place: Place) -> Refusal {
    Refusal::Unsupported(format!(
        "beanstalkd has number {} no more: another worker has ended it, or it was deleted there",
        place.number
    ))
}
