//! What lies among a server's jobs and is none, beside the jobs that `list` and `show` print.

use super::chosen;
use crate::cli::Format;
use crate::output;
use anyhow::Context;
use longboat::job::{Record, State};
use longboat::queue::{Filter, Numbered, Queue, Unreadable};
use serde::Serialize;

/// How many characters a table has of what something begins with.
const MAX_EXCERPT: usize = 24;
/// How many it has of why that is no job.
const MAX_REASON: usize = 60;

/// What is no job; it is kept as dead jobs are.
#[derive(Serialize)]
pub struct Other<'a> {
    state: State,
    #[serde(flatten)]
    found: &'a Unreadable,
}

impl<'a> Other<'a> {
    /// What `list` and `show` print of it.
    pub fn of(found: &'a Unreadable) -> Self {
        Self { state: State::Dead, found }
    }
}

/// Those that a listing has after the jobs: they have a tube and a state, and nothing else of a job.
pub async fn fitting(queue: &dyn Queue, filter: &Filter) -> anyhow::Result<Vec<Unreadable>> {
    let Filter { states, tubes, .. } = filter;
    let only = Filter { states: states.clone(), tubes: tubes.clone(), ..Filter::default() };
    if *filter != only || !(states.is_empty() || states.contains(&State::Dead)) {
        return Ok(Vec::new());
    }
    let mut found = queue.unreadable().await?;
    found.retain(|found| tubes.is_empty() || tubes.contains(&found.tube));
    Ok(found)
}

/// A table of them.
pub fn table(others: &[Unreadable]) -> String {
    output::table(
        &["number", "tube", "bytes", "found", "worker", "begins with", "reason"],
        others.iter().map(|found| {
            vec![
                found.number.to_string(),
                found.tube.to_string(),
                found.length.to_string(),
                found.found_at.strftime("%F %T").to_string(),
                output::plain(&found.worker),
                cut(&found.excerpt, MAX_EXCERPT),
                cut(&found.reason, MAX_REASON),
            ]
        }),
    )
}

/// The beginning of a text, on one line; `show` has all of it.
fn cut(text: &str, most: usize) -> String {
    let text = output::plain(text).replace('\n', " ");
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The job that has this number; what is none is printed.
pub async fn look(queue: &dyn Queue, number: u64, format: Format) -> anyhow::Result<Option<Record>> {
    let numbered = queue.numbered(number).await?;
    let found = match numbered.with_context(|| chosen::unknown(number))? {
        Numbered::Job(record) => return Ok(Some(*record)),
        Numbered::Unreadable(found) => found,
    };
    output::print(format, &Other::of(&found), |_| {
        output::pairs(&[
            ("number", found.number.to_string()),
            ("state", format!("{}: it is no job", State::Dead)),
            ("reason", output::plain(&found.reason)),
            ("tube", found.tube.to_string()),
            ("bytes", found.length.to_string()),
            ("begins with", output::plain(&found.excerpt)),
            ("found", found.found_at.to_string()),
            ("worker", output::plain(&found.worker)),
        ])
    })?;
    Ok(None)
}
