//! Exports of queues, as `queue import` reads them.

use crate::{Target, texts};
use longboat::queue::sqlite::{ImportFault, QueueFile, Sharing};
use std::sync::LazyLock;
use tempfile::TempDir;

/// Exports of queues.
pub const TARGET: Target = Target {
    name: "import",
    check,
    cases: 2_000,
    largest: 2_000,
    samples: || texts([EXPORT, ANCIENT, &EXPORT.replace('\n', "\r\n\r\n")]),
    words: &[
        "\n",
        "{\"queue\":",
        "{\"job\":",
        "{\"end\":{\"jobs\":1,\"forgotten\":0,\"paused\":0}}\n",
        "\"state\":\"running\"",
        "\"ready\"",
        "\"key\":\"free\",",
        "\"history\":[",
        "\"attempts\":",
        "\"published\":",
        "\"unique\":{\"key\":\"k\"},",
        "null",
        "-1",
        "1e400",
        "9999-12-31T23:59:59.999Z",
        "-009999-01-01T00:00:00Z",
        "\\ud800",
        "\\u0000",
        "\u{1b}[2J",
        "[[[[[[[[",
    ],
    reached: &["imported", "refused"],
};

/// One line of each kind, and a job with all that one can have.
const EXPORT: &str = r#"{"queue":{"version":1,"exported_at":"2026-11-21T18:00:00.000Z"}}
{"job":{"id":"bc3a9250-99b9-012e-0f06-549a20077664","state":"done","submitted_at":"2026-11-21T17:00:00.000Z","ready_at":"2026-11-21T17:00:00.000Z","started_at":"2026-11-21T17:00:01.000Z","finished_at":"2026-11-21T17:00:02.000Z","key":"free","attempts":1,"kicks":1,"verdict":{"kind":"done"},"published":1,"public_url":"https://node1.example/","document":{"algorithm":"x","max_attempts":3,"params":{},"tags":["a"],"unique":{"for":"done","key":"k"}},"history":[{"attempt":1,"worker":"a","started_at":"2026-11-21T17:00:01.000Z","finished_at":"2026-11-21T17:00:02.000Z","verdict":{"kind":"done"},"usage":{"fuel":1,"peak_memory":2,"wall_ms":0.5,"input_bytes":3,"result_bytes":4}}],"deliveries":[{"store":"07070707-0707-0707-0707-070707070707","url":"https://hooks.example/","attempt":1,"state":"pending","tries":0,"since":"2026-11-21T17:00:02.000Z","next_at":"2026-11-21T17:00:02.000Z"}]}}
{"job":{"id":"00000000-0000-0000-0000-000000000001","state":"held","submitted_at":"2026-11-21T17:00:00.000Z","ready_at":"2026-11-21T17:00:00.000Z","expires_at":"2030-01-01T00:00:00Z","key":"until_ended","attempts":0,"document":{"algorithm":"x","hold":true,"unique":{"key":"l"}},"history":[]}}
{"forgotten":{"id":"00000000-0000-0000-0000-000000000002","document":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","forgotten_at":"2026-11-21T17:00:00.000Z"}}
{"paused":{"tube":"night","since":"2026-11-21T17:00:00.000Z"}}
{"end":{"jobs":2,"forgotten":1,"paused":1}}
"#;

/// The smallest job that there is, at the other end of time.
const ANCIENT: &str = r#"{"queue":{"version":1,"exported_at":"0001-01-01T00:00:00Z"}}
{"job":{"id":"00000000-0000-0000-0000-000000000003","state":"ready","submitted_at":"0001-01-01T00:00:00Z","ready_at":"0001-01-01T00:00:00Z","attempts":0,"document":{"algorithm":"x"},"history":[]}}
{"end":{"jobs":1,"forgotten":0,"paused":0}}
"#;

/// A queue that all cases go into.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory can be made"));

/// The queue is sound whatever went in; a refusal names a line that the text has, or the one after it; and what was
/// taken in once is known the next time.
pub fn check(bytes: &[u8]) -> &'static str {
    let queue = QueueFile::new(&DIRECTORY.path().join("queue.db"), Sharing::OneMachine);
    let outcome = queue.import(&mut &*bytes);
    let health = queue.check().expect("the queue can be looked at");
    assert!(health.faults.is_empty(), "{health:?}");
    match outcome {
        Ok(imported) => {
            let again = queue.import(&mut &*bytes).expect("what was imported is imported again");
            assert_eq!((again.jobs, again.forgotten), (0, 0));
            assert_eq!(again.known, imported.jobs + imported.forgotten + imported.known);
            "imported"
        }
        Err(error) => {
            let ImportFault::Line { line, what } = &error.why else { panic!("the fault is the bytes': {error}") };
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            assert!((1..=lines + 1).contains(line), "line {line} of {lines}: {error}");
            assert!(what.chars().count() <= 500 && !what.chars().any(char::is_control), "{error}");
            "refused"
        }
    }
}
