//! How attempts end.

mod kind;

use super::{LimitName, is_unshowable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many characters of a message are kept.
const MAX_MESSAGE: usize = 2000;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// The algorithm returned a result.
    Done,
    /// The algorithm reported an error or exited with another code than 0.
    Failed {
        /// What it said.
        message: String,
        /// Whether it said that every attempt would fail.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        permanent: bool,
        /// What it exited with, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<u32>,
    },
    /// It ran into an instruction that WebAssembly does not let pass.
    Trapped {
        /// Which, and where.
        message: String,
    },
    /// It used up its fuel.
    OutOfFuel(Excess),
    /// It trapped or failed after it had been refused memory.
    OutOfMemory(Excess),
    /// Its time was over.
    Deadline(Excess),
    /// It trapped or failed after a write had been refused, or returned too large a document.
    ResultQuota(Excess),
    /// What it returned is not JSON.
    BadResult {
        /// What is wrong with it.
        message: String,
    },
    /// An input could not be had.
    InputUnavailable {
        /// Which, and why.
        message: String,
        /// Whether asking again would not help.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        permanent: bool,
        /// What the server asked to wait before another attempt, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// The limit that it would have passed, if that is why.
        #[serde(flatten)]
        exceeded: Option<Exceeded>,
    },
    /// There is no module that could run.
    BadModule {
        /// Why.
        message: String,
    },
    /// An operator, the submitter or `expires` ended the job.
    Cancelled {
        /// Who or what.
        message: String,
    },
    /// The worker was told to stop now.
    Interrupted {
        /// Which worker.
        message: String,
    },
    /// The lease ran out.
    Lost {
        /// Whose lease.
        message: String,
    },
    /// The fault is the host's.
    HostError {
        /// What went wrong.
        message: String,
    },
}

/// A limit that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Which limit.
    pub limit: LimitName,
    /// What the job was allowed, in the limit's unit (milliseconds for `ttr`).
    pub allowed: u64,
    /// What was used or asked for.
    pub observed: u64,
    /// The same in one sentence.
    pub message: String,
}

/// A limit that was met, where the message says more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceeded {
    /// Which limit.
    pub limit: LimitName,
    /// What the job was allowed, in the limit's unit.
    pub allowed: u64,
    /// What was used or asked for, or the least of it that is known.
    pub observed: u64,
}

/// What a verdict means for further attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The job has its result.
    Success,
    /// Another attempt may end otherwise.
    Transient,
    /// No attempt would end otherwise.
    Permanent,
    /// Another attempt ends otherwise only if it draws other random numbers.
    Reproducible,
    /// The job has ended without a result, as somebody wished.
    Final,
}

impl Verdict {
    /// What the verdict means for further attempts.
    pub fn class(&self) -> Class {
        match self {
            Verdict::Done => Class::Success,
            Verdict::Failed { permanent: true, .. }
            | Verdict::InputUnavailable { permanent: true, .. }
            | Verdict::BadModule { .. } => Class::Permanent,
            Verdict::Failed { .. }
            | Verdict::InputUnavailable { .. }
            | Verdict::Deadline(_)
            | Verdict::Interrupted { .. }
            | Verdict::Lost { .. }
            | Verdict::HostError { .. } => Class::Transient,
            Verdict::Trapped { .. }
            | Verdict::OutOfFuel(_)
            | Verdict::OutOfMemory(_)
            | Verdict::ResultQuota(_)
            | Verdict::BadResult { .. } => Class::Reproducible,
            Verdict::Cancelled { .. } => Class::Final,
        }
    }

    /// What there is to say beyond the kind.
    pub fn message(&self) -> Option<&str> {
        match self {
            Verdict::Done => None,
            Verdict::OutOfFuel(excess)
            | Verdict::OutOfMemory(excess)
            | Verdict::Deadline(excess)
            | Verdict::ResultQuota(excess) => Some(&excess.message),
            Verdict::Failed { message, .. }
            | Verdict::Trapped { message }
            | Verdict::BadResult { message }
            | Verdict::InputUnavailable { message, .. }
            | Verdict::BadModule { message }
            | Verdict::Cancelled { message }
            | Verdict::Interrupted { message }
            | Verdict::Lost { message }
            | Verdict::HostError { message } => Some(message),
        }
    }

    fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Verdict::Done => None,
            Verdict::OutOfFuel(excess)
            | Verdict::OutOfMemory(excess)
            | Verdict::Deadline(excess)
            | Verdict::ResultQuota(excess) => Some(&mut excess.message),
            Verdict::Failed { message, .. }
            | Verdict::Trapped { message }
            | Verdict::BadResult { message }
            | Verdict::InputUnavailable { message, .. }
            | Verdict::BadModule { message }
            | Verdict::Cancelled { message }
            | Verdict::Interrupted { message }
            | Verdict::Lost { message }
            | Verdict::HostError { message } => Some(message),
        }
    }

    /// The same verdict with a message of one line and bounded length, since most of them hold words of the guest's.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        if let Some(message) = self.message_mut() {
            let mut chars = message.chars().map(|c| if is_unshowable(c) { ' ' } else { c });
            let mut clipped: String = chars.by_ref().take(MAX_MESSAGE).collect();
            if chars.next().is_some() {
                clipped.push('…');
            }
            *message = clipped;
        }
        self
    }

    /// Whether the algorithm returned a result.
    pub fn is_done(&self) -> bool {
        matches!(self, Verdict::Done)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        self.message().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_flood_of_words_is_cut() {
        let verdict = Verdict::Trapped { message: "é".repeat(5000) }.clipped();
        assert_eq!(verdict.message().map(|message| message.chars().count()), Some(2001));
        let forged = Verdict::Trapped { message: "a\x1b[2J\u{202e}b\nworker: all is well".to_owned() }.clipped();
        assert_eq!(forged.message(), Some("a [2J b worker: all is well"));
        let short = Verdict::Trapped { message: "x".to_owned() };
        assert_eq!(short.clone().clipped(), short);
    }

    #[test]
    fn a_met_limit_is_told_with_its_name_and_both_values() {
        let verdict = Verdict::OutOfFuel(Excess {
            limit: LimitName::Fuel,
            allowed: 1_000_000,
            observed: 1_000_000,
            message: "…".to_owned(),
        });
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "kind": "out-of-fuel", "limit": "fuel", "allowed": 1_000_000, "observed": 1_000_000, "message": "…"
            })
        );
        assert_eq!(serde_json::from_value::<Verdict>(json).unwrap(), verdict);
        assert_eq!(serde_json::to_string(&Verdict::Done).unwrap(), r#"{"kind":"done"}"#);
    }

    #[test]
    fn an_input_that_is_too_large_is_told_with_its_limit_and_others_are_not() {
        let exceeded = Some(Exceeded { limit: LimitName::InputSize, allowed: 10, observed: 11 });
        let large = r#"{"kind":"input-unavailable","message":"…","permanent":true,"limit":"input_size","allowed":10,"observed":11}"#;
        let gone = r#"{"kind":"input-unavailable","message":"…","permanent":true}"#;
        for (exceeded, json) in [(exceeded, large), (None, gone)] {
            let message = "…".to_owned();
            let verdict = Verdict::InputUnavailable { message, permanent: true, retry_after_ms: None, exceeded };
            assert_eq!(serde_json::to_string(&verdict).unwrap(), json);
            assert_eq!(serde_json::from_str::<Verdict>(json).unwrap(), verdict);
        }
    }
}
