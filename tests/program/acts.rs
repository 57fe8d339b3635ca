//! Commands that act on jobs.

use crate::support::{
    LEAVES_A_FILE, Worker, await_state, await_that, on_terminal, results, sailor, show, state, submit, submit_text,
    text, verdicts, work,
};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::process::Stdio;

const SOBER: &str = "--param=mode=normal";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const VERBS: [&str; 6] = ["cancel", "hold", "release", "kick", "update", "delete"];

/// A job that is dead after its first attempt, and whatever else is ready has been run.
fn dead(node: &Longboat, options: &[&str]) -> anyhow::Result<String> {
    let id = submit(node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=1"].iter().chain(options))?;
    work(node, &[])?;
    assert_eq!(state(node, &id)?, "dead");
    Ok(id)
}

/// Runs a command with `-o json`, and returns what it says of each job and its exit code.
fn act(node: &Longboat, arguments: &[&str]) -> anyhow::Result<(Value, Option<i32>)> {
    let output = node.run(arguments.iter().chain(&["-o", "json"]))?;
    let outcomes = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{arguments:?}: not JSON; on standard error: {}", text(&output.stderr)))?;
    Ok((outcomes, output.status.code()))
}

#[test]
fn every_verb_does_to_jobs_what_it_says_and_tells_their_new_states() -> anyhow::Result<()> {
    let node = sailor()?;
    let (one, two) = (submit(&node, ["drunken-sailor", SOBER])?, submit(&node, ["drunken-sailor", "--delay=1h"])?);
    for (verb, states) in
        [("hold", ["held", "held"]), ("release", ["ready", "delayed"]), ("cancel", ["cancelled", "cancelled"])]
    {
        let told = json!([{"id": one, "state": states[0]}, {"id": two, "state": states[1]}]);
        assert_eq!(act(&node, &[verb, &one, &two])?, (told, Some(0)), "{verb}");
        assert_eq!([state(&node, &one)?, state(&node, &two)?], states, "{verb}");
    }
    assert_eq!(node.ok(["delete", &one, &two])?, "deleted 2 jobs");
    assert_eq!(node.json(["list"])?, json!([]));
    let dead = dead(&node, &[])?;
    assert_eq!(node.ok(["kick", &dead])?, "kicked 1 job");
    work(&node, &[])?;
    assert_eq!((verdicts(&show(&node, &dead)?), show(&node, &dead)?["kicks"].clone()), (vec!["failed"; 2], json!(1)));
    Ok(())
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_and_the_rest_is_done() -> anyhow::Result<()> {
    let node = sailor()?;
    let done = submit(&node, ["drunken-sailor", SOBER])?;
    work(&node, &[])?;
    let held = submit(&node, ["drunken-sailor", "--hold"])?;
    for (verb, why) in [
        ("cancel", "it is done, and has ended"),
        ("hold", "it is done, and has ended"),
        ("release", "it is done, and has ended"),
        ("kick", "it is done, and has ended; submit a new job"),
    ] {
        let output = node.run([verb, &done, NOBODY])?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        for part in ["refused for 2 jobs", why, "no job has this id", &done, NOBODY] {
            assert!(errors.contains(part), "{verb}: {part}: {errors}");
        }
    }
    let (outcomes, code) = act(&node, &["cancel", &done, &held, &held])?;
    assert_eq!((code, outcomes.as_array().map(Vec::len)), (Some(1), Some(2)), "each job once: {outcomes}");
    assert!(outcomes[0]["error"].is_string() && outcomes[0].get("state").is_none(), "{outcomes}");
    assert_eq!(outcomes[1], json!({"id": held, "state": "cancelled"}));
    let many: Vec<String> = (0..30).map(|number| format!("{number:032}")).collect();
    let output = node.run(["hold"].into_iter().chain(many.iter().map(String::as_str)))?;
    let errors = text(&output.stderr);
    assert!(errors.contains("and 10 more") && errors.lines().count() < 25, "{errors}");
    Ok(())
}

#[test]
fn jobs_are_chosen_by_their_ids_or_by_a_filter_or_all_of_them() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--tag=x"])?;
    for verb in VERBS {
        for wrong in [
            &[][..],
            &["--limit=1"],
            &[&id, "--tag=x"],
            &[&id, "--all"],
            &[&id, "--limit=1"],
            &["--all", "--tag=x"],
            &["--all", "--yes", "--dry-run"],
            &["--state=reddy", "--yes"],
            &["--verdict=late", "--yes"],
            &["--since=tomorrow", "--yes"],
            &["no-id"],
        ] {
            let change = (verb == "update").then_some("--priority=1");
            let output = node.run([verb].iter().chain(wrong).chain(&change))?;
            assert_eq!(output.status.code(), Some(2), "{verb} {wrong:?}: {}", text(&output.stderr));
        }
    }
    let record = show(&node, &id)?;
    assert_eq!((&record["state"], &record["priority"]), (&json!("ready"), &json!(1024)), "nothing was done");
    Ok(())
}

#[test]
fn by_a_filter_nothing_is_done_unasked_and_a_dry_run_shows_what_is_meant() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids: Vec<_> = (0..12).map(|_| submit(&node, ["drunken-sailor", "--tag=x"])).collect::<Result<_, _>>()?;
    let other = submit(&node, ["drunken-sailor", "--hold"])?;
    let output = node.run(["cancel", "--tag=x"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--yes") && output.stdout.is_empty(), "{}", text(&output.stderr));
    let shown = node.ok(["cancel", "--tag=x", "--dry-run"])?;
    assert!(shown.starts_with("would cancel 12 jobs: 12 ready\n"), "{shown}");
    assert!(shown.contains(&ids[9]) && !shown.contains(&ids[10]) && shown.ends_with("and 2 more"), "{shown}");
    let (outcomes, code) = act(&node, &["cancel", "--tag=x", "--dry-run"])?;
    let expected: Vec<_> = ids.iter().map(|id| json!({"id": id, "state": "ready"})).collect();
    assert_eq!((outcomes, code), (json!(expected), Some(0)));
    assert_eq!(act(&node, &["delete", &other, NOBODY, "--dry-run"])?.1, Some(1));
    assert_eq!(node.json(["list", "--state=ready,held"])?.as_array().map(Vec::len), Some(13), "nothing was done");
    assert_eq!(node.ok(["cancel", "--tag=x", "--yes"])?, "cancelled 12 jobs");
    assert_eq!(state(&node, &other)?, "held");
    let nothing = node.run(["cancel", "--tag=x", "--yes"])?;
    assert!(text(&nothing.stderr).contains("held, delayed, ready or running"), "{}", text(&nothing.stderr));
    assert_eq!((nothing.status.code(), text(&nothing.stdout).trim()), (Some(0), "cancelled 0 jobs"));
    assert_eq!(act(&node, &["cancel", "--tag=x", "--yes"])?, (json!([]), Some(0)));
    Ok(())
}

#[test]
fn at_a_terminal_whoever_is_there_is_asked() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids: Vec<_> = (0..3).map(|_| submit(&node, ["drunken-sailor", "--tube=night"])).collect::<Result<_, _>>()?;
    for (typed, code, said, expected) in [
        ("n\n", 1, "nothing was done", "ready"),
        ("\n", 1, "nothing was done", "ready"),
        ("", 1, "nothing was done", "ready"),
        ("y\n", 0, "held 3 jobs", "held"),
    ] {
        let Some((status, shown)) = on_terminal(&node, &["hold", "--tube=night"], typed, &[])? else { return Ok(()) };
        assert_eq!(status, Some(code), "{shown}");
        for part in ["hold 3 jobs: 3 ready", &ids[2], "hold them? [y/N]", said] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(state(&node, &ids[0])?, expected, "{typed:?}");
    }
    let answered = on_terminal(&node, &["delete", "--tube=day"], "", &[])?.context("there was one before")?;
    assert!(
        answered.0 == Some(0) && answered.1.contains("deleted 0 jobs"),
        "nobody is asked about nothing: {answered:?}"
    );
    Ok(())
}

#[test]
fn a_filter_without_a_state_means_jobs_that_it_can_be_done_to() -> anyhow::Result<()> {
    let node = sailor()?;
    let dead = dead(&node, &["--tag=x"])?;
    let done = submit(&node, ["drunken-sailor", SOBER, "--tag=x"])?;
    work(&node, &[])?;
    let held = submit(&node, ["drunken-sailor", SOBER, "--tag=x", "--hold"])?;
    let delayed = submit(&node, ["drunken-sailor", SOBER, "--tag=x", "--delay=1h"])?;
    let ready = submit(&node, ["drunken-sailor", SOBER, "--tag=x"])?;
    let meant = |verb: &str, options: &[&str]| -> anyhow::Result<Vec<String>> {
        let change = (verb == "update").then_some("--priority=1");
        let arguments: Vec<_> = [verb, "--tag=x", "--dry-run"].iter().chain(options).chain(&change).copied().collect();
        let outcomes = act(&node, &arguments)?.0;
        outcomes
            .as_array()
            .into_iter()
            .flatten()
            .map(|job| Ok(job["id"].as_str().context("an id")?.to_owned()))
            .collect()
    };
    assert_eq!(meant("cancel", &[])?, [&held, &delayed, &ready].map(String::clone));
    assert_eq!(meant("hold", &[])?, [&delayed, &ready].map(String::clone));
    assert_eq!(meant("release", &[])?, std::slice::from_ref(&held));
    assert_eq!(meant("kick", &[])?, std::slice::from_ref(&dead));
    assert_eq!(meant("kick", &["--state=dead,delayed"])?, [&dead, &delayed].map(String::clone));
    assert_eq!(meant("update", &[])?, [&dead, &held, &delayed, &ready].map(String::clone));
    assert_eq!(meant("delete", &[])?, [&dead, &done, &held, &delayed, &ready].map(String::clone));
    assert_eq!(meant("delete", &["--limit=2"])?, [&dead, &done].map(String::clone));
    assert_eq!(act(&node, &["kick", "--state=done,dead", "--yes"])?.1, Some(1), "a state that is named is tried");
    assert_eq!([state(&node, &dead)?, state(&node, &done)?], ["ready", "done"]);
    Ok(())
}

#[test]
fn more_jobs_than_fit_into_one_batch_are_acted_on_once_each() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids = text(&submit_text(&node, &"{\"algorithm\": \"drunken-sailor\", \"hold\": true}\n".repeat(1203))?.stdout);
    let (outcomes, code) = act(&node, &["release", "--all", "--limit=1100", "--yes"])?;
    let acted: Vec<_> = outcomes.as_array().context("a list")?.iter().filter_map(|job| job["id"].as_str()).collect();
    assert_eq!((acted, code), (ids.lines().take(1100).collect(), Some(0)));
    assert_eq!(node.ok(["release", "--all", "--yes"])?, "released 103 jobs");
    assert_eq!(node.ok(["hold"].into_iter().chain(ids.lines()))?, "held 1,203 jobs");
    if let Some((code, shown)) = on_terminal(&node, &["delete", "--state=held"], "y\n", &[])? {
        assert!(
            code == Some(0) && shown.contains("delete 1,203 jobs") && shown.contains("deleted 1,203 jobs"),
            "{shown}"
        );
        assert_eq!(node.json(["list"])?, json!([]));
    }
    Ok(())
}

