//! The queue in a real beanstalkd server, whose producers are not all ours.

use crate::http::get;
use crate::support::{Worker, await_that, sailor, show, state, submit, text, verdicts, work};
use anyhow::Context;
use longboat_tests::beanstalkd::Beanstalkd;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

mod strangers;
mod trouble;

/// What msg-qworker's producer puts, with its example's id.
const QWORKER: &str = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"mode":"normal"}]"#;
const QWORKER_ID: &str = "bc3a9250-99b9-012e-0f06-549a20077664";

/// A server and a node that uses it; where there is no beanstalkd, the test says so and ends.
fn server() -> anyhow::Result<Option<(Beanstalkd, Longboat)>> {
    match Beanstalkd::start()? {
        Ok(server) => {
            let node = sailor()?.with_queue(&server.url());
            Ok(Some((server, node)))
        }
        Err(reason) => {
            eprintln!("skipped: {reason}");
            Ok(None)
        }
    }
}

/// Another node on the same server, which knows nothing of the first one's jobs.
fn another(server: &Beanstalkd) -> anyhow::Result<Longboat> {
    Ok(sailor()?.with_queue(&server.url()))
}

/// What `list` has.
fn list(node: &Longboat) -> anyhow::Result<Vec<Value>> {
    node.json(["list"])?.as_array().cloned().context("a listing is an array")
}

#[test]
fn a_submitted_job_is_run_and_deleted_and_stays_known_with_its_number() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let id = submit(&node, ["drunken-sailor", "--param=mode=normal", "--priority=7", "--tube=night"])?;
    let mut producer = server.connect()?;
    assert_eq!(producer.job(1, "pri")?.as_deref(), Some("7"));
    assert_eq!((producer.job(1, "tube")?.as_deref(), producer.job(1, "ttr")?.as_deref()), (Some("night"), Some("15")));
    assert_eq!(state(&node, &id)?, "ready");
    work(&node, &["--tube=night", "--name=hand"])?;
    let record = show(&node, &id)?;
    assert_eq!((&record["state"], &record["number"], &record["published"]), (&json!("done"), &json!(1), &json!(1)));
    assert_eq!((verdicts(&record), &record["history"][0]["worker"]), (vec!["done"], &json!("hand")));
    assert_eq!(node.json(["show", "1"])?, record, "it is found by its number too");
    assert_eq!(producer.job(1, "state")?, None, "the server has it no more");
    assert_eq!(node.json(["result", &id])?["verdict"]["kind"], "done");
    assert_eq!(node.json(["status"])?["states"]["done"], 1);
    Ok(())
}

#[test]
fn a_job_of_msg_qworker_runs_unchanged() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let number = producer.put("default", (1337, 0, 3), QWORKER)?;
    let said = work(&node, &[])?;
    assert!(said.contains(" + time left for processing: 3s") && said.contains("priority: 1337"), "{said}");
    let record = show(&node, QWORKER_ID)?;
    assert_eq!((&record["state"], &record["number"]), (&json!("done"), &json!(number)));
    assert_eq!((&record["ttr"], &record["priority"], &record["tube"]), (&json!(3), &json!(1337), &json!("default")));
    Ok(())
}

