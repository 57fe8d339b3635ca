//! A year of a house with solar panels and a battery, many times over: how much it draws from the grid, and how
//! sure that is.
//!
//! The way of the data: [`params`] and an optional measured [`load`] make a [`model`]; [`year`] walks through one
//! scenario step by step, with the weather of [`solar`] and the dispatch of [`battery`]; [`statistics`] condenses
//! the scenarios into the [`report`], a table and a picture. [`simulate`] is one scenario as an ordinary function.

#![deny(unsafe_code)]

pub mod battery;
pub mod calendar;
mod csv;
pub mod load;
pub mod model;
pub mod params;
pub mod report;
pub mod solar;
pub mod statistics;
mod svg;
pub mod year;

pub use model::Model;
pub use params::Params;
pub use report::Report;
pub use year::{Scenario, simulate};

use longboat_sdk::{Failure, Job, algorithm};

/// Simulates the scenarios, writes `scenarios.csv` and `storage.svg`, and returns the report.
///
/// # Errors
/// A permanent failure for params or a load that make no sense, and should energy not be conserved; a transient
/// one if a file cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "an algorithm owns its job")]
pub fn storage(job: Job<Params>) -> Result<Report, Failure> {
    job.params.check().map_err(Failure::permanent)?;
    let measured = load::measured(&job)?;
    let model = Model::new(&job.params, measured.as_deref());
    let mut table = csv::Table::create(&job.result_dir().join("scenarios.csv"))?;
    let count = job.params.scenarios;
    let mut scenarios = Vec::with_capacity(count as usize);
    for number in 0..count {
        let scenario = simulate(&model, job.seed, number).map_err(Failure::permanent)?;
        table.row(number, &scenario)?;
        scenarios.push(scenario);
        if (number + 1) * 100 / count > number * 100 / count {
            job.progress(f64::from(number + 1) / f64::from(count), &format!("{} of {count} scenarios", number + 1));
        }
    }
    table.finish()?;
    let report = Report::new(&job.params, job.seed, measured.is_some(), &scenarios);
    std::fs::write(job.result_dir().join("storage.svg"), svg::draw(&job.params, &report, &scenarios)?)?;
    Ok(report)
}

algorithm!(storage);
