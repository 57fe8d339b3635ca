//! The seasonal naive forecast, which every other model has to beat.

use super::Prediction;

/// Repeats the last longest season, or the last value without one.
///
/// The deviation is that of the seasonal differences, times √k in the k-th season ahead (Hyndman and
/// Athanasopoulos, *Forecasting: Principles and Practice*, 3rd edition, section 5.5).
pub(super) fn predict(history: &[f64], seasons: &[usize], horizon: usize) -> Result<Prediction, String> {
    let season = seasons.last().copied().unwrap_or(1);
    if history.len() <= season {
        return Err(format!("{} values are not more than one season of {season}", history.len()));
    }
    let last = &history[history.len() - season..];
    let differences = history.iter().skip(season).zip(history).map(|(now, then)| now - then);
    let variance = differences.map(|difference| difference * difference).sum::<f64>() / (history.len() - season) as f64;
    Ok(Prediction {
        mean: last.iter().copied().cycle().take(horizon).collect(),
        deviation: (0..horizon).map(|step| (variance * (step / season + 1) as f64).sqrt()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_season_is_repeated_and_the_deviation_grows_by_the_season() {
        let prediction = predict(&[0.0, 1.0, 2.0, 3.0], &[2], 4).unwrap();
        let steps: Vec<_> = prediction.steps().collect();
        assert_eq!(steps, [(2.0, 2.0), (3.0, 2.0), (2.0, 8f64.sqrt()), (3.0, 8f64.sqrt())]);
    }

    #[test]
    fn without_a_season_the_last_value_is_repeated() {
        let prediction = predict(&[1.0, 2.0, 3.0], &[], 2).unwrap();
        assert_eq!(prediction.steps().map(|(mean, _)| mean).collect::<Vec<_>>(), [3.0, 3.0]);
    }
}
