//! The sky: how clear each day and each hour is.

use crate::statistics::normal_probability;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::TAU;

/// Correlation of the transformed clearness of a day with that of the day before: V. A. Graham, K. G. T. Hollands and
/// T. E. Unny, "A time series model for K_t with application to global synthetic weather generation", Solar Energy 40
/// (1988), 83–92.
const DAY_TO_DAY: f64 = 0.29;
/// The lowest daily clearness index: P. Bendt, M. Collares-Pereira and A. Rabl, "The frequency distribution of daily
/// insolation values", Solar Energy 27 (1981), 1–5.
const LEAST: f64 = 0.05;
/// The highest clearness index of an hour.
const MOST_OF_HOUR: f64 = 0.82;

/// The mean clearness index of a day counted from 0, between the values at midwinter and midsummer.
pub fn mean(day: usize, latitude_deg: f64, summer: f64, winter: f64) -> f64 {
    let from_solstice = TAU * (day as f64 - 171.0) / 365.0;
    let season = if latitude_deg < 0.0 { -from_solstice.cos() } else { from_solstice.cos() };
    f64::midpoint(summer, winter) + 0.5 * (summer - winter) * season
}

/// The daily clearness index that a share of days falls short of, where its mean is `mean`.
///
/// Distribution of Bendt et al., with the greatest value of K. G. T. Hollands and R. G. Huget, Solar Energy 30 (1983),
/// 195–209, and the shape that R. G. Huget fitted (DB 2.9.4 to 2.9.7).
pub fn quantile(mean: f64, share: f64) -> f64 {
    let most = 0.6313 + 0.267 * mean - 11.9 * (mean - 0.75).powi(8);
    let ratio = (most - LEAST) / (most - mean);
    let shape = -1.498 + (1.184 * ratio - 27.182 * (-1.5 * ratio).exp()) / (most - LEAST);
    if shape.abs() < 1e-6 {
        return LEAST + share * (most - LEAST);
    }
    let (low, high) = ((shape * LEAST).exp(), (shape * most).exp());
    (low + share * (high - low)).ln() / shape
}

/// The sky's state: both are standard normal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sky {
    day: f64,
    hour: f64,
}

impl Sky {
    /// A sky that has forgotten how it began.
    pub fn new(rng: &mut impl Rng) -> Self {
        Self { day: StandardNormal.sample(rng), hour: StandardNormal.sample(rng) }
    }

    /// The next day's clearness index.
    pub fn next_day(&mut self, mean: f64, rng: &mut impl Rng) -> f64 {
        self.day = after(self.day, DAY_TO_DAY, rng);
        quantile(mean, normal_probability(self.day))
    }

    /// The next hour's deviation from the trend of a day with the clearness `day`, in standard deviations: the clouds
    /// of R. Aguiar and M. Collares-Pereira, "TAG: a time-dependent, autoregressive, Gaussian model for generating
    /// synthetic hourly radiation", Solar Energy 49 (1992), 167–174.
    pub fn next_hour(&mut self, day: f64, rng: &mut impl Rng) -> f64 {
        self.hour = after(self.hour, 0.38 + 0.06 * (7.4 * day - 2.5).cos(), rng);
        self.hour
    }
}

/// The clearness index of a moment from the day's, the trend over the day, and the clouds of the hour, which
/// scatter the more the lower the sun stands (TAG).
pub fn of_moment(day: f64, trend: f64, up: f64, clouds: f64) -> f64 {
    let scatter = 0.14 * (-20.0 * (day - 0.35).powi(2)).exp();
    let low_sun = 3.0 * (day - 0.45).powi(2) + 16.0 * day.powi(5);
    (day * trend + clouds * scatter * (low_sun * (1.0 - up)).exp()).clamp(0.0, MOST_OF_HOUR)
}

fn after(before: f64, correlation: f64, rng: &mut impl Rng) -> f64 {
    let innovation: f64 = StandardNormal.sample(rng);
    correlation * before + (1.0 - correlation * correlation).sqrt() * innovation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_of_days_has_the_mean_that_it_was_made_for() {
        for mean in [0.2, 0.3, 0.4, 0.5, 0.6, 0.7] {
            let days = 10_000;
            let sum: f64 = (0..days).map(|day| quantile(mean, (f64::from(day) + 0.5) / f64::from(days))).sum();
            assert!((sum / f64::from(days) - mean).abs() < 0.02, "{mean}: {}", sum / f64::from(days));
        }
    }

    #[test]
    fn the_summer_of_the_south_is_in_december() {
        assert!((mean(171, 50.0, 0.5, 0.3) - 0.5).abs() < 1e-12);
        assert!((mean(171, -50.0, 0.5, 0.3) - 0.3).abs() < 1e-12);
    }
}
