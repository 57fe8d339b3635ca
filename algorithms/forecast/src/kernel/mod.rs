//! The computation without a job around it: from values to a forecast with intervals and its backtest.

mod accuracy;
mod backtest;
mod intervals;
mod model;
mod scale;

pub use accuracy::Accuracy;
pub use backtest::{Backtest, Candidate, Trial};
pub(crate) use model::MAX_SEASON;
pub use model::{Method, Model};

use crate::refusal::{Refusal, refusal};
use crate::series::MIN_VALUES;
use crate::series::seasons::MIN_REPEATS;
use scale::Scale;

/// The longest forecast in steps.
pub const MAX_HORIZON: usize = 10_000;

/// What to forecast.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The series, equally spaced; finite, at least [`MIN_VALUES`].
    pub values: &'a [f64],
    /// Lengths of the seasons in steps, rising; each at most 12,000 and a third of the series.
    pub seasons: &'a [usize],
    /// How many steps to forecast.
    pub horizon: usize,
    /// The probability with which an interval shall cover the value.
    pub level: f64,
    /// How to forecast.
    pub method: Method,
}

/// One step of a forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The expected value.
    pub mean: f64,
    /// The lower end of the interval.
    pub lower: f64,
    /// The upper end of the interval.
    pub upper: f64,
}

/// A forecast and how far it can be trusted.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The model that made the forecast.
    pub model: Model,
    /// One point a step, beginning one step after the last value.
    pub points: Vec<Point>,
    /// How the candidates did on held-out ends of the series.
    pub backtest: Backtest,
}

/// Backtests the candidates, forecasts by the best, and widens its intervals to what the backtest asks for.
///
/// `progress` is told the share of the work that is done, from 0 to 1, and a few words.
///
/// # Errors
/// A refusal for a task out of its limits, or if no candidate works on the series.
pub fn forecast(task: &Task, progress: &mut dyn FnMut(f64, &str)) -> Result<Outcome, Refusal> {
    check(task)?;
    let scale = Scale::of(task.values);
    let values: Vec<f64> = task.values.iter().map(|&value| scale.shrink(value)).collect();
    let (backtest, factor) = backtest::run(task, &values, scale, progress)?;
    let model = backtest.winner;
    progress(0.95, &format!("forecasting by {model}"));
    let prediction = model.predict(&values, task.seasons, task.horizon).map_err(|reason| refuse(model, &reason))?;
    let point = |(mean, deviation): (f64, f64)| Point {
        mean: scale.grow(mean),
        lower: scale.grow(mean - factor * deviation),
        upper: scale.grow(mean + factor * deviation),
    };
    Ok(Outcome { model, points: prediction.steps().map(point).collect(), backtest })
}

fn refuse(model: Model, reason: &str) -> Refusal {
    refusal!("`{model}` cannot forecast this series: {reason}; ask for another `method`, or for `auto`")
}

fn check(task: &Task) -> Result<(), Refusal> {
    let length = task.values.len();
    if length < MIN_VALUES {
        return Err(refusal!("the series has {length} values; at least {MIN_VALUES} are needed"));
    }
    if let Some(index) = task.values.iter().position(|value| !value.is_finite()) {
        return Err(refusal!("value {index} of the series is not finite"));
    }
    if !(1..=MAX_HORIZON).contains(&task.horizon) {
        return Err(refusal!("the horizon is {}; it must be from 1 to {MAX_HORIZON} steps", task.horizon));
    }
    let longest = MAX_SEASON.min(length / MIN_REPEATS);
    if !task.seasons.is_sorted() || task.seasons.iter().any(|season| !(2..=longest).contains(season)) {
        return Err(refusal!("the seasons {:?} must rise, from 2 to {longest} steps", task.seasons));
    }
    Ok(())
}
