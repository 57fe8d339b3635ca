//! Write an algorithm for Longboat as one typed function.
//!
//! ```
//! use longboat_sdk::{Failure, Job, algorithm};
//! use serde::{Deserialize, Serialize};
//! use std::io::{BufRead, BufReader};
//!
//! #[derive(Deserialize)]
//! struct Params {
//!     column: usize,
//! }
//!
//! #[derive(Serialize)]
//! struct Mean {
//!     rows: usize,
//!     mean: f64,
//! }
//!
//! fn mean(job: Job<Params>) -> Result<Mean, Failure> {
//!     let (mut rows, mut sum) = (0, 0.0);
//!     for line in BufReader::new(job.input()?).lines() {
//!         let line = line?;
//!         let cell = line.split(',').nth(job.params.column);
//!         let cell = cell.ok_or_else(|| Failure::permanent(format!("row {rows} is too short")))?;
//!         sum += cell.parse::<f64>().map_err(Failure::permanent)?;
//!         rows += 1;
//!     }
//!     std::fs::write(job.result_dir().join("sum.txt"), sum.to_string())?;
//!     Ok(Mean { rows, mean: sum / rows as f64 })
//! }
//!
//! algorithm!(mean);
//!
//! // The same function, tested natively, without a sandbox:
//! let scratch = tempfile::tempdir().unwrap();
//! let job = Job::native(Params { column: 1 })
//!     .with_input("input", "a,1\nb,3\n")
//!     .with_result_dir(scratch.path());
//! assert_eq!(mean(job).unwrap().mean, 2.0);
//! ```
//!
//! The crate's manifest asks for a WebAssembly library beside the ordinary one that tests use:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//! ```
//!
//! `cargo build --release --target wasm32-wasip1` makes the module, `longboat run` tries it under the limits
//! of production, and `longboat algorithm add` registers it.
//!
//! # What an algorithm may do
//!
//! It reads its inputs ([`Job::input`]), writes files below [`Job::result_dir`] with `std::fs`, logs with
//! `eprintln!`, tells how far it is ([`Job::progress`]) and returns its result or a [`Failure`]. Clocks and
//! random numbers work and depend only on the job; there are no sockets, no other files and no threads.

#![deny(unsafe_code)]

mod failure;
mod input;
mod job;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, clippy::all, clippy::pedantic)]
pub mod bindings;
#[doc(hidden)]
pub mod export;

pub use failure::Failure;
pub use input::Input;
pub use job::{Job, Limits};
