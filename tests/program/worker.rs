//! How a worker ends.

use crate::support::{Worker, await_state, sailor, show, state, submit, text, verdicts, work};
use longboat_tests::program::Longboat;
use serde_json::json;

const DRAINING: &str = "taking no more jobs";

/// A job whose first attempt has to be stopped, and whose second one behaves.
fn stuck(node: &Longboat) -> anyhow::Result<String> {
    let params = r#"{"mode": ["endless-loop", "normal"]}"#;
    submit(node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", "--max-attempts=1", "--params", params])
}

#[test]
fn the_first_sigterm_lets_running_jobs_finish_and_takes_no_more() -> anyhow::Result<()> {
    let node = sailor()?;
    let running = submit(&node, ["drunken-sailor", "--param=mode=slow", "--param=seconds=1"])?;
    let mut worker = Worker::start(&node, &["--slots=2"])?;
    await_state(&node, &running, "running")?;
    worker.signal("TERM")?;
    worker.await_line(DRAINING)?;
    let late = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    assert_eq!((state(&node, &running)?.as_str(), state(&node, &late)?.as_str()), ("done", "ready"), "{said}");
    assert_eq!(node.json(["status"])?["workers"], json!([]), "it has said goodbye");
    Ok(())
}

#[test]
fn a_worker_is_not_called_what_could_stand_for_a_server() -> anyhow::Result<()> {
    let node = sailor()?;
    for name in ["\u{1}beanstalkd://127.0.0.1:11300", ""] {
        let output = node.run(["worker", "--until-empty", &format!("--name={name}")])?;
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("a worker's name has from 1 to 200 bytes"), "{said}");
        assert!(!said.contains('\u{1}'), "{said:?}");
    }
    Ok(())
}

#[test]
fn the_second_signal_stops_now_and_gives_the_jobs_back_without_counting() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = stuck(&node)?;
    let mut worker = Worker::start(&node, &["--slots=1"])?;
    await_state(&node, &id, "running")?;
    worker.signal("INT")?;
    worker.await_line(DRAINING)?;
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    assert_eq!(state(&node, &id)?, "ready", "{said}");
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["interrupted", "done"], &json!("done")), "of one attempt");
    Ok(())
}

#[test]
fn a_worker_ends_after_as_many_attempts_as_it_was_told() -> anyhow::Result<()> {
    let node = sailor()?;
    for _ in 0..3 {
        submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    }
    let said = node.ok(["worker", "--max-jobs=2"])?;
    assert_eq!(said.matches("### Started").count(), 2, "{said}");
    let states = node.json(["status"])?["states"].clone();
    assert_eq!((&states["done"], &states["ready"]), (&json!(2), &json!(1)));
    Ok(())
}

#[test]
fn until_empty_waits_for_what_is_delayed_and_for_what_others_run() -> anyhow::Result<()> {
    let node = sailor()?;
    let other_runs = submit(&node, ["drunken-sailor", "--param=mode=slow", "--param=seconds=1"])?;
    let other = Worker::start(&node, &["--max-jobs=1"])?;
    await_state(&node, &other_runs, "running")?;
    let delayed = submit(&node, ["drunken-sailor", "--param=mode=normal", "--delay=500ms"])?;
    node.ok(["worker", "--until-empty"])?;
    assert_eq!([state(&node, &other_runs)?, state(&node, &delayed)?], ["done", "done"]);
    assert!(other.join()?.0.success());
    Ok(())
}

#[test]
fn a_worker_tells_of_its_jobs_as_msg_qworker_did() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=normal", "--input=data:,x", "--priority=7"])?;
    let said = node.ok(["worker", "--until-empty"])?;
    for part in [
        format!("### Started job {id}, algorithm drunken-sailor"),
        " + result directory: ".to_owned(),
        " + time left for processing: ".to_owned(),
        " + job queue priority: 7".to_owned(),
        " | Drunken sailor: normal execution.".to_owned(),
        " + job completed, removing it from the queue".to_owned(),
    ] {
        assert!(said.contains(&part), "{part:?} is not in:\n{said}");
    }
    Ok(())
}

#[test]
fn an_endless_loop_keeps_no_other_job_from_running() -> anyhow::Result<()> {
    let node = sailor()?;
    let cores = std::thread::available_parallelism()?.get();
    for _ in 0..cores {
        submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12", "--priority=0"])?;
    }
    let small = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    let worker = Worker::start(&node, &[&format!("--slots={}", cores + 1)])?;
    await_state(&node, &small, "done")?;
    assert_eq!(node.json(["status"])?["states"]["running"], cores);
    worker.kill()
}
