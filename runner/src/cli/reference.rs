//! How a command line names a job.

use longboat::job::{JobId, NameError};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A job, or what a server has in the place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    /// By its id.
    Id(JobId),
    /// By the number that a server has given to it; an id is longer than any number.
    Number(u64),
}

impl From<JobId> for Reference {
    fn from(id: JobId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Number(number) => write!(f, "number {number}"),
        }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(number) if text.len() <= 20 => Ok(Self::Number(number)),
            _ => text.parse().map(Self::Id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_digits_are_an_id_and_fewer_are_a_number() {
        assert_eq!("7".parse(), Ok(Reference::Number(7)));
        let id = "00000000000000000000000000000007";
        assert_eq!(id.parse(), Ok(Reference::Id(id.parse().unwrap())));
        assert!("-7".parse::<Reference>().is_err());
        assert!("99999999999999999999".parse::<Reference>().is_err());
    }
}
