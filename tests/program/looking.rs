//! Commands that look at jobs.

use crate::support::{
    LEAVES_A_FILE, Worker, argument, await_state, await_that, on_terminal, sailor, show, state, submit, submit_text,
    text, work,
};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::process::Stdio;

const SOBER: &str = "--param=mode=normal";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Five jobs that differ in all that a filter knows of.
fn five(node: &Longboat) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let exit = ["--param=mode=exit", "--max-attempts=1", "--tag=a", "--tag=b"];
    for options in [&[SOBER, "--tag=a"][..], &exit, &[SOBER, "--tube=night"]] {
        ids.push(submit(node, ["drunken-sailor"].iter().chain(options))?);
    }
    work(node, &["--name=one"])?;
    work(node, &["--name=two", "--tube=night"])?;
    ids.push(submit(node, ["drunken-sailor", "--host=three", "--tag=b"])?);
    ids.push(submit(node, ["forecast", "--tube=day", "--hold"])?);
    Ok(ids)
}

#[test]
fn jobs_are_listed_by_all_that_they_have_in_common() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids = five(&node)?;
    let finished = show(&node, &ids[2])?["finished_at"].as_str().context("it has ended")?.to_owned();
    let submitted = show(&node, &ids[3])?["submitted_at"].as_str().context("it was submitted")?.to_owned();
    let listed = |options: &[&str]| -> anyhow::Result<Vec<usize>> {
        let records = node.json(["list"].iter().chain(options))?;
        let place = |record: &Value| ids.iter().position(|id| record["id"] == id.as_str()).context("one of these");
        records.as_array().context("a list")?.iter().map(place).collect()
    };
    for (options, places) in [
        (&["--state=done"][..], &[0, 2][..]),
        (&["--state=dead,held", "--state=ready"], &[1, 3, 4]),
        (&["--tube=night,day"], &[2, 4]),
        (&["--algorithm=forecast"], &[4]),
        (&["--tag=a", "--tag=b"], &[1]),
        (&["--tag=b"], &[1, 3]),
        (&["--host=three"], &[3]),
        (&["--worker=one"], &[0, 1]),
        (&["--worker=nobody"], &[]),
        (&["--verdict=failed,lost"], &[1]),
        (&["--verdict=done", "--worker=two"], &[2]),
        (&["--since=1h"], &[0, 1, 2, 3, 4]),
        (&["--before=1h"], &[]),
        (&["--since", &submitted], &[3, 4]),
        (&["--before", &submitted], &[0, 1, 2]),
        (&["--finished-since=1h"], &[0, 1, 2]),
        (&["--finished-since", &finished], &[2]),
        (&["--finished-before", &finished, "--state=done"], &[0]),
        (&["--tag=a", "--limit=1"], &[0]),
    ] {
        assert_eq!(listed(options)?, places, "{options:?}");
    }
    Ok(())
}

#[test]
fn columns_are_stable_and_can_be_chosen() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids = five(&node)?;
    let table = node.ok(["list"])?;
    let (header, rows) = table.split_once('\n').context("a header")?;
    let usual = "ID STATE ALGORITHM TUBE PRIORITY ATTEMPTS SUBMITTED VERDICT";
    assert_eq!(header.split_whitespace().collect::<Vec<_>>().join(" "), usual);
    let rows: Vec<Vec<_>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    // The time of submission is two words.
    assert_eq!(
        (rows[1][0], &rows[1][1..6], rows[1][8]),
        (ids[1].as_str(), &["dead", "drunken-sailor", "default", "1024", "1"][..], "failed")
    );
    assert_eq!((rows[4][1], rows[4][8]), ("held", "-"));
    let tags = node.ok(["list", "--columns=tags,id,message", "--tag=a"])?;
    let rows: Vec<_> = tags.lines().collect();
    assert_eq!(rows[2], format!("a,b   {}  the algorithm exited with code 10", ids[1]));
    let wide = node.ok(["list", "--wide"])?;
    let header: Vec<_> = wide.lines().next().unwrap_or_default().split_whitespace().collect();
    assert!(header.join(" ").starts_with(usual) && header.contains(&"TAGS"), "{header:?}");
    assert_eq!(node.run(["list", "--columns=colour"])?.status.code(), Some(2));
    assert_eq!(Longboat::new()?.ok(["list"])?.split_whitespace().collect::<Vec<_>>().join(" "), usual);
    Ok(())
}

