//! Disks that are full: that of the results, and that of the queue.

mod disk;

use crate::guests;
use crate::support::{
    Worker, argument, await_state, await_that, register_sailor, sailor, show, submit, submit_text, text, verdicts,
    with_input, work,
};
use anyhow::{Context, ensure};
use disk::{Disk, limited};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// More often than any test has patience for.
const TRIES: &str = "--max-attempts=50";

/// A node that runs `witness`, whose results may have more than a megabyte.
fn witness() -> anyhow::Result<Longboat> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "witness", argument(&guests::rust("witness")?)?])?;
    Ok(node)
}

/// The last attempt of a job is done, whatever befell those before, and its result is whole.
fn ensure_done(node: &Longboat, id: &str) -> anyhow::Result<()> {
    let record = show(node, id)?;
    let (last, before) =
        verdicts(&record).split_last().map(|(last, before)| (*last, before.to_vec())).context("none")?;
    ensure!(last == "done" && before.iter().all(|verdict| ["host-error", "lost"].contains(verdict)), "{record:#}");
    let document = node.json(["result", id])?;
    ensure!(document["attempt"] == record["attempts"], "{document}");
    let copy = node.data_dir().join(format!("copy-{id}"));
    node.ok(["result", id, "--save", argument(&copy)?])?;
    for file in document["files"].as_array().into_iter().flatten() {
        let copied = std::fs::metadata(copy.join("files").join(file["name"].as_str().context("a name")?))?;
        ensure!(file["size"] == copied.len(), "{document}");
    }
    Ok(())
}

#[test]
fn jobs_whose_results_find_no_room_are_tried_again_until_there_is_some() -> anyhow::Result<()> {
    let node = witness()?;
    let Some(disk) = Disk::mount(node.data_dir().join("results"), "3m")? else { return Ok(()) };
    let large = ["witness", "--param=size=large", TRIES];
    let ids = (0..4).map(|_| submit(&node, large)).collect::<anyhow::Result<Vec<_>>>()?;
    let worker = Worker::patient(&node, &["--slots=2"])?;
    let found_none = await_that("one of them has found no room", || {
        let records = ids.iter().map(|id| show(&node, id)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(records.into_iter().find(|record| verdicts(record).contains(&"host-error")))
    })?;
    let reason = &found_none["history"][0]["verdict"]["message"];
    let names_it = |reason: &str| reason.contains("no storage space") || reason.contains("No space left");
    ensure!(reason.as_str().is_some_and(names_it), "{found_none:#}");
    disk.resize("64m")?;
    for id in &ids {
        await_state(&node, id, "done")?;
        ensure_done(&node, id)?;
    }
    worker.kill()
}

#[test]
fn a_queue_whose_disk_is_full_refuses_what_it_cannot_keep_and_loses_nothing() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let Some(disk) = Disk::mount(node.data_dir().join("disk"), "16m")? else { return Ok(()) };
    let node = node.with_queue(&format!("sqlite:{}", disk.path().join("queue.db").display()));
    register_sailor(&node, &[])?;
    let worker = Worker::patient(&node, &["--slots=2"])?;
    let mut accepted = BTreeSet::from([submit(&node, ["drunken-sailor", "--param=mode=slow", TRIES])?]);
    await_that("the job runs", || Ok((node.json(["status"])?["states"]["running"] == 1).then_some(())))?;
    let ballast = disk.fill()?;
    // First what is large, then what may still fit into a gap.
    for padding in [200_000, 0] {
        let refused = refused(&node, padding, &mut accepted)?;
        ensure!(refused.contains("queue.db") && refused.contains("the disk is full"), "{refused}");
    }
    let listed = node.json(["list"])?;
    let listed: BTreeSet<_> =
        listed.as_array().into_iter().flatten().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(listed, accepted.iter().map(String::as_str).collect(), "who reads finds what was answered, and no more");
    std::fs::remove_file(ballast)?;
    accepted.insert(submit(&node, ["drunken-sailor", "--param=mode=normal", TRIES])?);
    for id in &accepted {
        await_state(&node, id, "done")?;
        ensure_done(&node, id)?;
    }
    worker.kill()
}

/// Submits jobs until one is refused, and returns why.
fn refused(node: &Longboat, padding: usize, accepted: &mut BTreeSet<String>) -> anyhow::Result<String> {
    let params = json!({"mode": "normal", "padding": "x".repeat(padding)});
    let job = json!({"algorithm": "drunken-sailor", "max_attempts": 50, "params": params}).to_string();
    for _ in 0..500 {
        let output = submit_text(node, &job)?;
        let said = text(&output.stdout);
        if !output.status.success() {
            ensure!(said.is_empty() && output.status.code() == Some(1), "an id is a promise: {said}");
            return Ok(text(&output.stderr));
        }
        accepted.insert(said.trim().to_owned());
    }
    anyhow::bail!("a full disk has taken 500 jobs")
}

#[test]
fn nobody_opens_a_queue_on_a_full_disk_without_being_told_so() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let Some(disk) = Disk::mount(node.data_dir().join("disk"), "16m")? else { return Ok(()) };
    let node = node.with_queue(&format!("sqlite:{}", disk.path().join("queue.db").display()));
    let ballast = disk.fill()?;
    for _ in ["there is no queue yet", "there is one, and nobody has it open"] {
        let output = node.run(["submit", "drunken-sailor"])?;
        let said = text(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains("queue.db: "), "{said}");
        ensure!(output.stdout.is_empty() && said.contains("the disk is full; nothing was changed"), "{said}");
        std::fs::remove_file(&ballast)?;
        submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
        disk.fill()?;
    }
    std::fs::remove_file(ballast)?;
    register_sailor(&node, &[])?;
    work(&node, &[])?;
    assert_eq!(node.json(["status"])?["states"]["done"], 2);
    Ok(())
}

#[test]
fn a_result_that_a_worker_cannot_write_is_left_to_one_that_can() -> anyhow::Result<()> {
    let node = witness()?;
    let large = submit(&node, ["witness", "--param=size=large", TRIES])?;
    let small = submit(&node, ["witness", TRIES])?;
    let cramped = Worker::spawn(limited(&node.command(["worker", "--slots=1"]), 1 << 20))?;
    await_state(&node, &small, "done")?;
    let record = await_that("the large one has found no room", || {
        let record = show(&node, &large)?;
        Ok(verdicts(&record).contains(&"host-error").then_some(record))
    })?;
    ensure!(record["published"] == Value::Null, "{record:#}");
    cramped.signal("TERM")?;
    ensure!(cramped.join()?.0.success());
    work(&node, &[])?;
    ensure_done(&node, &large)
}

#[test]
fn a_submission_that_cannot_be_written_is_refused_as_a_whole() -> anyhow::Result<()> {
    let node = sailor()?;
    let before = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    let job = json!({"algorithm": "drunken-sailor", "params": {"mode": "normal", "padding": "x".repeat(10_000)}});
    let jobs = format!("{job}\n").repeat(100);
    let output = with_input(limited(&node.command(["submit", "--file", "-"]), 256 << 10), jobs.as_bytes())?;
    let said = text(&output.stderr);
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{said}");
    ensure!(said.contains("queue.db") && said.contains("nothing was changed"), "{said}");
    let listed = node.json(["list"])?;
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["id"]), (Some(1), &json!(before)));
    ensure!(submit_text(&node, &jobs)?.status.success());
    work(&node, &[])?;
    assert_eq!(node.json(["status"])?["states"]["done"], 101);
    Ok(())
}
