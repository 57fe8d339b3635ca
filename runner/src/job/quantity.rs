//! Durations, times and sizes as people write them.

use super::excerpt;
use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest duration that is accepted anywhere: ten years.
const MAX_SPAN: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A duration: seconds as a number, or text such as `90s`, `1h 30m`, `250ms`, `30d` or ISO 8601's `PT90S`. A day has 24
/// hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// Whole milliseconds.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// The duration, or the longest that is accepted if that is shorter.
    pub fn at_most_the_longest(duration: Duration) -> Self {
        Self(duration.min(MAX_SPAN))
    }

    fn checked(duration: Duration) -> Result<Self, String> {
        // Whole milliseconds are what every queue can keep. They are rounded to, because a number of seconds has lost
        // some nanoseconds when it was written with a fraction.
        let nanoseconds = duration.as_nanos().saturating_add(500_000);
        let whole = Duration::from_millis(u64::try_from(nanoseconds / 1_000_000).unwrap_or(u64::MAX));
        if whole > MAX_SPAN { Err("a duration is at most ten years".to_owned()) } else { Ok(Self(whole)) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = match text.trim().parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => {
                let span = text.trim().parse::<jiff::Span>().ok();
                let signed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
                signed.and_then(|signed| signed.try_into().ok())
            }
        };
        let duration = duration.ok_or_else(|| {
            format!("{} is not a duration: write seconds, or something like 90s, 1h30m or 250ms", excerpt(text))
        })?;
        Self::checked(duration)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| "a duration is a number of seconds that is not below zero".to_owned())
                .and_then(Self::checked),
            NumberOrText::Text(text) => text.parse(),
        }
        .map_err(de::Error::custom)
    }
}

/// A point in time, or a duration from submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// An RFC 3339 time.
    At(Timestamp),
    /// So long after submission.
    After(Span),
}

impl When {
    /// The time that is meant if the job is submitted `now`.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(time) => time,
            When::After(span) => now.checked_add(span.0).unwrap_or(Timestamp::MAX),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(When::At(time)),
            Err(_) => text.parse().map(When::After).map_err(|_| {
                let shown = excerpt(text);
                format!("{shown} is neither an RFC 3339 time like 2026-11-21T18:00:00Z nor a duration like 90s")
            }),
        }
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            When::At(time) => time.serialize(serializer),
            When::After(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(seconds) => seconds.to_string().parse(),
            NumberOrText::Text(text) => text.parse(),
        }
        .map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of seconds or a text such as \"90s\"")]
enum NumberOrText {
    Number(f64),
    Text(String),
}

/// Reads a number of bytes: `4096`, `64KiB`, `1.5GiB`.
///
/// # Errors
/// A sentence that says what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refused = |_| format!("{} is not a size: write bytes, or something like 64KiB or 1GiB", excerpt(text));
    text.parse::<bytesize::ByteSize>().map(|size| size.0).map_err(refused)
}

/// Reads an amount of fuel: `1000000`, `10_000_000`, `1e10`.
///
/// # Errors
/// A sentence that says what an amount of fuel looks like.
pub fn parse_fuel(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let refused =
        || format!("{} is not an amount of fuel: write a whole number such as 1000000 or 1e10", excerpt(text));
    if let Ok(units) = digits.parse() {
        return Ok(units);
    }
    let units: f64 = digits.parse().map_err(|_| refused())?;
    // Above 2^53 a float no longer tells whole numbers apart.
    if (0.0..=9_007_199_254_740_992.0).contains(&units) && units.fract() == 0.0 {
        Ok(units as u64)
    } else {
        Err(refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("60", 60_000),
            ("1.5", 1_500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("1w 1d", 691_200_000),
            ("P1DT1H", 90_000_000),
        ] {
            assert_eq!(text.parse::<Span>().map(|span| span.millis()), Ok(millis), "{text}");
        }
        for text in ["", "soon", "-1", "-5m", "-1d", "NaN", "inf", "1e300", "900000h", "4000d", "1y", "1mo"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_in_json_are_numbers_or_text() {
        assert_eq!(serde_json::from_str::<Span>("2.5").unwrap().millis(), 2_500);
        assert_eq!(serde_json::from_str::<Span>("\"2m\"").unwrap().millis(), 120_000);
        assert!(serde_json::from_str::<Span>("-2").is_err());
        assert_eq!(serde_json::to_string(&Span(Duration::from_secs(3))).unwrap(), "3");
        let long = Span(Duration::from_millis(300_000_000_123));
        assert_eq!(serde_json::from_str::<Span>(&serde_json::to_string(&long).unwrap()).unwrap(), long);
    }

    #[test]
    fn a_moment_is_a_time_or_a_duration_from_now() {
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        assert_eq!("2026-11-21T19:00:00+01:00".parse::<When>().unwrap().from(now), now);
        assert_eq!("1h".parse::<When>().unwrap().from(now).to_string(), "2026-11-21T19:00:00Z");
        assert!("tomorrow".parse::<When>().is_err());
    }

    #[test]
    fn fuel_and_sizes_are_read_exactly_or_refused() {
        assert_eq!(parse_fuel("1e10"), Ok(10_000_000_000));
        assert_eq!(parse_fuel("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        for text in ["", "-1", "1.5", "1e300", "lots"] {
            assert!(parse_fuel(text).is_err(), "{text}");
        }
        assert!(parse_size("big").is_err());
    }
}
