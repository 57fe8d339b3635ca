//! Printing what was asked for: to standard output, in one of three formats.

use crate::cli::Format;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use longboat::job::is_unshowable;
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
        Format::Json => serde_json::to_string_pretty(value)?,
        // YAML takes JSON as it is, so what it cannot spell its own way, such as 1e400, is left as JSON.
        Format::Yaml => yaml(&serde_json::to_string(value)?).or_else(|_| serde_json::to_string_pretty(value))?,
    };
    if text.is_empty() { Ok(()) } else { line(text.trim_end()) }
}

/// The same document as YAML, with its fields in the same order.
fn yaml(json: &str) -> anyhow::Result<String> {
    let mut yaml = Vec::new();
    let mut to = yaml_serde::Serializer::new(&mut yaml);
    serde_transcode::transcode(&mut serde_json::Deserializer::from_str(json), &mut to)?;
    drop(to);
    Ok(String::from_utf8(yaml)?)
}

/// Prints one line, or several.
///
/// # Errors
/// The terminal's; a reader that has gone away is none.
pub fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
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

/// A bar that counts jobs.
pub fn counting(jobs: usize) -> ProgressBar {
    let bar = ProgressBar::new(jobs as u64);
    bar.set_style(style("{spinner} {bar:30} {pos} of {len} ended  {msg}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A table without lines, whose columns are found by looking.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Pairs of a name and a value, one a line, aligned.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect::<Vec<_>>().join("\n")
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
        assert_eq!(plain("a\x1b[31mb\nc\r"), "a[31mb\nc");
    }
}
