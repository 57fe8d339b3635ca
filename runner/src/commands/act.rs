//! `longboat cancel`, `hold`, `release`, `kick`, `update` and `delete`: acting on few jobs or many.
//!
//! Jobs that are named by their ids are acted on at once. Jobs that a filter chooses are shown first, and
//! nothing is done without consent. The queue refuses an act on a job that has changed state meanwhile. The
//! outcome of each job is reported.

use super::Usage;
use super::chosen::{Chosen, PAGE, Pages};
use super::node::Node;
use super::record;
use super::update::Changes;
use crate::cli::{ActArgs, Column, Format, UpdateArgs};
use crate::output::{self, Array};
use indicatif::ProgressBar;
use jiff::Timestamp;
use longboat::job::{JobId, Record, State};
use longboat::queue::{Acted, Action, Filter, Queue, Refusal};
use longboat::results::Results;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

/// How many jobs are shown before an act on many.
const SHOWN: usize = 10;
/// How many jobs can be asked about at once; their ids are kept until the answer is there.
const MOST_ASKED: usize = 1_000_000;
/// How many refusals are told to people.
const TOLD: usize = 20;

/// What is done to jobs.
pub enum Deed {
    /// An action of the queue.
    Plain(Action),
    /// A change of their documents.
    Update(Changes),
    /// Deletion, with the files that this data directory has of them.
    Delete(Option<Arc<Results>>),
}

/// Keeps waiting jobs from being started.
pub const HOLD: Deed = Deed::Plain(Action::Hold);
/// Ends the hold.
pub const RELEASE: Deed = Deed::Plain(Action::Release);
/// Gives dead jobs more attempts.
pub const KICK: Deed = Deed::Plain(Action::Kick);

/// Ends jobs.
pub fn cancel(reason: String) -> Deed {
    Deed::Plain(Action::Cancel { reason })
}

/// Deletes jobs, and their files in this data directory.
pub async fn delete(node: &Node, args: ActArgs, format: Format) -> anyhow::Result<bool> {
    // A data directory without results does not get a directory for them.
    let results = if node.data.results().exists() { Some(node.results()?) } else { None };
    act(node, args, Deed::Delete(results), format).await
}

/// Changes jobs.
pub async fn update(node: &Node, args: UpdateArgs, format: Format) -> anyhow::Result<bool> {
    let changes = Changes::new(node, &args.job, args.change)?;
    act(node, args.act, Deed::Update(changes), format).await
}

/// Acts on the chosen jobs.
pub async fn act(node: &Node, args: ActArgs, deed: Deed, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue().await?;
    let act = Act { queue: &*queue, deed, format };
    match Chosen::new(args.chosen, act.deed.states())? {
        Chosen::Named(ids) if args.consent.dry_run => act.show_named(&ids).await,
        Chosen::Named(ids) => act.on_named(&ids, None).await,
        Chosen::Fitting { filter, most, .. } if args.consent.dry_run => act.show_fitting(*filter, most).await,
        Chosen::Fitting { filter, most, .. } if args.consent.yes => act.on_fitting(*filter, most).await,
        Chosen::Fitting { filter, most, states_named } => {
            // The queue itself refuses states in which the act is impossible. Only states that the user
            // named are checked again after the question.
            let states = states_named.then(|| filter.states.clone());
            match act.ask(*filter, most).await? {
                Some(ids) => act.on_named(&ids, states.as_deref()).await,
                None => Ok(false),
            }
        }
    }
}

impl Deed {
    /// The verb, and its participle.
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Deed::Plain(Action::Cancel { .. }) => ("cancel", "cancelled"),
            Deed::Plain(Action::Hold) => ("hold", "held"),
            Deed::Plain(Action::Release) => ("release", "released"),
            Deed::Plain(Action::Kick) => ("kick", "kicked"),
            Deed::Plain(Action::Update(_)) | Deed::Update(_) => ("update", "updated"),
            Deed::Plain(Action::Delete) | Deed::Delete(_) => ("delete", "deleted"),
        }
    }

    /// The states of the jobs that a filter without states chooses.
    fn states(&self) -> &'static [State] {
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

    /// Acts on these jobs, and returns the outcomes in the order of `ids`.
    ///
    /// # Errors
    /// The queue's. Jobs that were acted on before the error stay so.
    async fn on(&self, queue: &dyn Queue, ids: &[JobId]) -> anyhow::Result<Vec<Outcome>> {
        match self {
            Deed::Plain(action) => Ok(outcomes(queue.act(ids, action).await?)),
            Deed::Update(changes) => change(queue, changes, ids).await,
            Deed::Delete(results) => {
                let acted = queue.act(ids, &Action::Delete).await?;
                if let Some(results) = results {
                    let gone = acted.iter().filter(|acted| acted.outcome.is_ok()).map(|acted| acted.id).collect();
                    remove_files(Arc::clone(results), gone).await?;
                }
                Ok(outcomes(acted))
            }
        }
    }
}

