//! Which seasons a series has.

use crate::grid::{DAY, Step};
use crate::kernel::MAX_SEASON;
use crate::refusal::{Refusal, refusal};

/// The most seasons of a series.
const MAX_SEASONS: usize = 4;
/// How often the series must hold a season: two are decomposed, and the rest is left for the backtest.
pub(crate) const MIN_REPEATS: usize = 3;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// The seasons asked for, or those that the step suggests; rising, with notes on what was left out.
///
/// # Errors
/// A refusal for seasons asked for that make no sense or are too long for the series. Seasons that only the
/// step suggests are left out instead.
pub(super) fn choose(
    wanted: Option<&[usize]>,
    step: Step,
    length: usize,
) -> Result<(Vec<usize>, Vec<String>), Refusal> {
    let fits = |season: &usize| season.saturating_mul(MIN_REPEATS) <= length && *season <= MAX_SEASON;
    if let Some(wanted) = wanted {
        let seasons = check(wanted)?;
        return match seasons.iter().find(|season| !fits(season)) {
            Some(season) => Err(refusal!(
                "param `season_lengths`: the series has {length} values, fewer than {MIN_REPEATS} seasons of \
                 {season}; leave that season out or send a longer series"
            )),
            None => Ok((seasons, Vec::new())),
        };
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = suggested(step).into_iter().partition(|season| fits(season));
    let note =
        |season| format!("the series is shorter than {MIN_REPEATS} seasons of {season}: that season is left out");
    Ok((kept, dropped.into_iter().map(note).collect()))
}

fn check(wanted: &[usize]) -> Result<Vec<usize>, Refusal> {
    if let Some(season) = wanted.iter().find(|&&season| season < 2) {
        return Err(refusal!("param `season_lengths`: {season} is not a season; it must be 2 steps or more"));
    }
    if let Some(season) = wanted.iter().find(|&&season| season > MAX_SEASON) {
        return Err(refusal!("param `season_lengths`: {season} is more than {MAX_SEASON} steps; use a coarser series"));
    }
    let mut seasons = wanted.to_vec();
    seasons.sort_unstable();
    seasons.dedup();
    if seasons.len() > MAX_SEASONS {
        return Err(refusal!("param `season_lengths`: {} seasons are more than {MAX_SEASONS}", seasons.len()));
    }
    Ok(seasons)
}

/// The seasons that a series of this step may have: hour and day below a minute, day and week below a day,
/// week for days, year for weeks and months; only those that are a whole number of steps.
fn suggested(step: Step) -> Vec<usize> {
    let (step, cycles): (i64, &[i64]) = match step {
        Step::Months(months) => (months, &[12]),
        Step::Fixed(step) if step < MINUTE => (step, &[HOUR, DAY]),
        Step::Fixed(step) if step < DAY => (step, &[DAY, 7 * DAY]),
        Step::Fixed(step) if step < 7 * DAY => (step, &[7 * DAY]),
        Step::Fixed(step) => (step, &[52 * 7 * DAY]),
    };
    let whole = |cycle: &&i64| **cycle % step == 0 && **cycle / step >= 2;
    cycles.iter().filter(whole).filter_map(|cycle| usize::try_from(cycle / step).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_suggests_the_usual_seasons() {
        for (step, seasons) in [
            (Step::Fixed(MINUTE / 60), vec![3_600, 86_400]),
            (Step::Fixed(30 * MINUTE), vec![48, 336]),
            (Step::Fixed(HOUR), vec![24, 168]),
            (Step::Fixed(DAY), vec![7]),
            (Step::Fixed(7 * DAY), vec![52]),
            (Step::Months(1), vec![12]),
            (Step::Months(3), vec![4]),
            (Step::Months(12), vec![]),
            (Step::Fixed(7 * MINUTE), vec![1_440]),
        ] {
            assert_eq!(suggested(step), seasons, "{step:?}");
        }
    }

    #[test]
    fn a_suggested_season_that_is_too_long_is_left_out_with_a_note() {
        let (seasons, notes) = choose(None, Step::Fixed(30 * MINUTE), 500).unwrap();
        assert_eq!(seasons, [48]);
        assert!(notes[0].contains("336"), "{notes:?}");
    }

    #[test]
    fn a_season_asked_for_that_is_too_long_is_refused() {
        let reason = choose(Some(&[48, 336]), Step::Fixed(30 * MINUTE), 1_007).unwrap_err().to_string();
        assert!(reason.contains("336") && reason.contains("1007"), "{reason}");
        assert!(choose(Some(&[336, 48, 48]), Step::Fixed(30 * MINUTE), 1_008).is_ok());
    }

    #[test]
    fn seasons_that_make_no_sense_are_refused() {
        for wanted in [&[0][..], &[1], &[2, 3, 4, 5, 6], &[usize::MAX]] {
            assert!(choose(Some(wanted), Step::Fixed(DAY), 1_000).is_err(), "{wanted:?}");
        }
    }
}
