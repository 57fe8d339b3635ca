//! The axis of values.

/// A range of values with ticks at round numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    tick: f64,
}

/// About how many ticks are wanted.
const TICKS: f64 = 6.0;

impl Axis {
    /// The smallest range of whole ticks that holds all of `values`.
    pub(super) fn spanning(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        // A flat line gets room above and below it.
        let least_span = (low.abs().max(high.abs()) * 1e-6).max(f64::MIN_POSITIVE * 1e6);
        let pad = if high - low < least_span {
            (low.abs() * 0.1).max(if low == 0.0 { 1.0 } else { least_span })
        } else {
            0.0
        };
        let (low, high) = (low - pad, high + pad);
        let tick = round_tick((high - low) / TICKS);
        Self { low: (low / tick).floor() * tick, high: (high / tick).ceil() * tick, tick }
    }

    /// Where the value lies, from 0 at the bottom to 1 at the top.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The ticks and their labels, rising.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let count = ((self.high - self.low) / self.tick).round().clamp(0.0, 2.0 * TICKS) as usize;
        (0..=count).map(|index| self.low + index as f64 * self.tick).map(|value| (value, self.label(value))).collect()
    }

    fn label(&self, value: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        if largest >= 1e9 || self.tick < 1e-4 {
            return format!("{value:.3e}");
        }
        let decimals = (-self.tick.log10().floor()).max(0.0) as usize;
        // Adding 0 turns −0 into 0.
        group_thousands(&format!("{:.decimals$}", (value / self.tick).round() * self.tick + 0.0))
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `wanted`.
fn round_tick(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|tick| *tick >= wanted).unwrap_or(10.0 * power)
}

/// Commas between the thousands of the whole part.
fn group_thousands(number: &str) -> String {
    let (whole, fraction) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        Axis::spanning([low, high].into_iter()).ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        assert_eq!(labels(21_300.0, 38_700.0), ["20,000", "25,000", "30,000", "35,000", "40,000"]);
        assert_eq!(labels(-0.3, 0.7), ["-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6", "0.8"]);
    }

    #[test]
    fn flat_tiny_and_huge_ranges_have_ticks_at_finite_places() {
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-7e-300, 7e-300), (-1e100, 1e100), (1e9, 1e9 + 1e-3)] {
            let axis = Axis::spanning([low, high].into_iter());
            assert!(axis.ticks().len() >= 2, "{low} {high}");
            assert!((0.0..=1.0).contains(&axis.share(low)) && (0.0..=1.0).contains(&axis.share(high)), "{low} {high}");
        }
    }
}
