//! A queue in a directory that several machines share: the same program, told so.

use crate::support::{Worker, await_that, sailor, submit, text, verdicts};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SOBER: &str = "--param=mode=normal";

/// The files of the queue.
fn queue_files(node: &Longboat) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(node.data_dir())? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| name.starts_with("queue.db")));
    }
    names.sort();
    Ok(names)
}

#[test]
fn two_workers_and_submitters_share_a_queue_and_each_job_is_run_once() -> anyhow::Result<()> {
    let node = sailor()?;
    let one = Worker::start(&node, &["--name=one", "--slots=2", "--shared"])?;
    let two = Worker::start(&node, &["--name=two", "--slots=2", "--shared"])?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        for _ in 0..4 {
            ids.push(submit(&node, ["drunken-sailor", SOBER, "--shared"])?);
        }
        assert!(node.ok(["queue", "check", "--shared"])?.starts_with("sound"));
    }
    node.ok(["wait", "--shared", "--timeout=60s"].into_iter().chain(ids.iter().map(String::as_str)))?;
    for worker in [one, two] {
        worker.signal("TERM")?;
        let (status, said) = worker.join()?;
        assert!(status.success(), "{said}");
    }
    let records = node.json(["list", "--shared"])?;
    let attempts: Vec<_> = records.as_array().into_iter().flatten().map(|record| &record["attempts"]).collect();
    assert_eq!(attempts, vec![&json!(1); 12], "{records}");
    let listed: BTreeSet<_> =
        records.as_array().into_iter().flatten().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(listed, ids.iter().map(String::as_str).collect());
    assert_eq!(queue_files(&node)?, ["queue.db", "queue.db-journal"], "there is no write-ahead log");
    Ok(())
}

#[test]
fn the_job_of_a_killed_worker_is_taken_over_in_a_shared_queue_too() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"--params={"mode": ["endless-loop", "normal"]}"#;
    let id = submit(&node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", params, "--shared"])?;
    let worker = Worker::start(&node, &["--name=one", "--shared"])?;
    let show = || node.json(["show", &id, "--shared"]);
    await_that("the job runs", || Ok((show()?["state"] == "running").then_some(())))?;
    worker.kill()?;
    let (status, said) = Worker::start(&node, &["--name=two", "--until-empty", "--shared"])?.join()?;
    assert!(status.success(), "{said}");
    let record = show()?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")));
    Ok(())
}

#[test]
fn a_shared_queue_is_refused_without_the_option_and_the_other_way_round() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = node.ok(["submit", "drunken-sailor", "--shared"])?;
    for command in [&["list"][..], &["submit", "drunken-sailor"], &["worker", "--until-empty"], &["queue", "check"]] {
        let refused = node.run(command)?;
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        let said = text(&refused.stderr);
        assert!(
            said.contains("queue.db") && said.contains("give --shared (or LONGBOAT_SHARED=1)"),
            "{command:?}: {said}"
        );
    }
    let listed = node.command(["list", "-o", "json"]).env("LONGBOAT_SHARED", "1").output()?;
    assert_eq!(serde_json::from_slice::<Value>(&listed.stdout)?[0]["id"], json!(id));
    let typo = node.command(["list"]).env("LONGBOAT_SHARED", "perhaps").output()?;
    assert_eq!(typo.status.code(), Some(2));

    // One that was not shared becomes so, once nobody uses it.
    let other = sailor()?;
    let id = submit(&other, ["drunken-sailor", SOBER])?;
    let mut worker = Worker::start(&other, &["--name=one"])?;
    worker.await_line("### Ended")?;
    let refused = other.run(["list", "--shared"])?;
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("started without --shared, stop them first"), "{said}");
    worker.signal("TERM")?;
    worker.join()?;
    assert_eq!(other.json(["show", &id, "--shared"])?["state"], "done");
    Ok(())
}
