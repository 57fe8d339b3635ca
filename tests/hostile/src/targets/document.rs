//! Job documents, as submitters write them.

use crate::{Target, text, texts};
use jiff::Timestamp;
use longboat::config::LimitsConfig;
use longboat::job::{Document, DocumentError, Job, JobId};

/// What JSON and job documents are made of, and what their readers stumble over.
pub(crate) const WORDS: &[&str] = &[
    "[",
    "{",
    "]",
    "}",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-",
    "1e400",
    "-0",
    "0.1",
    "300000000.123",
    "1E-7",
    "\\u0000",
    "\\ud800",
    "\\",
    "\u{feff}",
    "\0",
    "\u{1b}[2J",
    "é",
    "\"algorithm\":\"a\",",
    "\"id\":\"bc3a925099b9012e0f06549a20077664\",",
    "\"params\":",
    "\"input\":",
    "\"delay\":",
    "\"run_at\":",
    "\"expires\":",
    "\"ttr\":",
    "\"limits\":",
    "\"fuel\":",
    "\"memory\":",
    "\"seed\":",
    "\"clock\":",
    "\"unique\":",
    "\"key\":",
    "\"for\":",
    "\"tags\":",
    "\"hold\":",
    "\"priority\":",
    "\"2026-11-21T18:00:00Z\"",
    "\"1h\"",
    "\"64MiB\"",
    "\"data:,x\"",
    "\"http://a/\"",
    "18446744073709551616",
    "\n",
];

/// Job documents.
pub const TARGET: Target = Target {
    name: "document",
    check,
    cases: 20_000,
    largest: 400,
    samples,
    words: WORDS,
    reached: &["a job", "refused"],
};

/// Documents with every field.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    texts([
        r#"{"algorithm":"a"}"#,
        r#"{"algorithm":"forecast","params":{"horizon":48,"x":[1.5,null,"é\n"]},"input":"https://data.example.org/demand.csv",
            "priority":10,"delay":"5m","ttr":30.25,"limits":{"memory":"64MiB","fuel":"1e9"},"tags":["daily"]}"#,
        r#"{"id":"bc3a925099b9012e0f06549a20077664","algorithm":"a_b","input":{"a":"data:,1","b":"http://h/?c=d"},"tube":"night",
            "run_at":"2026-11-21T18:00:00+01:00","expires":"2h","max_attempts":9,"seed":42,"clock":"2026-11-21T18:00:00Z",
            "unique":{"key":"nightly","for":3600.5},"host":"node1","hold":true,"result_url":"http://r/"}"#,
        r#"{"algorithm":"a","limits":{"result_size":1,"result_files":3,"document_size":"2KiB","log_size":1,"input_size":1}}"#,
        r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42","foo":"bar"}]"#,
    ])
}

/// A document is refused in a message that can be shown, or is the same once it was written and read again.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some(text) = text(bytes) else { return "not text" };
    match Document::read(text) {
        Ok(document) => {
            holds(&document);
            "a job"
        }
        Err(error) => {
            can_be_shown(&error);
            "refused"
        }
    }
}

/// What must hold for every document that was accepted.
pub(crate) fn holds(document: &Document) {
    let written = document.canonical();
    assert_eq!(Document::read(&written).as_ref(), Ok(document), "{written}");
    let limits = LimitsConfig::default();
    let resolved = document.limits.resolve(document.ttr, &limits.default, &limits.ceiling);
    assert!(resolved.map_or_else(|error| !error.to_string().is_empty(), |limits| limits.fuel <= 1_000_000_000_000));
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        assert!(document.ready_at(now) >= now || document.run_at.is_some());
        document.expires.map(|expires| expires.from(now));
        let job = Job { id: JobId::from_bytes([7; 16]), submitted_at: now, module: None, document: document.clone() };
        assert!(document.seed.is_some() || job.seed(u32::MAX) < 1 << 53);
    }
}

/// A refusal says something, is no essay, and moves no cursor.
pub(crate) fn can_be_shown(error: &DocumentError) {
    let message = error.to_string();
    assert!(!message.is_empty() && message.chars().count() <= 1001, "{} bytes", message.len());
    assert!(!message.contains(char::is_control), "nothing hostile reaches a terminal: {message:?}");
}
