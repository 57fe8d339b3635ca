//! Printing what was asked for: to standard output, in one of three formats.

mod array;
mod json;
mod table;
mod tell;
mod yaml;

pub use array::Array;
pub use json::{json, shown};
pub use table::{Field, Heading, Kind, Pages, Room, pairs, table};
pub use tell::tell;

use yaml::yaml;

use crate::cli::Format;
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use longboat::job::{Progress, Span, is_unshowable};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// Prints `value` for programs, or `human` for people.
///
/// # Errors
/// The terminal's; a reader that has gone away is none.
pub fn print<T: Serialize>(format: Format, value: &T, human: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = match format {
        Format::Human => human(value),
        Format::Json => json(value)?,
        // YAML takes JSON as it is, so what it cannot spell its own way, such as 1e400, is left as JSON.
        Format::Yaml => yaml(&serde_json::to_string(value)?).or_else(|_| json(value))?,
    };
    if text.is_empty() { Ok(()) } else { line(text.trim_end()) }
}

/// Prints one line, or several.
///
/// # Errors
/// The terminal's; a reader that has gone away is none.
pub fn line(text: &str) -> anyhow::Result<()> {
    write(format!("{text}\n").as_bytes()).map(drop)
}

/// Prints these bytes as they are; whether anybody still reads.
///
/// # Errors
/// The terminal's; a reader that has gone away is none.
pub fn write(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => {
            written.map(|()| true).context("standard output cannot be written, so not all is told that was done")
        }
    }
}

/// A spinner on a terminal, with what is being done; in a pipe nothing is drawn.
pub fn working(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(1000).with_message(doing);
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Turns a spinner into a bar that shows how far the work has come, from 0 to 1.
pub fn fraction(bar: &ProgressBar, fraction: f64, message: String) {
    bar.set_style(style("{bar:30} {percent:>3} %  {msg}"));
    bar.set_message(message);
    bar.set_position((fraction * 1000.0) as u64);
}

/// A bar that counts jobs; `done` says what of them, such as "ended".
pub fn counting(jobs: usize, done: &str) -> ProgressBar {
    let bar = ProgressBar::new(jobs as u64);
    bar.set_style(style(&format!("{{spinner}} {{bar:30}} {{human_pos}} of {{human_len}} {done}  {{wide_msg}}")));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A whole number with its thousands apart.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// So many jobs.
pub fn jobs(count: u64) -> String {
    format!("{} job{}", number(count), if count == 1 { "" } else { "s" })
}

/// "a, b or c".
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// A duration, as exact as people want it.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 100.0 => format!("{seconds:.1} s"),
        _ => Span(Duration::from_secs(duration.as_secs())).to_string(),
    }
}

/// What an attempt says of its progress.
pub fn progress(progress: &Progress) -> String {
    format!("{:.0} % {}", progress.fraction * 100.0, plain(&progress.message))
}

/// A guest's text without the characters by which it could draw on the terminal, or turn what others wrote.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_unshowable(*c) || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_control_characters_dropped() {
        assert_eq!([number(7), number(1234), number(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([one_of(&["a"]), one_of(&["a", "b", "c"])], ["a", "a, b or c"]);
        assert_eq!(plain("a\x1b[31mb\nc\r"), "a[31mb\nc");
    }
}
