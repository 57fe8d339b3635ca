use super::*;
use crate::job::{Document, Input, JobId, Shape, State, Unique, UniqueFor, Usage, Verdict};
use crate::queue::conformance::model::{played, steps};
use crate::queue::sqlite::conformance::Sqlite;
use crate::queue::sqlite::export::{Exported, export};
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
use crate::queue::sqlite::upkeep::QueueFile;
use crate::queue::{Filter, Jobs, Modules, Outcome, Settlement, Work};
use proptest::prelude::*;
use std::io::{self, BufReader};

fn exported(fixture: &Fixture) -> (Exported, String) {
    let mut text = Vec::new();
    let exported = export(&fixture.path(), Sharing::OneMachine, fixture.now(), &mut text).unwrap();
    (exported, String::from_utf8(text).unwrap())
}

fn imported(fixture: &Fixture, text: &str) -> Result<Imported, ImportError> {
    import(&fixture.path(), Sharing::OneMachine, fixture.now(), &mut text.as_bytes())
}

fn refusal(text: &str) -> String {
    imported(&Fixture::new(), text).unwrap_err().why.to_string()
}

const HEAD: &str = r#"{"queue":{"version":1,"exported_at":"2026-11-21T18:00:00.000Z"}}"#;
const END: &str = r#"{"end":{"jobs":1,"forgotten":0,"paused":0}}"#;

/// A job of an export, with these fields in place of its own.
fn job(fields: &str) -> String {
    let mut job = serde_json::json!({
        "id": "bc3a9250-99b9-012e-0f06-549a20077664", "state": "ready", "attempts": 0, "history": [],
        "submitted_at": "2026-11-21T18:00:00.000Z", "ready_at": "2026-11-21T18:00:00.000Z",
        "document": {"algorithm": "x"},
    });
    let fields: serde_json::Map<_, _> = serde_json::from_str(fields).unwrap();
    job.as_object_mut().unwrap().extend(fields);
    serde_json::json!({"job": job}).to_string()
}

/// Bytes that cannot be made fewer.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// A queue in which every kind of thing is.
async fn rich() -> Fixture {
    let fixture = Fixture::new();
    let large = Input::One(format!("data:,{}", "x".repeat(1 << 20)).parse().unwrap());
    let unique = Some(Unique { key: "k".to_owned(), period: UniqueFor::Done });
    fixture.submit(Document { tags: vec!["b".to_owned(), "a".to_owned()], input: Some(large), ..document() }).await;
    let done = fixture.claim("a").await.unwrap().lease;
    let outcome = Outcome { document: noise(3 << 20).into(), log: b"x".repeat(1 << 21).into(), files: true };
    let (verdict, decision, usage) = (Verdict::Done, crate::job::Decision::Finish, Usage::default());
    let settlement = Settlement { verdict, decision, usage, outcome };
    fixture.queue.settle(&worker("a"), &done, settlement).await.unwrap();
    let name = "forecast".parse().unwrap();
    for module in [noise(5), noise(3 << 20)] {
        fixture.queue.add(&name, Shape::Command, module).await.unwrap();
    }
    fixture.submit(Document { unique, expires: Some("1h".parse().unwrap()), hold: true, ..document() }).await;
    fixture.submit(Document { seed: Some(7), host: Some("a".to_owned()), max_attempts: 2, ..document() }).await;
    let dead = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &dead, failed(), crate::job::Decision::Bury).await.unwrap();
    fixture.submit(Document { delay: Some("5m".parse().unwrap()), tube: "night".parse().unwrap(), ..document() }).await;
    fixture.submit(Document { priority: 0, ..document() }).await;
    fixture.claim("b").await.unwrap();
    fixture.sql(
        "INSERT INTO deliveries VALUES (1, 1, 'https://h.example/', 'given-up', 9, 1, NULL, 1000, 'nobody listens'),
            (3, 1, 'https://h.example/', 'pending', 0, 1, 5000, NULL, NULL);
        UPDATE jobs SET public_url = 'https://node1.example/' WHERE seq = 1;
        UPDATE jobs SET submitted_as = zeroblob(32), kicks = 2 WHERE seq = 3;
        INSERT INTO forgotten (id, document, forgotten_at, files) VALUES (zeroblob(16), zeroblob(32), 4000, 0);
        INSERT INTO paused VALUES ('night', 1000, NULL), ('day', 2000, 9000)",
    );
    fixture
}

