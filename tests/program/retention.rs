//! What becomes of jobs and their results once they were kept for long enough.

use crate::support::{
    LEAVES_A_FILE, Worker, await_state, await_that, results, sailor, show, state, submit, submit_text, text, verdicts,
    work,
};
use longboat_tests::program::Longboat;
use std::collections::BTreeSet;

fn keep(node: &Longboat, retention: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(node.data_dir().join("config.toml"), format!("[retention]\n{retention}\n"))?)
}

/// Waits until only these jobs are left, and results of no others.
fn await_only(node: &Longboat, kept: &[&str], gone: &BTreeSet<String>) -> anyhow::Result<()> {
    await_that("the others are gone", || {
        let listed = node.json(["list"])?;
        let listed = listed.as_array().into_iter().flatten().filter_map(|record| record["id"].as_str());
        let is_so = listed.collect::<Vec<_>>() == kept && gone.iter().all(|id| !results(node, id).exists());
        Ok(is_so.then_some(()))
    })
}

#[test]
fn jobs_that_were_kept_for_long_enough_go_with_their_results_and_the_others_stay() -> anyhow::Result<()> {
    let node = sailor()?;
    keep(&node, "done = \"1s\"")?;
    let dead = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1"])?;
    let held = submit(&node, ["drunken-sailor", "--hold"])?;
    let job = "{\"algorithm\": \"drunken-sailor\", \"params\": {\"mode\": \"rename\", \"count\": 1}}\n";
    // More than are deleted, or removed, in one step.
    let done: BTreeSet<_> = text(&submit_text(&node, &job.repeat(130))?.stdout).lines().map(str::to_owned).collect();
    let worker = Worker::start(&node, &[])?;
    await_only(&node, &[&dead, &held], &done)?;
    assert_eq!((state(&node, &dead)?, state(&node, &held)?), ("dead".to_owned(), "held".to_owned()));
    assert_eq!(node.json(["result", &dead])?["state"], "dead");
    assert!(node.run(["logs", &dead])?.status.success());
    for id in done.iter().take(3) {
        for command in ["result", "logs", "show"] {
            let output = node.run([command, id])?;
            assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{command}");
        }
    }
    assert_eq!(node.json(["status"])?["submitted"], 132, "what is gone was there");
    worker.kill()
}

#[test]
fn nothing_goes_unless_its_time_is_over() -> anyhow::Result<()> {
    let node = sailor()?;
    keep(&node, "done = \"forever\"\ndead = \"1d\"\ncancelled = \"1s\"")?;
    let done = submit(&node, LEAVES_A_FILE)?;
    let dead = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1"])?;
    let expired = submit(&node, ["drunken-sailor", "--expires=1ms", "--delay=1h"])?;
    let worker = Worker::start(&node, &[])?;
    await_only(&node, &[&done, &dead], &[expired].into())?;
    await_state(&node, &done, "done")?;
    await_state(&node, &dead, "dead")?;
    assert!(results(&node, &done).join("1").is_dir());
    for (id, state) in [(&done, "done"), (&dead, "dead")] {
        assert_eq!(node.json(["result", id])?["state"], state);
    }
    worker.kill()
}

#[test]
fn results_that_a_crash_has_left_of_a_deleted_job_go_when_the_next_worker_starts() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"{"mode": ["endless-loop", "normal"]}"#;
    let id = submit(&node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--params", params])?;
    let worker = Worker::start(&node, &[])?;
    await_state(&node, &id, "running")?;
    worker.kill()?;
    work(&node, &[])?;
    assert_eq!(verdicts(&show(&node, &id)?), ["lost", "done"]);
    keep(&node, "done = \"1s\"")?;
    let worker = Worker::start(&node, &[])?;
    await_only(&node, &[], &[id.clone()].into())?;
    worker.kill()?;
    // The killed worker had put files in place, or the next one was killed between the record and the directory.
    std::fs::create_dir_all(results(&node, &id).join("1"))?;
    std::fs::write(results(&node, &id).join("1/half.txt"), "half")?;
    let worker = Worker::start(&node, &[])?;
    await_only(&node, &[], &[id].into())?;
    worker.kill()
}

#[test]
fn a_retention_that_makes_no_sense_is_refused_by_name() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    for (retention, part) in [("done = \"0s\"", "retention.done"), ("dead = \"never\"", "retention.dead")] {
        keep(&node, retention)?;
        let output = node.run(["status"])?;
        assert!(!output.status.success() && text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
    Ok(())
}
