//! Servers and workers that die, or that only seem to.

use super::{QWORKER, QWORKER_ID, another, server};
use crate::support::{Worker, await_state, await_that, show, state, submit, submit_text, text, verdicts, work};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// A job whose first attempt does not end by itself, and whose second one behaves.
fn stuck(node: &Longboat, more: &[&str]) -> anyhow::Result<String> {
    let params = r#"{"mode": ["endless-loop", "normal"]}"#;
    submit(node, [&["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--params", params], more].concat())
}

#[test]
fn the_job_of_a_killed_worker_is_ready_again_at_once() -> anyhow::Result<()> {
    let Some((_server, node)) = server()? else { return Ok(()) };
    let id = stuck(&node, &[])?;
    let worker = Worker::start(&node, &["--name=one"])?;
    await_state(&node, &id, "running")?;
    worker.kill()?;
    work(&node, &["--name=two"])?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")));
    let workers = [0, 1].map(|attempt: usize| record["history"][attempt]["worker"].clone());
    assert_eq!(workers, ["one", "two"]);
    Ok(())
}

#[test]
fn a_job_that_kills_its_worker_every_time_ends_dead() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let params = "--param=mode=endless-loop";
    let id = submit(&node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--max-attempts=2", params])?;
    let other = another(&server)?;
    // The second worker knows of the first only what the server counts.
    for node in [&node, &other] {
        let worker = Worker::start(node, &[])?;
        await_that("it runs here", || Ok((node.json(["list"])?[0]["state"] == "running").then_some(())))?;
        worker.kill()?;
    }
    work(&other, &[])?;
    let record = show(&other, &id)?;
    assert_eq!((&record["state"], &record["verdict"]["kind"]), (&json!("dead"), &json!("lost")));
    assert_eq!(server.connect()?.job(1, "state")?.as_deref(), Some("buried"));
    Ok(())
}

#[test]
fn workers_that_are_killed_together_are_one_death_of_the_job_that_one_of_them_had() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let id = stuck(&node, &["--max-attempts=2"])?;
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(Worker::start(&node, &[])?);
    }
    await_state(&node, &id, "running")?;
    let ids: Vec<_> = workers.iter().map(|worker| worker.id().to_string()).collect();
    ensure!(Command::new("kill").arg("-KILL").args(&ids).status()?.success());
    let mut producer = server.connect()?;
    await_that("the job waits again", || Ok((producer.job(1, "state")?.as_deref() == Some("ready")).then_some(())))?;
    assert_eq!(producer.job(1, "reserves")?.as_deref(), Some("1"));
    // Where nothing is known but the server's count.
    let other = another(&server)?;
    work(&other, &[])?;
    assert_eq!(show(&other, &id)?["state"], "done");
    Ok(())
}

#[test]
fn an_idle_worker_that_is_frozen_keeps_no_job_from_the_others() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut frozen = Worker::start(&node, &["--name=frozen"])?;
    frozen.await_line("serves")?;
    std::thread::sleep(Duration::from_millis(300));
    frozen.signal("STOP")?;
    let other = another(&server)?;
    let id = submit(&other, ["drunken-sailor", "--param=mode=normal"])?;
    work(&other, &["--name=awake"])?;
    let record = show(&other, &id)?;
    assert_eq!((&record["state"], &record["attempts"]), (&json!("done"), &json!(1)));
    frozen.signal("CONT")?;
    frozen.kill()
}

#[test]
fn what_looks_for_jobs_fails_without_the_server() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    server.kill()?;
    for command in [&["list"][..], &["wait", "--all"], &["kick", "--all", "--yes"], &["delete", "--all", "--yes"]] {
        let output = node.run(command)?;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(text(&output.stderr).contains("cannot be reached"), "{command:?}: {}", text(&output.stderr));
    }
    Ok(())
}

