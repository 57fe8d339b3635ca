//! Workers that die, or that only seem to.

use crate::support::{Worker, await_state, await_that, sailor, show, submit, verdicts};
use longboat_tests::program::Longboat;
use serde_json::json;

fn starts(node: &Longboat, mode: &str, seconds: &str) -> anyhow::Result<String> {
    let params = format!(r#"{{"mode": ["{mode}", "normal"], "seconds": {seconds}}}"#);
    submit(node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--params", &params])
}

#[test]
fn the_job_of_a_killed_worker_is_taken_over_and_done() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = starts(&node, "endless-loop", "0")?;
    let worker = Worker::start(&node, &["--name=one"])?;
    await_state(&node, &id, "running")?;
    worker.kill()?;
    let (status, said) = Worker::start(&node, &["--name=two", "--until-empty"])?.join()?;
    assert!(status.success(), "{said}");
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")));
    let workers = [0, 1].map(|attempt: usize| record["history"][attempt]["worker"].clone());
    assert_eq!(workers, ["one", "two"]);
    assert!(said.contains("Took over"), "{said}");
    Ok(())
}

#[test]
fn a_job_that_kills_its_worker_every_time_ends_dead() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--fuel=1e12", "--max-attempts=2"])?;
    for attempt in 1..=2 {
        let worker = Worker::start(&node, &["--name=one"])?;
        await_that("the next attempt has started", || Ok((show(&node, &id)?["attempts"] == attempt).then_some(())))?;
        worker.kill()?;
    }
    assert!(Worker::start(&node, &["--until-empty"])?.join()?.0.success());
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "lost"], &json!("dead")));
    Ok(())
}

#[test]
fn a_worker_that_was_only_frozen_cannot_publish_what_another_has_taken_over() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = starts(&node, "slow", "1")?;
    let mut frozen = Worker::start(&node, &["--name=frozen"])?;
    await_state(&node, &id, "running")?;
    frozen.signal("STOP")?;
    assert!(Worker::start(&node, &["--name=other", "--until-empty"])?.join()?.0.success());
    let document = node.json(["result", &id])?;
    assert_eq!(document["attempt"], 2);
    frozen.signal("CONT")?;
    frozen.await_line("### Lost job")?;
    frozen.signal("TERM")?;
    let (status, said) = frozen.join()?;
    assert!(status.success(), "{said}");
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")), "{said}");
    assert_eq!(node.json(["result", &id])?, document, "what is served has not changed");
    Ok(())
}