/// Changes jobs. Jobs that get the same patch are changed together.
async fn change(queue: &dyn Queue, changes: &Changes, ids: &[JobId]) -> anyhow::Result<Vec<Outcome>> {
    if let Some(patch) = changes.common() {
        return Ok(outcomes(queue.act(ids, &Action::Update(patch.clone())).await?));
    }
    let (mut groups, mut made) = (BTreeMap::new(), HashMap::new());
    for &id in ids {
        match queue.find(id).await? {
            Some(job) => {
                let patch = changes.patch(&job.document)?;
                let key = serde_json::to_string(&patch)?;
                groups.entry(key).or_insert_with(|| (patch, Vec::new())).1.push(id);
            }
            None => drop(made.insert(id, Outcome::refused(id, Refusal::NoSuchJob.to_string()))),
        }
    }
    for (patch, ids) in groups.into_values() {
        let acted = outcomes(queue.act(&ids, &Action::Update(patch)).await?);
        made.extend(acted.into_iter().map(|outcome| (outcome.id, outcome)));
    }
    Ok(ids.iter().filter_map(|id| made.remove(id)).collect())
}

/// Removes the files of deleted jobs. What cannot be removed now is removed by a worker of this data
/// directory.
async fn remove_files(results: Arc<Results>, ids: Vec<JobId>) -> anyhow::Result<()> {
    let removed = tokio::task::spawn_blocking(move || {
        for id in ids {
            if let Err(error) = results.remove(id) {
                output::tell(format_args!("warning: job {id} is deleted, but its files are not: {error}"));
            }
        }
    });
    Ok(removed.await?)
}

/// An act on the jobs of a queue.
struct Act<'q> {
    queue: &'q dyn Queue,
    deed: Deed,
    format: Format,
}

impl Act<'_> {
    /// Acts on jobs by id; if `states` are given, only on jobs that are in one of them now.
    async fn on_named(&self, ids: &[JobId], states: Option<&[State]>) -> anyhow::Result<bool> {
        let (_, done) = self.deed.words();
        // A single batch takes no time, so it needs no bar.
        let bar = if ids.len() > PAGE { output::counting(ids.len(), done) } else { ProgressBar::hidden() };
        let mut report = Report::new(self.format);
        for batch in ids.chunks(PAGE) {
            let outcomes = match states {
                Some(states) => self.on_unchanged(batch, states).await?,
                None => self.deed.on(self.queue, batch).await?,
            };
            bar.inc(batch.len() as u64);
            report.add(outcomes)?;
        }
        bar.finish_and_clear();
        self.end(report)
    }

    /// Acts on the jobs of a batch that are still in one of these states.
    async fn on_unchanged(&self, ids: &[JobId], states: &[State]) -> anyhow::Result<Vec<Outcome>> {
        let (mut unchanged, mut outcomes) = (Vec::with_capacity(ids.len()), Vec::new());
        for &id in ids {
            match self.queue.find(id).await? {
                Some(job) if !states.contains(&job.state) => {
                    let why = format!("it has changed meanwhile, and is {} now", job.state);
                    outcomes.push(Outcome::refused(id, why));
                }
                _ => unchanged.push(id),
            }
        }
        outcomes.extend(self.deed.on(self.queue, &unchanged).await?);
        Ok(outcomes)
    }

    /// Acts on the jobs that fit, page by page. Jobs that are submitted from now on are left out, so that it
    /// ends.
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
            bar.set_message(format!("{done} {}", output::jobs(report.done)));
        }
        bar.finish_and_clear();
        self.end(report)
    }

    /// Asks whether to act on the jobs that fit. Returns their ids if the answer is yes.
    async fn ask(&self, filter: Filter, most: Option<u64>) -> anyhow::Result<Option<Vec<JobId>>> {
        let (verb, _) = self.deed.words();
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Usage(format!(
                "{verb}: this needs consent, and there is no terminal to ask on; give --yes, or --dry-run to see the \
                 jobs that the filter chooses"
            ))
            .into());
        }
        let bar = output::working("looking");
        let (mut survey, mut ids) = (Survey::default(), Vec::new());
        let mut pages = Pages::new(self.queue, filter, most);
        while let Some(page) = pages.next().await? {
            ids.extend(page.iter().map(|record| record.id));
            survey.add(page);
            if ids.len() > MOST_ASKED {
                bar.finish_and_clear();
                return Err(Usage(format!(
                    "{verb}: more than {} jobs fit, which are too many to ask about; choose fewer, take some of them \
                     with --limit, or give --yes",
                    output::number(MOST_ASKED as u64)
                ))
                .into());
            }
        }
        bar.finish_and_clear();
        if ids.is_empty() {
            return Ok(Some(ids));
        }
        output::tell(format_args!("{}\n", survey.text(verb)));
        let them = if ids.len() == 1 { "it" } else { "them" };
        if is_agreed(&format!("{verb} {them}? [y/N] "))? {
            Ok(Some(ids))
        } else {
            output::tell("nothing was done");
            Ok(None)
        }
    }

    /// Shows the jobs that a filter chooses.
    async fn show_fitting(&self, filter: Filter, most: Option<u64>) -> anyhow::Result<bool> {
        let (mut survey, mut report) = (Survey::default(), Report::new(self.format));
        let mut pages = Pages::new(self.queue, filter, most);
        while let Some(page) = pages.next().await? {
            report.add(page.iter().map(|job| Outcome::done(job.id, job.state)).collect())?;
            survey.add(page);
        }
        self.end_show(&survey, report)
    }

    /// Shows the named jobs.
    async fn show_named(&self, ids: &[JobId]) -> anyhow::Result<bool> {
        let (mut survey, mut report) = (Survey::default(), Report::new(self.format));
        for &id in ids {
            let outcome = match self.queue.find(id).await? {
                Some(job) => {
                    let outcome = Outcome::done(id, job.state);
                    survey.add(vec![job]);
                    outcome
                }
                None => Outcome::refused(id, Refusal::NoSuchJob.to_string()),
            };
            report.add(vec![outcome])?;
        }
        self.end_show(&survey, report)
    }

    fn end_show(&self, survey: &Survey, report: Report) -> anyhow::Result<bool> {
        let (verb, _) = self.deed.words();
        self.explain(&report);
        report.end(verb, |_| survey.text(&format!("would {verb}")))
    }

    fn end(&self, report: Report) -> anyhow::Result<bool> {
        let (verb, done) = self.deed.words();
        self.explain(&report);
        report.end(verb, |jobs| format!("{done} {}", output::jobs(jobs)))
    }

    /// Says why no job was chosen.
    fn explain(&self, report: &Report) {
        if report.done + report.refused == 0 && self.format == Format::Human {
            let (verb, _) = self.deed.words();
            let states: Vec<_> = self.deed.states().iter().map(|state| state.as_str()).collect();
            let states = output::one_of(&states);
            output::tell(format_args!("no job fits; without --state, {verb} looks for jobs that are {states}"));
        }
    }
}

