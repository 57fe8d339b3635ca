//! Files of all versions, and of none.

use super::*;
use crate::job::{Document, JobId, State, Verdict};
use crate::queue::sqlite::SqliteQueue;
use crate::queue::sqlite::fixture::worker;
use crate::queue::{Filter, Queue, Submission};

/// A queue of version 1 as that program left it: one job done at its second attempt, one waiting with all its
/// fields in use, and one that a worker was running.
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
