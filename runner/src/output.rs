//! Printing: results to standard output in one of three formats, everything else to standard error.

mod json;
mod table;
mod yaml;

pub use json::{json, shown};
pub use table::{Field, Heading, Kind, Pages, Room, pairs, table};

use yaml::yaml;

use crate::cli::Format;
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use longboat::job::{Progress, Span, is_unshowable};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// Prints `value` for programs, or `human` for people.
///
/// # Errors
/// Standard output's. A closed pipe is no error.
pub fn print<T: Serialize>(format: Format, value: &T, human: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = match format {
        Format::Human => human(value),
        Format::Json => json(value)?,
        // JSON is YAML too. A value that the YAML writer refuses, such as 1e400, is printed as JSON.
        Format::Yaml => yaml(&serde_json::to_string(value)?).or_else(|_| json(value))?,
    };
    if text.is_empty() { Ok(()) } else { line(text.trim_end()) }
}

/// Prints one line, or several.
///
/// # Errors
/// Standard output's. A closed pipe is no error.
pub fn line(text: &str) -> anyhow::Result<()> {
    write(format!("{text}\n").as_bytes()).map(drop)
}

/// Prints these bytes, and returns whether standard output is still open.
///
/// # Errors
/// Standard output's. A closed pipe is no error.
pub fn write(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("writing to standard output failed, so the output is incomplete"),
    }
}

/// Writes one line, or several, to standard error in one piece.
///
/// Errors are ignored: a closed standard error must not stop the work. The macros of the standard library
/// would panic.
pub fn tell(what: impl Display) {
    let _ = io::stderr().write_all(format!("{what}\n").as_bytes());
}

/// A spinner on a terminal, with what is being done; a pipe gets nothing.
pub fn working(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(1000).with_message(doing);
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Turns a spinner into a bar that shows a fraction from 0 to 1.
pub fn fraction(bar: &ProgressBar, fraction: f64, message: String) {
    bar.set_style(style("{bar:30} {percent:>3} %  {msg}"));
    bar.set_message(message);
    bar.set_position((fraction * 1000.0) as u64);
}

/// A bar that counts jobs. `done` says what is counted, such as "ended".
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

/// A whole number with commas between its thousands.
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

/// A number of jobs, such as "2 jobs".
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

/// A duration for people, rounded.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 100.0 => format!("{seconds:.1} s"),
        _ => Span(Duration::from_secs(duration.as_secs())).to_string(),
    }
}

/// An attempt's progress for people.
pub fn progress(progress: &Progress) -> String {
    format!("{:.0} % {}", progress.fraction * 100.0, plain(&progress.message))
}

/// The text without control characters and other characters that could draw on a terminal or change the
/// direction of text. Line breaks and tabs stay.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_unshowable(*c) || matches!(c, '\n' | '\t')).collect()
}

/// An array on standard output in JSON or YAML, printed element by element: its length costs no memory.
#[derive(Debug)]
pub struct Array {
    format: Format,
    is_empty: bool,
    /// Whether the closing bracket is still to be printed.
    is_open: bool,
}

impl Array {
    /// An array without elements. Nothing is printed yet.
    pub fn new(format: Format) -> Self {
        Self { format, is_empty: true, is_open: false }
    }

    /// Prints more elements, and returns whether standard output is still open.
    ///
    /// # Errors
    /// As [`write`].
    pub fn extend<T: Serialize>(&mut self, elements: &[T]) -> anyhow::Result<bool> {
        let mut text = String::new();
        for element in elements {
            self.append(element, &mut text)?;
        }
        let is_wanted = write(text.as_bytes())?;
        self.is_open = self.format != Format::Yaml && !self.is_empty;
        Ok(is_wanted)
    }

    fn append(&mut self, element: &impl Serialize, text: &mut String) -> anyhow::Result<()> {
        if self.format == Format::Yaml {
            // In YAML a sequence of one element is also a part of a longer sequence.
            let json = serde_json::to_string(element)?;
            text.push_str(&yaml(&format!("[{json}]")).unwrap_or_else(|_| format!("- {}\n", shown(&json))));
        } else {
            let json = json(element)?;
            text.push_str(if self.is_empty { "[" } else { "," });
            // Strings in JSON have no line breaks.
            json.lines().for_each(|line| text.extend(["\n  ", line]));
        }
        self.is_empty = false;
        Ok(())
    }

    /// Prints the end of the array.
    ///
    /// # Errors
    /// As [`write`].
    pub fn end(mut self) -> anyhow::Result<()> {
        self.close()?;
        if self.is_empty {
            write(b"[]\n")?;
        }
        Ok(())
    }

    /// Prints the closing bracket if the array is open.
    fn close(&mut self) -> anyhow::Result<()> {
        if !self.is_open {
            return Ok(());
        }
        self.is_open = false;
        write(b"\n]\n").map(drop)
    }
}

/// After an error, the array that was printed so far can still be parsed.
impl Drop for Array {
    fn drop(&mut self) {
        // The first error is the one to report.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_grouped_and_control_characters_dropped() {
        assert_eq!([number(7), number(1234), number(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([one_of(&["a"]), one_of(&["a", "b", "c"])], ["a", "a, b or c"]);
        assert_eq!(plain("a\x1b[31mb\nc\r"), "a[31mb\nc");
    }

    /// The text of an array of these elements.
    fn whole(format: Format, elements: &[serde_json::Value]) -> String {
        let mut array = Array::new(format);
        let mut text = String::new();
        elements.iter().for_each(|element| array.append(element, &mut text).unwrap());
        array.is_open = false;
        if format == Format::Json { text + "\n]" } else { text }
    }

    #[test]
    fn array_in_parts_is_the_array_at_once() {
        let elements = [json!({"a": "line\nbreak", "b": [1, {}]}), json!("x"), json!({"n": null})];
        assert_eq!(whole(Format::Json, &elements), serde_json::to_string_pretty(&elements).unwrap());
        let yaml: serde_json::Value = yaml_serde::from_str(&whole(Format::Yaml, &elements)).unwrap();
        assert_eq!(yaml, json!(elements));
    }
}