/// Asks on the terminal.
fn is_agreed(question: &str) -> anyhow::Result<bool> {
    io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The jobs that an act is about: their number by state, and the first of them.
#[derive(Default)]
struct Survey {
    states: BTreeMap<State, u64>,
    first: Vec<Record>,
}

impl Survey {
    fn add(&mut self, records: Vec<Record>) {
        for record in records {
            *self.states.entry(record.state).or_default() += 1;
            if self.first.len() < SHOWN {
                self.first.push(record);
            }
        }
    }

    fn text(&self, verb: &str) -> String {
        if self.first.is_empty() {
            return format!("{verb} no job");
        }
        let count: u64 = self.states.values().sum();
        let states = self.states.iter().map(|(state, count)| format!("{} {state}", output::number(*count)));
        let states: Vec<_> = states.collect();
        let mut text = format!("{verb} {}: {}\n\n", output::jobs(count), states.join(", "));
        let mut table = output::Pages::new(record::headings(&Column::USUAL));
        text.push_str(&table.page(|room| record::rows(&Column::USUAL, &self.first, room)));
        match count - self.first.len() as u64 {
            0 => text,
            more => format!("{text}\nand {} more", output::number(more)),
        }
    }
}

/// The outcome of an act on one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Outcome {
    id: JobId,
    /// The state that the job is in now, or was in when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Outcome {
    fn done(id: JobId, state: State) -> Self {
        Self { id, state: Some(state), error: None }
    }

    fn refused(id: JobId, why: String) -> Self {
        Self { id, state: None, error: Some(why) }
    }
}

fn outcomes(acted: Vec<Acted>) -> Vec<Outcome> {
    let outcome = |acted: Acted| match acted.outcome {
        Ok(state) => Outcome::done(acted.id, state),
        Err(refusal) => Outcome::refused(acted.id, refusal.to_string()),
    };
    acted.into_iter().map(outcome).collect()
}

/// Reports outcomes while the act goes on: all of them to programs, counts and the first refusals to people.
struct Report {
    done: u64,
    refused: u64,
    told: Vec<Outcome>,
    /// For programs.
    array: Option<Array>,
}

impl Report {
    fn new(format: Format) -> Self {
        let array = (format != Format::Human).then(|| Array::new(format));
        Self { done: 0, refused: 0, told: Vec::new(), array }
    }

    /// Adds the outcomes of a batch.
    fn add(&mut self, outcomes: Vec<Outcome>) -> anyhow::Result<()> {
        if let Some(array) = &mut self.array {
            // A reader that has gone away does not stop the act.
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

    /// Prints the rest, and returns whether no job was refused. `human` makes the line for people from the
    /// number of jobs that were acted on.
    fn end(self, verb: &str, human: impl FnOnce(u64) -> String) -> anyhow::Result<bool> {
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
        format!("  {}  {why}", outcome.id)
    }));
    match count - told.len() as u64 {
        0 => {}
        more => lines.push(format!("  and {} more; -o json tells of each", output::number(more))),
    }
    lines.join("\n")
}
