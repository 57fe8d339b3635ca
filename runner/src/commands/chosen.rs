//! Which jobs a command is about.

use super::Usage;
use crate::cli::{ChosenArgs, FilterArgs, Reference};
use jiff::Timestamp;
use longboat::job::{JobId, State};
use longboat::queue::{Filter, Numbered, Queue};
use std::collections::BTreeSet;

/// The jobs that a command is about.
pub enum Chosen {
    /// These, each of them once.
    Named(Vec<Reference>),
    /// Those that fit.
    Fitting {
        /// What they fit.
        filter: Box<Filter>,
        /// No more than so many of them.
        most: Option<u64>,
        /// Whether the states of the filter were asked for by name.
        states_named: bool,
    },
}

impl Chosen {
    /// What the arguments choose. A filter that names no state is about jobs in these; in any if there are none.
    ///
    /// # Errors
    /// [`Usage`] if they choose in no way, or in more than one.
    pub fn new(args: ChosenArgs, states: &[State]) -> Result<Self, Usage> {
        let is_filtered = args.filter != FilterArgs::default();
        match (!args.ids.is_empty(), is_filtered, args.all) {
            (true, false, false) if args.limit.is_none() => {
                let mut seen = BTreeSet::new();
                return Ok(Chosen::Named(args.ids.into_iter().filter(|id| seen.insert(*id)).collect()));
            }
            (true, false, false) => return Err(Usage("--limit goes with a filter or --all, not with ids".to_owned())),
            (false, false, false) => {
                let how = "say which jobs: by their ids, by a filter such as --tag or --tube, or --all of them";
                return Err(Usage(how.to_owned()));
            }
            (false, true, false) | (false, false, true) => {}
            _ => {
                return Err(Usage(
                    "choose jobs by their ids, by a filter, or --all of them: in one way only".to_owned(),
                ));
            }
        }
        let mut filter = Box::new(args.filter.at(Timestamp::now()));
        let states_named = !filter.states.is_empty();
        if !states_named {
            filter.states = states.to_vec();
        }
        Ok(Chosen::Fitting { filter, most: args.limit, states_named })
    }
}

/// What is said of a number of which nothing is known.
pub fn unknown(number: u64) -> String {
    format!("nothing with the number {number} was submitted or run here")
}

/// What was named, once a server's numbers are looked up.
#[derive(Debug, Default)]
pub struct Named {
    /// The jobs, each of them once.
    pub ids: Vec<JobId>,
    /// The numbers of what is no job.
    pub others: Vec<u64>,
    /// Numbers of which nothing is known.
    pub unknown: Vec<u64>,
}

impl Named {
    /// Looks numbers up.
    ///
    /// # Errors
    /// The queue's.
    pub async fn find(queue: &dyn Queue, references: Vec<Reference>) -> anyhow::Result<Self> {
        let (mut named, mut seen) = (Self::default(), BTreeSet::new());
        for reference in references {
            let id = match reference {
                Reference::Id(id) => id,
                Reference::Number(number) => match queue.numbered(number).await? {
                    Some(Numbered::Job(record)) => record.id,
                    Some(Numbered::Unreadable(_)) => {
                        named.others.push(number);
                        continue;
                    }
                    None => {
                        named.unknown.push(number);
                        continue;
                    }
                },
            };
            if seen.insert(id) {
                named.ids.push(id);
            }
        }
        Ok(named)
    }

    /// Makes sure that nothing was named that is no job.
    ///
    /// # Errors
    /// [`Usage`] that tells of it.
    pub fn expect_jobs(&self, verb: &str) -> Result<(), Usage> {
        match self.others.first() {
            Some(number) => Err(Usage(format!(
                "{verb}: number {number} is no job; `longboat show {number}` says why, and it can be deleted or kicked"
            ))),
            None => Ok(()),
        }
    }
}
