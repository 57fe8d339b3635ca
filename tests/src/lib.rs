//! Builds the program and its guests, and drives them as a user would.
//!
//! Tests, benches and the demonstration share this, and with it one set of compiled dependencies: whatever
//! is built here goes into the target directory of the cargo that runs them.

pub mod beanstalkd;
pub mod build;
pub mod data_server;
pub mod program;
pub mod receiver;
pub mod torture;

use std::path::PathBuf;

/// The top of the checkout.
///
/// Cargo says which package it runs; what it said when the program was compiled may be another checkout that
/// shares the target directory.
pub fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    let top = package.ancestors().find(|directory| directory.join("rust-toolchain.toml").exists());
    top.unwrap_or(&package).to_owned()
}

/// The sample data of an algorithm.
pub fn sample(algorithm: &str, file: &str) -> PathBuf {
    workspace().join("algorithms").join(algorithm).join("data").join(file)
}
