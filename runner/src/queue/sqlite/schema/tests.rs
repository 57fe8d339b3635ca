//! Files of all versions, and of none.

use super::*;
use crate::job::{Digest, Document, JobId, State, Verdict};
use crate::queue::sqlite::fixture::worker;
use crate::queue::sqlite::{Faults, Health, QueueFile, Sharing, SqliteQueue};
use crate::queue::{Filter, Jobs, Outbox, Submission, Work};

/// A queue of version 1 as that program left it: one job done at its second attempt, one waiting with all
/// its fields in use, and one that a worker was running.
const ROWS_OF_1: &str = r#"
    PRAGMA user_version = 1;
    INSERT INTO workers VALUES (x'01010101010101010101010101010101', 'old', 1000, 15000, 7);
    INSERT INTO jobs (id, state, tube, host, priority, algorithm, submitted_at, ready_at, unique_key, unique_until,
            seed_pinned, max_attempts, kicks, attempts, uncounted, worker, started_at, finished_at, verdict, published)
        VALUES (x'000102030405060708090a0b0c0d0e0f', 'done', 'default', '', 1024, 'x', 1000, 1000, NULL, NULL,
            0, 3, 0, 2, 0, NULL, 3000, 4000, '{"kind":"done"}', 2),
        (x'100102030405060708090a0b0c0d0e0f', 'held', 'night', 'node1', 7, 'x', 2000, 2000, 'k', 9223372036854775807,
            1, 5, 1, 0, 0, NULL, NULL, NULL, NULL, NULL),
        (x'200102030405060708090a0b0c0d0e0f', 'running', 'default', '', 1024, 'x', 3000, 3000, NULL, NULL,
            0, 3, 0, 1, 0, x'01010101010101010101010101010101', 5000, NULL, NULL, NULL);
    INSERT INTO documents VALUES (1, '{"algorithm":"x"}'),
        (2, '{"algorithm":"x","tube":"night","host":"node1","priority":7,"max_attempts":5,"seed":7,"hold":true,'
            || '"tags":["a"],"unique":{"key":"k"}}'),
        (3, '{"algorithm":"x"}');
    INSERT INTO tags VALUES ('a', 2);
    INSERT INTO attempts VALUES (1, 1, 'older', 1500, 2500, '{"kind":"lost","message":"gone"}', NULL),
        (1, 2, 'old', 3000, 4000, '{"kind":"done"}', NULL), (3, 1, 'old', 5000, NULL, NULL, NULL);
"#;

#[tokio::test]
async fn a_file_of_version_1_becomes_one_of_the_newest_version_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!("PRAGMA journal_mode = wal; {VERSION_1} {ROWS_OF_1}")).unwrap();
    drop(old);
    let queue = SqliteQueue::open(&path).unwrap();
    let (records, more) = queue.list(&Filter::default(), None, 10).await.unwrap();
    let states: Vec<_> = records.iter().map(|record| record.state).collect();
    assert_eq!((states, more), (vec![State::Done, State::Held, State::Running], None));
    let [done, held, running] = &records[..] else { panic!("three records") };
    assert_eq!((done.attempts, done.published, &done.verdict), (2, Some(2), &Some(Verdict::Done)));
    let history = queue.find(done.id).await.unwrap().unwrap().history.unwrap();
    let told: Vec<_> = history.iter().map(|one| (one.attempt, one.worker.as_str())).collect();
    assert_eq!(told, [(1, "older"), (2, "old")]);
    assert_eq!((held.kicks, held.document.priority, held.document.seed), (1, 7, Some(7)));
    let tagged = Filter { tags: vec!["a".to_owned()], ..Filter::default() };
    assert_eq!(queue.list(&tagged, None, 10).await.unwrap().0, std::slice::from_ref(held));
    let status = queue.status().await.unwrap();
    assert_eq!(status.workers.iter().map(|worker| worker.running).collect::<Vec<_>>(), [1]);
    // What was known is known still: ids, unique keys, and whose the running job is.
    let unique = held.document.unique.clone();
    for (id, document) in [
        (done.id, Document { priority: 1, ..done.document.clone() }),
        (JobId::new(), Document { unique, ..done.document.clone() }),
    ] {
        assert!(queue.submit(vec![Submission { id, document }]).await.is_err());
    }
    assert!(queue.claim(&worker("new"), std::slice::from_ref(&running.document.tube), 9).await.unwrap().is_empty());
    let new = Submission { id: JobId::new(), document: done.document.clone() };
    queue.submit(vec![new.clone()]).await.unwrap();
    let claimed = queue.claim(&worker("new"), std::slice::from_ref(&running.document.tube), 9).await.unwrap();
    assert_eq!(claimed.iter().map(|one| one.lease.id).collect::<Vec<_>>(), [new.id]);
}

