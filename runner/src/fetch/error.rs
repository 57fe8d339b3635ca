//! Why an input could not be had, and what that means for the attempt.

use super::coding::Fault;
use crate::job::{Exceeded, LimitName, Verdict};
use crate::policy::{Refusal, display_url};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use url::Url;

/// Longer than any back-off, short enough that no sum overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Why an input could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The operator's policy forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Asking again would not help.
    #[error("{message}")]
    Permanent {
        /// Where and why.
        message: String,
    },
    /// Asking again may help.
    #[error("{message}")]
    Transient {
        /// Where and why.
        message: String,
        /// What the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// It has more bytes than the job may fetch.
    #[error(
        "with it the inputs have at least {observed} bytes{}, and the job may fetch {at_most}; \
         ask for more in limits.input_size, or fetch less",
        if *as_sent { " as they are sent" } else { "" }
    )]
    TooLarge {
        /// Bytes that all inputs may have together.
        at_most: u64,
        /// Bytes of all inputs that were announced, or had come when the transfer was ended.
        observed: u64,
        /// Whether these are bytes as they are sent; else they are bytes as the algorithm would read them.
        as_sent: bool,
    },
    /// The fault is this host's.
    #[error("{message}")]
    Host {
        /// What failed.
        message: String,
    },
}

impl FetchError {
    /// The address that the policy refused, if it refused one: for the operator's log, not for messages.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            FetchError::Refused(refusal) => refusal.address(),
            _ => None,
        }
    }

    /// The verdict of an attempt whose input `name` could not be had for this reason.
    pub fn verdict(&self, name: &str) -> Verdict {
        let message = format!("the input `{name}`: {self}");
        match self {
            FetchError::Host { .. } => Verdict::HostError { message },
            FetchError::Transient { retry_after, .. } => {
                let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Verdict::InputUnavailable { message, permanent: false, retry_after_ms, exceeded: None }
            }
            FetchError::Refused(_) | FetchError::Permanent { .. } | FetchError::TooLarge { .. } => {
                let exceeded = match *self {
                    FetchError::TooLarge { at_most: allowed, observed, .. } => {
                        Some(Exceeded { limit: LimitName::InputSize, allowed, observed })
                    }
                    _ => None,
                };
                Verdict::InputUnavailable { message, permanent: true, retry_after_ms: None, exceeded }
            }
        }
    }

    pub(super) fn from_disk(error: &io::Error) -> Self {
        FetchError::Host { message: format!("the input could not be written to this host's disk: {error}") }
    }

    /// Sorts out why a body could not be kept. What came damaged may come whole the next time: it cannot be told from
    /// here whether it was damaged on its way, and a transfer that broke off looks just like a body that was cut.
    pub(super) fn from_fault(url: &Url, fault: Fault, too_large: impl FnOnce(u64) -> Self) -> Self {
        match fault {
            Fault::TooLarge(size) => too_large(size),
            Fault::Disk(error) => Self::from_disk(&error),
            Fault::Damaged(reason) => {
                let message = format!("{}: the gzip body is damaged or incomplete: {reason}", display_url(url));
                FetchError::Transient { message, retry_after: None }
            }
        }
    }

    /// Sorts out what a client says: it wraps a refusal of the resolver, and all else is the network's.
    pub(super) fn from_client(url: &Url, error: reqwest::Error) -> Self {
        let (is_timeout, is_request) = (error.is_timeout(), error.is_builder());
        let error = error.without_url();
        let mut reasons = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(refusal) = cause.downcast_ref::<Refusal>() {
                return FetchError::Refused(refusal.clone());
            }
            let reason = cause.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
            source = cause.source();
        }
        let what = if is_timeout { "timed out: " } else { "" };
        let message = format!("{}: {what}{}", display_url(url), reasons.join(": "));
        if is_request {
            FetchError::Permanent { message }
        } else {
            FetchError::Transient { message, retry_after: None }
        }
    }

    /// What a status other than 200 means.
    pub(super) fn from_status(url: &Url, status: StatusCode, headers: &HeaderMap) -> Self {
        let message = format!("{}: the server answered {status}", display_url(url));
        match status.as_u16() {
            // 202 is how a server, longboat's too, says that a result is not ready yet.
            202 | 408 | 425 | 429 | 500..=599 => {
                FetchError::Transient { message, retry_after: retry_after(headers, Timestamp::now()) }
            }
            400..=499 => FetchError::Permanent { message },
            _ => FetchError::Permanent { message: format!("{message}, which brings no input; 200 was expected") },
        }
    }
}

/// `Retry-After`, in seconds or as an HTTP date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &'static str) -> Option<Duration> {
        let now = "2026-11-21T18:00:00Z".parse().unwrap();
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now)
    }

    #[test]
    fn a_server_may_ask_to_wait_in_seconds_or_until_a_date() {
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sat, 21 Nov 2026 18:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Sat, 21 Nov 2020 18:00:30 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("18446744073709551615"), Some(LONGEST_WAIT));
        for nonsense in ["soon", "-1", "1.5", "99999999999999999999999", ""] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_verdict_names_the_input_and_says_whether_to_ask_again() {
        let busy = FetchError::Transient { message: "busy".to_owned(), retry_after: Some(Duration::from_secs(2)) };
        assert_eq!(
            busy.verdict("meter"),
            Verdict::InputUnavailable {
                message: "the input `meter`: busy".to_owned(),
                permanent: false,
                retry_after_ms: Some(2000),
                exceeded: None
            }
        );
        let large = FetchError::TooLarge { at_most: 10, observed: 11, as_sent: false }.verdict("meter");
        let exceeded = Exceeded { limit: LimitName::InputSize, allowed: 10, observed: 11 };
        assert!(
            matches!(large, Verdict::InputUnavailable { permanent: true, exceeded: Some(met), .. } if met == exceeded)
        );
        let disk = FetchError::from_disk(&io::Error::other("full")).verdict("meter");
        assert!(matches!(disk, Verdict::HostError { .. }));
    }

    #[test]
    fn statuses_are_sorted_into_those_that_may_pass_and_those_that_will_not() {
        let url = "http://example.org/".parse().unwrap();
        for (status, is_transient) in [
            (408, true),
            (425, true),
            (429, true),
            (500, true),
            (503, true),
            (202, true),
            (404, false),
            (403, false),
            (204, false),
            (206, false),
            (304, false),
            (300, false),
        ] {
            let error = FetchError::from_status(&url, StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
            assert_eq!(matches!(error, FetchError::Transient { .. }), is_transient, "{status}");
        }
    }
}