#[test]
fn an_array_of_many_jobs_is_one_document_in_json_and_in_yaml() -> anyhow::Result<()> {
    let node = sailor()?;
    assert_eq!(
        (node.ok(["list", "-o", "json"])?, node.ok(["list", "-o", "yaml"])?),
        ("[]".to_owned(), "[]".to_owned())
    );
    submit_text(&node, &"{\"algorithm\": \"drunken-sailor\", \"hold\": true}\n".repeat(700))?;
    assert_eq!(node.json(["list"])?.as_array().map(Vec::len), Some(700));
    let yaml = node.ok(["list", "-o", "yaml"])?;
    assert_eq!(yaml.lines().filter(|line| line.starts_with("- id: ")).count(), 700);
    assert!(yaml.lines().all(|line| line.starts_with("- ") || line.starts_with("  ")), "one sequence");
    let mut reader = node.command(["list", "-o", "json"]).stdout(Stdio::piped()).spawn()?;
    drop(reader.stdout.take());
    let status = await_that("a list that nobody reads has ended", || Ok(reader.try_wait()?))?;
    assert!(status.success(), "a reader that goes away is no error");
    Ok(())
}

#[test]
fn there_are_colours_on_a_terminal_only_and_not_for_those_who_want_none() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--hold"])?;
    assert!(!node.ok(["list"])?.contains('\x1b') && !node.ok(["show", &id])?.contains('\x1b'));
    for (arguments, variables, coloured) in [
        (&["list"][..], &[][..], true),
        (&["show", &id], &[], true),
        (&["list"], &[("NO_COLOR", "1")], false),
        (&["list"], &[("TERM", "dumb")], false),
        (&["list", "-o", "json"], &[], false),
    ] {
        let Some((code, shown)) = on_terminal(&node, arguments, "", variables)? else { return Ok(()) };
        assert_eq!((code, shown.contains('\x1b')), (Some(0), coloured), "{arguments:?} {variables:?}: {shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 125), "110 columns, and what colours take: {shown}");
    }
    Ok(())
}

#[test]
fn strangers_words_draw_nothing() -> anyhow::Result<()> {
    let node = sailor()?;
    let job = r#"{"algorithm": "drunken-sailor", "params": {"\u001b[2J\u202e": "x"}, "tags": ["\u202eb"], "host": "\u2066h", "hold": true}"#;
    let id = text(&submit_text(&node, job)?.stdout).trim().to_owned();
    for arguments in [&["list", "--wide"][..], &["show", &id], &["cancel", &id, "--dry-run"]] {
        let shown = node.ok(arguments)?;
        assert!(!shown.contains(['\x1b', '\u{202e}', '\u{2066}']) && shown.contains(&id), "{arguments:?}: {shown:?}");
    }
    Ok(())
}

