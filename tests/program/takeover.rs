//! Workers that die, or that only seem to.

use crate::support::{Worker, await_state, await_that, sailor, show, state, submit, time, verdicts};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Two seconds, and more on a machine that is busy with other things.
const AT_ONCE: Duration = Duration::from_secs(5);

fn starts(node: &Longboat, mode: &str, seconds: &str) -> anyhow::Result<String> {
    let params = format!(r#"{{"mode": ["{mode}", "normal"], "seconds": {seconds}}}"#);
    submit(node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--params", &params])
}

#[test]
fn the_job_of_a_killed_worker_is_taken_over_at_once() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = starts(&node, "endless-loop", "0")?;
    // Whoever waited for the end of this lease would have no patience left.
    let lasting = |name: &str| {
        let mut command = node.command(["worker", "--until-empty", name]);
        command.env("LONGBOAT__WORKER__LEASE", "10m");
        Worker::spawn(command)
    };
    let worker = lasting("--name=one")?;
    await_state(&node, &id, "running")?;
    worker.kill()?;
    let mut successor = lasting("--name=two")?;
    successor.await_line("serves default")?;
    let watched = Instant::now();
    successor.await_line("attempt 2")?;
    let watched = watched.elapsed();
    assert!(watched < AT_ONCE, "the successor has waited for {watched:?}");
    let (status, said) = successor.join()?;
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

/// Seconds from one time of the records to another, which is less than a day later.
fn seconds(from: &Value, to: &Value) -> anyhow::Result<f64> {
    let of_day = |value: &Value| -> anyhow::Result<f64> {
        let text = time(value)?;
        let clock = text.trim_end_matches('Z').split('T').nth(1).context("a time of day")?;
        clock.split(':').try_fold(0.0, |sum, part| Ok(sum * 60.0 + part.parse::<f64>()?))
    };
    Ok((of_day(to)? - of_day(from)?).rem_euclid(86_400.0))
}

#[test]
fn a_worker_under_a_reused_name_neither_cuts_short_nor_keeps_the_leases_of_the_one_before() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = starts(&node, "endless-loop", "0")?;
    let before = Worker::patient(&node, &["--name=same"])?;
    await_state(&node, &id, "running")?;
    // Killed, it would be known to be dead at once.
    before.signal("STOP")?;
    let again = Worker::patient(&node, &["--name=same"])?;
    let workers = await_that("both starts are known", || {
        let workers = node.json(["status"])?["workers"].as_array().cloned().unwrap_or_default();
        Ok((workers.len() == 2).then_some(workers))
    })?;
    assert!(workers.iter().all(|worker| worker["name"] == "same"), "{workers:?}");
    let started = workers.iter().find(|worker| worker["running"] == 0).context("the new one has nothing yet")?;
    await_state(&node, &id, "done")?;
    let record = show(&node, &id)?;
    assert_eq!(verdicts(&record), ["lost", "done"], "its heartbeats were its own, and did not keep the old lease");
    let watched = seconds(&started["started_at"], &record["history"][0]["finished_at"])?;
    assert!(watched >= 3.0, "it was taken over after {watched} s, and the lease is 3 s");
    before.kill()?;
    again.kill()
}

#[test]
fn a_running_worker_takes_over_from_a_killed_one_at_once() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = starts(&node, "endless-loop", "0")?;
    let lasting = |arguments: &[&str]| {
        let mut command = node.command(["worker"]);
        command.args(arguments).env("LONGBOAT__WORKER__LEASE", "10m");
        Worker::spawn(command)
    };
    let worker = lasting(&["--name=one"])?;
    await_state(&node, &id, "running")?;
    let mut heir = lasting(&["--name=heir"])?;
    await_that("both workers are known", || {
        Ok((node.json(["status"])?["workers"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })?;
    worker.kill()?;
    let killed = Instant::now();
    heir.await_line("Took over")?;
    heir.await_line("### Started")?;
    assert!(killed.elapsed() < AT_ONCE, "the heir has waited for {:?}", killed.elapsed());
    await_state(&node, &id, "done")?;
    assert_eq!(verdicts(&show(&node, &id)?), ["lost", "done"]);
    heir.kill()
}

#[test]
fn no_lease_is_lost_while_endless_loops_and_other_programs_want_every_core() -> anyhow::Result<()> {
    let node = sailor()?;
    let cores = std::thread::available_parallelism()?.get();
    let endless = ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12"];
    let ids = (0..2 * cores).map(|_| submit(&node, endless)).collect::<anyhow::Result<Vec<_>>>()?;
    let worker = Worker::patient(&node, &[&format!("--slots={}", ids.len())])?;
    for id in &ids {
        await_state(&node, id, "running")?;
    }
    // Somebody who would take over, and has nothing else to do.
    let heir = Worker::start(&node, &["--name=heir", "--tube=other"])?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        // Two leases.
        std::thread::sleep(Duration::from_secs(6));
        over.store(true, Ordering::Relaxed);
    });
    for id in &ids {
        assert_eq!((state(&node, id)?.as_str(), &show(&node, id)?["attempts"]), ("running", &json!(1)));
    }
    heir.kill()?;
    worker.kill()
}

#[test]
fn a_worker_keeps_its_guests_while_another_program_has_the_queue_locked() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=slow", "--param=seconds=2", "--max-attempts=1"])?;
    let mut worker = Worker::start(&node, &[])?;
    await_state(&node, &id, "running")?;
    let other = rusqlite::Connection::open(node.data_dir().join("queue.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    worker.await_line("another process keeps the file locked")?;
    // Three leases.
    std::thread::sleep(Duration::from_secs(3));
    other.execute_batch("ROLLBACK")?;
    await_state(&node, &id, "done")?;
    worker.kill()
}
