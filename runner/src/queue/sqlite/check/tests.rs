//! What is found, and what is not.

use super::*;
use crate::job::Decision;
use crate::queue::sqlite::fixture::{Fixture, document, failed};
use crate::queue::sqlite::ledger::tests::Strangers;
use std::time::Duration;

/// A queue with a job that was tried twice and runs, and one that waits.
async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let tags = vec!["a".to_owned()];
    fixture.submit(Document { tags, priority: 0, host: Some("a".to_owned()), ..document() }).await;
    fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
    fixture.claim("a").await.unwrap();
    fixture
}

fn faults(fixture: &Fixture) -> Vec<String> {
    check(&fixture.path(), Sharing::OneMachine).unwrap().faults.told
}

#[tokio::test]
async fn a_queue_that_is_in_use_is_sound() {
    let health = check(&fixture().await.path(), Sharing::OneMachine).unwrap();
    assert_eq!(health, Health { jobs: 2, faults: Faults::default() });
}

#[tokio::test]
async fn the_jobs_of_a_server_are_sound_whatever_they_have_been_through() {
    let fixture = Fixture::new();
    let strangers = Strangers::beside(&fixture).await;
    let health = check(&fixture.path(), Sharing::OneMachine).unwrap();
    assert_eq!(health, Health { jobs: strangers.ids().len() as u64, faults: Faults::default() });
}

#[tokio::test]
async fn what_does_not_fit_together_is_told_with_the_job() {
    for (damage, part) in [
        ("UPDATE counts SET jobs = jobs + 2", "the counter of ready jobs in tube default says 3, but there are 1"),
        ("DELETE FROM counts WHERE host = 'a'", "running jobs in tube default, pinned to a, says 0, but there are 1"),
        ("DELETE FROM workers", "its worker is not known"),
        ("DELETE FROM attempts WHERE attempt = 1", "it had 2 attempts, but its history has 1: 2"),
        ("UPDATE attempts SET finished_at = 1", "it is running, but the attempts that have not ended are []"),
        ("UPDATE attempts SET verdict = '7'", "the verdict of job"),
        ("UPDATE jobs SET published = 9 WHERE seq = 1", "Some(9) is published"),
        ("UPDATE jobs SET uncounted = 3 WHERE seq = 1", "of its 2 attempts 3 do not count"),
        ("UPDATE jobs SET expires_at = 9 WHERE seq = 1", "it is running after 2 attempts, and would still expire"),
        (
            "UPDATE jobs SET state = 'dead', finished_at = 1, unique_key = 'k', unique_until = 9223372036854775807
                WHERE seq = 2",
            "it is dead, but holds its unique key until it has ended",
        ),
        ("UPDATE jobs SET submitted_at = 9223372036854775807", "a time cannot be read"),
        ("UPDATE jobs SET state = 'dead' WHERE seq = 2", "it is dead, but nothing says since when"),
        ("UPDATE jobs SET priority = 9 WHERE seq = 1", "but its document says (\"default\", \"a\", 0,"),
        ("UPDATE documents SET json = 'null'", "the document of job"),
        ("UPDATE jobs SET finished_at = 1 WHERE seq = 2", "it is ready, but has ended"),
        (
            "INSERT INTO deliveries VALUES (2, 1, zeroblob(16), 'https://h.example/', 'pending', 0, 1, NULL, NULL, NULL)",
            "1 of its deliveries are pending and never due",
        ),
        ("UPDATE jobs SET tube = CAST(x'ff' AS TEXT) WHERE seq = 1", "invalid utf-8 sequence"),
        ("UPDATE counts SET tube = CAST(x'ff' AS TEXT)", "a counter: invalid utf-8 sequence"),
        ("DELETE FROM documents WHERE seq = 2", "it has no document"),
        ("DELETE FROM tags", "it is found by the tags {}, which are not its document's"),
        (
            "PRAGMA foreign_keys = 0; DELETE FROM jobs WHERE seq = 1",
            "of tags belongs to a row of jobs that is not there",
        ),
        ("INSERT INTO forgotten (id, document, forgotten_at) SELECT id, zeroblob(32), 0 FROM jobs", "deleted jobs"),
        ("PRAGMA ignore_check_constraints = 1; UPDATE jobs SET worker = NULL", "CHECK constraint failed in jobs"),
    ] {
        let fixture = fixture().await;
        fixture.sql(damage);
        let faults = faults(&fixture);
        assert!(faults.iter().any(|fault| fault.contains(part)), "{damage}: {faults:?}");
        assert!(!part.starts_with("it ") || faults.iter().any(|fault| fault.starts_with("job ")), "{faults:?}");
    }
}

#[tokio::test]
async fn however_much_is_wrong_a_hundred_faults_are_told_and_the_rest_is_counted() {
    let fixture = Fixture::new();
    fixture.submit_all(vec![document(); 250]).await;
    fixture.sql("DELETE FROM documents");
    let Health { jobs, faults } = check(&fixture.path(), Sharing::OneMachine).unwrap();
    assert_eq!((jobs, faults.told.len(), faults.more), (250, 100, 150));
}

#[tokio::test]
async fn damage_to_the_file_itself_is_found_wherever_it_is() {
    let fixture = Fixture::new();
    fixture.submit_all(vec![document(); 300]).await;
    let Fixture { directory, queue, .. } = fixture;
    drop(queue);
    let path = directory.path().join("queue.db");
    let whole = std::fs::read(&path).unwrap();
    let (mut found, mut pages) = (0, 0);
    for page in (4096..whole.len()).step_by(4096) {
        let mut damaged = whole.clone();
        damaged[page..page + 512].iter_mut().for_each(|byte| *byte = !*byte);
        std::fs::write(&path, damaged).unwrap();
        let looked = check(&path, Sharing::OneMachine);
        pages += 1;
        found += usize::from(looked.is_err() || looked.is_ok_and(|health| !health.faults.is_empty()));
    }
    // A free page may hold anything.
    assert!(pages > 20 && found + 2 >= pages, "{found} of {pages}");
}

#[test]
fn a_file_of_an_older_version_is_not_changed_by_looking_at_it() {
    let fixture = Fixture::new();
    fixture.sql("PRAGMA user_version = 1");
    let refusal = check(&fixture.path(), Sharing::OneMachine).unwrap_err().at(&fixture.path()).to_string();
    assert!(refusal.contains("its schema is version 1"), "{refusal}");
}
