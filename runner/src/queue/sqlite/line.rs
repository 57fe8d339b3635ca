//! The lines of an export, one JSON object each.
//!
//! The first is the head, the last the end, which counts the others: what has no end is only a part. Fields that a job's
//! document has are not repeated beside it.

use crate::job::{AttemptRecord, DeliveryRecord, Digest, JobId, State, Tube, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use url::Url;

/// The version of what is written here. A change that this program could not read gets another.
pub(super) const VERSION: u32 = 1;
/// The longest line in bytes: a job document, and some ten thousand attempts with all that they have to say.
pub(super) const LONGEST: usize = 64 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Queue(Head),
    /// A job, in the order of submission.
    Job(Box<JobLine>),
    /// What is left of a job that was deleted.
    Forgotten(Forgotten),
    /// A tube that is paused.
    Paused(Paused),
    /// The last.
    End(Lines),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) exported_at: Timestamp,
}

/// A job with its whole history. None runs: one that did is written as if its worker had given it back just then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobLine {
    pub(super) id: JobId,
    pub(super) state: State,
    pub(super) submitted_at: Timestamp,
    pub(super) ready_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<Timestamp>,
    /// How the unique key in the document is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Key>,
    pub(super) attempts: u32,
    /// How many of these do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) uncounted: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) kicks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) public_url: Option<Url>,
    /// The digest of the document as it was submitted, if it was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) submitted_as: Option<Digest>,
    pub(super) document: Box<RawValue>,
    pub(super) history: Vec<AttemptRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deliveries: Vec<DeliveryLine>,
}

/// How a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    /// Until the job has ended.
    UntilEnded,
    /// It was, and the job has ended.
    Free,
    /// Until this time.
    Until(Timestamp),
}

/// The sending of a result, and the results tree that it is sent from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeliveryLine {
    pub(super) store: JobId,
    #[serde(flatten)]
    pub(super) record: DeliveryRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgotten {
    pub(super) id: JobId,
    /// The digest of the document as it was submitted.
    pub(super) document: Digest,
    pub(super) forgotten_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paused {
    pub(super) tube: Tube,
    pub(super) since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

/// How many lines there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lines {
    pub(super) jobs: u64,
    pub(super) forgotten: u64,
    pub(super) paused: u64,
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, forgotten, paused } = self;
        write!(f, "{jobs} jobs, {forgotten} ids of deleted ones and {paused} paused tubes")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
