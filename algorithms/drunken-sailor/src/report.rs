//! What the sailor has to tell.

use crate::Mode;
use crate::words::{Long, Nested};
use longboat_sdk::Failure;
use serde::Serialize;
use std::fmt::Display;

/// What comes back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Sober words.
    Report(Report),
    /// Words as they are, JSON or not.
    Words(String),
    /// Arrays in arrays.
    Nested(Nested),
    /// Too much to read.
    Long(Long),
}

/// What a sailor who found home says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How the attempt was spent.
    pub mode: Mode,
    /// Which attempt it was.
    pub attempt: u32,
    /// What came of what was tried, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// What came of what was tried.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How much of it succeeded.
    pub made: u64,
    /// How much of it was refused.
    pub refused: u64,
    /// What was said at the last refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Seen {
    /// So much succeeded, and then this happened.
    pub fn until(made: u64, error: &impl Display) -> Self {
        Self { made, refused: 1, error: Some(error.to_string()) }
    }

    /// Counts what was tried, and hands on what it gave.
    pub fn count<T, E: Display>(&mut self, tried: Result<T, E>) -> Option<T> {
        match tried {
            Ok(made) => {
                self.made += 1;
                Some(made)
            }
            Err(error) => {
                self.refused += 1;
                self.error = Some(error.to_string());
                None
            }
        }
    }

    /// Counts what was tried and must not succeed.
    ///
    /// # Errors
    /// A permanent failure if it did.
    pub fn must_refuse<T, E: Display>(&mut self, what: &str, tried: Result<T, E>) -> Result<(), Failure> {
        match self.count(tried) {
            Some(_) => Err(Failure::permanent(format!("this was permitted: {what}"))),
            None => Ok(()),
        }
    }
}