#[tokio::test]
async fn what_is_exported_and_imported_is_exported_alike() {
    let fixture = rich().await;
    let (first, text) = exported(&fixture);
    assert_eq!((first.jobs, first.forgotten), (5, 1));
    assert!(first.faults.is_empty(), "{first:?}");
    // The document and the log of one attempt, and one of the two modules, are in more than one line.
    assert_eq!(text.lines().count(), 1 + 5 + (3 + 2) + 2 + 1 + 2 + (1 + 3) + 2 + 2 + 1);
    let copy = Fixture::new();
    assert_eq!(imported(&copy, &text).unwrap(), Imported { jobs: 5, forgotten: 1, known: 0 });
    assert_eq!(exported(&copy), (first, text.clone()));
    assert_eq!(imported(&copy, &text).unwrap(), Imported { jobs: 0, forgotten: 0, known: 6 });
    let health = QueueFile::new(&copy.path(), Sharing::OneMachine).check().unwrap();
    assert!(health.faults.is_empty() && health.jobs == 5, "{health:?}");
    let (records, _) = copy.queue.list(&Filter::default(), None, 9).await.unwrap();
    assert_eq!(records.len(), 5);
    let published = copy.queue.result(records[0].id, None).await.unwrap().unwrap();
    assert_eq!((published.attempt, published.files, published.document == noise(3 << 20)), (1, true, true));
    assert_eq!(copy.queue.log(records[0].id, 1, (1 << 21) - 1).await.unwrap().unwrap().bytes, b"x");
    let algorithms = copy.queue.algorithms().await.unwrap();
    assert_eq!((algorithms.len(), algorithms[0].earlier.len()), (1, 1));
    let module = copy.queue.module(algorithms[0].current.module).await.unwrap().unwrap();
    assert_eq!(Digest::of(module), algorithms[0].current.module);
}

#[tokio::test]
async fn what_ran_is_given_back_without_counting_and_is_run_again() {
    let fixture = Fixture::new();
    let id = fixture.submit(Document { max_attempts: 1, ..document() }).await;
    fixture.claim("a").await.unwrap();
    let (_, text) = exported(&fixture);
    assert_eq!(fixture.find(id).await.state, State::Running, "the queue itself is as it was");
    let copy = Fixture::new();
    imported(&copy, &text).unwrap();
    let record = copy.find(id).await;
    assert_eq!((record.state, record.attempts), (State::Ready, 1));
    let said = record.verdict.as_ref().unwrap().to_string();
    assert_eq!(said, "interrupted: the queue was exported while worker a ran this attempt");
    assert_eq!(record.history.unwrap()[0].verdict, record.verdict);
    let again = copy.claim("b").await.unwrap();
    assert_eq!((again.lease.attempt, again.attempts, again.granted), (2, 1, 1));
}

#[tokio::test]
async fn an_import_that_broke_off_is_repeated_and_jobs_keep_their_order() {
    let fixture = Fixture::new();
    let ids = fixture.submit_all(vec![document(); 2500]).await;
    let (_, text) = exported(&fixture);
    let copy = Fixture::new();
    let cut = &text[..text.len() * 2 / 3];
    let error = imported(&copy, cut).unwrap_err();
    assert!(error.imported.jobs > 1000, "{error}");
    assert!(error.to_string().contains(&format!("{} jobs of the lines before", error.imported.jobs)), "{error}");
    let kept = copy.queue.status().await.unwrap().states[&State::Ready];
    assert_eq!(kept, error.imported.jobs, "what is told is what is there");
    let rest = imported(&copy, &text).unwrap();
    assert_eq!((rest.jobs, rest.known), (2500 - kept, kept));
    let (records, _) = copy.queue.list(&Filter::default(), None, 9999).await.unwrap();
    assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), ids);
    // A worker that has gone on meanwhile does not make a job another one.
    let lease = copy.claim("a").await.unwrap().lease;
    copy.settle("a", &lease, Verdict::Done, crate::job::Decision::Finish).await.unwrap();
    assert_eq!(imported(&copy, &text).unwrap().known, 2500);
    assert_eq!(copy.find(ids[0]).await.state, State::Done);
}

