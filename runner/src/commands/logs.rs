//! `longboat logs`.

use super::result::elsewhere;
use super::{Node, find};
use crate::cli::{Format, LogsArgs};
use crate::output::{self, Array};
use anyhow::Context;
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use longboat::job::{AttemptRecord, Record, State, Verdict};
use longboat::queue::{Interest, Queue, Watch};
use longboat::results::Reader;
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::time::Duration;

/// A job is looked at so often even if nothing tells of a change: a log grows without a word to the queue.
const AT_LEAST: Duration = Duration::from_millis(250);
/// Changes of other jobs have this one looked at no more often than this.
const AT_MOST: Duration = Duration::from_millis(50);
/// The longest log that is printed, in bytes.
const MOST: u64 = 256 << 20;

pub async fn logs(node: &Node, args: LogsArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let changes = queue.watch(Interest::Anything);
    let record = find(&*queue, args.id).await?;
    // An attempt that is still to come can be waited for.
    let attempt = args.attempt.unwrap_or(record.attempts);
    let mut printer = Printer::new(node.reader(), format, args.follow);
    if args.follow {
        let record = follow(&*queue, changes, record, attempt.max(1), &mut printer).await?;
        printer.end()?;
        return Ok(record.state == State::Done);
    }
    match made(&record, attempt) {
        None => return Err(not_made(&record, attempt)),
        Some(made) if made.finished_at.is_some() => printer.ended(&record, made)?,
        Some(made) => anyhow::ensure!(
            printer.running(&record, made)?,
            "attempt {attempt} runs on worker {}, and nothing of its log can be read here yet; --follow waits for it",
            output::plain(&made.worker)
        ),
    }
    printer.end()?;
    Ok(true)
}

/// Prints the logs of the attempts from this one on, until the job has ended.
async fn follow(
    queue: &dyn Queue,
    mut changes: Box<dyn Watch>,
    mut record: Record,
    first: u32,
    printer: &mut Printer,
) -> anyhow::Result<Record> {
    let mut attempt = first;
    let mut told = Told::new();
    loop {
        while let Some(made) = made(&record, attempt).filter(|made| made.finished_at.is_some()) {
            told.suspend(|| {
                // A log that is elsewhere, or was never written, is no reason not to print the next one.
                let printed = printer.ended(&record, made);
                printed.unwrap_or_else(|error| output::tell(format_args!("{error:#}")));
                output::tell(ending(made));
            });
            attempt += 1;
        }
        if record.state.is_final() {
            anyhow::ensure!(attempt > first, not_made(&record, first));
            return Ok(record);
        }
        if let Some(made) = made(&record, attempt) {
            told.suspend(|| printer.running(&record, made))?;
        }
        told.tell(match &record.progress {
            Some(progress) => output::progress(progress),
            None => format!("the job is {}", record.state),
        });
        tokio::time::sleep(AT_MOST).await;
        changes.changed(AT_LEAST).await;
        record = find(queue, record.id).await?;
    }
}

fn ending(made: &AttemptRecord) -> String {
    let verdict = made.verdict.as_ref().map_or_else(String::new, Verdict::to_string);
    output::plain(&format!("attempt {} by worker {}: {verdict}", made.attempt, made.worker))
}

fn made(record: &Record, attempt: u32) -> Option<&AttemptRecord> {
    record.history.iter().flatten().find(|made| made.attempt == attempt)
}

fn not_made(record: &Record, attempt: u32) -> anyhow::Error {
    let (id, state) = (record.id, record.state);
    match record.attempts {
        0 => anyhow::anyhow!("job {id} is {state}, and no attempt was started: there is no log"),
        last => anyhow::anyhow!("job {id} is {state}, and has no attempt {attempt}: the last one is {last}"),
    }
}

/// Tells on standard error what goes on, each thing once.
struct Told {
    bar: ProgressBar,
    last: String,
}

impl Told {
    fn new() -> Self {
        Self { bar: output::working(""), last: String::new() }
    }

    fn tell(&mut self, text: String) {
        if text == self.last {
            return;
        }
        if self.bar.is_hidden() {
            output::tell(&text);
        }
        self.bar.set_message(text.clone());
        self.last = text;
    }

    /// Prints something in between.
    fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Opens the log of an attempt that has ended. Whoever cancels a job ends its attempt at once, and only then does the
/// worker stop the guest and put its log in place.
fn when_written<T>(open: impl Fn() -> io::Result<T>, made: &AttemptRecord) -> io::Result<T> {
    let is_late = made.finished_at.is_none_or(|at| Timestamp::now().duration_since(at) > SignedDuration::from_secs(5));
    let is_cancelled = matches!(made.verdict, Some(Verdict::Cancelled { .. }));
    for _ in 0..if is_cancelled && !is_late { 40 } else { 0 } {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::thread::sleep(AT_MOST),
            opened => return opened,
        }
    }
    open()
}

/// The log of an attempt, for programs.
#[derive(Serialize)]
struct Log<'a> {
    attempt: u32,
    log: &'a str,
}

/// Prints logs, and of a log that grows only what is new.
struct Printer {
    reader: Reader,
    format: Format,
    array: Array,
    /// Whether the log will be printed again once it is whole.
    follows: bool,
    /// A terminal, on which a stranger's bytes must not draw; a pipe gets them as they are.
    is_terminal: bool,
    /// What was printed of the attempt that runs.
    printed: Vec<u8>,
}

impl Printer {
    fn new(reader: Reader, format: Format, follows: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { reader, format, array: Array::new(format), follows, is_terminal, printed: Vec::new() }
    }

    /// Prints the log of an attempt that has ended, apart from what was printed while it ran.
    fn ended(&mut self, record: &Record, made: &AttemptRecord) -> anyhow::Result<()> {
        let printed = std::mem::take(&mut self.printed);
        let published = self.reader.published(record.id, made.attempt);
        let (file, _) = when_written(|| published.log(), made).map_err(|error| match &made.verdict {
            Some(Verdict::Lost { .. } | Verdict::Cancelled { .. }) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::anyhow!("attempt {} has left no log", made.attempt)
            }
            _ => elsewhere(record, made.attempt, published.path(), ".log", error),
        })?;
        let log = read(file, 0)?;
        if self.format == Format::Human {
            // Of a long log the middle is dropped at the end, so it is alike only up to there.
            let known = log.iter().zip(&printed).take_while(|(one, other)| one == other).count();
            return self.print(&log[known..], true);
        }
        let log = String::from_utf8_lossy(&log);
        self.array.extend(&[Log { attempt: made.attempt, log: &log }]).map(drop)
    }

    /// Prints what is new in the log of an attempt that runs; whether there is a log that can be read here.
    fn running(&mut self, record: &Record, made: &AttemptRecord) -> anyhow::Result<bool> {
        let file = match self.reader.live_log(record.id, made.attempt) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.context("reading the log failed")?,
        };
        let new = read(file, self.printed.len() as u64)?;
        if self.format == Format::Human {
            self.print(&new, false)?;
        } else if !self.follows {
            let log = String::from_utf8_lossy(&new);
            self.array.extend(&[Log { attempt: made.attempt, log: &log }])?;
        }
        self.printed.extend_from_slice(&new);
        Ok(true)
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

fn read(mut file: File, from: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(MOST).read_to_end(&mut bytes).context("reading the log failed")?;
    Ok(bytes)
}
