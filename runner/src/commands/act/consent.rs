//! Showing what an act is about, and asking whether it is meant.

use super::outcome::{Outcome, Report};
use super::{Act, Named, unknown_numbers};
use crate::cli::Column;
use crate::commands::pages::Pages;
use crate::commands::{Usage, columns};
use crate::output;
use longboat::job::{JobId, Record, State};
use longboat::queue::{Filter, Refusal};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

/// How many jobs are shown before an act on many.
const SHOWN: usize = 10;
/// How many jobs can be asked about at once; their ids are kept until the answer is there.
const MOST_ASKED: usize = 1_000_000;

/// What is known of the jobs that an act is about.
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

    fn count(&self) -> u64 {
        self.states.values().sum()
    }

    /// How many they are, in which states, and the first of them.
    fn text(&self, verb: &str) -> String {
        if self.first.is_empty() {
            return format!("{verb} no job");
        }
        let states = self.states.iter().map(|(state, count)| format!("{} {state}", output::number(*count)));
        let states: Vec<_> = states.collect();
        let mut text = format!("{verb} {}: {}\n\n", output::jobs(self.count()), states.join(", "));
        let mut table = output::Pages::new(columns::headings(&Column::USUAL));
        text.push_str(&table.page(|room| columns::rows(&Column::USUAL, &self.first, room)));
        match self.count() - self.first.len() as u64 {
            0 => text,
            more => format!("{text}\nand {} more", output::number(more)),
        }
    }
}

impl Act<'_> {
    /// Asks whether the jobs that fit are meant; if so, these are they.
    pub(super) async fn ask(&self, filter: Filter, most: Option<u64>) -> anyhow::Result<Option<Vec<JobId>>> {
        let (verb, _) = self.deed.words();
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Usage(format!(
                "{verb}: this is about all jobs that fit; nobody is at a terminal to be asked, so say --yes, \
                 or --dry-run to see which they are"
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
                     with --limit, or say --yes",
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

    /// Shows what is meant by a filter.
    pub(super) async fn show_fitting(&self, filter: Filter, most: Option<u64>) -> anyhow::Result<bool> {
        let (mut survey, mut report) = (Survey::default(), Report::new(self.format));
        let mut pages = Pages::new(self.queue, filter, most);
        while let Some(page) = pages.next().await? {
            report.add(page.iter().map(|job| Outcome::done(job.id, job.state)).collect())?;
            survey.add(page);
        }
        self.end_show(&survey, report)
    }

    /// Shows what was named; whether all of it is known.
    pub(super) async fn show_named(&self, Named { ids, unknown, .. }: &Named) -> anyhow::Result<bool> {
        let (mut survey, mut report) = (Survey::default(), Report::new(self.format));
        report.add(unknown_numbers(unknown))?;
        for id in ids {
            let outcome = match self.queue.find(*id).await? {
                Some(job) => {
                    let outcome = Outcome::done(*id, job.state);
                    survey.add(vec![job]);
                    outcome
                }
                None => Outcome::refused((*id).into(), Refusal::NoSuchJob.to_string()),
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
}

/// Asks on the terminal.
fn is_agreed(question: &str) -> anyhow::Result<bool> {
    io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
