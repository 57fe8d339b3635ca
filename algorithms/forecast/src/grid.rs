//! Equally spaced time: from a slot's number to its timestamp and back.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil::DateTime};

const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// What lies between two timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A fixed length of time in microseconds.
    Fixed(i64),
    /// Calendar months, whose length differs.
    Months(i64),
}

/// The timestamps of a series: the first one and the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    start: i64,
    step: Step,
    /// Day of the month that monthly timestamps fall on; shorter months end earlier.
    day: i8,
}

/// Reads a timestamp as microseconds since 1970 in UTC.
///
/// Understood are RFC 3339 with any offset, and dates and date-times without an offset, which are taken as UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_microsecond());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Writes microseconds since 1970 in RFC 3339 with `Z`.
pub(crate) fn show(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} µs"), |timestamp| timestamp.to_string())
}

pub(crate) fn civil(micros: i64) -> Option<DateTime> {
    let timestamp = Timestamp::from_microsecond(micros).ok()?;
    Some(Zoned::new(timestamp, TimeZone::UTC).datetime())
}

fn month_number(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

impl Grid {
    /// Finds the grid that most of the timestamps lie on; they must rise strictly, and be two or more.
    ///
    /// The step is the most frequent difference. Differences of 28 days and more are months if all
    /// timestamps fall on the same day of the month, the last days of short months included.
    pub(crate) fn detect(times: &[i64]) -> Option<Self> {
        let start = *times.first()?;
        let step = most_frequent(times.windows(2).map(|pair| pair[1] - pair[0]).collect())?;
        let fixed = Self { start, step: Step::Fixed(step), day: 1 };
        if step < 28 * DAY {
            return Some(fixed);
        }
        Some(Self::detect_months(times).unwrap_or(fixed))
    }

    fn detect_months(times: &[i64]) -> Option<Self> {
        let dates: Vec<DateTime> = times.iter().map(|&time| civil(time)).collect::<Option<_>>()?;
        let day = dates.iter().map(|date| date.day()).max()?;
        let months: Vec<i64> = dates.iter().map(|date| month_number(date.date())).collect();
        let step = most_frequent(months.windows(2).map(|pair| pair[1] - pair[0]).collect())?;
        let grid = Self { start: *times.first()?, step: Step::Months(step), day };
        (step > 0 && times.iter().all(|&time| grid.slot(time).is_some())).then_some(grid)
    }

    /// What lies between two timestamps.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The number of the slot at `time`, or nothing if it lies before the first one or between two.
    pub(crate) fn slot(&self, time: i64) -> Option<u64> {
        let (distance, step) = match self.step {
            Step::Fixed(step) => (time.checked_sub(self.start)?, step),
            Step::Months(step) => (month_number(civil(time)?.date()) - month_number(civil(self.start)?.date()), step),
        };
        if distance % step != 0 {
            return None;
        }
        let slot = u64::try_from(distance / step).ok()?;
        (self.time(slot) == Some(time)).then_some(slot)
    }

    /// The time of a slot in microseconds, or nothing past the year 9999.
    pub(crate) fn time(&self, slot: u64) -> Option<i64> {
        let slot = i64::try_from(slot).ok()?;
        match self.step {
            Step::Fixed(step) => {
                let time = self.start.checked_add(step.checked_mul(slot)?)?;
                Timestamp::from_microsecond(time).ok().map(|_| time)
            }
            Step::Months(step) => {
                let start = civil(self.start)?;
                let month = month_number(start.date()).checked_add(step.checked_mul(slot)?)?;
                let year = i16::try_from(month.div_euclid(12)).ok()?;
                let first = Date::new(year, i8::try_from(month.rem_euclid(12)).ok()? + 1, 1).ok()?;
                let date = Date::new(year, first.month(), self.day.min(first.days_in_month())).ok()?;
                Some(date.to_datetime(start.time()).to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
            }
        }
    }

    /// The step as an ISO 8601 duration, such as `PT1800S` or `P1M`.
    pub(crate) fn step_iso(&self) -> String {
        match self.step {
            Step::Months(months) if months % 12 == 0 => format!("P{}Y", months / 12),
            Step::Months(months) => format!("P{months}M"),
            Step::Fixed(step) if step % DAY == 0 => format!("P{}D", step / DAY),
            Step::Fixed(step) if step % (3600 * SECOND) == 0 => format!("PT{}H", step / (3600 * SECOND)),
            Step::Fixed(step) if step % (60 * SECOND) == 0 => format!("PT{}M", step / (60 * SECOND)),
            Step::Fixed(step) => format!("PT{}S", step as f64 / SECOND as f64),
        }
    }
}

/// The most frequent of the differences, the smallest of them if several are.
fn most_frequent(mut differences: Vec<i64>) -> Option<i64> {
    differences.sort_unstable();
    let runs = differences.chunk_by(|a, b| a == b);
    // `max_by_key` keeps the last of equals: the runs come in falling order for the smallest to win.
    runs.rev().max_by_key(|run| run.len()).and_then(|run| run.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(texts: &[&str]) -> Vec<i64> {
        texts.iter().map(|text| parse(text).unwrap()).collect()
    }

    #[test]
    fn timestamps_with_and_without_an_offset_are_read_as_utc() {
        let expected = "2000-06-05T00:30:00Z";
        for text in ["2000-06-05T00:30:00Z", "2000-06-05T02:30:00+02:00", "2000-06-05 00:30", "2000-06-05 00:30:00"] {
            assert_eq!(show(parse(text).unwrap()), expected, "{text}");
        }
        assert_eq!(show(parse("2000-06-05").unwrap()), "2000-06-05T00:00:00Z");
        for text in ["", "noon", "2000-13-01", "06/05/2000", "960163200"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_gap_does_not_hide_the_step() {
        let times = times(&["2000-01-01 00:00", "2000-01-01 01:00", "2000-01-01 04:00", "2000-01-01 05:00"]);
        let grid = Grid::detect(&times).unwrap();
        assert_eq!(grid.step_iso(), "PT1H");
        assert_eq!(grid.slot(times[3]), Some(5));
        assert_eq!(grid.slot(times[3] + 1), None);
    }

    #[test]
    fn month_ends_are_monthly_through_a_leap_year() {
        let times = times(&["2000-01-31", "2000-02-29", "2000-03-31", "2000-04-30", "2000-05-31"]);
        let grid = Grid::detect(&times).unwrap();
        assert_eq!(grid.step_iso(), "P1M");
        assert_eq!(show(grid.time(13).unwrap()), "2001-02-28T00:00:00Z");
    }

    #[test]
    fn quarters_and_years_are_months_and_four_weeks_are_not() {
        let quarters = times(&["2000-01-01", "2000-04-01", "2000-07-01", "2000-10-01"]);
        assert_eq!(Grid::detect(&quarters).unwrap().step_iso(), "P3M");
        let years = times(&["2000-01-01", "2001-01-01", "2002-01-01", "2003-01-01"]);
        assert_eq!(Grid::detect(&years).unwrap().step_iso(), "P1Y");
        let weeks = times(&["2000-01-03", "2000-01-31", "2000-02-28", "2000-03-27"]);
        assert_eq!(Grid::detect(&weeks).unwrap().step_iso(), "P28D");
    }

    #[test]
    fn time_ends_with_the_year_9999() {
        let grid = Grid::detect(&times(&["9999-12-01", "9999-12-02"])).unwrap();
        assert!(grid.time(28).is_some());
        assert_eq!(grid.time(40), None);
        assert_eq!(grid.time(u64::MAX), None);
    }
}
