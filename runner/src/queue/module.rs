//! What is known of registered algorithms.

use crate::job::{AlgorithmName, Digest, Shape};
use jiff::Timestamp;
use serde::Serialize;

/// The largest module that is kept, in bytes.
pub const MAX_MODULE: u64 = 64 << 20;

/// A registered algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Algorithm {
    /// The name.
    pub name: AlgorithmName,
    /// What jobs run that name no digest.
    #[serde(flatten)]
    pub current: Version,
    /// What the name pointed at before, latest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Version>,
}

/// A module under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The module.
    pub module: Digest,
    /// Its shape.
    pub shape: Shape,
    /// Its size in bytes.
    pub size: u64,
    /// When the name was pointed at it.
    pub added_at: Timestamp,
}
