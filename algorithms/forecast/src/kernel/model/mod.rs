//! The models, each from the values so far to the next ones.

mod ets;
mod mstl;
mod naive;

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// How a forecast is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By the model that does best in the backtest.
    #[default]
    Auto,
    /// By [`Model::SeasonalNaive`].
    SeasonalNaive,
    /// By [`Model::Ets`].
    Ets,
    /// By [`Model::Mstl`].
    Mstl,
}

/// What makes a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The value of one longest season ago; without a season the last value.
    SeasonalNaive,
    /// Exponential smoothing without a season.
    Ets,
    /// Decomposition into seasons and a trend, the trend continued by exponential smoothing.
    Mstl,
}

/// How many longest seasons models are fitted to. The seasonal smoothers of MSTL span 7 + 4k cycles for the k-th
/// season, 15 for the second: what lies further back does not reach the end of the series.
const FITTED_SEASONS: usize = 20;
/// The least number of last values that models are fitted to, if there are as many.
const LEAST_FITTED: usize = 2_000;
/// The greatest number, which bounds the time: a decomposition costs some 50,000 WebAssembly instructions a value.
pub(super) const MOST_FITTED: usize = 24_000;
/// The longest season, of which a decomposition needs two.
pub(crate) const MAX_SEASON: usize = MOST_FITTED / 2;

/// How many of the last values models are fitted to.
pub(super) fn fitted_values(length: usize, seasons: &[usize]) -> usize {
    let wanted = FITTED_SEASONS.saturating_mul(seasons.last().copied().unwrap_or(1));
    wanted.clamp(LEAST_FITTED, MOST_FITTED).min(length)
}

impl Method {
    /// The models to be tried, the simplest first.
    pub(super) fn candidates(self) -> &'static [Model] {
        match self {
            Self::Auto => &[Model::SeasonalNaive, Model::Ets, Model::Mstl],
            Self::SeasonalNaive => &[Model::SeasonalNaive],
            Self::Ets => &[Model::Ets],
            Self::Mstl => &[Model::Mstl],
        }
    }
}

impl Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SeasonalNaive => "seasonal-naive",
            Self::Ets => "ets",
            Self::Mstl => "mstl",
        })
    }
}

impl Model {
    /// Forecasts `horizon` steps after `history`, which is scaled to −1 … 1 and holds each season twice or more.
    ///
    /// # Errors
    /// Why the model cannot be used on this series, in words.
    pub(super) fn predict(self, history: &[f64], seasons: &[usize], horizon: usize) -> Result<Prediction, String> {
        let history = &history[history.len() - fitted_values(history.len(), seasons)..];
        let prediction = match self {
            Self::SeasonalNaive => naive::predict(history, seasons, horizon),
            Self::Ets => ets::predict(history, horizon),
            Self::Mstl => mstl::predict(history, seasons, horizon),
        }?;
        prediction.check(horizon)
    }
}

/// Expected values and the standard deviations of their errors, as the model sees them.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// The level at which a normal interval is one standard deviation wide to either side, erf(1/√2).
const ONE_SIGMA: f64 = 0.682_689_492_137_085_9;

impl Prediction {
    /// Mean and deviation, step by step.
    pub(super) fn steps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.mean.iter().copied().zip(self.deviation.iter().copied())
    }

    /// Takes over a forecast with intervals at the level [`ONE_SIGMA`].
    fn from_augurs(forecast: augurs::Forecast) -> Result<Self, String> {
        let intervals = forecast.intervals.ok_or("the library gave no intervals")?;
        let deviation = forecast.point.iter().zip(intervals.upper).map(|(mean, upper)| upper - mean).collect();
        Ok(Self { mean: forecast.point, deviation })
    }

    fn check(self, horizon: usize) -> Result<Self, String> {
        let finite = self.steps().filter(|(mean, deviation)| mean.is_finite() && deviation.is_finite()).count();
        if finite == horizon { Ok(self) } else { Err(format!("only {finite} of {horizon} steps came out finite")) }
    }
}