#[test]
fn a_running_job_is_cancelled_with_the_reason_and_only_then_deleted() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12"])?;
    let mut worker = Worker::start(&node, &[])?;
    await_state(&node, &id, "running")?;
    for verb in ["hold", "release", "kick", "delete"] {
        let (outcomes, code) = act(&node, &[verb, &id])?;
        assert!(code == Some(1) && outcomes[0]["error"].as_str().is_some_and(|why| why.contains("it is running")));
    }
    let verdict = json!({"kind": "cancelled", "message": "not needed any more"});
    assert_eq!(act(&node, &["cancel", &id, "--reason=not needed any more"])?.1, Some(0));
    assert_eq!((state(&node, &id)?.as_str(), &show(&node, &id)?["verdict"]), ("cancelled", &verdict));
    worker.await_line("nothing of it is published")?;
    assert_eq!(act(&node, &["cancel", &id])?.1, Some(0), "it is as wished already");
    assert_eq!(act(&node, &["delete", &id])?, (json!([{"id": id, "state": "cancelled"}]), Some(0)));
    assert_eq!(node.run(["show", &id])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn deleted_jobs_leave_no_results() -> anyhow::Result<()> {
    let node = sailor()?;
    let (one, two) = (submit(&node, LEAVES_A_FILE)?, submit(&node, LEAVES_A_FILE)?);
    work(&node, &[])?;
    let place = |id: &str| results(&node, id);
    assert!(place(&one).join("1").is_dir() && place(&two).join("1").is_dir());
    node.ok(["delete", &one])?;
    assert!(!place(&one).exists() && place(&two).exists());
    for command in ["result", "logs", "show"] {
        let output = node.run([command, &one])?;
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{command}");
    }
    node.ok(["delete", "--all", "--yes"])?;
    assert!(!place(&two).exists());
    Ok(())
}

#[test]
fn no_job_of_a_paused_tube_is_started_until_it_is_resumed() -> anyhow::Result<()> {
    let node = sailor()?;
    assert_eq!(node.ok(["pause", "default"])?, "tube default is paused until it is resumed");
    let id = submit(&node, ["drunken-sailor", SOBER])?;
    work(&node, &[])?;
    assert_eq!(state(&node, &id)?, "ready");
    assert_eq!(node.json(["resume", "default"])?, json!({"tube": "default", "paused": false}));
    work(&node, &[])?;
    assert_eq!(state(&node, &id)?, "done");
    let again = node.run(["resume", "default"])?;
    assert!(again.status.success() && text(&again.stderr).contains("was not paused"), "{}", text(&again.stderr));
    Ok(())
}

#[test]
fn a_pause_ends_by_itself_when_its_time_has_come() -> anyhow::Result<()> {
    let node = sailor()?;
    let paused = node.json(["pause", "night", "--for=1s"])?;
    assert!(paused["paused"] == true && paused["until"].is_string(), "{paused}");
    let id = submit(&node, ["drunken-sailor", SOBER, "--tube=night"])?;
    let worker = Worker::start(&node, &["--tube=night"])?;
    await_that("the pause is over", || Ok((state(&node, &id)? == "done").then_some(())))?;
    drop(worker);
    for wrong in [
        &["pause", "night", "--until=2001-01-01T00:00:00Z"][..],
        &["pause", "night", "--for=0"],
        &["pause", "night", "--for=1s", "--until=2051-01-01T00:00:00Z"],
        &["pause", "no such tube"],
        &["pause"],
    ] {
        assert_eq!(node.run(wrong)?.status.code(), Some(2), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn what_an_act_has_done_by_the_time_it_breaks_off_can_be_read() -> anyhow::Result<()> {
    let node = sailor()?;
    submit_text(&node, &"{\"algorithm\": \"drunken-sailor\"}\n".repeat(1500))?;
    let mut command = node.command(["cancel", "--all", "--yes", "-o", "json"]);
    let act = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Two pages of three are more than a pipe holds, so the third waits for the reader of the others.
    await_that(
        "two pages are cancelled",
        || Ok((node.json(["status"])?["states"]["cancelled"] == 1000).then_some(())),
    )?;
    let queue = rusqlite::Connection::open(node.data_dir().join("queue.db"))?;
    queue.execute_batch("BEGIN IMMEDIATE")?;
    let output = act.wait_with_output()?;
    let errors = text(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("locked"), "{errors}");
    let told: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    assert_eq!(told.len(), 1000);
    Ok(())
}
