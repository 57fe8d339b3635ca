//! The algorithm as its users meet it: bytes and params in, a report or a refusal out.
#![allow(clippy::unwrap_used)]

mod any_input;
mod cleaning;
mod demand;
mod files;
mod refusals;

use forecast::{Params, Report};
use std::fmt::Write;

/// Half-hourly electricity demand of England and Wales, 5 June to 20 August 2000.
const DEMAND: &str = include_str!("../../data/demand.csv");

fn params(json: &str) -> Params {
    serde_json::from_str(json).unwrap()
}

fn report(input: impl AsRef<[u8]>, json: &str) -> Report {
    forecast::run(input.as_ref(), &params(json), &mut |_, _| {}).unwrap().0
}

fn refusal(input: impl AsRef<[u8]>, json: &str) -> String {
    forecast::run(input.as_ref(), &params(json), &mut |_, _| {}).unwrap_err().to_string()
}

/// The lines of a daily series from 1 January 2000, without the header: line `n` of the CSV is row `n - 2`.
fn daily_rows(days: u32, value: impl Fn(u32) -> f64) -> Vec<String> {
    let start = jiff::civil::date(2000, 1, 1);
    let row = |day: u32| {
        let date = start.checked_add(jiff::ToSpan::days(i64::from(day))).unwrap();
        format!("{date},{}", value(day))
    };
    (0..days).map(row).collect()
}

/// A weekly wave on a slow rise.
fn wave(day: u32) -> f64 {
    100.0 + 0.1 * f64::from(day) + [0.0, 1.0, 2.0, 3.0, 2.0, -5.0, -8.0][day as usize % 7]
}

fn csv(rows: &[String]) -> String {
    let mut text = String::from("timestamp,value\n");
    for row in rows {
        writeln!(text, "{row}").unwrap();
    }
    text
}
