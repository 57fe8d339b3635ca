//! The path of jobs through the queue, by hand.

use crate::support::{
    Worker, argument, await_state, await_that, file, register_sailor, results, sailor, show, state, submit,
    submit_text, text, time, verdicts, work,
};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SOBER: &str = "--param=mode=normal";

/// When these jobs were started, all of which ended well at once.
fn starts(node: &Longboat, ids: &[String]) -> anyhow::Result<Vec<String>> {
    let start = |id: &String| {
        let record = show(node, id)?;
        assert_eq!((verdicts(&record), &record["state"]), (vec!["done"], &json!("done")), "{id}");
        time(&record["history"][0]["started_at"])
    };
    ids.iter().map(start).collect()
}

#[test]
fn ten_jobs_run_by_priority_and_none_is_lost_when_everything_is_stopped_in_between() -> anyhow::Result<()> {
    let node = sailor()?;
    // The first five are there before any worker, the others come between two of them.
    let first = ["--priority=1024", "--priority=0", "--priority=4294967295", "--priority=10", "--priority=1024"];
    let mut ids = first
        .map(|priority| submit(&node, ["drunken-sailor", SOBER, priority]))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    work(&node, &["--slots=1", "--max-jobs=2"])?;
    let states: Vec<_> = ids.iter().map(|id| state(&node, id)).collect::<Result<_, _>>()?;
    assert_eq!(states, ["ready", "done", "ready", "done", "ready"]);

    let delayed = submit(&node, ["drunken-sailor", SOBER, "--priority=0", "--delay=2s"])?;
    assert_eq!(state(&node, &delayed)?, "delayed");
    for priority in ["--priority=5", "--priority=1024", "--priority=2000"] {
        ids.push(submit(&node, ["drunken-sailor", SOBER, priority])?);
    }
    let last = r#"{"algorithm": "drunken-sailor", "params": {"mode": "normal"}, "priority": 4}"#;
    ids.push(text(&submit_text(&node, last)?.stdout).trim().to_owned());
    work(&node, &["--slots=1", "--max-jobs=1"])?;
    assert_eq!(state(&node, &ids[8])?, "done");
    work(&node, &["--slots=1"])?;

    let order = [1, 3, 8, 5, 0, 4, 6, 7, 2].map(|place: usize| ids[place].clone());
    // Jobs that were claimed together have the same start.
    assert!(starts(&node, &order)?.is_sorted());
    let record = show(&node, &delayed)?;
    assert_eq!(verdicts(&record), ["done"]);
    assert!(time(&record["started_at"])? >= time(&record["ready_at"])?, "it was started before its time");
    let states = node.json(["status"])?["states"].clone();
    assert_eq!(states["done"], 10, "{states}");
    Ok(())
}

#[test]
fn many_jobs_survive_workers_that_are_killed_again_and_again() -> anyhow::Result<()> {
    let node = sailor()?;
    let job = "{\"algorithm\": \"drunken-sailor\", \"params\": {\"mode\": \"normal\"}, \"max_attempts\": 9}\n";
    let ids = text(&submit_text(&node, &job.repeat(40))?.stdout);
    let ids: BTreeSet<_> = ids.lines().map(str::to_owned).collect();
    for _ in 0..3 {
        let mut worker = Worker::start(&node, &["--slots=4"])?;
        worker.await_line("### Started")?;
        worker.kill()?;
    }
    let worker = Worker::start(&node, &["--slots=4", "--until-empty"])?;
    assert!(worker.join()?.0.success());
    let records = node.json(["list"])?;
    let records = records.as_array().context("a list")?;
    let listed: BTreeSet<_> = records.iter().filter_map(|record| record["id"].as_str()).map(str::to_owned).collect();
    assert_eq!(listed, ids);
    for record in records {
        assert_eq!(record["state"], "done", "{record}");
        let id = record["id"].as_str().context("an id")?;
        let document = node.json(["result", id])?;
        assert_eq!(document["attempt"], record["attempts"], "{id}: the last attempt's result is served");
    }
    Ok(())
}

#[test]
fn the_sailors_job_loops_exits_with_10_behaves_and_is_done_at_its_third_attempt() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"{"mode": ["endless-loop", "exit", "normal"]}"#;
    let id = submit(&node, ["drunken-sailor", "--ttr=500ms", "--fuel=1e12", "--params", params])?;
    work(&node, &["--slots=1"])?;
    let record = show(&node, &id)?;
    assert_eq!(verdicts(&record), ["deadline", "failed", "done"]);
    assert_eq!(record["history"][1]["verdict"]["exit_code"], 10);
    assert_eq!((&record["attempts"], &record["state"]), (&json!(3), &json!("done")));
    let document = node.json(["result", &id])?;
    assert_eq!((&document["attempt"], &document["result"]), (&json!(3), &json!({"mode": "normal", "attempt": 3})));
    for (attempt, log) in [(1, "infinite loop"), (2, "faulty execution"), (3, "normal execution")] {
        let option = format!("--attempt={attempt}");
        let kept = node.json(["result", &id, &option])?;
        assert_eq!((&kept["attempt"], &kept["verdict"]), (&json!(attempt), &record["history"][attempt - 1]["verdict"]));
        assert!(node.ok(["logs", &id, &option])?.contains(log), "attempt {attempt}");
    }
    assert!(!results(&node, &id).exists(), "a job that leaves no files leaves nothing outside the database");
    Ok(())
}