#[test]
fn a_document_that_was_put_straight_into_the_server_runs_with_and_without_an_id() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let anonymous =
        producer.put("default", (5, 0, 1), r#"{"algorithm": "drunken-sailor", "params": {"mode": "normal"}}"#)?;
    let document =
        format!(r#"{{"id": "{QWORKER_ID}", "algorithm": "drunken-sailor", "params": {{"mode": "normal"}}}}"#);
    producer.put("default", (5, 0, 60), document)?;
    work(&node, &[])?;
    assert_eq!(show(&node, &anonymous.to_string())?["state"], "done");
    assert_eq!(show(&node, QWORKER_ID)?["state"], "done");
    assert_eq!(list(&node)?.len(), 2);
    Ok(())
}

#[test]
fn rubbish_is_buried_and_shown_under_its_number_with_the_reason() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let rubbish: [(&[u8], &str); 6] = [
        (b"hello, sailor", "expected value"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "EOF"),
        (br#"{"algorithm": "drunken-sailor", "colour": "red"}"#, "colour"),
        (br#"{"algorithm": "drunken-sailor", "host": "elsewhere"}"#, "a tube of its own"),
        (b"\x1b[31m[{}]\r\ndelete 1\r\n", "expected value"),
    ];
    let mut numbers = Vec::new();
    for (body, _) in rubbish {
        numbers.push(producer.put("default", (9, 0, 60), body)?);
    }
    producer.put("default", (1337, 0, 60), QWORKER)?;
    work(&node, &["--name=finder"])?;
    assert_eq!(state(&node, QWORKER_ID)?, "done", "none of it is in the way");
    for (number, (body, part)) in numbers.iter().zip(rubbish) {
        let shown = show(&node, &number.to_string())?;
        let reason = shown["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "{reason} for {body:?}");
        assert_eq!(
            (&shown["worker"], &shown["state"], &shown["tube"]),
            (&json!("finder"), &json!("dead"), &json!("default"))
        );
        assert_eq!(shown["length"], body.len());
        assert_eq!(producer.job(*number, "state")?.as_deref(), Some("buried"));
        assert_eq!(producer.job(*number, "pri")?.as_deref(), Some("9"), "it keeps its priority");
    }
    let listed = list(&node)?;
    assert_eq!(listed.len(), 7);
    assert_eq!(listed.iter().filter_map(|one| one["reason"].as_str()).count(), 6);
    for shown in [node.ok(["list"])?, node.ok(["show", &numbers[5].to_string()])?] {
        assert!(shown.contains("expected value") && !shown.contains('\x1b'), "{shown}");
    }
    assert!(list(&node)?.len() > node.json(["list", "--state=done"])?.as_array().map_or(0, Vec::len));
    Ok(())
}

#[test]
fn a_failed_attempt_is_repeated_after_whole_seconds_and_a_dead_job_is_kept_and_kicked() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let params = r#"{"mode": ["exit", "exit", "normal"]}"#;
    let id = submit(&node, ["drunken-sailor", "--max-attempts=2", "--priority=3", "--params", params])?;
    work(&node, &[])?;
    let mut producer = server.connect()?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["failed", "failed"], &json!("dead")));
    assert_eq!(producer.job(1, "releases")?.as_deref(), Some("1"));
    assert_eq!(producer.job(1, "state")?.as_deref(), Some("buried"));
    assert_eq!(producer.job(1, "pri")?.as_deref(), Some("3"));
    assert_eq!(producer.ask("kick-job 1")?, "KICKED", "whoever kicks it");
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!((&record["state"], &record["attempts"], &record["kicks"]), (&json!("done"), &json!(3), &json!(1)));
    Ok(())
}

#[test]
fn a_job_that_has_ended_is_deleted_without_running_again() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    producer.put("default", (1337, 0, 3), QWORKER)?;
    work(&node, &[])?;
    let before = show(&node, QWORKER_ID)?;
    let again = producer.put("default", (1337, 0, 3), QWORKER)?;
    let other = producer.put("default", (1337, 0, 3), QWORKER.replace("normal", "exit"))?;
    let said = work(&node, &[])?;
    assert!(!said.contains("### Started"), "{said}");
    assert_eq!(show(&node, QWORKER_ID)?, before);
    assert_eq!(producer.job(again, "state")?, None, "the same document was done");
    assert_eq!(producer.job(other, "state")?.as_deref(), Some("buried"), "another one is not the same job");
    let reason = show(&node, &other.to_string())?["reason"].to_string();
    assert!(reason.contains("with another document"), "{reason}");
    Ok(())
}

#[test]
fn two_jobs_with_one_id_do_not_run_at_once() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let slow = QWORKER.replace(r#""normal""#, r#""slow","seconds":2"#);
    for _ in 0..2 {
        producer.put("default", (1337, 0, 60), &slow)?;
    }
    let said = work(&node, &["--slots=2"])?;
    assert_eq!(said.matches("### Started").count(), 1, "{said}");
    assert_eq!(verdicts(&show(&node, QWORKER_ID)?), ["done"]);
    assert_eq!(producer.figures("stats-tube default")?.context("a tube")?["current-jobs-ready"], "0");
    Ok(())
}

