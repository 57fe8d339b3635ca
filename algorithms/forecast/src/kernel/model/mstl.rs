//! Decomposition by Loess with several seasons.

use super::ets::RecentEts;
use super::{ONE_SIGMA, Prediction};
use augurs::mstl::MSTLModel;
use augurs::{Fit, Predict};

/// Decomposes the series into seasons, trend and remainder (MSTL: Bandara, Hyndman and Bergmeir 2021,
/// arXiv:2107.13462), continues trend and remainder by exponential smoothing, and repeats the last of each season.
pub(super) fn predict(history: &[f64], seasons: &[usize], horizon: usize) -> Result<Prediction, String> {
    if seasons.is_empty() {
        return Err("the series has no season to decompose".to_owned());
    }
    let model = MSTLModel::new(seasons.to_vec(), RecentEts);
    let fitted = model.fit(history).map_err(|error| error.to_string())?;
    Prediction::from_augurs(fitted.predict(horizon, ONE_SIGMA).map_err(|error| error.to_string())?)
}