#[tokio::test]
async fn what_the_queue_knows_otherwise_is_refused_and_what_it_has_forgotten_is_left() {
    let fixture = Fixture::new();
    let unique = Some(Unique { key: "k".to_owned(), period: UniqueFor::Done });
    let id = fixture.submit(Document { unique: unique.clone(), ..document() }).await;
    let (_, text) = exported(&fixture);
    let other = text.replace("\"priority\":1024", "\"priority\":7");
    let error = imported(&fixture, &other).unwrap_err().to_string();
    assert!(error.contains(&format!("line 2: the id {id} was submitted before with another document")), "{error}");
    let copy = Fixture::new();
    let holder = copy.submit(Document { unique, ..document() }).await;
    let error = imported(&copy, &text).unwrap_err().to_string();
    assert!(error.contains(&format!("line 2: the unique key \"k\" is held by job {holder}")), "{error}");
    assert!(copy.queue.find(id).await.unwrap().is_none());
    // What was deleted stays deleted.
    let copy = Fixture::new();
    let json = fixture.find(id).await.document.canonical();
    let digest = crate::job::Digest::of(json);
    let forget =
        format!(r#"{{"forgotten":{{"id":"{id}","document":"{digest}","forgotten_at":"2026-11-21T18:00:00Z"}}}}"#);
    let end = r#"{"end":{"jobs":0,"forgotten":1,"paused":0}}"#;
    assert_eq!(imported(&copy, &format!("{HEAD}\n{forget}\n{end}")).unwrap().forgotten, 1);
    assert_eq!(imported(&copy, &text).unwrap(), Imported { jobs: 0, forgotten: 0, known: 1 });
}

#[test]
fn a_wrong_line_is_named_and_nothing_of_it_is_kept() {
    for (text, part) in [
        (String::new(), "line 1: the export ends here"),
        (HEAD.to_owned(), "line 2: the export ends here"),
        (r#"{"algorithm":"x"}"#.to_owned(), "job documents are for `longboat submit --file`"),
        (END.to_owned(), "line 1: an export begins with another line"),
        (HEAD.replace(":1,", ":3,"), "line 1: it is of version 3, and this program reads versions up to 2"),
        (format!("{HEAD}\n{HEAD}"), "line 2: another export begins here"),
        (format!("{HEAD}\n\n \n{END}"), "line 4: lines are missing"),
        (format!("{HEAD}\n{}\n{END}\n{END}", job("{}")), "line 4: the export has ended before"),
        (format!("{HEAD}\n\u{1b}[2J"), "line 2: this is no line of an export"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(part) && !message.contains('\u{1b}'), "{text}: {message}");
    }
    let attempt =
        r#"{"attempt":1,"worker":"a","started_at":"2026-11-21T18:00:00Z","finished_at":"2026-11-21T18:00:01Z"}"#;
    let never = r#"{"store": "07070707-0707-0707-0707-070707070707", "url": "https://h.example/", "attempt": 1,
        "state": "pending", "tries": 0, "since": "2026-11-21T18:00:00Z"}"#;
    for (fields, part) in [
        (r#"{"id": "7"}"#.to_owned(), "a job id is a UUID"),
        (r#"{"stat": "ready"}"#.to_owned(), "unknown field `stat`"),
        (r#"{"state": "running"}"#.to_owned(), "is running, as no job of an export is"),
        (r#"{"state": "done"}"#.to_owned(), "is done, but has no finished_at"),
        (r#"{"finished_at": "2026-11-21T18:00:01Z"}"#.to_owned(), "is ready, but has a finished_at"),
        (
            r#"{"key": "free", "document": {"algorithm": "x", "unique": {"key": "k"}}}"#.to_owned(),
            "is ready, but its unique key is free",
        ),
        (format!(r#"{{"deliveries": [{never}]}}"#), "has a next_at just if it is pending"),
        (format!(r#"{{"deliveries": [{never}, {never}]}}"#), "has more than one pending delivery"),
        (r#"{"attempts": 1}"#.to_owned(), "not that of the attempts from 1 to 1"),
        (format!(r#"{{"attempts": 2, "history": [{attempt}, {attempt}]}}"#), "not that of the attempts from 1 to 2"),
        (
            format!(r#"{{"attempts": 1, "history": [{}]}}"#, attempt.replace("finished_at", "ended_at")),
            "has no finished_at",
        ),
        (r#"{"uncounted": 1}"#.to_owned(), "1 of them do not count"),
        (r#"{"published": 1}"#.to_owned(), "a result of attempt 1, but 0 attempts"),
        (
            r#"{"state": "done", "finished_at": "2026-11-21T18:00:01Z", "expires_at": "2026-11-21T19:00:00Z"}"#
                .to_owned(),
            "has an expires_at, as no job has",
        ),
        (
            format!(r#"{{"attempts": 1, "history": [{attempt}], "expires_at": "2026-11-21T19:00:00Z"}}"#),
            "has an expires_at, as no job has",
        ),
        (
            r#"{"state": "dead", "finished_at": "2026-11-21T18:00:01Z", "key": "until_ended",
                "document": {"algorithm": "x", "unique": {"key": "k"}}}"#
                .to_owned(),
            "is dead, but holds its unique key until it has ended",
        ),
        (r#"{"key": "until_ended"}"#.to_owned(), "if its document has `unique`, and only then"),
        (r#"{"document": {"algorithm": "x", "tags": [""]}}"#.to_owned(), "the document of job"),
        (r#"{"document": {"algorithm": "x", "prority": 1}}"#.to_owned(), "unknown field `prority`"),
        (r#"{"document": []}"#.to_owned(), "the document of job"),
        (r#"{"submitted_at": "9999-99-99T00:00:00Z"}"#.to_owned(), "line 2"),
    ] {
        let fixture = Fixture::new();
        let error = imported(&fixture, &format!("{HEAD}\n{}\n{END}", job(&fields))).unwrap_err();
        let message = error.why.to_string();
        assert!(message.starts_with("line 2: ") && message.contains(part), "{fields}: {message}");
        assert_eq!(error.imported, Imported::default());
        assert_eq!(exported(&fixture).0.jobs, 0, "{fields}");
    }
    assert_eq!(imported(&Fixture::new(), &format!("{HEAD}\r\n\n{}\n{END}", job("{}"))).unwrap().jobs, 1);
}

/// Lines that come only after somebody else has written to the queue.
struct Slow<'a> {
    lines: io::Cursor<&'a [u8]>,
    queue: Connection,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.queue.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(io::Error::other)?;
        let most = buffer.len().min(100);
        self.lines.read(&mut buffer[..most])
    }
}

#[tokio::test]
async fn nobody_waits_for_the_queue_while_an_import_waits_for_its_lines() {
    let fixture = Fixture::new();
    fixture.submit_all(vec![document(); 5]).await;
    let (_, text) = exported(&fixture);
    let copy = Fixture::new();
    let queue = open::writer(&copy.path(), Sharing::OneMachine).unwrap();
    queue.busy_timeout(std::time::Duration::ZERO).unwrap();
    let mut slow = BufReader::with_capacity(100, Slow { lines: io::Cursor::new(text.as_bytes()), queue });
    assert_eq!(import(&copy.path(), Sharing::OneMachine, copy.now(), &mut slow).unwrap().jobs, 5);
}

#[test]
fn a_line_without_an_end_takes_bounded_memory() {
    let fixture = Fixture::new();
    let mut endless = BufReader::new(HEAD.as_bytes().chain(&b"\n"[..]).chain(io::repeat(b' ')));
    let error = import(&fixture.path(), Sharing::OneMachine, fixture.now(), &mut endless).unwrap_err();
    assert!(error.to_string().contains("line 2: it has more than"), "{error}");
}

#[tokio::test]
async fn a_damaged_job_is_left_out_and_told_of() {
    let fixture = Fixture::new();
    let damaged = fixture.submit(document()).await;
    let sound = fixture.submit(document()).await;
    for damage in ["UPDATE documents SET json = 'null {' WHERE seq = 1", "DELETE FROM documents WHERE seq = 1"] {
        fixture.sql(damage);
        let (exported, text) = exported(&fixture);
        assert_eq!((exported.jobs, exported.faults.told.len()), (1, 1));
        assert!(exported.faults.told[0].contains(&damaged.to_string()), "{exported:?}");
        assert!(text.contains(&sound.to_string()) && !text.contains(&damaged.to_string()));
    }
}

#[tokio::test]
async fn an_export_of_a_file_for_several_machines_lets_others_commit_between_its_pieces() {
    let fixture = Fixture::new();
    let path = fixture.directory.path().join("shared.db");
    let queue = crate::queue::sqlite::SqliteQueue::open_as(&path, Sharing::ManyMachines).unwrap();
    let jobs = (0..1200).map(|_| crate::queue::Submission { id: JobId::new(), document: document() }).collect();
    queue.submit(jobs).await.unwrap();
    // Whoever is slow to read what is exported keeps nobody from the queue.
    let (reader, writer) = io::pipe().unwrap();
    let exporting = std::thread::spawn(move || {
        let mut writer = writer;
        QueueFile::new(&path, Sharing::ManyMachines).export(&mut writer).unwrap()
    });
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    queue.register(&worker("a")).await.unwrap();
    assert!(!exporting.is_finished(), "the pipe is full");
    io::copy(&mut reader, &mut io::sink()).unwrap();
    assert_eq!(exporting.join().unwrap().jobs, 1200);
}

#[test]
fn every_column_of_the_file_is_exported_or_left_out_for_a_reason() {
    let fixture = Fixture::new();
    let connection = open::writer(&fixture.path(), Sharing::OneMachine).unwrap();
    let sql = "
        SELECT t.name || '.' || c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    let columns: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let exported = "algorithms.added_at algorithms.digest algorithms.name attempts.attempt attempts.finished_at \
        attempts.started_at attempts.usage attempts.verdict attempts.worker deliveries.attempt deliveries.finished_at \
        deliveries.next_at deliveries.reason deliveries.since deliveries.state deliveries.tries deliveries.url \
        documents.json forgotten.document forgotten.files forgotten.forgotten_at forgotten.id jobs.attempts jobs.expires_at \
        jobs.finished_at jobs.id jobs.kicks jobs.module jobs.public_url jobs.published jobs.ready_at jobs.started_at \
        jobs.state jobs.submitted_as jobs.submitted_at jobs.uncounted jobs.unique_key jobs.unique_until jobs.verdict \
        module_pieces.bytes module_pieces.digest module_pieces.place modules.digest modules.shape modules.size \
        outcomes.attempt outcomes.document outcomes.document_size outcomes.files outcomes.log outcomes.log_size \
        outcomes.settled_at paused.since paused.tube paused.until pieces.attempt pieces.bytes pieces.kind pieces.place \
        pieces.size";
    // Places are given anew, in the same order; counters and columns beside documents follow from the rest;
    // workers, and what they said of their progress, are not there; attempts have ended, so there are no
    // live logs; statistics are those of a file; servers of the old version are this node's.
    let left_out = "algorithms.place attempts.expires_at attempts.seq counts.host counts.jobs counts.state counts.tube \
        deliveries.seq documents.seq endings.algorithm endings.attempts endings.tube endings.verdict forgotten.place \
        jobs.algorithm jobs.host jobs.max_attempts jobs.priority jobs.progress jobs.progress_message jobs.seed_pinned \
        jobs.seq jobs.tube jobs.worker live.attempt live.bytes live.place live.seq old_buried.body old_buried.id \
        old_buried.number old_buried.server outcomes.seq pieces.seq tags.seq tags.tag timings.algorithm timings.attempts \
        timings.bucket timings.total_ms timings.tube timings.what workers.beat workers.boot workers.lease_ms workers.name \
        workers.public_url workers.start workers.started_at";
    let mut known: Vec<_> = exported.split_whitespace().chain(left_out.split_whitespace()).collect();
    known.sort_unstable();
    assert_eq!(columns, known);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_done_to_a_queue_it_is_sound_and_its_export_comes_back_alike(
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let queue = runtime.block_on(played::<Sqlite>(steps)).expect("nothing is needed for it");
        let source = queue.fixture();
        let health = QueueFile::new(&source.path(), Sharing::OneMachine).check().unwrap();
        assert!(health.faults.is_empty(), "{health:?}");
        let (first, text) = exported(source);
        assert!(first.faults.is_empty(), "{first:?}");
        let copy = Fixture::new();
        copy.advance(std::time::Duration::from_millis(
            source.now().duration_since(copy.now()).as_millis().try_into().unwrap(),
        ));
        imported(&copy, &text).unwrap();
        assert_eq!(exported(&copy), (first, text));
        let health = QueueFile::new(&copy.path(), Sharing::OneMachine).check().unwrap();
        assert!(health.faults.is_empty(), "{health:?}");
    }
}