#[test]
fn jobs_wait_for_their_time_and_expire() -> anyhow::Result<()> {
    let Some((_server, node)) = server()? else { return Ok(()) };
    let delayed = submit(&node, ["drunken-sailor", "--param=mode=normal", "--delay=1200ms"])?;
    let expiring = submit(&node, ["drunken-sailor", "--param=mode=normal", "--delay=1s", "--expires=10ms"])?;
    assert_eq!(state(&node, &delayed)?, "delayed");
    work(&node, &[])?;
    assert_eq!(state(&node, &delayed)?, "done");
    let record = show(&node, &expiring)?;
    assert_eq!((&record["state"], &record["attempts"]), (&json!("cancelled"), &json!(0)));
    Ok(())
}

#[test]
fn what_a_server_cannot_do_is_refused_by_name_and_before_anything_is_put() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let refusal = |arguments: &[&str]| {
        let output = node.run([&["submit", "drunken-sailor"], arguments].concat())?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        anyhow::Ok(text(&output.stderr))
    };
    for (arguments, part) in [
        (["--unique=key"], "beanstalkd cannot refuse a second job with the same key"),
        (["--host=one"], "give that worker a tube of its own"),
        (["--hold"], "submit it later"),
    ] {
        let said = refusal(&arguments)?;
        assert!(said.contains(part), "{said}");
    }
    let large = format!("--params={{\"x\": \"{}\"}}", "y".repeat(66_000));
    let said = refusal(&[&large])?;
    assert!(said.contains("takes 65533") && said.contains("larger -z"), "{said}");
    let batch = format!(
        "{{\"algorithm\":\"drunken-sailor\"}}\n{{\"algorithm\":\"drunken-sailor\",\"params\":{{\"x\":\"{}\"}}}}",
        "y".repeat(66_000)
    );
    assert!(!crate::support::submit_text(&node, &batch)?.status.success());
    assert_eq!(server.connect()?.figures("stats")?.context("figures")?["total-jobs"], "0", "nothing was put");
    let said = text(&node.run(["list", "--tag=x"])?.stderr);
    assert!(said.contains("beanstalkd cannot find jobs by their tags"), "{said}");
    Ok(())
}

#[test]
fn the_largest_job_that_is_taken_survives_the_servers_end() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let empty = submit(&node, ["drunken-sailor", "--params={\"mode\":\"normal\",\"x\":\"\"}", "--delay=1h"])?;
    let bytes = server.connect()?.ask("peek 1")?;
    let length: usize = bytes.rsplit(' ').next().and_then(|length| length.parse().ok()).context(bytes)?;
    assert_eq!(empty.len(), 36);
    // The delay is in the document as well.
    let params = format!("--params={{\"mode\":\"normal\",\"x\":\"{}\"}}", "y".repeat(65_533 - length));
    let id = submit(&node, ["drunken-sailor", "--delay=1h", &params])?;
    server.kill()?;
    server.restart()?;
    assert_eq!(state(&node, &id)?, "delayed");
    Ok(())
}

#[test]
fn another_worker_takes_a_job_whose_submitter_is_told_so() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let other = another(&server)?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    work(&other, &["--name=other"])?;
    assert_eq!(state(&other, &id)?, "done");
    let output = node.run(["show", &id])?;
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("ask on the node of the worker that ran it"), "{said}");
    assert_eq!(list(&node)?, [json!(null); 0]);
    Ok(())
}

#[test]
fn a_job_starts_as_soon_as_it_is_put() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut worker = Worker::start(&node, &["--name=idle", "--tube=default", "--tube=night"])?;
    worker.await_line("serves default, night")?;
    let mut producer = server.connect()?;
    producer.put("night", (1337, 0, 60), QWORKER)?;
    // The node knows of it only once its worker has taken it.
    await_that("the job is done", || Ok((node.json(["list"])?[0]["state"] == "done").then_some(())))?;
    assert_eq!(show(&node, QWORKER_ID)?["attempts"], 1);
    assert_eq!(node.json(["status"])?["workers"][0]["name"], "idle");
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    assert_eq!(node.json(["status"])?["workers"], json!([]));
    Ok(())
}

