//! What a job is that was put straight into the server, by whomever.

use super::client::Body;
use super::mark;
use super::stats::JobStats;
use crate::job::{Document, JobId, MAX_DOCUMENT, Span, excerpt};
use std::time::Duration;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The id that the submitter chose, if it did.
    pub(super) id: Option<JobId>,
    /// Without that id.
    pub(super) document: Document,
}

/// Reads a job document, or msg-qworker's array.
///
/// Where and how urgently a job waits is what the server says, unless its priority is a mark. Of msg-qworker's jobs it also says how long an attempt
/// may take; our own have the lease for a `ttr` there, and so has whoever writes documents without being told.
///
/// # Errors
/// Why it is no job that could be run from here.
pub(super) fn read(body: &Body, stats: &JobStats) -> Result<Reading, String> {
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLong { length, .. } => {
            return Err(format!("a job document is at most {MAX_DOCUMENT} bytes, and this has {length}"));
        }
    };
    let text =
        str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to()))?;
    let mut document = Document::read(text).map_err(|error| error.to_string())?;
    if let Some(unsupported) = unsupported(&document) {
        return Err(unsupported.to_string());
    }
    if text.trim_start().starts_with('[') {
        document.ttr = Some(Span(Duration::from_secs(stats.ttr)));
    }
    document.tube.clone_from(&stats.tube);
    // Whoever kicks a job while its result is published gets it back with the mark.
    if !mark::is_on(stats, document.priority) {
        document.priority = stats.priority;
    }
    let id = document.id.take();
    Ok(Reading { id, document })
}

/// How a body begins, in quotes and escaped.
pub(super) fn beginning(body: &Body) -> (u64, String) {
    let (length, head) = match body {
        Body::Whole(bytes) => (bytes.len(), &bytes[..bytes.len().min(400)]),
        Body::TooLong { length, head } => (*length, head.as_slice()),
    };
    (length as u64, excerpt(&String::from_utf8_lossy(head)))
}

/// What a document asks for and a server cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("beanstalkd cannot {what}; {instead}")]
pub(super) struct Unsupported {
    pub(super) what: &'static str,
    pub(super) instead: &'static str,
}

/// The first thing that the document asks for and that a server cannot do.
pub(super) fn unsupported(document: &Document) -> Option<Unsupported> {
    let unsupported = |what, instead| Some(Unsupported { what, instead });
    if document.unique.is_some() {
        return unsupported("refuse a second job with the same key (`unique`)", "give such jobs one `id`");
    }
    if document.host.is_some() {
        return unsupported("keep a job for one worker (`host`)", "give that worker a tube of its own");
    }
    if document.hold {
        return unsupported("keep a job from being taken (`hold`)", "submit it later, or with a `delay`");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::beanstalkd::stats::JobState;

    fn stats() -> JobStats {
        let tube = "night".parse().unwrap();
        let state = JobState::Reserved;
        JobStats {
            tube,
            state,
            priority: 1337,
            age: 0,
            ttr: 3,
            reserves: 1,
            timeouts: 0,
            releases: 0,
            buries: 0,
            kicks: 0,
        }
    }

    fn whole(text: &str) -> Body {
        Body::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn of_msg_qworkers_array_the_rest_is_what_the_server_says() {
        let body = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42"}]"#;
        let Reading { id, document } = read(&whole(body), &stats()).unwrap();
        assert_eq!(id, Some("bc3a925099b9012e0f06549a20077664".parse().unwrap()));
        assert_eq!((document.algorithm.name.as_str(), document.params["23"].as_str()), ("drunken-sailor", Some("42")));
        assert_eq!((document.tube.as_str(), document.priority), ("night", 1337));
        assert_eq!((document.ttr, document.id), (Some(Span(Duration::from_secs(3))), None));
    }

    #[test]
    fn a_document_says_itself_how_long_an_attempt_may_take() {
        let Reading { id, document } = read(&whole(r#"{"algorithm": "x", "priority": 7}"#), &stats()).unwrap();
        assert_eq!((id, document.ttr, document.priority, document.tube.as_str()), (None, None, 1337, "night"));
    }

    #[test]
    fn what_cannot_be_run_is_told_why() {
        for (body, part) in [
            (whole(""), "EOF"),
            (whole("hello"), "expected value"),
            (whole("[1, 2]"), "expected"),
            (whole(r#"{"algorithm": "x", "colour": 1}"#), "colour"),
            (whole(r#"{"algorithm": "x", "unique": {"key": "k"}}"#), "unique"),
            (whole(r#"{"algorithm": "x", "host": "n"}"#), "tube of its own"),
            (whole(r#"{"algorithm": "x", "hold": true}"#), "hold"),
            (Body::Whole(b"\xff\x00".to_vec()), "not UTF-8 from byte 0"),
            (Body::TooLong { length: 5_000_000, head: vec![b'x'; 10] }, "this has 5000000"),
        ] {
            let reason = read(&body, &stats()).unwrap_err();
            assert!(reason.contains(part), "{reason}");
            assert!(!beginning(&body).1.contains(char::is_control));
        }
    }
}
