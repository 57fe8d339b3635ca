//! CSV with a header.

use super::{MAX_ROWS, Row, Rows, Wanted, columns, parse_time, parse_value, too_many};
use crate::refusal::{Refusal, refusal};
use ::csv::{Error, ErrorKind, ReaderBuilder, StringRecord};

const UNIT: &str = "line";
/// The longest line in bytes; what is longer is not a table of timestamps and values.
const MAX_LINE: usize = 64 << 10;

/// Reads CSV (RFC 4180) whose columns are separated by commas, semicolons or tabs, whichever the header has
/// most of. With semicolons or tabs a decimal comma is understood.
pub(super) fn parse(text: &str, wanted: Wanted) -> Result<Rows, Refusal> {
    check_lines(text)?;
    let delimiter = delimiter(text);
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| refuse(&error))?.clone();
    let names: Vec<&str> = header.iter().collect();
    let (timestamp, value) = columns::find(&names, wanted)?;

    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| refuse(&error))? {
        let place = record.position().map_or(0, ::csv::Position::line);
        if rows.len() == MAX_ROWS {
            return Err(too_many(UNIT, place));
        }
        let cell = |column| record.get(column).unwrap_or_default();
        let time = parse_time(cell(timestamp), UNIT, place)?;
        let number = match cell(value) {
            text if delimiter != b',' && text.matches(',').count() == 1 => &text.replace(',', "."),
            text => text,
        };
        rows.push(Row { place, time, value: parse_value(number, UNIT, place)? });
    }
    Ok(Rows { rows, unit: UNIT, name: names[value].trim().to_owned() })
}

fn check_lines(text: &str) -> Result<(), Refusal> {
    match text.split('\n').position(|line| line.len() > MAX_LINE) {
        Some(index) => Err(refusal!("line {} is longer than {} KiB; this is not a CSV", index + 1, MAX_LINE >> 10)),
        None => Ok(()),
    }
}

fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    // `max_by_key` keeps the last of equals, so the comma stands last.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

fn refuse(error: &Error) -> Refusal {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => refusal!(
            "{UNIT} {}: the row has {len} cells where the header has {expected_len}",
            pos.as_ref().map_or(0, ::csv::Position::line)
        ),
        _ => refusal!("the CSV cannot be read: {error}"),
    }
}
