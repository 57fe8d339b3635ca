//! Scales with round numbers.

/// Round values that cover `low` to `high`, about `count` of them: steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = (high - low).max(f64::MIN_POSITIVE);
    let rough = span / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).take(50).map(|position| position as f64 * step).collect()
}

/// A number with as many decimals as it takes beside its neighbours, `step` apart.
pub(super) fn label(value: f64, step: f64) -> String {
    let decimals = if step > 0.0 { (-step.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(ticks(0.0, 100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(41.2, 43.9, 3), [42.0, 43.0]);
        assert!(ticks(3.0, 3.0, 5).len() <= 50);
    }

    #[test]
    fn labels_have_the_decimals_that_tell_them_apart() {
        assert_eq!(
            (label(2_000.0, 500.0), label(0.25, 0.05), label(42.0, 1.0)),
            ("2000".into(), "0.25".into(), "42".into())
        );
    }
}