#[test]
fn all_that_is_known_of_a_job_is_shown() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(
        &node,
        [
            "drunken-sailor",
            "--param=mode=exit",
            "--max-attempts=1",
            "--tag=a",
            "--tag=b",
            "--host=me",
            "--unique=key",
            "--ttr=90s",
            "--memory=64MiB",
            "--fuel=1e9",
            "--expires=1h",
            "--seed=7",
            "--clock=2026-11-21T18:00:00Z",
            "--input=load=data:text/csv,1",
            "--tube=night",
            "--priority=5",
        ],
    )?;
    work(&node, &["--name=me", "--tube=night"])?;
    node.ok(["kick", &id])?;
    let shown = node.ok(["show", &id])?;
    let pairs: Vec<_> = shown.lines().filter_map(|line| line.split_once("  ")).collect();
    let value = |name: &str| {
        let found = pairs.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value.trim()).with_context(|| format!("{name} in {shown}"))
    };
    for (name, expected) in [
        ("id", id.as_str()),
        ("state", "ready"),
        ("algorithm", "drunken-sailor"),
        ("tube", "night"),
        ("priority", "5"),
        ("attempts", "1 of 2 (max_attempts 1, kicks 1)"),
        ("verdict", "failed: the algorithm exited with code 10"),
        ("result", "from attempt 1"),
        ("tags", "a, b"),
        ("host", "me"),
        ("unique", "key, until it has ended"),
        ("params", r#"{"mode":"exit"}"#),
        ("input", "load = data:text/csv,…"),
        ("expires", "1h after that was asked for"),
        ("ttr", "1m 30s"),
        ("limits", "fuel 1,000,000,000, memory 64.0 MiB"),
        ("seed", "7"),
        ("clock", "2026-11-21T18:00:00Z"),
    ] {
        assert_eq!(value(name)?, expected);
    }
    ensure!(value("submitted")?.ends_with(" UTC") && value("due")?.ends_with(" UTC"), "{shown}");
    let attempt: Vec<_> = shown.lines().last().unwrap_or_default().split_whitespace().collect();
    assert_eq!((attempt[0], attempt[1], attempt.contains(&"failed:")), ("1", "me", true), "{shown}");
    let unknown = node.run(["show", NOBODY])?;
    assert!(unknown.status.code() == Some(1) && text(&unknown.stderr).contains(NOBODY));
    Ok(())
}

#[test]
fn many_jobs_are_waited_for_at_once_and_told_in_the_order_in_which_they_were_named() -> anyhow::Result<()> {
    let node = sailor()?;
    let slow = submit(&node, ["drunken-sailor", "--param=mode=slow", "--param=seconds=1", "--tag=x"])?;
    let bad = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1", "--tag=x"])?;
    let good = submit(&node, ["drunken-sailor", SOBER, "--tag=x"])?;
    let held = submit(&node, ["drunken-sailor", SOBER, "--hold"])?;
    let wait = |arguments: &[&str]| -> anyhow::Result<_> {
        let mut command = node.command(["wait", "-o", "json"].iter().chain(arguments));
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    };
    let (named, found) = (wait(&[&good, &slow, &bad, &good])?, wait(&["--tag=x"])?);
    work(&node, &["--slots=2"])?;
    for (waiting, order) in [(named, [&good, &slow, &bad]), (found, [&slow, &bad, &good])] {
        let output = waiting.wait_with_output()?;
        let told: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
        let ended = |id: &String| {
            show(&node, id).map(|job| json!({"id": id, "state": job["state"], "verdict": job["verdict"]}))
        };
        let expected = order.into_iter().map(ended).collect::<Result<Vec<_>, _>>()?;
        assert_eq!((told, output.status.code()), (json!(expected), Some(1)), "one of them is dead");
    }
    let late = node.run(["wait", "-o", "json", &good, &held, "--timeout=50ms"])?;
    let told: Value = serde_json::from_slice(&late.stdout)?;
    assert_eq!((&told[0]["state"], &told[1]["state"], late.status.code()), (&json!("done"), &json!("held"), Some(1)));
    let errors = text(&late.stderr);
    assert!(errors.contains(&format!("{held} is still held after 50ms")), "{errors}");
    Ok(())
}

