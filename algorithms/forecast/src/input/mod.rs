//! From the input's bytes to rows of time and value.

mod columns;
mod csv;
mod json;

use crate::grid;
use crate::refusal::{Refusal, excerpt, refusal};
use std::io::Read;

/// The largest input in bytes.
pub const MAX_INPUT: u64 = 16 << 20;
/// The most rows of an input, and the most values of a series.
pub const MAX_ROWS: usize = 100_000;
/// The largest magnitude of a value; squares of such values are still finite.
const MAX_MAGNITUDE: f64 = 1e100;

/// One observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The line of a CSV or the element of a JSON array, both counted from 1.
    pub place: u64,
    /// Microseconds since 1970.
    pub time: i64,
    /// What was observed.
    pub value: f64,
}

/// All observations in the order of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The observations.
    pub rows: Vec<Row>,
    /// What [`Row::place`] counts: `line` or `element`.
    pub unit: &'static str,
    /// The name of the column of values.
    pub name: String,
}

/// Which columns the submitter asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The column of timestamps.
    pub timestamp: Option<&'a str>,
    /// The column of values.
    pub value: Option<&'a str>,
}

/// Reads an input of CSV or JSON; JSON begins with `[` or `{`.
///
/// # Errors
/// A refusal that names the line or element and the reason.
pub fn parse(bytes: &[u8], wanted: Wanted) -> Result<Rows, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        refusal!(
            "the input is not text in UTF-8: line {line} holds an invalid byte at offset {}; save it as UTF-8",
            error.valid_up_to()
        )
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = match text.trim_start().chars().next() {
        None => return Err(refusal!("the input is empty; it must be CSV with a header, or JSON")),
        Some('[' | '{') => json::parse(text, wanted)?,
        Some(_) => csv::parse(text, wanted)?,
    };
    if rows.rows.is_empty() {
        return Err(refusal!("the input has no data rows, only a header or an empty list"));
    }
    Ok(rows)
}

/// Reads all of the input, but never more than [`MAX_INPUT`] bytes.
///
/// # Errors
/// A refusal if the input is longer; an I/O error of the reader as it is.
pub fn read(input: impl Read) -> std::io::Result<Result<Vec<u8>, Refusal>> {
    let mut bytes = Vec::new();
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Ok(Err(refusal!("the input is longer than {} MiB; send fewer or coarser rows", MAX_INPUT >> 20)));
    }
    Ok(Ok(bytes))
}

fn parse_time(text: &str, unit: &str, place: u64) -> Result<i64, Refusal> {
    grid::parse(text.trim()).ok_or_else(|| {
        refusal!(
            "{unit} {place}: `{}` is not a timestamp; write it like 2000-06-05T00:30:00Z, 2000-06-05 00:30 or 2000-06-05",
            excerpt(text)
        )
    })
}

fn check_value(value: f64, unit: &str, place: u64) -> Result<f64, Refusal> {
    if !value.is_finite() {
        return Err(refusal!("{unit} {place}: the value is {value}; remove the row, and a short gap is interpolated"));
    }
    if value.abs() > MAX_MAGNITUDE {
        return Err(refusal!("{unit} {place}: the value {value:e} is beyond ±{MAX_MAGNITUDE:e}; use a larger unit"));
    }
    Ok(value)
}

fn parse_value(text: &str, unit: &str, place: u64) -> Result<f64, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(refusal!("{unit} {place}: the value is empty; remove the row, and a short gap is interpolated"));
    }
    let value = text.parse().map_err(|_| refusal!("{unit} {place}: `{}` is not a number", excerpt(text)))?;
    check_value(value, unit, place)
}

fn too_many(unit: &str, place: u64) -> Refusal {
    refusal!("{unit} {place}: the input has more than {MAX_ROWS} rows; send the most recent ones, or coarser ones")
}
