//! Servers and workers that die, or that only seem to.

use super::{PUT, QWORKER, QWORKER_ID, await_there, intake, job, list, only, server, sober, stuck, take};
use crate::support::{Worker, await_state, await_that, sailor, show, state, verdicts};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::json;
use std::time::Duration;

/// Waits until a node has a job that runs.
fn await_running(node: &Longboat) -> anyhow::Result<()> {
    await_that("it runs", || Ok((node.json(["list"])?[0]["state"] == "running").then_some(())))
}

/// A worker whose own leases outlast any test, so that only its death is noticed.
fn lasting(node: &Longboat, options: &[&str]) -> anyhow::Result<Worker> {
    let mut command = node.command(["worker"]);
    command.args(options).env("LONGBOAT__WORKER__LEASE", "10m");
    Worker::spawn(command)
}

#[test]
fn the_job_of_a_killed_worker_is_adopted_by_the_next_one() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let (mut producer, option) = (server.connect()?, intake(&server));
    let number = producer.put("default", PUT, stuck(json!({})))?;
    let worker = lasting(&node, &["--name=one", &option])?;
    await_running(&node)?;
    worker.kill()?;
    take(&node, &server, &["--name=two"])?;
    let record = show(&node, &only(&node)?)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")));
    let workers = [0, 1].map(|attempt: usize| record["history"][attempt]["worker"].clone());
    assert_eq!(workers, ["one", "two"]);
    assert_eq!(producer.job(number, "state")?, None);
    Ok(())
}

#[test]
fn the_job_of_a_killed_worker_goes_to_another_node() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let other = sailor()?;
    let (mut producer, option) = (server.connect()?, intake(&server));
    let number = producer.put("default", PUT, job(json!({"mode": "slow", "seconds": 60}), json!({})))?;
    let worker = lasting(&node, &[&option])?;
    await_running(&node)?;
    let heir = Worker::start(&other, &[&option])?;
    worker.kill()?;
    await_running(&other)?;
    assert_eq!(producer.job(number, "reserves")?.as_deref(), Some("2"));
    heir.kill()
}

#[test]
fn a_job_that_kills_its_worker_every_time_ends_dead_and_buried() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let (mut producer, option) = (server.connect()?, intake(&server));
    let fields = json!({"id": QWORKER_ID, "max_attempts": 2, "ttr": "60s", "limits": {"fuel": 1_000_000_000_000_u64}});
    let number = producer.put("default", PUT, job(json!({"mode": "endless-loop"}), fields))?;
    for attempt in 1..=2 {
        let worker = lasting(&node, &[&option])?;
        await_that("the next attempt runs", || {
            Ok(list(&node)?.iter().any(|job| job["attempts"] == attempt && job["state"] == "running").then_some(()))
        })?;
        worker.kill()?;
    }
    take(&node, &server, &[])?;
    let record = show(&node, QWORKER_ID)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "lost"], &json!("dead")));
    assert_eq!(producer.job(number, "state")?.as_deref(), Some("buried"));
    Ok(())
}

#[test]
fn a_job_without_an_id_is_the_same_job_after_the_server_was_killed() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let option = intake(&server);
    let mut worker = lasting(&node, &["--name=patient", &option])?;
    let number = server.connect()?.put("default", PUT, job(json!({"mode": "slow", "seconds": 6}), json!({})))?;
    await_running(&node)?;
    for _ in 0..2 {
        server.kill()?;
        worker.await_line("no jobs are taken for a while")?;
        server.restart()?;
        let mut producer = server.connect()?;
        await_there(&mut producer, number, Some("reserved"))?;
    }
    let id = only(&node)?;
    await_state(&node, &id, "done")?;
    await_there(&mut server.connect()?, number, None)?;
    assert_eq!(verdicts(&show(&node, &id)?), ["done"], "what runs here goes on without the server");
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    Ok(())
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_no_job() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let option = intake(&server);
    let worker = lasting(&node, &["--slots=2", &option])?;
    let mut producer = server.connect()?;
    for _ in 0..20 {
        producer.put("default", PUT, job(json!({"mode": "slow", "seconds": 0.2}), json!({})))?;
    }
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(400));
        server.kill()?;
        server.restart()?;
    }
    let mut producer = server.connect()?;
    await_that("the server has none left", || {
        let figures = producer.figures("stats")?.context("figures")?;
        let left = ["current-jobs-ready", "current-jobs-reserved", "current-jobs-delayed", "current-jobs-buried"];
        Ok(left.iter().all(|left| figures[*left] == "0").then_some(()))
    })?;
    let jobs = list(&node)?;
    assert_eq!(jobs.len(), 20, "each is one job");
    ensure!(jobs.iter().all(|job| job["state"] == "done" && job["attempts"] == 1), "{jobs:?}");
    worker.kill()
}