#[test]
fn a_wait_ends_at_once_for_ids_that_nobody_knows_and_for_jobs_that_are_deleted() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--hold"])?;
    let unknown = node.run(["wait", &id, NOBODY])?;
    assert_eq!((unknown.status.code(), text(&unknown.stdout).as_str()), (Some(1), ""));
    assert!(text(&unknown.stderr).contains(NOBODY), "{}", text(&unknown.stderr));
    let mut waiting = node.command(["wait", &id, "-o", "json"]).stdout(Stdio::piped()).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.try_wait()?.is_none(), "it waits");
    node.ok(["delete", &id])?;
    let output = waiting.wait_with_output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&told[0]["error"], output.status.code()), (&json!("it was deleted before it had ended"), Some(1)));
    assert_eq!(node.json(["wait", "--tag=nothing"])?, json!([]));
    for wrong in [&["wait"][..], &["wait", &id, "--tag=x"], &["wait", "no-id"]] {
        assert_eq!(node.run(wrong)?.status.code(), Some(2), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn files_that_another_node_holds_are_said_with_where_they_are() -> anyhow::Result<()> {
    let (node, other) = (sailor()?, Longboat::new()?);
    let id = submit(&node, LEAVES_A_FILE)?;
    let mut worker = node.command(["worker", "--until-empty", "--name=far"]);
    assert!(worker.env("LONGBOAT__HTTP__PUBLIC_URL", "https://far.example.org/results/").output()?.status.success());
    assert_eq!(state(&node, &id)?, "done");
    let queue = format!("--queue=sqlite:{}", node.data_dir().join("queue.db").display());
    for command in [&["result", &id][..], &["logs", &id], &["result", &id, "-o", "json"]] {
        let there = other.run(command.iter().chain(&[queue.as_str()]))?;
        assert_eq!(there.stdout, node.run(command)?.stdout, "every node has documents and logs");
        assert!(there.status.success() && !there.stdout.is_empty());
    }
    let saved = other.data_dir().join("saved");
    let output = other.run(["result", &id, "--save", argument(&saved)?, &queue])?;
    let errors = text(&output.stderr);
    let place = format!("https://far.example.org/results/{id}/");
    assert!(output.status.code() == Some(1) && errors.contains("worker far") && errors.contains(&place), "{errors}");
    assert!(errors.contains("has document and log, but not all files"), "{errors}");
    assert!(saved.join("result.json").is_file() && saved.join("log.txt").is_file());
    assert!(node.ok(["show", &id])?.contains(&format!("from attempt 1, at https://far.example.org/results/{id}")));
    Ok(())
}

#[test]
fn a_worker_that_is_named_to_a_filter_is_any_that_made_an_attempt() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"{"mode": ["exit", "normal"]}"#;
    let id = submit(&node, ["drunken-sailor", "--params", params])?;
    work(&node, &["--name=one", "--max-jobs=1"])?;
    let worker = Worker::start(&node, &["--name=two"])?;
    await_state(&node, &id, "done")?;
    drop(worker);
    for name in ["one", "two"] {
        assert_eq!(node.json(["list", &format!("--worker={name}")])?[0]["id"], json!(id), "{name}");
    }
    Ok(())
}

#[test]
fn nothing_that_a_stranger_writes_draws_on_a_terminal_or_is_taken_for_something_else() -> anyhow::Result<()> {
    let node = sailor()?;
    let params = r#"{"colour": "\u009b31m \u202e", "mode": "on"}"#;
    submit(&node, ["drunken-sailor", "--params", params, "--tag==", "--tag=12:34:56", "--tag=night"])?;
    assert_eq!(node.json(["list"])?[0]["params"], serde_json::from_str::<Value>(params)?);
    for format in ["json", "yaml"] {
        let listed = node.ok(["list", "-o", format])?;
        assert!(listed.contains(r#""\u009b31m \u202e""#) && !listed.contains(['\u{9b}', '\u{202e}']), "{listed}");
    }
    let yaml = node.ok(["list", "-o", "yaml"])?;
    for part in ["    mode: \"on\"\n", "  - \"=\"\n", "  - \"12:34:56\"\n", "  - night\n"] {
        assert!(yaml.contains(part), "{part:?} is not in:\n{yaml}");
    }
    Ok(())
}
