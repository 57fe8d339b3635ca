//! Runs algorithms that nobody has to trust: predictions and simulations compiled to WASI modules, pulled as
//! jobs from a queue, and run inside the worker's own process under fuel, epoch and memory limits.
//!
//! Modules stand on floors, and imports point downwards only:
//!
//! | floor | modules |
//! |---|---|
//! | 3 | [`worker`] claims, heartbeats and settles; [`server`] answers readers; [`intake`] takes jobs from beanstalkd |
//! | 2 | [`execute`] makes one attempt, from a job to what came of it |
//! | 1 | [`queue`], [`sandbox`], [`confinement`], [`fetch`], [`results`]; none knows another |
//! | 0 | [`job`], [`body`], [`policy`], [`config`] |
//!
//! The `longboat` program on top of them reads the command line and prints.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod body;
pub mod config;
pub mod confinement;
pub mod execute;
pub mod fetch;
pub mod intake;
pub mod job;
pub mod policy;
pub mod queue;
pub mod results;
pub mod sandbox;
pub mod server;
pub mod worker;
