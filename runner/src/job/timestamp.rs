//! Timestamps in what is printed and published: always with milliseconds, so that they sort as text.

use jiff::Timestamp;
use serde::Serializer;

/// Writes `2026-11-21T18:00:00.000Z`.
pub(super) fn millis<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// The same for a time that may not have come yet; it is skipped then.
pub(super) fn some_millis<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => millis(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_whole_second_has_milliseconds_too() {
        #[derive(serde::Serialize)]
        struct At(#[serde(serialize_with = "super::millis")] jiff::Timestamp);
        let json = serde_json::to_string(&At("2026-11-21T18:00:00Z".parse().unwrap())).unwrap();
        assert_eq!(json, "\"2026-11-21T18:00:00.000Z\"");
    }
}
