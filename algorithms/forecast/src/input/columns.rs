//! Which of the columns hold timestamps and values.

use super::Wanted;
use crate::grid;
use crate::refusal::{Refusal, excerpt, refusal};

/// Names that a column of timestamps goes by, compared without case.
pub(super) const TIMESTAMP_NAMES: [&str; 5] = ["timestamp", "time", "datetime", "date", "ds"];
/// Names that a column of values goes by, compared without case.
pub(super) const VALUE_NAMES: [&str; 2] = ["value", "y"];

/// The positions of the two columns among `names`.
///
/// # Errors
/// A refusal if a wanted column does not exist, if a column cannot be told, or if both are the same.
pub(super) fn find(names: &[&str], wanted: Wanted) -> Result<(usize, usize), Refusal> {
    let timestamp = match wanted.timestamp {
        Some(name) => named(names, name, "timestamp_column")?,
        None => known(names, &TIMESTAMP_NAMES).unwrap_or(0),
    };
    if names.iter().any(|name| grid::parse(name.trim()).is_some()) {
        return Err(refusal!("line 1 looks like data; the first line must be a header such as `timestamp,value`"));
    }
    let value = match wanted.value {
        Some(name) => named(names, name, "value_column")?,
        None => guess_value(names, timestamp)?,
    };
    if timestamp == value {
        return Err(refusal!("`{}` cannot hold both the timestamps and the values", excerpt(names[value])));
    }
    Ok((timestamp, value))
}

fn guess_value(names: &[&str], timestamp: usize) -> Result<usize, Refusal> {
    match names.len() {
        0 | 1 => Err(refusal!(
            "line 1: the header `{}` has one column; a timestamp and a value column are needed, separated by a \
             comma, a semicolon or a tab",
            excerpt(names.first().copied().unwrap_or_default())
        )),
        2 => Ok(1 - timestamp.min(1)),
        _ => known(names, &VALUE_NAMES).ok_or_else(|| {
            refusal!("several columns could hold the values ({}); name one in `value_column`", list(names))
        }),
    }
}

fn named(names: &[&str], name: &str, param: &str) -> Result<usize, Refusal> {
    names
        .iter()
        .position(|candidate| candidate.trim() == name)
        .ok_or_else(|| refusal!("param `{param}`: there is no column `{}`, only {}", excerpt(name), list(names)))
}

fn known(names: &[&str], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|known| names.iter().position(|name| name.trim().eq_ignore_ascii_case(known)))
}

fn list(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", excerpt(name.trim()))).collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}