/// Jobs of a server in a queue of version 6: one that is done and still buried there, one whose end the
/// server may not have heard, one that is done at both, one that waits there; and a job of the queue's own.
const ROWS_OF_6: &str = r#"
    PRAGMA user_version = 6;
    INSERT INTO workers (start, name, started_at, lease_ms, store)
        VALUES (x'01010101010101010101010101010101', 'old', 1000, 15000, zeroblob(16));
    INSERT INTO jobs (seq, id, state, tube, host, priority, algorithm, submitted_at, ready_at, seed_pinned, max_attempts,
            attempts, uncounted, worker, started_at, finished_at, verdict, published)
        VALUES (1, x'01000000000000000000000000000000', 'done', 'default', char(1) || 'beanstalkd://h:1', 1024, 'x', 1000, 1000,
            0, 3, 3, 5, NULL, 3000, 4000, '{"kind":"done"}', 3),
        (2, x'02000000000000000000000000000000', 'running', 'default', char(1) || 'beanstalkd://h:1', 1024, 'x', 1000, 1000,
            0, 3, 1, 0, x'01010101010101010101010101010101', 3000, NULL, NULL, NULL),
        (3, x'03000000000000000000000000000000', 'done', 'default', char(1) || 'beanstalkd://h:1', 1024, 'x', 1000, 1000,
            0, 3, 1, 0, NULL, 3000, 4000, '{"kind":"done"}', 1),
        (4, x'04000000000000000000000000000000', 'ready', 'default', char(1) || 'beanstalkd://h:1', 1024, 'x', 1000, 1000,
            0, 3, 1, 0, NULL, 3000, NULL, NULL, NULL),
        (5, x'05000000000000000000000000000000', 'done', 'default', '', 1024, 'x', 1000, 1000,
            0, 3, 1, 0, NULL, 3000, 4000, '{"kind":"done"}', 1);
    INSERT INTO documents SELECT seq, '{"algorithm":"x"}' FROM jobs;
    INSERT INTO attempts (seq, attempt, worker, started_at, finished_at, verdict)
        VALUES (1, 3, 'old', 3000, 4000, '{"kind":"done"}'), (2, 1, 'old', 3000, NULL, NULL),
        (3, 1, 'old', 3000, 4000, '{"kind":"done"}'), (4, 1, 'old', 3000, 4000, '{"kind":"lost","message":"x"}'),
        (5, 1, 'old', 3000, 4000, '{"kind":"done"}');
    INSERT INTO placed SELECT seq, 'beanstalkd://h:1', 70 + seq, zeroblob(32), 1, 0, 0, 0, NULL FROM jobs WHERE seq < 5;
    INSERT INTO settling VALUES (1, 3, 'finish', 0, '{"kind":"done"}', '{}', 1, 1, 9),
        (2, 1, 'finish', 0, '{"kind":"done"}', '{"fuel":1,"peak_memory":1,"wall_ms":1.0,"input_bytes":0,"result_bytes":0}', 1, 0, 9),
        (4, 1, 'retry', 0, '{"kind":"done"}', '{}', 0, 0, 9);
    INSERT INTO deliveries VALUES (5, 1, zeroblob(16), 'https://h.example/', 'pending', 0, 1, 5, NULL, NULL);
    INSERT INTO forgotten (id, document, forgotten_at) VALUES (zeroblob(16), zeroblob(32), 1);
"#;

#[tokio::test]
async fn version_6_loses_jobs_of_servers_but_those_that_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!("PRAGMA journal_mode = wal; {} {ROWS_OF_6}", VERSIONS[..6].concat())).unwrap();
    drop(old);
    let queue = SqliteQueue::open(&path).unwrap();
    let (records, _) = queue.list(&Filter::default(), None, 10).await.unwrap();
    let told: Vec<_> = records.iter().map(|record| (record.id.as_bytes()[0], record.state, record.published)).collect();
    let done = State::Done;
    assert_eq!(told, [(1, done, Some(3)), (2, done, Some(1)), (3, done, Some(1)), (5, done, Some(1))]);
    for record in &records {
        let old = queue.result(record.id, None).await.unwrap().unwrap();
        assert_eq!((Some(old.attempt), old.document.len(), old.files), (record.published, 0, true));
    }
    let buried = queue.old_buried(9).await.unwrap();
    assert_eq!(buried.iter().map(|one| (one.number, one.id.as_bytes()[0])).collect::<Vec<_>>(), [(71, 1), (72, 2)]);
    assert_eq!((buried[0].server.as_str(), buried[0].body), ("beanstalkd://h:1", Digest::from_bytes([0; 32])));
    let file = QueueFile::new(&path, Sharing::OneMachine);
    assert_eq!(file.check().unwrap(), Health { jobs: 4, faults: Faults::default() });
    assert_eq!(file.export(&mut std::io::sink()).unwrap().faults, Faults::default());
    assert_eq!(queue.deliveries(std::time::Duration::from_secs(9), 9).await.unwrap().len(), 1);
    assert_eq!(queue.forgotten(None, 9).await.unwrap().0.len(), 1, "its files may still be there");
}
