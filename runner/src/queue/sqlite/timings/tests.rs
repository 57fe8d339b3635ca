use super::*;
use crate::job::{Decision, Document, Span, Verdict};
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
use crate::queue::{Attempts, Queue, QueueError, Timing};
use std::time::{Duration, Instant};

async fn timings(fixture: &Fixture) -> (Vec<Timing>, Attempts) {
    let status = fixture.queue.status().await.unwrap();
    (status.timings, status.attempts)
}

fn verdicts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|&(kind, attempts)| (kind.to_owned(), attempts)).collect()
}

#[tokio::test]
async fn every_attempt_is_counted_once_however_it_ends() {
    let fixture = Fixture::new();
    fixture.submit(document()).await;
    let nobody = worker("nobody");
    // Waited 3 s and ran 1; was due again after 2 s, waited 1 and ran 2.
    fixture.advance(Duration::from_secs(3));
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.advance(Duration::from_secs(1));
    fixture.settle("a", &lease, failed(), Decision::Retry(Duration::from_secs(2))).await.unwrap();
    fixture.advance(Duration::from_secs(3));
    fixture.claim("a").await.unwrap();
    fixture.advance(Duration::from_secs(2));
    fixture.queue.unregister(&worker("a")).await.unwrap();
    fixture.claim("b").await.unwrap();
    let start = Instant::now();
    for seconds in [0, 100] {
        let clock = move || start + Duration::from_secs(seconds);
        fixture.queue.take_over_by(clock, &nobody).await.unwrap();
    }
    let lease = fixture.claim("c").await.unwrap().lease;
    fixture.settle("c", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    let (timings, all) = timings(&fixture).await;
    assert_eq!(timings.len(), 1);
    assert_eq!((timings[0].tube.as_str(), timings[0].algorithm.as_str()), ("default", "x"));
    assert_eq!(timings[0].attempts, all);
    assert_eq!(all.verdicts, verdicts(&[("done", 1), ("failed", 1), ("interrupted", 1), ("lost", 1)]));
    assert_eq!((all.waited.count, all.waited.mean_ms, all.waited.p50_ms), (4, 1_000.0, 0.0));
    assert_eq!((all.ran.count, all.ran.mean_ms, all.ran.p50_ms), (4, 750.0, 0.0));
    assert!((3_000.0..=3_375.0).contains(&all.waited.max_ms) && (2_000.0..=2_250.0).contains(&all.ran.max_ms));
}

#[tokio::test]
async fn a_job_that_was_due_before_it_was_submitted_waits_from_then_on() {
    let fixture = Fixture::new();
    let long_ago = "2001-01-01T00:00:00Z".parse().unwrap();
    fixture.submit(Document { run_at: Some(long_ago), ..document() }).await;
    fixture.advance(Duration::from_secs(1));
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(timings(&fixture).await.1.waited.mean_ms, 1_000.0);
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_no_duration_negative() {
    let fixture = Fixture::new();
    fixture.submit(Document { delay: Some(Span(Duration::from_secs(1))), ..document() }).await;
    fixture.advance(Duration::from_secs(1));
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.sql("UPDATE jobs SET started_at = 1, ready_at = 9000000000000000000");
    fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    let all = timings(&fixture).await.1;
    assert_eq!((all.waited.max_ms, all.ran.max_ms), (0.0, LONGEST as f64));
}

#[tokio::test]
async fn what_is_settled_in_one_transaction_is_counted_in_it_and_what_is_refused_is_not() {
    let fixture = Fixture::new();
    fixture.submit_all(vec![document(); 40]).await;
    let mut leases = Vec::new();
    while let Some(claimed) = fixture.claim("a").await {
        leases.push(claimed.lease);
    }
    let settle = |name, lease| fixture.settle(name, lease, Verdict::Done, Decision::Finish);
    let settled = leases.iter().flat_map(|lease| [settle("b", lease), settle("a", lease)]);
    let settled = futures_util::future::join_all(settled).await;
    let refused = |result: &&Result<(), QueueError>| matches!(result, Err(QueueError::Stale { .. }));
    assert_eq!((settled.iter().filter(refused).count(), settled.len()), (40, 80));
    let all = timings(&fixture).await.1;
    assert_eq!((all.verdicts, all.waited.count, all.ran.count), (verdicts(&[("done", 40)]), 40, 40));
}

#[tokio::test]
async fn only_so_many_pairs_are_told_of_by_name_whatever_submitters_call_theirs() {
    let fixture = Fixture::new();
    for number in 0..LISTED - 1 {
        fixture.sql(&format!("INSERT INTO endings VALUES ('default', 'a{number}', 'done', 1)"));
    }
    let names = ["late", "later", "late", "latest"];
    fixture.submit_all(names.map(|name| Document::new(name.parse().unwrap())).into()).await;
    let mut leases = Vec::new();
    while let Some(claimed) = fixture.claim("a").await {
        leases.push(claimed.lease);
    }
    let settle = |lease| fixture.settle("a", lease, Verdict::Done, Decision::Finish);
    futures_util::future::join_all(leases.iter().map(settle)).await;
    let (timings, all) = timings(&fixture).await;
    assert_eq!(timings.len(), LISTED);
    let late = timings.iter().find(|timing| timing.algorithm.as_str() == "late").unwrap();
    assert_eq!((late.attempts.ran.count, late.attempts.verdicts["done"]), (2, 2));
    assert_eq!((all.ran.count, all.verdicts["done"]), (4, LISTED as u64 + 3), "the sum knows them all");
}

#[tokio::test]
async fn a_name_that_nobody_has_registered_takes_no_place() {
    let fixture = Fixture::new();
    let unknown = Verdict::BadModule { message: "no algorithm is called so".to_owned() };
    for (name, verdict) in [("x", failed()), ("x", unknown.clone()), ("y", unknown)] {
        fixture.submit(Document::new(name.parse().unwrap())).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, verdict, Decision::Bury).await.unwrap();
    }
    let (timings, all) = timings(&fixture).await;
    assert_eq!(timings.len(), 1);
    assert_eq!(timings[0].attempts.verdicts, verdicts(&[("bad-module", 1), ("failed", 1)]));
    assert_eq!(all.verdicts, verdicts(&[("bad-module", 2), ("failed", 1)]));
}

#[tokio::test]
async fn a_sum_that_is_full_stays_full_and_no_settle_fails_for_it() {
    let fixture = Fixture::new();
    fixture.sql("INSERT INTO timings VALUES ('default', 'x', 'ran', 0, 1, 9223372036854775807)");
    fixture.sql("INSERT INTO timings VALUES ('default', 'x', 'waited', 303, 1, 9223372036854775807)");
    fixture.submit(document()).await;
    fixture.advance(Duration::from_millis(LONGEST.unsigned_abs()));
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    let all = timings(&fixture).await.1;
    assert_eq!((all.ran.count, all.waited.count), (2, 2));
}

#[test]
fn counting_seeks_and_does_not_search() {
    let fixture = Fixture::new();
    for (sql, step) in [
        (SAMPLE, "jobs USING INTEGER PRIMARY KEY (rowid=?)"),
        (IS_COUNTED, "endings USING PRIMARY KEY (tube=? AND algorithm=?)"),
    ] {
        let plan = fixture.plan(sql);
        assert!(plan.contains(step) && !plan.contains("SCAN"), "{sql}: {plan}");
    }
}
