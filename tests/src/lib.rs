//! Builds the program and its guests, and drives them as a user would.
//!
//! Tests, benches and the demonstration share this, and with it one set of compiled dependencies: whatever is
//! built here goes into the target directory of the cargo that runs them.

pub mod build;
pub mod data_server;
pub mod program;

use std::path::PathBuf;

/// The top of the checkout.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The sample data of an algorithm.
pub fn sample(algorithm: &str, file: &str) -> PathBuf {
    workspace().join("algorithms").join(algorithm).join("data").join(file)
}