#[test]
fn attempts_that_are_used_up_leave_a_dead_job_with_its_reason() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=2"])?;
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["failed", "failed"], &json!("dead")));
    let waited = node.run(["wait", &id])?;
    assert_eq!(waited.status.code(), Some(1), "a job that is dead is not done");
    let result = node.run(["result", &id, "-o", "json"])?;
    let document: Value = serde_json::from_slice(&result.stdout)?;
    assert_eq!((result.status.code(), &document["state"]), (Some(1), &json!("dead")));
    assert_eq!(document["verdict"]["exit_code"], 10);
    Ok(())
}

#[test]
fn an_unknown_algorithm_is_a_bad_module_and_buried_at_once() -> anyhow::Result<()> {
    let node = sailor()?;
    let unknown = submit(&node, ["nobody"])?;
    let digest = "0".repeat(64);
    let pinned = submit(&node, [format!("drunken-sailor@sha256:{digest}")])?;
    work(&node, &[])?;
    for id in [unknown, pinned] {
        let record = show(&node, &id)?;
        assert_eq!((verdicts(&record), &record["state"]), (vec!["bad-module"], &json!("dead")));
    }
    Ok(())
}

#[test]
fn a_worker_takes_what_is_its_own_and_leaves_what_is_held_pinned_elsewhere_or_in_other_tubes() -> anyhow::Result<()> {
    let node = sailor()?;
    let submit = |option: &str| submit(&node, ["drunken-sailor", SOBER, option]);
    let [held, other, own, night] = ["--hold", "--host=other", "--host=me", "--tube=night"].map(submit);
    let (held, other, own, night) = (held?, other?, own?, night?);
    work(&node, &["--name=me"])?;
    let states = [&held, &other, &own, &night].map(|id| state(&node, id));
    assert_eq!(states.into_iter().collect::<Result<Vec<_>, _>>()?, ["held", "ready", "done", "ready"]);
    assert_eq!(show(&node, &own)?["history"][0]["worker"], "me");
    work(&node, &["--name=other", "--tube=night", "--tube=default"])?;
    let states = [&held, &other, &night].map(|id| state(&node, id));
    assert_eq!(states.into_iter().collect::<Result<Vec<_>, _>>()?, ["held", "done", "done"]);
    Ok(())
}

#[test]
fn a_job_that_is_not_started_in_time_is_cancelled() -> anyhow::Result<()> {
    let node = sailor()?;
    let late = submit(&node, ["drunken-sailor", SOBER, "--expires=2001-01-01T00:00:00Z"])?;
    let never = submit(&node, ["drunken-sailor", SOBER, "--delay=1h", "--expires=1ms"])?;
    let in_time = submit(&node, ["drunken-sailor", SOBER, "--expires=1h"])?;
    work(&node, &[])?;
    for id in [late, never] {
        let record = show(&node, &id)?;
        assert_eq!((&record["state"], &record["verdict"]["kind"]), (&json!("cancelled"), &json!("cancelled")));
        assert_eq!((&record["attempts"], &record["history"]), (&json!(0), &json!([])));
    }
    assert_eq!(state(&node, &in_time)?, "done");
    Ok(())
}

#[test]
fn lists_show_what_was_asked_for_in_the_order_of_submission() -> anyhow::Result<()> {
    let node = sailor()?;
    let mut ids = Vec::new();
    for options in [&["--tag=a", "--tag=b"][..], &["--tube=night", "--tag=b"], &["--hold"], &["--delay=1h"]] {
        ids.push(submit(&node, ["drunken-sailor"].iter().chain(options))?);
    }
    ids.push(submit(&node, ["forecast"])?);
    let listed = |options: &[&str]| -> anyhow::Result<Vec<usize>> {
        let records = node.json(["list"].iter().chain(options))?;
        let place = |record: &Value| ids.iter().position(|id| record["id"] == id.as_str());
        records.as_array().context("a list")?.iter().map(|record| place(record).context("one of these")).collect()
    };
    assert_eq!(listed(&[])?, [0, 1, 2, 3, 4]);
    assert_eq!(listed(&["--limit=2"])?, [0, 1]);
    assert_eq!(listed(&["--tag=b"])?, [0, 1]);
    assert_eq!(listed(&["--tag=c"])?, [] as [usize; 0]);
    assert_eq!(listed(&["--tube=night"])?, [1]);
    assert_eq!(listed(&["--state=held", "--state=delayed"])?, [2, 3]);
    assert_eq!(listed(&["--algorithm=forecast"])?, [4]);
    assert_eq!(listed(&["--algorithm=drunken_sailor", "--state=ready", "--tube=default"])?, [0]);
    let table = node.ok(["list"])?;
    assert_eq!(table.lines().count(), 6, "a header and a line a job: {table}");
    let status = node.json(["status"])?;
    let counted = ["held", "delayed", "ready", "running", "done"].map(|state| status["states"][state].clone());
    assert_eq!(counted, [1, 1, 3, 0, 0].map(Value::from));
    assert_eq!(status["tubes"]["night"]["ready"], 1);
    assert!(node.ok(["status"])?.contains("night"));
    Ok(())
}

