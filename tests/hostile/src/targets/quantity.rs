//! Durations, times, sizes and amounts of fuel.

use crate::{Target, text, texts};
use jiff::Timestamp;
use longboat::job::{Span, When, parse_fuel, parse_size};

/// Quantities.
pub const TARGET: Target = Target {
    name: "quantity",
    check,
    cases: 20_000,
    largest: 60,
    samples: || {
        texts([
            "90s",
            "1h 30m",
            "250ms",
            "PT90S",
            "1w 30d",
            "P3DT1H",
            "1.5",
            "60",
            "2026-11-21T18:00:00Z",
            "-009999-01-02T01:59:59Z",
            "9999-12-30T22:00:00.999999999Z",
            "64KiB",
            "1.5GiB",
            "10_000_000",
            "1e10",
            "18446744073709551615",
        ])
    },
    words: &[
        "e", "E", "+", "-", ".", "_", "inf", "NaN", "1e308", "9", "h", "d", "y", "µs", "PT", "P", "T", "KiB", "EB", "Z",
    ],
    reached: &["a duration", "an amount", "a time", "refused"],
};

/// A quantity is refused, or within its bounds and read back as itself.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some(text) = text(bytes) else { return "not text" };
    let amount = [parse_size(text), parse_fuel(text)].into_iter().any(|amount| known(&amount));
    let span = text.parse::<Span>();
    let when = text.parse::<When>();
    known(&when);
    if let Ok(When::At(time)) = when {
        assert_eq!(When::At(time).from(Timestamp::UNIX_EPOCH), time);
        return "a time";
    }
    if known(&span)
        && let Ok(span) = span
    {
        assert!(span.millis() <= 10 * 366 * 24 * 3600 * 1000, "ten years at most: {span}");
        assert_eq!(span.to_string().parse(), Ok(span));
        let json = serde_json::to_string(&span).expect("a duration is a number");
        assert_eq!(serde_json::from_str::<Span>(&json).expect("what is written can be read"), span, "{json}");
        assert!(When::After(span).from(Timestamp::MAX) == Timestamp::MAX, "no time overflows");
        return "a duration";
    }
    if amount { "an amount" } else { "refused" }
}

fn known<T>(read: &Result<T, String>) -> bool {
    match read {
        Ok(_) => true,
        Err(message) => {
            assert!(!message.is_empty() && message.len() < 1000, "{message}");
            assert!(!message.contains(char::is_control), "nothing hostile reaches a terminal: {message:?}");
            false
        }
    }
}
