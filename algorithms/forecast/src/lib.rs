//! Forecasts a seasonal time series, with prediction intervals and the backtest that justifies them.
//!
//! [`kernel::forecast`] is the whole computation as an ordinary function, without a job around it. The way of the
//! data: [`input`] reads CSV or JSON into rows, [`series`] makes an equally spaced series on a [`grid`] of them,
//! [`kernel`] backtests the candidates and forecasts, and [`report`] and [`chart`] write it down.
//!
//! ```
//! use forecast::kernel::{Method, Task, forecast};
//!
//! let values: Vec<f64> = (0..70).map(|day| if day % 7 < 5 { 10.0 } else { 4.0 }).collect();
//! let task = Task { values: &values, seasons: &[7], horizon: 7, level: 0.95, method: Method::Auto };
//! let outcome = forecast(&task, &mut |_, _| {}).unwrap();
//! assert_eq!(outcome.points[0].mean, 10.0);
//! assert_eq!(outcome.points[6].mean, 4.0);
//! ```

#![deny(unsafe_code)]

pub mod chart;
pub mod grid;
pub mod input;
pub mod kernel;
pub mod params;
pub mod refusal;
pub mod report;
pub mod series;

pub use input::Wanted;
pub use params::Params;
pub use report::Report;

use kernel::Task;
use longboat_sdk::{Failure, Job, algorithm};
use refusal::Refusal;
use series::Series;

/// The horizon of a series without a season, in steps.
const DEFAULT_HORIZON: usize = 12;

/// Forecasts the job's series, writes `forecast.csv` and `forecast.svg`, and returns the report.
///
/// # Errors
/// A permanent failure for params or a series that make no sense; a transient one if the input cannot be read
/// or a file cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "an algorithm owns its job")]
pub fn forecast(job: Job<Params>) -> Result<Report, Failure> {
    let bytes = input::read(job.input()?)?.map_err(Failure::permanent)?;
    let report = run(&bytes, &job.params, &mut |done, message| job.progress(done, message));
    let (report, series) = report.map_err(Failure::permanent)?;
    job.progress(0.97, "writing the table and the chart");
    std::fs::write(job.result_dir().join("forecast.csv"), report.csv())?;
    std::fs::write(job.result_dir().join("forecast.svg"), chart::svg(&series, &report))?;
    Ok(report)
}

/// The job without its files: from the input's bytes to the report and the series that it is about.
///
/// # Errors
/// A refusal that says what is wrong, where, why, and what to do about it.
pub fn run(bytes: &[u8], params: &Params, progress: &mut dyn FnMut(f64, &str)) -> Result<(Report, Series), Refusal> {
    params.check()?;
    progress(0.0, "reading the series");
    let wanted = Wanted { timestamp: params.timestamp_column.as_deref(), value: params.value_column.as_deref() };
    let rows = input::parse(bytes, wanted)?;
    let name = rows.name.clone();
    let series = Series::from_rows(rows, params.season_lengths.as_deref())?;
    let shortest_season = series.seasons.first().copied().unwrap_or(DEFAULT_HORIZON);
    let task = Task {
        values: &series.values,
        seasons: &series.seasons,
        horizon: params.horizon.unwrap_or(shortest_season.min(kernel::MAX_HORIZON)),
        level: params.level,
        method: params.method,
    };
    let outcome = kernel::forecast(&task, progress)?;
    let report = Report::new(name, &series, params, outcome)?;
    Ok((report, series))
}

algorithm!(forecast);
