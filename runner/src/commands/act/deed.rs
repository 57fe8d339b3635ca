//! What is done to jobs.

use super::outcome::Outcome;
use super::update::Changes;
use crate::cli::Reference;
use crate::output;
use longboat::job::{JobId, State};
use longboat::queue::{Acted, Action, Queue};
use longboat::results::Results;
use std::sync::Arc;

/// What is done to jobs.
pub enum Deed {
    /// What a queue does by itself.
    Plain(Action),
    /// Their documents are changed.
    Update(Changes),
    /// They are removed, and what this node has of their results.
    Delete(Option<Arc<Results>>),
}

/// Keeps waiting jobs from being started.
pub const HOLD: Deed = Deed::Plain(Action::Hold);
/// Ends the hold.
pub const RELEASE: Deed = Deed::Plain(Action::Release);
/// Has dead jobs tried again.
pub const KICK: Deed = Deed::Plain(Action::Kick);

/// Ends jobs.
pub fn cancel(reason: String) -> Deed {
    Deed::Plain(Action::Cancel { reason })
}

impl Deed {
    /// The verb, and what jobs are to which it was done.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Deed::Plain(Action::Cancel { .. }) => ("cancel", "cancelled"),
            Deed::Plain(Action::Hold) => ("hold", "held"),
            Deed::Plain(Action::Release) => ("release", "released"),
            Deed::Plain(Action::Kick) => ("kick", "kicked"),
            Deed::Plain(Action::Update(_)) | Deed::Update(_) => ("update", "updated"),
            Deed::Plain(Action::Delete) | Deed::Delete(_) => ("delete", "deleted"),
        }
    }

    /// The states of the jobs that are meant by a filter that names none.
    pub fn states(&self) -> &'static [State] {
        use State::{Cancelled, Dead, Delayed, Done, Held, Ready, Running};
        match self {
            Deed::Plain(Action::Cancel { .. }) => &[Held, Delayed, Ready, Running],
            Deed::Plain(Action::Hold) => &[Delayed, Ready],
            Deed::Plain(Action::Release) => &[Held],
            Deed::Plain(Action::Kick) => &[Dead],
            Deed::Plain(Action::Update(_)) | Deed::Update(_) => &[Held, Delayed, Ready, Dead],
            Deed::Plain(Action::Delete) | Deed::Delete(_) => &[Held, Delayed, Ready, Done, Dead, Cancelled],
        }
    }

    /// Does it to what has these numbers and is no job, and says what came of each, in their order.
    ///
    /// # Errors
    /// As for [`on`](Self::on).
    pub async fn on_others(&self, queue: &dyn Queue, numbers: &[u64]) -> anyhow::Result<Vec<Outcome>> {
        let action = match self {
            Deed::Plain(action) => action.clone(),
            Deed::Update(_) => Action::Update(serde_json::Map::new()),
            Deed::Delete(_) => Action::Delete,
        };
        let mut outcomes = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let outcome = queue.act_on_unreadable(number, &action).await?;
            outcomes.push(Outcome::new(Reference::Number(number), outcome));
        }
        Ok(outcomes)
    }

    /// Does it to these jobs, and says what came of each, in their order.
    ///
    /// # Errors
    /// The queue's; what was done to jobs before stays done.
    pub async fn on(&self, queue: &dyn Queue, ids: &[JobId]) -> anyhow::Result<Vec<Outcome>> {
        match self {
            Deed::Plain(action) => Ok(outcomes(queue.act(ids, action).await?)),
            Deed::Update(changes) => changes.make(queue, ids).await,
            Deed::Delete(results) => {
                let acted = queue.act(ids, &Action::Delete).await?;
                if let Some(results) = results {
                    let gone = acted.iter().filter(|acted| acted.outcome.is_ok()).map(|acted| acted.id).collect();
                    remove(Arc::clone(results), gone).await?;
                }
                Ok(outcomes(acted))
            }
        }
    }
}

pub fn outcomes(acted: Vec<Acted>) -> Vec<Outcome> {
    acted.into_iter().map(Outcome::from).collect()
}

/// Removes results of jobs that are deleted. One that stays for now is removed by a worker of this data directory.
async fn remove(results: Arc<Results>, ids: Vec<JobId>) -> anyhow::Result<()> {
    let removed = tokio::task::spawn_blocking(move || {
        for id in ids {
            if let Err(error) = results.remove(id) {
                output::tell(format_args!("warning: job {id} is deleted, but its results are not: {error}"));
            }
        }
    });
    Ok(removed.await?)
}
