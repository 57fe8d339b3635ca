//! How far forecasts were off.

use super::scale::Scale;
use serde::Serialize;

/// One held-out value beside its forecast, scaled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) actual: f64,
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

/// Deviations below this share of the series' half range count as this much, so that a perfect fit has scores too.
const LEAST_DEVIATION: f64 = 1e-9;

impl Held {
    fn error(self) -> f64 {
        (self.actual - self.mean).abs()
    }

    /// The error in units of the model's own deviation.
    pub(super) fn score(self) -> f64 {
        self.error() / self.deviation.max(LEAST_DEVIATION)
    }
}

/// Errors over all folds together, in the units of the series unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Mean absolute error; what candidates are compared by.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute percentage error; absent if a held-out value is 0.
    pub mape_percent: Option<f64>,
    /// Mean absolute error over that of one-season-ahead naive forecasts before the first fold (Hyndman and
    /// Koehler, "Another look at measures of forecast accuracy", 2006); absent if those are perfect.
    pub mase: Option<f64>,
}

impl Accuracy {
    /// `training` is the scaled series before the first fold; `season` the longest one, or 1.
    pub(super) fn of(held: &[Held], scale: Scale, training: &[f64], season: usize) -> Self {
        let count = held.len() as f64;
        let mae = held.iter().map(|held| held.error()).sum::<f64>() / count;
        let rmse = (held.iter().map(|held| held.error().powi(2)).sum::<f64>() / count).sqrt();
        let percentage = held.iter().map(|held| {
            let actual = scale.grow(held.actual);
            100.0 * scale.grow_difference(held.error()) / actual.abs()
        });
        let differences = training.iter().skip(season).zip(training).map(|(now, then)| (now - then).abs());
        let naive = differences.sum::<f64>() / training.len().saturating_sub(season) as f64;
        Self {
            mae: scale.grow_difference(mae),
            rmse: scale.grow_difference(rmse),
            mape_percent: finite(percentage.sum::<f64>() / count),
            mase: finite(mae / naive),
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
