//! What no bytes may do to Longboat.
//!
//! Each reader of foreign bytes has a target in [`targets`]: a function that takes any bytes and panics when a promise
//! is broken. These functions are run three ways: by the tests with a fixed number of cases, by `cargo hostile` with as
//! many as one likes, and by the fuzz targets in `runner/fuzz`, which do no more than call them. They use Longboat's
//! public interfaces only, so what they reach is what strangers reach.

pub mod campaign;
mod cases;
mod guest;
mod resident;
pub mod targets;
mod wasi;

use std::borrow::Cow;

/// A reader of foreign bytes, and what it is held to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As the command line and the fuzz targets have it.
    pub name: &'static str,
    /// Panics if a promise is broken; returns in a word what became of the bytes.
    pub check: fn(&[u8]) -> &'static str,
    /// How many cases the tests run.
    pub cases: u64,
    /// The most bytes of a case, unless one is made of samples.
    pub largest: usize,
    /// Bytes to start from; most cases are changed ones of these.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// What is put into samples: words of the format, and what readers stumble over.
    pub words: &'static [&'static str],
    /// What must have become of one case at least, so that a campaign that never gets past the door is noticed.
    pub reached: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 16] = [
    targets::beanstalkd::TARGET,
    targets::calls::TARGET,
    targets::config::TARGET,
    targets::data_url::TARGET,
    targets::document::TARGET,
    targets::import::TARGET,
    targets::jobs::TARGET,
    targets::module::TARGET,
    targets::name::TARGET,
    targets::program::TARGET,
    targets::quantity::TARGET,
    targets::request::TARGET,
    targets::response::TARGET,
    targets::returned::TARGET,
    targets::rule::TARGET,
    targets::tree::TARGET,
];

/// Bytes as text, or nothing where only text is taken.
fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

/// Bytes as text, with something in place of what is not UTF-8.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Samples that are texts.
fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// For targets that make something of any bytes by themselves.
fn no_samples() -> Vec<Vec<u8>> {
    Vec::new()
}