#[test]
fn a_list_of_more_jobs_than_a_page_is_whole() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids = text(&submit_text(&node, &"{\"algorithm\": \"drunken-sailor\", \"hold\": true}\n".repeat(1203))?.stdout);
    let records = node.json(["list", "--state=held"])?;
    let listed: Vec<_> =
        records.as_array().context("a list")?.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(listed, ids.lines().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn waiting_ends_with_the_jobs_and_tells_whether_all_are_done() -> anyhow::Result<()> {
    let node = sailor()?;
    let good = submit(&node, ["drunken-sailor", SOBER])?;
    let bad = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1", "--hold"])?;
    let patience = node.run(["wait", &good, "--timeout=50ms"])?;
    assert_eq!(patience.status.code(), Some(1));
    assert!(text(&patience.stderr).contains(&good), "{}", text(&patience.stderr));
    let mut waiting = node.command(["wait", &good]).stdout(std::process::Stdio::null()).spawn()?;
    work(&node, &[])?;
    let status = await_that("the wait has ended", || Ok(waiting.try_wait()?))?;
    assert!(status.success());
    let still_held = node.run(["wait", &good, &bad, "--timeout=50ms"])?;
    assert_eq!(still_held.status.code(), Some(1));
    let unknown = node.run(["wait", "00000000000000000000000000000000"])?;
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(node.json(["wait", &good])?, json!([{"id": good, "state": "done", "verdict": {"kind": "done"}}]));
    Ok(())
}

#[test]
fn a_result_is_there_once_the_job_is_done_and_its_files_can_be_copied() -> anyhow::Result<()> {
    let node = Longboat::with_algorithms(&["storage"])?;
    let id = submit(&node, ["storage", "--param=scenarios=1", "--seed=7"])?;
    let early = node.run(["result", &id])?;
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early.stderr).contains("ready"), "{}", text(&early.stderr));
    work(&node, &[])?;
    let document = node.json(["result", &id])?;
    let saved = node.data_dir().join("copy");
    node.ok(["result", &id, "--save", argument(&saved)?])?;
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(saved.join("result.json"))?)?, document);
    let files = saved.join("files");
    let listed = document["files"].as_array().context("a list of files")?;
    assert_eq!(listed.len(), 2);
    for listed in listed {
        let bytes = std::fs::read(files.join(listed["name"].as_str().context("a name")?))?;
        assert_eq!(listed["size"], bytes.len());
    }
    let again = node.run(["result", &id, "--save", argument(&saved)?])?;
    assert_eq!(again.status.code(), Some(2), "what is there is not overwritten");
    assert_eq!(node.run(["result", "00000000000000000000000000000000"])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn a_queue_can_lie_elsewhere_and_is_the_same_for_all_who_name_it() -> anyhow::Result<()> {
    let node = sailor()?;
    let elsewhere = node.data_dir().join("elsewhere/queue.db");
    let queue = format!("--queue=sqlite:{}", argument(&elsewhere)?);
    register_sailor(&node, &[&queue])?;
    let id = node.ok(["submit", "drunken-sailor", SOBER, &queue])?;
    ensure!(elsewhere.is_file(), "the queue is where it was asked for");
    assert_eq!(node.json(["list"])?, json!([]));
    work(&node, &[&queue])?;
    assert_eq!(node.json(["show", &id, &queue])?["state"], "done");
    let broken = file(&node, "broken.db", "this is no database, whatever its name says; it is text. ".repeat(100))?;
    let output = node.run(["list", &format!("--queue=sqlite:{}", argument(&broken)?)])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("broken.db"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn what_a_job_waits_for_shows_in_its_record() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12"])?;
    let worker = Worker::start(&node, &["--name=me"])?;
    await_state(&node, &id, "running")?;
    let status = node.json(["status"])?;
    assert_eq!((&status["workers"][0]["name"], &status["workers"][0]["running"]), (&json!("me"), &json!(1)));
    let record = show(&node, &id)?;
    assert_eq!((&record["attempts"], record["history"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    assert!(record["history"][0]["finished_at"].is_null() && record["started_at"].is_string());
    let human = node.ok(["show", &id])?;
    assert!(human.contains("running") && human.contains(&id), "{human}");
    worker.kill()
}