#[test]
fn nodes_that_share_a_tube_run_every_job_once_and_bury_none() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    // Many small jobs make workers claim ahead, if they may, and a few longer ones let them do it in vain.
    let job = |mode: &str, seconds: f64| {
        let params = json!({"mode": mode, "seconds": seconds});
        json!({"algorithm": "drunken-sailor", "max_attempts": 1, "params": params}).to_string() + "\n"
    };
    let jobs = (job("normal", 0.0).repeat(40) + &job("slow", 0.4).repeat(6)).repeat(8);
    ensure!(submit_text(&node, &jobs)?.status.success());
    let nodes = [another(&server)?, another(&server)?];
    let mut workers = Vec::new();
    for node in &nodes {
        workers.push(Worker::patient(node, &["--slots=2", "--until-empty"])?);
    }
    let mut done = 0;
    for (worker, node) in workers.into_iter().zip(&nodes) {
        let (status, said) = worker.join()?;
        ensure!(status.success(), "{said}");
        done += node.json(["status"])?["states"]["done"].as_u64().context("a count")?;
    }
    assert_eq!(done, 8 * 46);
    assert_eq!(server.connect()?.figures("stats")?.context("figures")?["current-jobs-buried"], "0");
    Ok(())
}

#[test]
fn a_worker_that_was_only_frozen_cannot_publish_what_another_has_done() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    // The lease is a reservation of two seconds, as the producer has asked for.
    let slow = QWORKER.replace(r#""normal""#, r#"["slow","normal"],"seconds":1"#);
    producer.put("default", (1337, 0, 2), &slow)?;
    let mut frozen = Worker::start(&node, &["--name=frozen"])?;
    await_that("it runs", || Ok((node.json(["list"])?[0]["state"] == "running").then_some(())))?;
    frozen.signal("STOP")?;
    server.sleep(Duration::from_millis(2_500))?;
    let other = another(&server)?;
    work(&other, &["--name=other"])?;
    assert_eq!(other.json(["result", QWORKER_ID])?["attempt"], 2);
    frozen.signal("CONT")?;
    frozen.await_line("### Lost job")?;
    frozen.signal("TERM")?;
    let (status, said) = frozen.join()?;
    assert!(status.success(), "{said}");
    let output = node.run(["result", QWORKER_ID])?;
    assert!(!output.status.success(), "nothing of it is shown");
    let left = node.data_dir().join("results/bc/bc3a925099b9012e0f06549a20077664/result.json");
    assert!(!left.exists(), "nor exposed");
    Ok(())
}

#[test]
fn the_second_signal_gives_the_jobs_back_without_counting() -> anyhow::Result<()> {
    let Some((_server, node)) = server()? else { return Ok(()) };
    let id = stuck(&node, &["--max-attempts=1"])?;
    let mut worker = Worker::start(&node, &["--slots=1"])?;
    await_state(&node, &id, "running")?;
    worker.signal("INT")?;
    worker.await_line("taking no more jobs")?;
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    assert_eq!(state(&node, &id)?, "ready", "{said}");
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["interrupted", "done"], &json!("done")));
    Ok(())
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_no_job() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let mut worker = Worker::start(&node, &["--slots=2", "--name=patient"])?;
    worker.await_line("serves")?;
    let running = stuck(&node, &["--tube=default"])?;
    await_state(&node, &running, "running")?;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(submit(&node, ["drunken-sailor", "--param=mode=normal", "--delay=2s"])?);
    }
    server.kill()?;
    worker.await_line("cannot be reached")?;
    server.restart()?;
    for id in waiting.iter().chain([&running]) {
        await_state(&node, id, "done")?;
    }
    assert_eq!(verdicts(&show(&node, &running)?), ["interrupted", "done"]);
    assert_eq!(server.connect()?.figures("stats")?.context("figures")?["current-jobs-buried"], "0");
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    // One line for each try, and these come ever more seldom.
    assert!(said.matches("cannot be reached").count() < 20, "{said}");
    Ok(())
}

#[test]
fn a_reservation_of_one_second_is_kept_for_as_long_as_the_attempt_takes() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let document = r#"{"algorithm": "drunken-sailor", "params": {"mode": "slow", "seconds": 3}}"#;
    let number = producer.put("default", (0, 0, 1), document)?;
    work(&node, &[])?;
    let record = show(&node, &number.to_string())?;
    assert_eq!((verdicts(&record), &record["attempts"]), (vec!["done"], &json!(1)));
    Ok(())
}
