//! Which jobs a command is about, and reading those that fit a filter page by page.

use super::Usage;
use crate::cli::{ChosenArgs, FilterArgs};
use jiff::Timestamp;
use longboat::job::{JobId, Record, State};
use longboat::queue::{Cursor, Filter, Queue, QueueError};
use std::collections::BTreeSet;

/// How many jobs are read, or acted on, at once.
pub const PAGE: usize = 500;

/// The jobs that a command is about.
pub enum Chosen {
    /// The jobs with these ids, each once.
    Named(Vec<JobId>),
    /// Jobs that fit a filter.
    Fitting {
        /// The filter.
        filter: Box<Filter>,
        /// At most this many jobs.
        most: Option<u64>,
        /// Whether the states of the filter were asked for by name.
        states_named: bool,
    },
}

impl Chosen {
    /// The jobs that the arguments choose. A filter that names no state chooses jobs in `states`, or in any
    /// state if `states` is empty.
    ///
    /// # Errors
    /// [`Usage`] if the arguments choose in no way, or in more than one.
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

/// The jobs that fit a filter, oldest first, a page at a time: memory does not grow with the queue.
pub struct Pages<'q> {
    queue: &'q dyn Queue,
    filter: Filter,
    after: Option<Cursor>,
    left: u64,
}

impl<'q> Pages<'q> {
    /// At most `most` jobs that fit.
    pub fn new(queue: &'q dyn Queue, filter: Filter, most: Option<u64>) -> Self {
        Self { queue, filter, after: None, left: most.unwrap_or(u64::MAX) }
    }

    /// The next page, which has at least one job; nothing after the last page.
    ///
    /// # Errors
    /// The queue's.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, QueueError> {
        while self.left > 0 {
            let most = usize::try_from(self.left).map_or(PAGE, |left| left.min(PAGE));
            let (page, next) = self.queue.list(&self.filter, self.after, most).await?;
            self.after = next;
            self.left = if next.is_some() { self.left.saturating_sub(page.len() as u64) } else { 0 };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}
