//! AC load flow: from loads, generation and network data to the voltage at every bus.
//!
//! [`solve`] is the whole computation as an ordinary function, without a job around it. The way of the data:
//! [`case`] reads the document, [`network`] checks it and turns it into indices and per unit, [`admittance`]
//! makes the bus admittance matrix, [`newton`] iterates on a sparse [`jacobian`] from a [`start`], and
//! [`report`] turns voltages into flows and losses.

#![deny(unsafe_code)]

pub mod admittance;
pub mod case;
mod csv;
pub mod error;
pub mod jacobian;
mod lu;
pub mod network;
pub mod newton;
pub mod params;
pub mod report;
mod solve;
pub mod start;

pub use case::Case;
pub use error::Error;
pub use params::Params;
pub use report::Report;
pub use solve::{Solution, solve};

use longboat_sdk::{Failure, Job, algorithm};

/// Solves the job's case, writes `bus.csv` and `branch.csv`, and returns the report.
///
/// # Errors
/// A permanent failure for params or a case that make no sense, and for a case without a solution; a transient
/// one if a file cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "an algorithm owns its job")]
pub fn power_flow(job: Job<Params>) -> Result<Report, Failure> {
    job.params.check().map_err(Failure::permanent)?;
    let input = job.input()?;
    let size = input.size();
    let case = case::read(input, size)?;
    job.progress(0.1, &format!("{} buses, {} branches", case.buses.len(), case.branches.len()));
    let solution = solve(&case, &job.params).map_err(Failure::permanent)?;
    job.progress(0.9, &format!("converged after {} iterations", solution.iterations()));
    let report = Report::new(&case, solution);
    csv::write(&report, job.result_dir())?;
    Ok(report.within(job.limits.document_size))
}

algorithm!(power_flow);
