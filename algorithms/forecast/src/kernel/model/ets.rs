//! Exponential smoothing without a season, alone and as the trend of a decomposition.

use super::{ONE_SIGMA, Prediction};
use augurs::ets::Error;
use augurs::ets::model::{ErrorComponent, Model, ModelType, SeasonalComponent, TrendComponent, Unfit};
use augurs::mstl::{FittedTrendModel, NaiveTrend, TrendModel};
use augurs::{Forecast, Predict};
use std::borrow::Cow;

/// How many of the last values the smoothing is fitted to, which bounds its cost.
///
/// Its state at the beginning of the window is fitted too, so that older values are missed only where the
/// smoothing parameters are so small that the window hardly tells the level from a constant.
const WINDOW: usize = 400;

/// Models that are compared by `AICc`: no trend, a linear and a damped one; errors and trend additive.
///
/// Multiplicative errors are left out: the series is scaled and therefore not positive, and the library simulates
/// some of their intervals with random numbers that do not come from the job's seed.
const CANDIDATES: [(TrendComponent, bool); 3] =
    [(TrendComponent::None, false), (TrendComponent::Additive, false), (TrendComponent::Additive, true)];

/// Steps of the Nelder–Mead search for at most five parameters. More change backtests by a few per cent either way,
/// and cost in proportion.
const MAX_ITERATIONS: usize = 150;

/// Scaled values that differ by less are constant.
const FLAT: f64 = 1e-9;

type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;
type BoxedTrend = Box<dyn FittedTrendModel + Sync + Send>;

pub(super) fn predict(history: &[f64], horizon: usize) -> Result<Prediction, String> {
    let fitted = RecentEts.fit(history).map_err(|error| error.to_string())?;
    let forecast = fitted.predict(horizon, Some(ONE_SIGMA)).map_err(|error| error.to_string())?;
    Prediction::from_augurs(forecast)
}

/// Exponential smoothing of the last [`WINDOW`] values; constant ones, which have no likelihood, are repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecentEts;

impl TrendModel for RecentEts {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("ETS")
    }

    fn fit(&self, values: &[f64]) -> Result<BoxedTrend, BoxedError> {
        let recent = &values[values.len().saturating_sub(WINDOW)..];
        let first = recent.first().copied().unwrap_or_default();
        if recent.iter().all(|value| (value - first).abs() < FLAT) {
            return NaiveTrend::new().fit(recent);
        }
        let fitted = CANDIDATES.iter().filter_map(|&(trend, damped)| fit(recent, trend, damped).ok());
        let best = fitted.filter(|model| !model.aicc().is_nan()).min_by(|a, b| a.aicc().total_cmp(&b.aicc()));
        Ok(Box::new(FittedEts(best.ok_or(Error::NoModelFound)?)))
    }
}

fn fit(values: &[f64], trend: TrendComponent, damped: bool) -> Result<Model, Error> {
    let model = ModelType { error: ErrorComponent::Additive, trend, season: SeasonalComponent::None };
    Unfit::new(model).damped(damped).nmse(1).max_iterations(MAX_ITERATIONS).fit(values)
}

#[derive(Debug)]
struct FittedEts(Model);

impl FittedTrendModel for FittedEts {
    fn predict_inplace(&self, horizon: usize, level: Option<f64>, forecast: &mut Forecast) -> Result<(), BoxedError> {
        Ok(self.0.predict_inplace(horizon, level, forecast)?)
    }

    fn predict_in_sample_inplace(&self, level: Option<f64>, forecast: &mut Forecast) -> Result<(), BoxedError> {
        Ok(self.0.predict_in_sample_inplace(level, forecast)?)
    }

    fn training_data_size(&self) -> Option<usize> {
        Some(self.0.training_data_size())
    }
}
