//! Why an input or the params are refused.

use std::fmt::{self, Display};

/// What is wrong with the input or the params: what, where, why, and what to do about it.
///
/// Every refusal is permanent, since the same job would be refused again. The type is not a
/// `std::error::Error` on purpose: `?` would turn it into a *transient* [`Failure`](longboat_sdk::Failure).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Refusal`] with a formatted reason.
macro_rules! refusal {
    ($($reason:tt)+) => {
        $crate::refusal::Refusal::new(format!($($reason)+))
    };
}
pub(crate) use refusal;

/// At most the first 60 characters of what was found in the input, so that a message stays a message.
pub(crate) fn excerpt(found: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = found.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if found.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
