//! What a queue knows of a job.

use super::{AlgorithmName, Digest, Document, Job, JobId, Usage, Verdict, excerpt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Submitted but not released.
    Held,
    /// Waiting for its time.
    Delayed,
    /// Waiting for a worker.
    Ready,
    /// Leased to a worker.
    Running,
    /// Ended with a result.
    Done,
    /// Ended without a result; a kick brings it back.
    Dead,
    /// Ended because somebody wished so.
    Cancelled,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [State; 7] =
        [State::Held, State::Delayed, State::Ready, State::Running, State::Done, State::Dead, State::Cancelled];

    /// The name, as JSON spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Delayed => "delayed",
            State::Ready => "ready",
            State::Running => "running",
            State::Done => "done",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether nothing further happens to the job by itself.
    pub fn is_final(self) -> bool {
        matches!(self, State::Done | State::Dead | State::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            format!("{} is not a state; the states are {}", excerpt(text), State::ALL.map(State::as_str).join(", "))
        })
    }
}

/// A job and all that has happened to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The job's id.
    pub id: JobId,
    /// Where it is in its life.
    pub state: State,
    /// Attempts that were started.
    pub attempts: u32,
    /// How the last attempt that ended did so, or why the job ended without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When the job was submitted.
    #[serde(serialize_with = "super::timestamp::millis")]
    pub submitted_at: Timestamp,
    /// When it is, or was last, due.
    #[serde(serialize_with = "super::timestamp::millis")]
    pub ready_at: Timestamp,
    /// When its last attempt started.
    #[serde(serialize_with = "super::timestamp::some_millis", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the job ended.
    #[serde(serialize_with = "super::timestamp::some_millis", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The attempt whose result is served, once the job is done or dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u32>,
    /// How often it was kicked; each kick grants `max_attempts` more.
    #[serde(skip_serializing_if = "is_zero")]
    pub kicks: u32,
    /// Where the worker that holds the result serves results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// The module that the job was pinned to when it was submitted; absent if its algorithm was not registered then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Digest>,
    /// The last word of the running attempt about its progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What was asked for; its fields stand beside these, and its own id is left out for the one above.
    #[serde(flatten)]
    pub document: Document,
    /// Every attempt that was started, oldest first; only in answers about a single job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<AttemptRecord>>,
    /// How the sending of the result to `result_url` stands; only in answers about a single job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Record {
    /// The job that a worker would be given.
    pub fn job(&self) -> Job {
        Job { id: self.id, submitted_at: self.submitted_at, module: self.module, document: self.document.clone() }
    }

    /// The result document, as JSON, of a job that has ended without an attempt's own: it was cancelled, or its last
    /// worker was lost. Nothing if the job has not ended.
    pub fn document_without_result(&self) -> Option<Vec<u8>> {
        let document = WithoutResult {
            id: self.id,
            algorithm: &self.document.algorithm.name,
            attempt: self.attempts,
            state: self.state,
            timestamp: self.finished_at.filter(|_| self.state.is_final())?,
            verdict: self.verdict.as_ref(),
            files: [],
        };
        Some(serde_json::to_vec(&document).expect("a record is JSON"))
    }
}

/// The fields of a result document that need no attempt.
#[derive(Serialize)]
struct WithoutResult<'a> {
    id: JobId,
    algorithm: &'a AlgorithmName,
    attempt: u32,
    state: State,
    #[serde(serialize_with = "super::timestamp::millis")]
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a Verdict>,
    files: [(); 0],
}

/// How far an attempt says it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// In the algorithm's words.
    pub message: String,
}

/// How the sending of a result stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Where to.
    pub url: Url,
    /// The attempt whose result it is.
    pub attempt: u32,
    /// Whether it has arrived.
    pub state: DeliveryState,
    /// How often it was tried.
    pub tries: u32,
    /// When it was first due.
    #[serde(serialize_with = "super::timestamp::millis")]
    pub since: Timestamp,
    /// When it is tried next; absent once it has ended.
    #[serde(serialize_with = "super::timestamp::some_millis", skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "super::timestamp::some_millis", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a result has arrived at its `result_url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It will be tried, perhaps again.
    Pending,
    /// It has arrived.
    Delivered,
    /// It is not tried again.
    GivenUp,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::GivenUp];

    /// The name, as JSON spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::GivenUp => "given-up",
        }
    }
}

/// One attempt in a job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub attempt: u32,
    /// The name of the worker that ran it.
    pub worker: String,
    /// When it started.
    #[serde(serialize_with = "super::timestamp::millis")]
    pub started_at: Timestamp,
    /// When it ended; absent while it runs.
    #[serde(serialize_with = "super::timestamp::some_millis", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}
