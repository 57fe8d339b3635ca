//! The result document: what readers get.

use super::{AlgorithmName, Digest, JobId, Limits, State, Usage, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The published JSON of an attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultDocument {
    /// The job.
    pub id: JobId,
    /// What was run.
    pub algorithm: AlgorithmName,
    /// Which attempt this is.
    pub attempt: u32,
    /// The job's state after it.
    pub state: State,
    /// When the attempt ended.
    #[serde(serialize_with = "super::timestamp::millis")]
    pub timestamp: Timestamp,
    /// How it ended.
    pub verdict: Verdict,
    /// What the algorithm returned, to the byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// What it left in its result directory.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// What it used.
    pub usage: Usage,
    /// All that is needed to run it again.
    pub provenance: Provenance,
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the result directory, with `/` between names.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its bytes, as 64 hex digits.
    pub sha256: String,
}

/// All that is needed to run an attempt again and get the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The module that was run; absent if none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Digest>,
    /// The module's shape; absent if none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// The digest of the params as JSON with sorted keys.
    pub params: Digest,
    /// The digests of the inputs that were fetched, by name.
    pub inputs: BTreeMap<String, Digest>,
    /// What all randomness came from.
    pub seed: u64,
    /// The wall clock at the start.
    pub clock: Timestamp,
    /// What the attempt could use; absent if the job asked for more than it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// The versions, and the configuration, that decide about fuel and bytes.
    pub engine: String,
}

/// What can be run: one of the two shapes of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The `algorithm` world.
    Algorithm,
    /// A plain WASI command.
    Command,
}
