//! Ways to say too much, or nothing that can be read.

use crate::Params;
use longboat_sdk::Job;
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Bytes of a message about progress.
const MESSAGE: u64 = 1 << 20;
/// Levels of a result that is nested.
const LEVELS: u64 = 1000;
/// Bytes of a result that is long.
const LONG: u64 = 10 << 30;

/// Logs line after line.
pub fn log(params: &Params) {
    for number in 0..params.count.unwrap_or(u64::MAX) {
        eprintln!("{number}: what shall we do with a drunken sailor, early in the morning?");
    }
}

/// Reports its progress over and over in words that nobody wants to read.
pub fn progress(job: &Job<Params>) -> ! {
    let message = "x".repeat(usize::try_from(job.params.size.unwrap_or(MESSAGE)).unwrap_or(usize::MAX));
    let fractions = [0.5, f64::NAN, f64::INFINITY, -1.0];
    for fraction in fractions.into_iter().cycle() {
        job.progress(fraction, &message);
    }
    unreachable!("a cycle has no end")
}

/// What comes back in the place of JSON.
pub fn not_json(params: &Params) -> String {
    params.text.clone().unwrap_or_else(|| "what shall we do?".to_owned())
}

/// Arrays in arrays.
#[derive(Debug)]
pub struct Nested {
    levels: u64,
}

impl Nested {
    /// As deep as the params ask for.
    pub fn new(params: &Params) -> Self {
        Self { levels: params.count.unwrap_or(LEVELS) }
    }
}

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(None)?;
        if let Some(levels) = self.levels.checked_sub(1) {
            array.serialize_element(&Nested { levels })?;
        }
        array.end()
    }
}

/// An array of zeroes that exists nowhere until it is written.
#[derive(Debug)]
pub struct Long {
    bytes: u64,
}

impl Long {
    /// As long as the params ask for.
    pub fn new(params: &Params) -> Self {
        Self { bytes: params.size.unwrap_or(LONG) }
    }
}

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Each is a digit and a comma.
        serializer.collect_seq((0..self.bytes / 2).map(|_| 0_u8))
    }
}
