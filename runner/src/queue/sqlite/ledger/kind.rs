//! What servers are told at the ends of attempts.

use crate::job::Decision;
use crate::queue::sqlite::fault::Fault;
use std::time::Duration;

/// What the server is told at the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Kind {
    /// The job is done.
    Finish,
    /// It is tried again.
    Retry,
    /// It is dead.
    Bury,
    /// It is cancelled.
    Cancel,
}

impl Kind {
    /// What a decision comes to.
    pub(in crate::queue) fn of(decision: Decision) -> Self {
        match decision {
            Decision::Finish => Kind::Finish,
            Decision::Retry(_) => Kind::Retry,
            Decision::Bury => Kind::Bury,
            Decision::Cancel => Kind::Cancel,
        }
    }

    /// The name, as the file spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Finish => "finish",
            Kind::Retry => "retry",
            Kind::Bury => "bury",
            Kind::Cancel => "cancel",
        }
    }

    /// The decision that is spelled like this.
    pub(super) fn decision(name: &str, wait_ms: u64) -> Result<Decision, Fault> {
        Ok(match name {
            "finish" => Decision::Finish,
            "retry" => Decision::Retry(Duration::from_millis(wait_ms)),
            "bury" => Decision::Bury,
            "cancel" => Decision::Cancel,
            other => return Err(Fault::Corrupt(format!("a decision is called {other}"))),
        })
    }
}
