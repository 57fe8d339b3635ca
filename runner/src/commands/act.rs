//! `longboat cancel`, `hold`, `release`, `kick`, `update` and `delete`: one way to act on few jobs or many.
//!
//! Ids are acted on at once. By a filter, what is meant is shown first, and nothing is done without consent; a job that
//! has changed meanwhile is judged by the act itself. What comes of each job is told.

mod consent;
mod deed;
mod outcome;
mod update;

pub use deed::{Deed, HOLD, KICK, RELEASE, cancel};

use super::Node;
use super::chosen::{self, Chosen, Named};
use super::pages::{PAGE, Pages};
use crate::cli::{ActArgs, Format, Reference, UpdateArgs};
use crate::output;
use indicatif::ProgressBar;
use jiff::Timestamp;
use longboat::job::{JobId, State};
use longboat::queue::{Filter, Queue};
use outcome::{Outcome, Report};

/// Deletes jobs, and their results in this data directory.
pub async fn delete(node: &Node, args: ActArgs, format: Format) -> anyhow::Result<bool> {
    // Without results here there is no directory to make for them either.
    let results = if node.data.results().exists() { Some(node.results()?) } else { None };
    act(node, args, Deed::Delete(results), format).await
}

/// Changes jobs.
pub async fn update(node: &Node, args: UpdateArgs, format: Format) -> anyhow::Result<bool> {
    let changes = update::Changes::new(node, &args.job, args.change)?;
    act(node, args.act, Deed::Update(changes), format).await
}

/// Does it to the jobs that are chosen.
pub async fn act(node: &Node, args: ActArgs, deed: Deed, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let act = Act { queue: &*queue, deed, format };
    match Chosen::new(args.chosen, act.deed.states())? {
        Chosen::Named(named) => {
            let named = Named::find(act.queue, named).await?;
            match args.consent.dry_run {
                true => {
                    named.expect_jobs("--dry-run")?;
                    act.show_named(&named).await
                }
                false => act.on_named(&named, None).await,
            }
        }
        Chosen::Fitting { filter, most, .. } if args.consent.dry_run => act.show_fitting(*filter, most).await,
        Chosen::Fitting { filter, most, .. } if args.consent.yes => act.on_fitting(*filter, most).await,
        Chosen::Fitting { filter, most, states_named } => {
            // Whether it can be done in a state is for the act to say; which states were meant is not.
            let states = states_named.then(|| filter.states.clone());
            match act.ask(*filter, most).await? {
                Some(ids) => act.on_named(&Named { ids, ..Named::default() }, states.as_deref()).await,
                None => Ok(false),
            }
        }
    }
}

/// What is told of numbers of which nothing is known.
fn unknown_numbers(numbers: &[u64]) -> Vec<Outcome> {
    let unknown = |&number: &u64| Outcome::refused(Reference::Number(number), chosen::unknown(number));
    numbers.iter().map(unknown).collect()
}

/// What is done, and where.
struct Act<'q> {
    queue: &'q dyn Queue,
    deed: Deed,
    format: Format,
}

impl Act<'_> {
    /// Acts on what was named, on jobs as far as they are in one of these states, if that matters.
    async fn on_named(&self, Named { ids, others, unknown }: &Named, states: Option<&[State]>) -> anyhow::Result<bool> {
        let (_, done) = self.deed.words();
        // What takes no time needs no bar.
        let bar = if ids.len() > PAGE { output::counting(ids.len(), done) } else { ProgressBar::hidden() };
        let mut report = Report::new(self.format);
        report.add(unknown_numbers(unknown))?;
        report.add(self.deed.on_others(self.queue, others).await?)?;
        for batch in ids.chunks(PAGE) {
            let outcomes = match states {
                Some(states) => self.on_those_still(batch, states).await?,
                None => self.deed.on(self.queue, batch).await?,
            };
            bar.inc(batch.len() as u64);
            report.add(outcomes)?;
        }
        bar.finish_and_clear();
        self.end(report)
    }

    /// Acts on the jobs of a batch that are in one of these states; the others have changed since they were shown.
    async fn on_those_still(&self, ids: &[JobId], states: &[State]) -> anyhow::Result<Vec<Outcome>> {
        let (mut meant, mut outcomes) = (Vec::with_capacity(ids.len()), Vec::new());
        for &id in ids {
            match self.queue.find(id).await? {
                Some(job) if !states.contains(&job.state) => {
                    let why = format!("it has changed meanwhile, and is {} now", job.state);
                    outcomes.push(Outcome::refused(id.into(), why));
                }
                _ => meant.push(id),
            }
        }
        outcomes.extend(self.deed.on(self.queue, &meant).await?);
        Ok(outcomes)
    }

    /// Acts on the jobs that fit, as they are found. Those that are submitted from now on are none of them, so it ends.
    async fn on_fitting(&self, mut filter: Filter, most: Option<u64>) -> anyhow::Result<bool> {
        let now = Timestamp::now();
        filter.submitted.before = Some(filter.submitted.before.map_or(now, |before| before.min(now)));
        let (_, done) = self.deed.words();
        let bar = output::working("looking");
        let mut report = Report::new(self.format);
        let mut pages = Pages::new(self.queue, filter, most);
        while let Some(page) = pages.next().await? {
            let ids: Vec<_> = page.iter().map(|job| job.id).collect();
            report.add(self.deed.on(self.queue, &ids).await?)?;
            bar.set_message(format!("{done} {}", output::jobs(report.done())));
        }
        bar.finish_and_clear();
        self.end(report)
    }

    /// Says why an act was about nothing.
    fn explain(&self, report: &Report) {
        if report.is_empty() && self.format == Format::Human {
            let (verb, _) = self.deed.words();
            let states: Vec<_> = self.deed.states().iter().map(|state| state.as_str()).collect();
            let states = output::one_of(&states);
            output::tell(format_args!("no job fits; without --state, {verb} looks at those that are {states}"));
        }
    }

    fn end(&self, report: Report) -> anyhow::Result<bool> {
        let (verb, done) = self.deed.words();
        self.explain(&report);
        report.end(verb, |jobs| format!("{done} {}", output::jobs(jobs)))
    }
}
