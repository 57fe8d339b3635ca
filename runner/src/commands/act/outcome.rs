//! What came of an act.

use crate::cli::{Format, Reference};
use crate::output::{self, Array};
use longboat::job::{JobId, State};
use longboat::queue::{Acted, Refusal};
use serde::Serialize;

/// How many refusals are told to people.
const TOLD: usize = 20;

/// What came of an act on one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The job, or what has a number and is none.
    #[serde(flatten)]
    pub what: Reference,
    /// The state that it is in now, or was in when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Outcome {
    /// What a queue says.
    pub fn new(what: Reference, outcome: Result<State, Refusal>) -> Self {
        match outcome {
            Ok(state) => Self { what, state: Some(state), error: None },
            Err(refusal) => Self { what, state: None, error: Some(refusal.to_string()) },
        }
    }

    /// It was done, and the job is in this state.
    pub fn done(id: JobId, state: State) -> Self {
        Self { what: id.into(), state: Some(state), error: None }
    }

    /// Nothing was done.
    pub fn refused(what: Reference, why: String) -> Self {
        Self { what, state: None, error: Some(why) }
    }
}

impl From<Acted> for Outcome {
    fn from(acted: Acted) -> Self {
        Self::new(acted.id.into(), acted.outcome)
    }
}

/// Tells what came of an act, while it goes on.
pub struct Report {
    done: u64,
    refused: u64,
    /// The first of the refusals.
    told: Vec<Outcome>,
    /// For programs, all outcomes.
    array: Option<Array>,
}

impl Report {
    /// Nothing has come of anything so far.
    pub fn new(format: Format) -> Self {
        let array = (format != Format::Human).then(|| Array::new(format));
        Self { done: 0, refused: 0, told: Vec::new(), array }
    }

    /// Takes what came of a batch.
    ///
    /// # Errors
    /// Standard output's.
    pub fn add(&mut self, outcomes: Vec<Outcome>) -> anyhow::Result<()> {
        if let Some(array) = &mut self.array {
            // A reader that has gone away does not stop what was asked for.
            array.extend(&outcomes)?;
        }
        for outcome in outcomes {
            match &outcome.error {
                None => self.done += 1,
                Some(_) => {
                    self.refused += 1;
                    if self.told.len() < TOLD {
                        self.told.push(outcome);
                    }
                }
            }
        }
        Ok(())
    }

    /// To how many jobs it was done so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Whether it was about no job at all.
    pub fn is_empty(&self) -> bool {
        self.done + self.refused == 0
    }

    /// Tells the rest; whether nothing was refused. `human` is what people are told, from the number that was done.
    ///
    /// # Errors
    /// Standard output's.
    pub fn end(self, verb: &str, human: impl FnOnce(u64) -> String) -> anyhow::Result<bool> {
        match self.array {
            Some(array) => array.end()?,
            None => {
                output::line(&human(self.done))?;
                if self.refused > 0 {
                    output::tell(refusals(verb, self.refused, &self.told));
                }
            }
        }
        Ok(self.refused == 0)
    }
}

fn refusals(verb: &str, count: u64, told: &[Outcome]) -> String {
    let mut lines = vec![format!("error: {verb}: refused for {}:", output::jobs(count))];
    lines.extend(told.iter().map(|outcome| {
        let why = output::plain(outcome.error.as_deref().unwrap_or_default());
        format!("  {}  {why}", outcome.what)
    }));
    match count - told.len() as u64 {
        0 => {}
        more => lines.push(format!("  and {} more; -o json tells of each", output::number(more))),
    }
    lines.join("\n")
}
