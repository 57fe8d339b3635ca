//! Missing values.

use super::{Cleaning, Gap};
use crate::grid::{Grid, show};
use crate::refusal::{Refusal, refusal};

/// The largest share of missing values in a series.
const MAX_SHARE: f64 = 0.1;
/// The longest gap in a series without a season.
const MAX_RUN_UNSEASONAL: usize = 3;
/// How many gaps are reported one by one.
const REPORTED: usize = 20;

/// Refuses a series of which more than a tenth is missing, before room is made for it.
pub(super) fn check_share(slots: &[(usize, f64)], length: usize, grid: &Grid) -> Result<(), Refusal> {
    let missing = length - slots.len();
    if missing as f64 <= MAX_SHARE * length as f64 {
        return Ok(());
    }
    let Some((first, run)) = runs(slots).max_by_key(|&(_, run)| run) else { return Ok(()) };
    Err(refusal!(
        "{missing} of {length} values are missing at a step of {}, more than {} %; the longest gap begins after {} \
         ({run} values); send a part without such gaps",
        grid.step_iso(),
        MAX_SHARE * 100.0,
        timestamp(grid, first)
    ))
}

/// The gaps as the slot before each and its length.
fn runs(slots: &[(usize, f64)]) -> impl Iterator<Item = (usize, usize)> {
    slots.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 1).map(|pair| (pair[0].0, pair[1].0 - pair[0].0 - 1))
}

fn timestamp(grid: &Grid, slot: usize) -> String {
    grid.time(slot as u64).map_or_else(|| format!("slot {slot}"), show)
}

/// One value a slot, with gaps of at most the shortest season interpolated.
pub(super) fn fill(
    slots: &[(usize, f64)],
    seasons: &[usize],
    grid: &Grid,
    cleaning: &mut Cleaning,
) -> Result<Vec<f64>, Refusal> {
    let longest_run = seasons.first().copied().unwrap_or(MAX_RUN_UNSEASONAL);
    let mut values: Vec<f64> = Vec::with_capacity(slots.last().map_or(0, |&(slot, _)| slot + 1));
    for &(slot, value) in slots {
        let missing = slot - values.len();
        if missing > 0 {
            let after = timestamp(grid, values.len().saturating_sub(1));
            if missing > longest_run {
                return Err(refusal!(
                    "{missing} values are missing after {after}; at most {longest_run} in a row (one shortest \
                     season, or {MAX_RUN_UNSEASONAL} without one) are interpolated; send a part without such gaps"
                ));
            }
            cleaning.interpolated += missing;
            if cleaning.gaps.len() < REPORTED {
                cleaning.gaps.push(Gap { after, missing });
            }
            interpolate(&mut values, missing, value, seasons);
        }
        values.push(value);
    }
    Ok(values)
}

/// Appends `missing` values on the way to `next`, the value that follows them.
///
/// The difference from the value one longest possible season earlier is interpolated linearly, so that the shape of
/// the day or week is kept; in the first season, where there is no earlier value, the value itself is.
fn interpolate(values: &mut Vec<f64>, missing: usize, next: f64, seasons: &[usize]) {
    let known = values.len();
    let season = seasons.iter().rev().copied().find(|&season| season > missing && season < known);
    let base = |values: &[f64], slot: usize| season.map_or(0.0, |season| values[slot - season]);
    let before = values[known - 1] - base(values, known - 1);
    let after = next - base(values, known + missing);
    for step in 1..=missing {
        let share = step as f64 / (missing + 1) as f64;
        let value = base(values, known + step - 1) + before + share * (after - before);
        values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_without_an_earlier_season_is_interpolated_linearly() {
        let mut values = vec![1.0, 2.0];
        interpolate(&mut values, 2, 8.0, &[7]);
        assert_eq!(values, [1.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn a_gap_with_an_earlier_season_keeps_its_shape_and_follows_the_level() {
        let mut values = vec![0.0, 10.0, 50.0, 20.0, 100.0, 110.0];
        interpolate(&mut values, 1, 120.0, &[4]);
        assert_eq!(values[6], 150.0);
    }
}
