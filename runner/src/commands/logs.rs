//! `longboat logs`: prints logs, of running attempts as well.

use super::node::{Node, find};
use super::outcome::{kept_log, made, read_log};
use crate::cli::{Format, LogsArgs};
use crate::output::{self, Array};
use anyhow::Context;
use indicatif::ProgressBar;
use longboat::job::{AttemptRecord, JobId, Record, State, Verdict};
use longboat::queue::{Queue, Watch};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// A running job is looked at this often, even if the queue reports no change.
const AT_LEAST: Duration = Duration::from_millis(250);
/// Changes of other jobs cause a look at this job no more often than this.
const AT_MOST: Duration = Duration::from_millis(50);

pub async fn logs(node: &Node, args: LogsArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue().await?;
    let changes = queue.watch();
    let record = find(&*queue, args.id).await?;
    // --attempt may name an attempt that has not started yet.
    let attempt = args.attempt.unwrap_or(record.attempts);
    let mut printer = Printer::new(node, &*queue, format, args.follow);
    if args.follow {
        let record = follow(&mut printer, changes, record, attempt.max(1)).await?;
        printer.end()?;
        return Ok(record.state == State::Done);
    }
    match made(&record, attempt) {
        None => return Err(not_made(&record, attempt)),
        Some(made) if made.finished_at.is_some() => {
            let log = printer.complete(&record, attempt).await?;
            printer.print_complete(attempt, &log)?;
        }
        Some(made) => {
            let log = printer.growth(record.id, attempt).await?;
            anyhow::ensure!(
                !log.is_empty(),
                "attempt {attempt} runs on worker {}, and has logged nothing so far; --follow waits for it",
                output::plain(&made.worker)
            );
            printer.print_growth(attempt, &log)?;
        }
    }
    printer.end()?;
    Ok(true)
}

/// Prints the logs of this attempt and of later ones, until the job has ended.
async fn follow(
    printer: &mut Printer<'_>,
    mut changes: Box<dyn Watch>,
    mut record: Record,
    first: u32,
) -> anyhow::Result<Record> {
    let mut attempt = first;
    let mut status = StatusLine::new();
    loop {
        while let Some(made) = made(&record, attempt).filter(|made| made.finished_at.is_some()) {
            let log = printer.complete(&record, attempt).await;
            status.suspend(|| {
                // A log that cannot be read is no reason not to print the next one.
                if let Err(error) = log.and_then(|log| printer.print_complete(attempt, &log)) {
                    output::tell(format_args!("{error:#}"));
                }
                output::tell(ending(made));
            });
            attempt += 1;
        }
        if record.state.is_final() {
            anyhow::ensure!(attempt > first, not_made(&record, first));
            return Ok(record);
        }
        if made(&record, attempt).is_some() {
            let log = printer.growth(record.id, attempt).await?;
            status.suspend(|| printer.print_growth(attempt, &log))?;
        }
        status.show(match &record.progress {
            Some(progress) => output::progress(progress),
            None => format!("the job is {}", record.state),
        });
        tokio::time::sleep(AT_MOST).await;
        changes.changed(AT_LEAST).await;
        record = find(printer.queue, record.id).await?;
    }
}

fn ending(made: &AttemptRecord) -> String {
    let verdict = made.verdict.as_ref().map_or_else(String::new, Verdict::to_string);
    output::plain(&format!("attempt {} by worker {}: {verdict}", made.attempt, made.worker))
}

fn not_made(record: &Record, attempt: u32) -> anyhow::Error {
    let (id, state) = (record.id, record.state);
    match record.attempts {
        0 => anyhow::anyhow!("job {id} is {state}, and no attempt was started: there is no log"),
        last => anyhow::anyhow!("job {id} is {state}, and has no attempt {attempt}: the last one is {last}"),
    }
}

/// What goes on, on standard error: a spinner on a terminal, else a line for each change.
struct StatusLine {
    bar: ProgressBar,
    last: String,
}

impl StatusLine {
    fn new() -> Self {
        Self { bar: output::working(""), last: String::new() }
    }

    fn show(&mut self, text: String) {
        if text == self.last {
            return;
        }
        if self.bar.is_hidden() {
            output::tell(&text);
        }
        self.bar.set_message(text.clone());
        self.last = text;
    }

    /// Hides the spinner while something is printed.
    fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The log of an attempt, for programs.
#[derive(Serialize)]
struct Log<'a> {
    attempt: u32,
    log: &'a str,
}

/// Prints logs, and the new part of a log that grows.
struct Printer<'n> {
    node: &'n Node,
    queue: &'n dyn Queue,
    format: Format,
    array: Array,
    /// Whether the log is printed again when it is complete.
    follows: bool,
    /// A terminal gets no control characters; a pipe gets the bytes as they are.
    is_terminal: bool,
    /// What was printed of the running attempt.
    printed: Vec<u8>,
}

impl<'n> Printer<'n> {
    fn new(node: &'n Node, queue: &'n dyn Queue, format: Format, follows: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { node, queue, format, array: Array::new(format), follows, is_terminal, printed: Vec::new() }
    }

    /// The log of an attempt that has ended.
    async fn complete(&self, record: &Record, attempt: u32) -> anyhow::Result<Vec<u8>> {
        let log = kept_log(self.node, self.queue, record, attempt).await?;
        log.with_context(|| format!("attempt {attempt} has left no log"))
    }

    /// Prints the log of an attempt that has ended, without the part that was printed while it ran.
    fn print_complete(&mut self, attempt: u32, log: &[u8]) -> anyhow::Result<()> {
        let printed = std::mem::take(&mut self.printed);
        if self.format != Format::Human {
            return self.add(attempt, log);
        }
        // The middle of a long log is dropped at the end of the attempt. Up to there both are alike.
        let known = log.iter().zip(&printed).take_while(|(one, other)| one == other).count();
        self.print(&log[known..], true)
    }

    /// What a running attempt has logged since the last part that was printed.
    async fn growth(&self, id: JobId, attempt: u32) -> anyhow::Result<Vec<u8>> {
        let log = read_log(self.queue, id, attempt, self.printed.len() as u64).await?;
        Ok(log.map(|log| log.bytes).unwrap_or_default())
    }

    fn print_growth(&mut self, attempt: u32, log: &[u8]) -> anyhow::Result<()> {
        self.printed.extend_from_slice(log);
        match self.format {
            Format::Human => self.print(log, false),
            // It follows when it is complete.
            _ if self.follows => Ok(()),
            _ => self.add(attempt, log),
        }
    }

    fn add(&mut self, attempt: u32, log: &[u8]) -> anyhow::Result<()> {
        self.array.extend(&[Log { attempt, log: &String::from_utf8_lossy(log) }]).map(drop)
    }

    fn print(&self, log: &[u8], is_end: bool) -> anyhow::Result<()> {
        if !self.is_terminal {
            return output::write(log).map(drop);
        }
        let mut text = output::plain(&String::from_utf8_lossy(log));
        if is_end && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        output::write(text.as_bytes()).map(drop)
    }

    fn end(self) -> anyhow::Result<()> {
        if self.format == Format::Human { Ok(()) } else { self.array.end() }
    }
}