#[test]
fn a_server_that_is_not_there_is_waited_for() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    server.kill()?;
    let option = intake(&server);
    let mut worker = Worker::start(&node, &[&option])?;
    worker.await_line("it cannot be reached")?;
    // The node's own jobs do not wait for it.
    node.ok(["submit", "drunken-sailor", "--param=mode=normal", "--id", QWORKER_ID])?;
    await_state(&node, QWORKER_ID, "done")?;
    server.restart()?;
    let mut producer = server.connect()?;
    let number = producer.put("default", PUT, sober())?;
    await_there(&mut producer, number, None)?;
    server.kill()?;
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success() && said.matches("it cannot be reached").count() < 10, "{said}");
    Ok(())
}

#[test]
fn nodes_that_share_a_server_run_every_job_and_bury_none() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let other = sailor()?;
    let mut producer = server.connect()?;
    for number in 0..120 {
        let params = if number % 8 == 0 { json!({"mode": "slow", "seconds": 0.4}) } else { json!({"mode": "normal"}) };
        producer.put("default", PUT, job(params, json!({"max_attempts": 1})))?;
    }
    let (option, mut done) = (intake(&server), 0);
    let workers = [&node, &other].map(|node| Worker::patient(node, &["--slots=2", "--until-empty", &option]));
    for (worker, node) in workers.into_iter().zip([&node, &other]) {
        let (status, said) = worker?.join()?;
        ensure!(status.success(), "{said}");
        done += node.json(["status"])?["states"]["done"].as_u64().context("a count")?;
    }
    assert_eq!(done, 120, "nothing was in the way, so each job has run once");
    assert_eq!(server.connect()?.figures("stats")?.context("figures")?["current-jobs-buried"], "0");
    Ok(())
}

#[test]
fn nodes_that_share_a_database_have_one_holder_of_a_job() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let queue = format!("sqlite:{}", node.data_dir().join("queue.db").display());
    let (other, option) = (Longboat::new()?.with_queue(&queue), intake(&server));
    let mut producer = server.connect()?;
    let slow = QWORKER.replace(r#""normal""#, r#"["slow","normal"],"seconds":2"#);
    let number = producer.put("default", (1337, 0, 2), &slow)?;
    let mut frozen = Worker::start(&node, &["--name=frozen", &option])?;
    await_running(&node)?;
    frozen.signal("STOP")?;
    server.sleep(Duration::from_millis(2_500))?;
    take(&other, &server, &["--name=other"])?;
    assert_eq!(producer.job(number, "state")?, None);
    let document = other.json(["result", QWORKER_ID])?;
    assert_eq!(document["attempt"], 2);
    frozen.signal("CONT")?;
    frozen.await_line("### Lost job")?;
    frozen.signal("TERM")?;
    let (status, said) = frozen.join()?;
    assert!(status.success(), "{said}");
    assert_eq!(verdicts(&show(&node, QWORKER_ID)?), ["lost", "done"]);
    assert_eq!(node.json(["result", QWORKER_ID])?, document, "what is served has not changed");
    Ok(())
}

#[test]
fn a_frozen_worker_keeps_no_job_from_other_nodes() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let other = sailor()?;
    let (mut producer, option) = (server.connect()?, intake(&server));
    let frozen = Worker::start(&node, &["--name=frozen", &option])?;
    await_that("the worker is known", || Ok(node.json(["status"])?["workers"].get(0).cloned()))?;
    std::thread::sleep(Duration::from_millis(500));
    frozen.signal("STOP")?;
    producer.put("default", PUT, QWORKER)?;
    take(&other, &server, &["--name=awake"])?;
    assert_eq!(state(&other, QWORKER_ID)?, "done");
    frozen.signal("CONT")?;
    frozen.kill()
}

#[test]
fn the_second_signal_gives_the_jobs_back_to_the_server() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let (mut producer, option) = (server.connect()?, intake(&server));
    let number = producer.put("default", PUT, stuck(json!({"id": QWORKER_ID, "max_attempts": 1})))?;
    let mut worker = lasting(&node, &["--slots=1", &option])?;
    await_running(&node)?;
    let later = producer.put("default", PUT, sober())?;
    worker.signal("INT")?;
    worker.await_line("taking no more jobs")?;
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    assert_eq!(state(&node, QWORKER_ID)?, "ready", "{said}");
    await_there(&mut producer, number, Some("ready"))?;
    await_there(&mut producer, later, Some("ready"))?;
    take(&node, &server, &[])?;
    assert_eq!(verdicts(&show(&node, QWORKER_ID)?), ["interrupted", "done"]);
    assert_eq!((producer.job(number, "state")?, producer.job(later, "state")?), (None, None));
    Ok(())
}

#[test]
fn a_reservation_of_one_second_is_kept_for_as_long_as_the_attempt_takes() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let number = producer.put("default", (0, 0, 1), job(json!({"mode": "slow", "seconds": 3}), json!({})))?;
    let option = intake(&server);
    let worker = lasting(&node, &[&option])?;
    await_running(&node)?;
    await_there(&mut producer, number, None)?;
    let record = show(&node, &only(&node)?)?;
    assert_eq!((verdicts(&record), &record["attempts"]), (vec!["done"], &json!(1)));
    worker.kill()
}
