//! The axis of time.

use crate::grid::{DAY, Grid, civil};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The most ticks.
const TICKS: i64 = 9;
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Fixed distances between ticks in microseconds.
const FIXED: [i64; 16] = [
    1,
    1_000,
    SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
];
/// Distances in calendar months.
const MONTHS: [i64; 11] = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1_200, 12_000];
/// The first Monday after the epoch, so that ticks of a week fall on Mondays.
const MONDAY: i64 = 4 * DAY;

/// Ticks between two slots, as fractional slots with their labels.
pub(super) fn ticks(grid: &Grid, first: usize, last: usize) -> Vec<(f64, String)> {
    let (Some(start), Some(end)) = (grid.time(first as u64), grid.time(last as u64)) else { return Vec::new() };
    if end <= start {
        return Vec::new();
    }
    let slot = |time: i64| first as f64 + (time - start) as f64 / (end - start) as f64 * (last - first) as f64;
    let times = match FIXED.into_iter().find(|tick| (end - start) / tick < TICKS) {
        Some(tick) => fixed(start, end, tick),
        None => monthly(start, end),
    };
    times.into_iter().map(|(time, label)| (slot(time), label)).collect()
}

fn fixed(start: i64, end: i64, tick: i64) -> Vec<(i64, String)> {
    let first = (start - MONDAY + tick - 1).div_euclid(tick) * tick + MONDAY;
    let times = (0..=TICKS).map(|index| first + index * tick).take_while(|&time| time <= end);
    times.filter_map(|time| Some((time, label(civil(time)?, tick)))).collect()
}

fn label(time: DateTime, tick: i64) -> String {
    let midnight = time.time() == jiff::civil::Time::midnight();
    let format = match tick {
        _ if tick == DAY || (midnight && tick < DAY) => "%a %-d %b",
        _ if tick > DAY => "%-d %b",
        _ if tick < SECOND => "%H:%M:%S%.f",
        _ if tick < MINUTE => "%H:%M:%S",
        _ => "%H:%M",
    };
    time.strftime(format).to_string()
}

fn monthly(start: i64, end: i64) -> Vec<(i64, String)> {
    let number = |time| civil(time).map(|at| i64::from(at.year()) * 12 + i64::from(at.month()) - 1);
    let (Some(from), Some(to)) = (number(start), number(end)) else { return Vec::new() };
    let tick = MONTHS.into_iter().find(|tick| (to - from) / tick < TICKS).unwrap_or(12_000);
    let first = (from + tick - 1).div_euclid(tick) * tick;
    let format = if tick % 12 == 0 { "%Y" } else { "%b %Y" };
    let months = (0..=TICKS).map(|index| first + index * tick);
    let dated = months.filter_map(|month| {
        let month_of_year = i8::try_from(month.rem_euclid(12)).ok()? + 1;
        let date = Date::new(i16::try_from(month.div_euclid(12)).ok()?, month_of_year, 1).ok()?;
        let time = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond();
        Some((time, date.strftime(format).to_string()))
    });
    dated.filter(|&(time, _)| (start..=end).contains(&time)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::parse;

    fn labels(first: &str, second: &str, slots: usize) -> Vec<String> {
        let grid = Grid::detect(&[parse(first).unwrap(), parse(second).unwrap()]).unwrap();
        ticks(&grid, 0, slots - 1).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn a_week_of_half_hours_is_marked_by_the_day() {
        let labels = labels("2000-08-14 00:00", "2000-08-14 00:30", 336);
        assert_eq!(labels.len(), 7);
        assert_eq!(labels[0], "Mon 14 Aug");
    }

    #[test]
    fn months_are_marked_by_the_month_and_decades_by_the_year() {
        assert_eq!(labels("2000-01-01", "2000-02-01", 6)[1], "Feb 2000");
        assert_eq!(labels("1949-01-01", "1949-02-01", 60)[0], "1949");
    }

    #[test]
    fn any_span_has_at_most_ten_ticks() {
        for (first, second) in [
            ("2000-01-01", "2000-01-02"),
            ("0001-01-01", "0002-01-01"),
            ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00.000001Z"),
        ] {
            for slots in [1, 2, 20, 1_000, 9_000] {
                assert!(labels(first, second, slots).len() <= 10, "{first} {slots}");
            }
        }
    }
}
