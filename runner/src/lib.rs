//! Runs algorithms that nobody has to trust.
pub mod body;
pub mod job;
pub mod queue;
pub mod sandbox;
