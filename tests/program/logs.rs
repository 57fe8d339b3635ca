//! Logs of attempts, while they run and afterwards.

use crate::guests;
use crate::support::{Worker, argument, await_state, await_that, on_terminal, sailor, show, submit, text, work};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// A sailor who logs, sleeps for this long, and logs no more.
fn sleeper(node: &Longboat, seconds: &str) -> anyhow::Result<String> {
    submit(node, ["drunken-sailor", "--param=mode=slow", &format!("--param=seconds={seconds}")])
}

#[test]
fn the_log_of_the_last_attempt_is_printed_or_of_the_one_that_is_named() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", r#"--params={"mode": ["exit", "normal"]}"#])?;
    let early = node.run(["logs", &id])?;
    assert!(early.status.code() == Some(1) && text(&early.stderr).contains("no attempt was started"));
    work(&node, &[])?;
    assert_eq!(node.run(["logs", &id])?.stdout, b"Drunken sailor: normal execution.\n");
    assert_eq!(node.run(["logs", &id, "--attempt=1"])?.stdout, b"Drunken sailor: faulty execution.\n");
    assert_eq!(node.json(["logs", &id])?, json!([{"attempt": 2, "log": "Drunken sailor: normal execution.\n"}]));
    let never = node.run(["logs", &id, "--attempt=3"])?;
    assert!(
        never.status.code() == Some(1) && text(&never.stderr).contains("the last one is 2"),
        "{}",
        text(&never.stderr)
    );
    assert_eq!(node.run(["logs", "00000000000000000000000000000000"])?.status.code(), Some(1));
    assert_eq!(node.run(["logs", &id, "--attempt=0"])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn a_log_can_be_read_while_its_attempt_runs() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = sleeper(&node, "30")?;
    let _worker = Worker::start(&node, &[])?;
    await_state(&node, &id, "running")?;
    let so_far = await_that("there is something to read", || {
        let output = node.run(["logs", &id])?;
        Ok((output.status.success() && !output.stdout.is_empty()).then(|| text(&output.stdout)))
    })?;
    assert_eq!(so_far, "Drunken sailor: slow execution.\n");
    assert_eq!(node.json(["logs", &id])?, json!([{"attempt": 1, "log": so_far}]));
    node.ok(["cancel", &id])?;
    assert_eq!(node.ok(["logs", &id])?, so_far.trim_end(), "what it had written is kept, once the guest is stopped");
    Ok(())
}

#[test]
fn whoever_follows_reads_as_it_is_written_and_learns_how_each_attempt_ended() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"--params={"mode": ["slow", "exit", "normal"], "seconds": 60}"#;
    let id = submit(&node, ["drunken-sailor", "--ttr=3s", params])?;
    let mut following =
        node.command(["logs", "--follow", &id]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(following.stdout.take().context("it is piped")?).lines();
    let _worker = Worker::start(&node, &[])?;
    assert_eq!(lines.next().context("a line")??, "Drunken sailor: slow execution.");
    assert!(show(&node, &id)?["history"][0].get("finished_at").is_none(), "it was there before the attempt had ended");
    let rest = lines.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(rest, ["Drunken sailor: faulty execution.", "Drunken sailor: normal execution."]);
    let output = following.wait_with_output()?;
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for part in
        ["the job is ready", "attempt 1 by worker ", ": deadline: ", "attempt 2 by worker ", "attempt 3 by worker "]
    {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let again = node.json(["logs", "--follow", &id, "--attempt=2"])?;
    assert_eq!(again.as_array().map(Vec::len), Some(2), "from there on: {again}");
    Ok(())
}

#[test]
fn following_a_job_that_is_not_done_in_the_end_tells_so() -> anyhow::Result<()> {
    let node = sailor()?;
    let dead = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1"])?;
    let cancelled = submit(&node, ["drunken-sailor"])?;
    node.ok(["cancel", &cancelled])?;
    work(&node, &[])?;
    let output = node.run(["logs", "-f", &dead])?;
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), &b"Drunken sailor: faulty execution.\n"[..])
    );
    let output = node.run(["logs", "-f", &cancelled])?;
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("no attempt was started"));
    Ok(())
}

#[test]
fn a_long_log_that_is_followed_ends_as_it_is_kept() -> anyhow::Result<()> {
    let node = sailor()?;
    let options = ["--log-size=4KiB", "--fuel=1e12", "--ttr=3s", "--max-attempts=1"];
    let id = submit(&node, ["drunken-sailor", "--param=mode=log-flood"].iter().chain(&options))?;
    let following = node.command(["logs", "--follow", &id]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    work(&node, &[])?;
    let followed = following.wait_with_output()?.stdout;
    let kept = node.run(["logs", &id])?.stdout;
    let (head, tail) = (&kept[..2048], &kept[2048..]);
    assert!(followed.starts_with(head) && followed.ends_with(tail), "{} bytes of {}", followed.len(), kept.len());
    assert!(followed.len() <= kept.len() + 2048, "what is read live is bounded too: {}", followed.len());
    Ok(())
}

#[test]
fn a_pipe_gets_a_logs_bytes_and_a_terminal_nothing_that_draws() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::wat("painter")?;
    node.ok(["algorithm", "add", "painter", argument(&module)?])?;
    let id = submit(&node, ["painter", "--max-attempts=1"])?;
    work(&node, &[])?;
    assert_eq!(node.run(["logs", &id])?.stdout, b"a\x1b[2Jb\xffc");
    let log: Value = node.json(["logs", &id])?;
    assert_eq!(log[0]["log"], "a\u{1b}[2Jb\u{fffd}c");
    if let Some((code, shown)) = on_terminal(&node, &["logs", &id], "", &[])? {
        assert_eq!((code, shown.as_str()), (Some(0), "a[2Jb\u{fffd}c\n"));
    }
    Ok(())
}
