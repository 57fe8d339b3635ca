//! What a producer has put into a server: which job it is, or why it is none.

use super::client::{Body, JobStats};
use crate::job::{Digest, Document, JobId, MAX_DOCUMENT, Span, excerpt};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How far two computed times of the same put may lie apart, in seconds. A server tells a job's age in whole
/// seconds, and clocks are adjusted.
const TOLERANCE: i64 = 2;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The id that the producer chose, if it did.
    pub(super) id: Option<JobId>,
    /// The document without that id.
    pub(super) document: Document,
}

/// One put at one server. A number alone is not enough: a server without a binlog counts from 1 again after
/// a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    /// The server's name and host.
    pub(super) server: String,
    /// The server's number for the job.
    pub(super) number: u64,
    /// The digest of the body.
    pub(super) body: Digest,
    /// When it was put, by this host's clock.
    pub(super) at: Timestamp,
}

impl Put {
    /// The ids that this put may have been given before, most probable first. The first is the id for a new
    /// job.
    pub(super) fn ids(&self) -> Vec<JobId> {
        let Self { server, number, body, at } = self;
        let mut apart: Vec<i64> = (-TOLERANCE..=TOLERANCE).collect();
        apart.sort_by_key(|apart| apart.abs());
        let id = |apart| {
            let second = at.as_second().saturating_add(apart);
            let digest = Digest::of(format!("longboat intake {server} {number} {body} {second}"));
            let mut first = [0; 16];
            first.copy_from_slice(&digest.as_bytes()[..16]);
            JobId::from_bytes(first)
        };
        apart.into_iter().map(id).collect()
    }
}

/// When a job of this age was put, if it is `now`.
pub(super) fn put_at(now: Timestamp, age: u64) -> Timestamp {
    let age = SignedDuration::from_secs(i64::try_from(age).unwrap_or(i64::MAX));
    now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether two computed times can be those of the same put.
pub(super) fn is_same_time(one: Timestamp, other: Timestamp) -> bool {
    one.as_second().abs_diff(other.as_second()) <= TOLERANCE.unsigned_abs()
}

/// Reads a job document, or msg-qworker's array.
///
/// Tube and priority are the server's. For msg-qworker's array, which cannot say it, the time of an attempt
/// is the server's `ttr`; a document says it itself.
///
/// # Errors
/// Why it is no job.
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
    if text.trim_start().starts_with('[') {
        // A server's longest ttr is 136 years, longer than a job document can say.
        document.ttr = Some(Span::at_most_the_longest(Duration::from_secs(stats.ttr.max(1))));
    }
    document.tube.clone_from(&stats.tube);
    document.priority = stats.priority;
    let id = document.id.take();
    Ok(Reading { id, document })
}

/// The length of a body, and how it begins, in quotes and escaped.
pub(super) fn beginning(body: &Body) -> (u64, String) {
    let (length, head) = match body {
        Body::Whole(bytes) => (bytes.len(), &bytes[..bytes.len().min(400)]),
        Body::TooLong { length, head } => (*length, head.as_slice()),
    };
    (length as u64, excerpt(&String::from_utf8_lossy(head)))
}

#[cfg(test)]
mod tests {
    use super::super::client::JobState;
    use super::*;
    use proptest::prelude::*;

    fn stats() -> JobStats {
        let tube = "night".parse().unwrap();
        JobStats { tube, state: JobState::Reserved, priority: 1337, age: 0, ttr: 3, releases: 0, buries: 0, kicks: 0 }
    }

    fn whole(text: &str) -> Body {
        Body::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn msg_qworkers_array_takes_the_rest_from_the_server() {
        let body = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42"}]"#;
        let Reading { id, document } = read(&whole(body), &stats()).unwrap();
        assert_eq!(id, Some("bc3a925099b9012e0f06549a20077664".parse().unwrap()));
        assert_eq!((document.algorithm.name.as_str(), document.params["23"].as_str()), ("drunken-sailor", Some("42")));
        assert_eq!((document.tube.as_str(), document.priority), ("night", 1337));
        assert_eq!((document.ttr, document.id), (Some(Span(Duration::from_secs(3))), None));
    }

    #[test]
    fn document_says_its_ttr_and_the_server_tube_and_priority() {
        let body = r#"{"algorithm": "x", "priority": 7, "tube": "day", "tags": ["a"], "hold": true}"#;
        let Reading { id, document } = read(&whole(body), &stats()).unwrap();
        assert_eq!((id, document.ttr, document.priority, document.tube.as_str()), (None, None, 1337, "night"));
        assert_eq!((document.tags, document.hold), (vec!["a".to_owned()], true));
    }

    #[test]
    fn rubbish_is_refused_with_the_reason() {
        for (body, part) in [
            (whole(""), "EOF"),
            (whole("hello"), "expected value"),
            (whole("[1, 2]"), "expected"),
            (whole(r#"{"algorithm": "x", "colour": 1}"#), "colour"),
            (Body::Whole(b"\xff\x00".to_vec()), "not UTF-8 from byte 0"),
            (Body::TooLong { length: 5_000_000, head: vec![b'x'; 10] }, "this has 5000000"),
        ] {
            let reason = read(&body, &stats()).unwrap_err();
            assert!(reason.contains(part), "{reason}");
            assert!(!beginning(&body).1.contains(char::is_control));
        }
    }

    #[test]
    fn an_id_follows_from_server_number_body_and_time() {
        let put = Put { server: "s".to_owned(), number: 7, body: Digest::of("x"), at: Timestamp::UNIX_EPOCH };
        let later = |seconds| Put { at: Timestamp::from_second(seconds).unwrap(), ..put.clone() };
        let id = put.ids()[0];
        for seconds in -2..=2 {
            assert!(later(seconds).ids().contains(&id), "{seconds} s apart is the same put");
        }
        for other in [
            later(3),
            Put { server: "t".to_owned(), ..put.clone() },
            Put { number: 8, ..put.clone() },
            Put { body: Digest::of("y"), ..put.clone() },
        ] {
            assert!(!other.ids().contains(&id), "{other:?}");
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

    const FIELDS: [&str; 18] = [
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
        "host",
        "unique",
        "hold",
    ];

    proptest! {
        #[test]
        fn what_was_read_can_be_read_again(
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
                prop_assert!(!is_array, "an array is a job whatever the server's figures are: {}", body);
            }
        }

        #[test]
        fn any_bytes_are_a_job_or_rubbish(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let body = Body::Whole(bytes);
            if let Err(reason) = read(&body, &stats()) {
                prop_assert!(!reason.contains(char::is_control) && reason.len() < 5_000);
            }
            prop_assert!(beginning(&body).1.len() < 5_000);
        }

        #[test]
        fn any_age_is_a_time(age in any::<u64>()) {
            prop_assert!(put_at(Timestamp::now(), age) <= Timestamp::now());
        }
    }
}
