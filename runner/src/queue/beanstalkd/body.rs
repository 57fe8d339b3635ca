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
    /// Whether the time that an attempt may take is what the server says, as tube and priority always are.
    pub(super) has_servers_ttr: bool,
}

/// Reads a job document, or msg-qworker's array.
///
/// Where and how urgently a job waits is what the server says, unless its priority is a mark. Of msg-qworker's jobs it also
/// says how long an attempt may take; our own have the lease for a `ttr` there, and so has whoever writes documents without
/// being told.
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
    let has_servers_ttr = text.trim_start().starts_with('[');
    if has_servers_ttr {
        // Whoever lets a reservation last for 136 years means for ever, and a job document cannot say that.
        document.ttr = Some(Span::at_most_the_longest(Duration::from_secs(stats.ttr.max(1))));
    }
    document.tube.clone_from(&stats.tube);
    // Whoever kicks a job while its result is published gets it back with the mark.
    if !mark::is_on(stats, document.priority) {
        document.priority = stats.priority;
    }
    let id = document.id.take();
    Ok(Reading { id, document, has_servers_ttr })
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
    use proptest::prelude::*;

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
        let Reading { id, document, has_servers_ttr } = read(&whole(body), &stats()).unwrap();
        assert_eq!(id, Some("bc3a925099b9012e0f06549a20077664".parse().unwrap()));
        assert_eq!((document.algorithm.name.as_str(), document.params["23"].as_str()), ("drunken-sailor", Some("42")));
        assert_eq!((document.tube.as_str(), document.priority), ("night", 1337));
        assert_eq!((document.ttr, document.id), (Some(Span(Duration::from_secs(3))), None));
        assert!(has_servers_ttr);
    }

    #[test]
    fn a_document_says_itself_how_long_an_attempt_may_take() {
        let Reading { id, document, has_servers_ttr } =
            read(&whole(r#"{"algorithm": "x", "priority": 7}"#), &stats()).unwrap();
        assert!(!has_servers_ttr);
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

    /// Values for the fields of a document, fit and unfit.
    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>()
                .prop_filter("JSON has no others", |number| number.is_finite())
                .prop_map(|number| format!("{number:e}")),
            (0..400_000_u64).prop_map(|days| format!("\"{days}d\"")),
            (0..20_000_u32).prop_map(|year| format!("\"{year:04}-02-28T23:59:59.999999999Z\"")),
            "[a-z#/.:@-]{0,20}|data:,[é \u{1}-\u{20}]{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
            Just("null".to_owned()),
            Just("[\"a\", \"é\"]".to_owned()),
            Just("{\"memory\": \"64MiB\", \"a\": 1e300}".to_owned()),
        ]
    }

    const FIELDS: [&str; 15] = [
        "id",
        "params",
        "input",
        "result_url",
        "tube",
        "priority",
        "delay",
        "run_at",
        "expires",
        "ttr",
        "max_attempts",
        "limits",
        "seed",
        "clock",
        "tags",
    ];

    proptest! {
        #[test]
        fn what_is_read_once_can_be_read_again(
            fields in proptest::collection::btree_map(0..FIELDS.len(), value(), 0..4),
            is_array in any::<bool>(),
            (ttr, priority) in (any::<u64>(), any::<u32>()),
        ) {
            let body = match is_array {
                true => {
                    let params = fields.iter().map(|(at, value)| format!("\"{at}\": {value}")).collect::<Vec<_>>();
                    let head = r#"{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"}"#;
                    format!("[{head}, {{{}}}]", params.join(", "))
                }
                false => {
                    let fields = fields.iter().map(|(at, value)| format!(", \"{}\": {value}", FIELDS[*at]));
                    format!("{{\"algorithm\": \"x\"{}}}", fields.collect::<String>())
                }
            };
            if let Ok(Reading { document, .. }) = read(&whole(&body), &JobStats { ttr, priority, ..stats() }) {
                prop_assert_eq!(Document::read(&document.canonical()), Ok(document), "{}", body);
            } else {
                prop_assert!(!is_array, "the server's figures are in nobody's way: {}", body);
            }
        }
    }
}