#[test]
fn a_worker_of_a_server_without_a_binlog_says_what_that_means() -> anyhow::Result<()> {
    let server = match Beanstalkd::forgetful()? {
        Ok(server) => server,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return Ok(());
        }
    };
    let node = sailor()?.with_queue(&server.url());
    let output = node.run(["worker", "--until-empty"])?;
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("do not survive its end; start it with -b"), "{said}");
    Ok(())
}

#[test]
fn a_server_that_is_not_there_or_not_one_is_named() -> anyhow::Result<()> {
    let node = sailor()?;
    for (url, code, part) in [
        ("beanstalkd://127.0.0.1:1", 1, "beanstalkd://127.0.0.1:1 cannot be reached"),
        ("beanstalkd://127.0.0.1/tube", 2, "after the port"),
        ("redis://127.0.0.1", 2, "serves sqlite:PATH and beanstalkd://HOST:PORT"),
    ] {
        for command in [&["status", "--queue", url][..], &["worker", "--until-empty", "--queue", url]] {
            let output = node.run(command)?;
            let said = text(&output.stderr);
            assert!(output.status.code() == Some(code) && said.contains(part), "{said}");
        }
    }
    Ok(())
}

#[test]
fn jobs_of_a_server_and_of_the_files_own_queue_are_kept_apart() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let url = server.url();
    let theirs = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    let file = format!("sqlite:{}", node.data_dir().join("queue.db").display());
    let ours = submit(&node, ["drunken-sailor", "--param=mode=normal", "--queue", &file])?;
    node.ok(["worker", "--until-empty", "--queue", &file])?;
    assert_eq!(state(&node, &theirs)?, "ready", "the worker of the file has left it alone");
    let ids = |queue: &str| {
        let listed = node.json(["list", "--queue", queue])?;
        anyhow::Ok(listed.as_array().into_iter().flatten().map(|job| job["id"].clone()).collect::<Vec<_>>())
    };
    assert_eq!((ids(&url)?, ids(&file)?), (vec![json!(theirs)], vec![json!(ours)]));
    assert_eq!(node.json(["status", "--queue", &file])?["states"]["ready"], 0);
    work(&node, &[])?;
    assert_eq!(state(&node, &theirs)?, "done");
    Ok(())
}

#[test]
fn a_job_that_another_nodes_worker_has_ended_is_told_of_and_keeps_nobody_waiting() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let theirs = submit(&node, ["drunken-sailor", "--param=mode=normal", "--tube=theirs"])?;
    let ours = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    work(&another(&server)?, &["--tube=theirs"])?;
    work(&node, &[])?;
    let waited = node.command(["wait", &theirs, &ours, "-o", "json"]).output()?;
    assert_eq!(waited.status.code(), Some(1));
    let waited: Value = serde_json::from_slice(&waited.stdout)?;
    let error = waited[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("another worker has ended it") && error.contains("ask on the node"), "{waited}");
    assert_eq!(waited[1]["state"], "done");
    let serving = node.start(["serve"])?;
    let answer = get(&format!("{}/{theirs}", serving.url))?;
    assert_eq!((answer.status, &answer.json()?["error"]), (404, &json!(error)));
    assert!(answer.header("retry-after").is_err(), "asking again is in vain");
    Ok(())
}

#[test]
fn a_node_is_ready_only_while_its_server_answers() -> anyhow::Result<()> {
    let Some((mut server, node)) = server()? else { return Ok(()) };
    let serving = node.start(["serve"])?;
    let ready = format!("{}/readyz", serving.url);
    assert_eq!(get(&ready)?.status, 200);
    server.kill()?;
    assert_eq!(get(&ready)?.status, 503);
    Ok(())
}
