//! What people do at the server by hand.

use super::{list, server};
use crate::support::{Worker, await_that, show, text, verdicts, work};
use serde_json::json;
use std::time::Duration;

#[test]
fn rubbish_is_deleted_or_kicked_by_its_number_and_is_shown_while_it_is_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let mut numbers = Vec::new();
    for body in ["one", "two", "three"] {
        numbers.push(producer.put("default", (9, 0, 60), body)?.to_string());
    }
    let job =
        producer.put("default", (9, 0, 60), r#"{"algorithm": "drunken-sailor", "params": {"mode": "normal"}}"#)?;
    work(&node, &[])?;
    let [one, two, three] = &numbers[..] else { anyhow::bail!("three numbers") };
    assert_eq!(producer.ask(&format!("delete {one}"))?, "DELETED");
    assert_eq!(list(&node)?.len(), 3, "what is there no more is not shown");
    assert!(!node.run(["show", one])?.status.success());
    let deleted = node.json(["delete", two, &job.to_string()])?;
    let id = deleted[1]["id"].clone();
    assert_eq!(deleted, json!([{"number": 2, "state": "dead"}, {"id": id, "state": "done"}]));
    assert_eq!(producer.job(2, "state")?, None);
    let refused = node.run(["cancel", three])?;
    assert!(!refused.status.success() && text(&refused.stderr).contains("number 3  "), "{}", text(&refused.stderr));
    let refused = node.run(["wait", three])?;
    assert!(text(&refused.stderr).contains("number 3 is no job"), "{}", text(&refused.stderr));
    assert!(node.ok(["kick", three])?.contains("kicked 1 job"));
    assert_eq!(producer.job(3, "state")?.as_deref(), Some("ready"));
    work(&node, &[])?;
    assert_eq!(producer.job(3, "state")?.as_deref(), Some("buried"), "it is no job still");
    let some = node.run(["delete", "77", three])?;
    assert!(!some.status.success() && text(&some.stderr).contains("nothing with the number 77"), "{some:?}");
    assert_eq!(producer.job(3, "state")?, None, "what can be done is done");
    Ok(())
}

#[test]
fn a_job_without_an_id_is_the_same_job_after_the_server_was_killed() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let mut worker = Worker::start(&node, &["--name=patient"])?;
    worker.await_line("serves")?;
    let endless = r#"{"algorithm": "drunken-sailor", "ttr": "60s", "max_attempts": 2, "limits": {"fuel": 1000000000000},
        "params": {"mode": "endless-loop"}}"#;
    let number = server.connect()?.put("default", (9, 0, 60), endless)?;
    for attempt in 1..=4 {
        await_that("the attempt runs", || {
            let Ok(jobs) = list(&node) else { return Ok(None) };
            Ok(jobs.iter().any(|job| job["state"] == "running" && job["attempts"] == attempt).then_some(()))
        })?;
        if attempt < 4 {
            server.kill()?;
            std::thread::sleep(Duration::from_millis(300));
            server.restart()?;
        }
    }
    let record = show(&node, &number.to_string())?;
    assert_eq!(verdicts(&record)[..3], ["interrupted"; 3], "it may have two attempts, and these were not its fault");
    assert_eq!(list(&node)?.len(), 1, "and is one job");
    worker.kill()
}
