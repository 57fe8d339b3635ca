//! Quantiles, histograms and the normal distribution.

use serde::Serialize;

/// Quantiles of a figure over all scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// The value that 5 % of the scenarios fall short of.
    pub p05: f64,
    /// 25 %.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// 75 %.
    pub p75: f64,
    /// 95 %.
    pub p95: f64,
    /// The mean.
    pub mean: f64,
}

impl Quantiles {
    /// Quantiles by linear interpolation between order statistics (type 7 of R. J. Hyndman and Y. Fan, "Sample
    /// quantiles in statistical packages", The American Statistician 50 (1996), 361–365); `None` without values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let position = share * last as f64;
            let below = (position as usize).min(last);
            let above = (below + 1).min(last);
            sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
        };
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Some(Self { p05: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95), mean })
    }
}

/// Counts of values in bins of one width between `low` and `high`; the last bin has its upper edge.
pub fn histogram(values: &[f64], low: f64, high: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values {
        let bin = ((value - low) / (high - low) * bins as f64) as usize;
        if let Some(count) = counts.get_mut(bin.min(bins.saturating_sub(1))) {
            *count += 1;
        }
    }
    counts
}

/// The probability that a standard normal number is below `x`, to 10⁻⁷: M. Abramowitz and I. A. Stegun, *Handbook of
/// Mathematical Functions* (1964), 26.2.17.
pub fn normal_probability(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let quantiles = Quantiles::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap();
        assert_eq!((quantiles.p25, quantiles.p50, quantiles.p75, quantiles.mean), (1.75, 2.5, 3.25, 2.5));
        assert_eq!(Quantiles::of([7.0].into_iter()).unwrap().p95, 7.0);
        assert_eq!(Quantiles::of(std::iter::empty()), None);
    }

    #[test]
    fn every_value_falls_into_a_bin() {
        assert_eq!(histogram(&[0.0, 0.9, 1.0, 2.0], 0.0, 2.0, 2), [2, 2]);
        assert_eq!(histogram(&[3.0, 3.0], 3.0, 3.0, 2).iter().sum::<usize>(), 2);
    }

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (x, probability) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.96, 0.024_997_895), (8.0, 1.0)] {
            assert!((normal_probability(x) - probability).abs() < 1e-7);
        }
    }
}
