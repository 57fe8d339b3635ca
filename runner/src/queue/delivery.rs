//! Results on their way to a `result_url`.

use crate::job::JobId;
use jiff::Timestamp;
use std::time::Duration;
use url::Url;

/// A result document that is due to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The job.
    pub id: JobId,
    /// The attempt whose result it is.
    pub attempt: u32,
    /// Where to.
    pub url: Url,
    /// How often it was tried before, this time not counted.
    pub tries: u32,
    /// When it was first due.
    pub since: Timestamp,
}

/// What came of sending one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It has arrived.
    Yes,
    /// It was not tried after all, and is due again after a while.
    Untried {
        /// How long to wait.
        after: Duration,
    },
    /// It is tried again after a while.
    Again {
        /// How long to wait.
        after: Duration,
        /// Why it failed.
        reason: String,
    },
    /// It was not tried after all, and is not tried any more.
    TooLate {
        /// Why.
        reason: String,
    },
    /// It is not tried again.
    GivenUp {
        /// Why.
        reason: String,
    },
}
