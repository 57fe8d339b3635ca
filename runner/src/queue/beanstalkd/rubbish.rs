//! What lies at the server and is no job. It is known here for as long as it is there.

use super::Shared;
use super::body;
use super::server::Connection;
use super::stats::JobState;
use crate::job::State;
use crate::queue::{Action, QueueError, Refusal, Unreadable};

impl Shared {
    /// All that is known here.
    pub(super) async fn unreadable(&self) -> Result<Vec<Unreadable>, QueueError> {
        self.still_there(self.ledger.unreadable(None).await?).await
    }

    /// What has this number.
    pub(super) async fn rubbish(&self, number: u64) -> Result<Option<Unreadable>, QueueError> {
        Ok(self.still_there(self.ledger.unreadable(Some(number)).await?).await?.pop())
    }

    /// Leaves out what the server has no more, and forgets it.
    async fn still_there(&self, mut noted: Vec<Unreadable>) -> Result<Vec<Unreadable>, QueueError> {
        if noted.is_empty() {
            return Ok(noted);
        }
        let mut connection = self.server.connect().await?;
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for found in noted.drain(..) {
            match self.is_still_there(&mut connection, &found).await? {
                true => there.push(found),
                false => gone.push(found.number),
            }
        }
        self.server.give_back(connection);
        // If that cannot be written down now, whoever looks next finds the same.
        let _ = self.ledger.forget_unreadable(gone).await;
        Ok(there)
    }

    /// Whether a number is still that of what was found; a server may have given it again.
    async fn is_still_there(&self, connection: &mut Connection, found: &Unreadable) -> Result<bool, QueueError> {
        let body = connection.peek(found.number).await.map_err(|error| self.server.failed(&error))?;
        Ok(body.is_some_and(|body| body::beginning(&body) == (found.length, found.excerpt.clone())))
    }

    /// Deletes or kicks what has this number. Who kicks it has it looked at again: perhaps by a program that can make
    /// more of it.
    pub(super) async fn act_on_unreadable(
        &self,
        number: u64,
        action: &Action,
    ) -> Result<Result<State, Refusal>, QueueError> {
        if !matches!(action, Action::Delete | Action::Kick) {
            return Ok(Err(Refusal::Unsupported(
                "it is no job; it can be deleted, or kicked to be looked at again".to_owned(),
            )));
        }
        if self.rubbish(number).await?.is_none() {
            return Ok(Err(Refusal::NoSuchJob));
        }
        let mut connection = self.server.connect().await?;
        let done = async {
            match connection.stats_job(number).await?.map(|stats| stats.state) {
                // Only what is buried, so that nothing is taken from a program that has it.
                Some(JobState::Buried) if *action == Action::Delete => connection.delete(number).await,
                Some(JobState::Buried) => connection.kick_job(number).await,
                Some(_) | None => Ok(false),
            }
        };
        let is_done = done.await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        if !is_done {
            return Ok(Err(Refusal::Unsupported("it is not buried now; try again".to_owned())));
        }
        self.ledger.forget_unreadable(vec![number]).await?;
        Ok(Ok(if *action == Action::Delete { State::Dead } else { State::Ready }))
    }
}
