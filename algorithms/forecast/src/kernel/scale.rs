//! Units in which every series lies between −1 and 1.

/// The affine map between a series and its scaled form.
///
/// All models here commute with such maps. They are run on the scaled series because MSTL computes in single
/// precision, where the raw values of a series such as 1,000,000.25, 1,000,000.50 … would lose their digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    centre: f64,
    /// Half the range; 0 if the series is constant.
    spread: f64,
}

impl Scale {
    pub(super) fn of(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { centre: low / 2.0 + high / 2.0, spread: high / 2.0 - low / 2.0 }
    }

    pub(super) fn shrink(self, value: f64) -> f64 {
        if self.spread > 0.0 { ((value - self.centre) / self.spread).clamp(-1.0, 1.0) } else { 0.0 }
    }

    pub(super) fn grow(self, scaled: f64) -> f64 {
        self.centre + self.grow_difference(scaled)
    }

    pub(super) fn grow_difference(self, scaled: f64) -> f64 {
        scaled * self.spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_comes_back_as_it_was() {
        let values = [22_262.0, 38_777.0, 25_265.5];
        let scale = Scale::of(&values);
        for value in values {
            assert!((scale.grow(scale.shrink(value)) - value).abs() < 1e-9);
        }
    }

    #[test]
    fn constant_and_extreme_series_stay_finite() {
        for values in [[7.0, 7.0], [-1e100, 1e100], [0.0, 5e-324], [1e-320, 3e-320]] {
            let scale = Scale::of(&values);
            assert!(values.iter().all(|&value| scale.shrink(value).abs() <= 1.0), "{values:?}");
        }
    }
}
