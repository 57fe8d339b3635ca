//! Jobs that foreign producers put into a real beanstalkd server, and that a worker takes from there into its queue.

use crate::http::get;
use crate::support::{Worker, await_state, await_that, file, sailor, show, state, text, verdicts, work};
use anyhow::{Context, ensure};
use longboat_tests::beanstalkd::{Beanstalkd, Producer};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

mod trouble;

/// What msg-qworker's producer puts, with its example's id.
const QWORKER: &str = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"mode":"normal"}]"#;
const QWORKER_ID: &str = "bc3a9250-99b9-012e-0f06-549a20077664";
/// What a producer says with a put: priority, delay and ttr.
const PUT: (u32, u32, u32) = (1337, 0, 60);

/// A server and a node; where there is no beanstalkd, the test says so and ends.
fn server() -> anyhow::Result<Option<(Beanstalkd, Longboat)>> {
    match Beanstalkd::start()? {
        Ok(server) => Ok(Some((server, sailor()?))),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            Ok(None)
        }
    }
}

/// The option by which a worker takes jobs from the server.
fn intake(server: &Beanstalkd) -> String {
    format!("--intake={}", server.url())
}

/// Takes and works until neither server nor queue has anything left to do.
fn take(node: &Longboat, server: &Beanstalkd, options: &[&str]) -> anyhow::Result<String> {
    work(node, &[&[&*intake(server)], options].concat())
}

/// A document for the sailor with these params and fields.
#[expect(clippy::needless_pass_by_value, reason = "callers write json!(…)")]
fn job(params: Value, fields: Value) -> String {
    let mut document = json!({"algorithm": "drunken-sailor", "params": params});
    for (name, value) in fields.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document.to_string()
}

fn sober() -> String {
    job(json!({"mode": "normal"}), json!({}))
}

/// A job whose first attempt does not end by itself, and whose second one behaves.
fn stuck(fields: Value) -> String {
    let mut fields = fields;
    (fields["ttr"], fields["limits"]) = (json!("60s"), json!({"fuel": 1_000_000_000_000_u64}));
    job(json!({"mode": ["endless-loop", "normal"]}), fields)
}

/// What `list` has.
fn list(node: &Longboat) -> anyhow::Result<Vec<Value>> {
    node.json(["list"])?.as_array().cloned().context("a listing is an array")
}

/// The id of the only job that a node knows.
fn only(node: &Longboat) -> anyhow::Result<String> {
    let jobs = list(node)?;
    ensure!(jobs.len() == 1, "one job was expected: {jobs:?}");
    Ok(jobs[0]["id"].as_str().context("a job has an id")?.to_owned())
}

/// What `intake list` has.
fn rubbish(node: &Longboat) -> anyhow::Result<Vec<Value>> {
    node.json(["intake", "list"])?.as_array().cloned().context("a listing is an array")
}

/// Waits until the server has a job in a state, or has it no more.
fn await_there(producer: &mut Producer, number: u64, wanted: Option<&str>) -> anyhow::Result<()> {
    await_that(&format!("the server's job {number} is {wanted:?}"), || {
        Ok((producer.job(number, "state")?.as_deref() == wanted).then_some(()))
    })
}

#[test]
fn a_job_of_msg_qworker_runs_unchanged_and_is_deleted_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let number = producer.put("night", (1337, 0, 3), QWORKER)?;
    let said = take(&node, &server, &["--tube=night", "--name=hand"])?;
    assert!(said.contains(" + time left for processing: 3s") && said.contains("priority: 1337"), "{said}");
    let record = show(&node, QWORKER_ID)?;
    assert_eq!((&record["state"], &record["published"], verdicts(&record)), (&json!("done"), &json!(1), vec!["done"]));
    assert_eq!((&record["ttr"], &record["priority"], &record["tube"]), (&json!(3), &json!(1337), &json!("night")));
    assert_eq!(record["history"][0]["worker"], "hand");
    assert_eq!(producer.job(number, "state")?, None, "the server has it no more");
    assert_eq!(node.json(["result", QWORKER_ID])?["verdict"]["kind"], "done");
    let serving = node.start(["serve"])?;
    assert_eq!(get(&format!("{}/{QWORKER_ID}", serving.url))?.status, 200);
    Ok(())
}

#[test]
fn a_document_runs_with_and_without_an_id() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    producer.put("default", (5, 0, 1), sober())?;
    producer.put("default", (6, 0, 60), job(json!({"mode": "normal"}), json!({"id": QWORKER_ID, "tags": ["ours"]})))?;
    take(&node, &server, &[])?;
    let jobs = list(&node)?;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        let is_ours = job["id"] == QWORKER_ID;
        assert_eq!((&job["state"], &job["priority"]), (&json!("done"), &json!(if is_ours { 6 } else { 5 })));
    }
    assert_eq!(node.json(["list", "--tag=ours"])?[0]["id"], QWORKER_ID);
    assert_eq!(producer.figures("stats")?.context("figures")?["current-jobs-ready"], "0");
    Ok(())
}

#[test]
fn a_job_starts_as_soon_as_it_is_put() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    // One address names its tube, and the configuration names the server.
    file(&node, "config.toml", format!("[intake]\nservers = [\"{}/night\"]\n", server.url()))?;
    let worker = Worker::start(&node, &["--name=idle", "--tube=other"])?;
    await_that("the worker is known", || Ok(node.json(["status"])?["workers"].get(0).cloned()))?;
    let mut producer = server.connect()?;
    let elsewhere = producer.put("default", PUT, sober())?;
    producer.put("night", PUT, QWORKER)?;
    await_that("the job is done", || Ok((node.json(["list"])?[0]["state"] == "done").then_some(())))?;
    assert_eq!(only(&node)?, QWORKER_ID);
    assert_eq!(producer.job(elsewhere, "state")?.as_deref(), Some("ready"), "another tube is left alone");
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    Ok(())
}

#[test]
fn rubbish_is_buried_and_listed_with_the_reason() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let bodies: [(&[u8], &str); 6] = [
        (b"hello, sailor", "expected value"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "EOF"),
        (br#"{"algorithm": "drunken-sailor", "colour": "red"}"#, "colour"),
        (br#"{"algorithm": "Drunken Sailor"}"#, "Drunken Sailor"),
        (b"\x1b[31m[{}]\r\ndelete 1\r\n", "expected value"),
    ];
    let numbers =
        bodies.iter().map(|(body, _)| producer.put("default", (9, 0, 60), body)).collect::<anyhow::Result<Vec<_>>>()?;
    producer.put("default", PUT, QWORKER)?;
    let said = take(&node, &server, &["--name=finder"])?;
    assert_eq!(state(&node, QWORKER_ID)?, "done", "none of it is in the way: {said}");
    let listed = rubbish(&node)?;
    assert_eq!(listed.len(), bodies.len());
    for (number, (body, part)) in numbers.iter().zip(bodies) {
        let found = listed.iter().find(|found| found["number"] == *number).context("it is listed")?;
        let reason = found["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(part), "{reason} for {body:?}");
        assert_eq!(
            (&found["worker"], &found["tube"], &found["server"], &found["length"]),
            (&json!("finder"), &json!("default"), &json!(server.url()), &json!(body.len()))
        );
        assert_eq!(producer.job(*number, "state")?.as_deref(), Some("buried"));
        assert_eq!(producer.job(*number, "pri")?.as_deref(), Some("9"), "it keeps its priority");
    }
    let shown = node.ok(["intake", "list"])?;
    assert!(shown.contains("expected value") && !shown.contains('\x1b'), "{shown}");
    assert_eq!(list(&node)?.len(), 1, "it is not among the jobs");

    // What was deleted there is listed no more; what was kicked there is looked at again.
    assert_eq!(producer.ask(&format!("delete {}", numbers[0]))?, "DELETED");
    assert_eq!(producer.ask(&format!("kick-job {}", numbers[1]))?, "KICKED");
    let worker = Worker::start(&node, &[&intake(&server), "--name=again"])?;
    await_that("the list is up to date", || {
        let listed = rubbish(&node)?;
        let of = |number: u64| listed.iter().find(|found| found["number"] == number);
        let is_so = of(numbers[0]).is_none() && of(numbers[1]).is_some_and(|found| found["worker"] == "again");
        Ok(is_so.then_some(()))
    })?;
    assert_eq!(producer.job(numbers[1], "state")?.as_deref(), Some("buried"));
    worker.kill()
}

#[test]
fn a_failed_attempt_is_repeated_and_a_dead_job_is_buried_and_kicked_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let params = json!({"mode": ["exit", "exit", "normal"]});
    let number = producer.put("default", (3, 0, 60), job(params, json!({"max_attempts": 2})))?;
    take(&node, &server, &[])?;
    let id = only(&node)?;
    let record = show(&node, &id)?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["failed", "failed"], &json!("dead")));
    assert_eq!(producer.job(number, "state")?.as_deref(), Some("buried"));
    assert_eq!((producer.job(number, "pri")?, producer.job(number, "reserves")?), (Some("3".into()), Some("1".into())));
    assert_eq!(producer.ask(&format!("kick-job {number}"))?, "KICKED");
    take(&node, &server, &[])?;
    let record = show(&node, &id)?;
    assert_eq!((&record["state"], &record["attempts"], &record["kicks"]), (&json!("done"), &json!(3), &json!(1)));
    assert_eq!(producer.job(number, "state")?, None);
    assert_eq!(rubbish(&node)?, [json!(null); 0], "it was a job all the time");
    Ok(())
}

#[test]
fn a_job_that_is_kicked_here_is_deleted_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let number = producer.put("default", PUT, job(json!({"mode": ["exit", "normal"]}), json!({"max_attempts": 1})))?;
    take(&node, &server, &[])?;
    let id = only(&node)?;
    assert_eq!((state(&node, &id)?.as_str(), producer.job(number, "state")?.as_deref()), ("dead", Some("buried")));
    node.ok(["kick", &id])?;
    let worker = Worker::start(&node, &[&intake(&server)])?;
    await_state(&node, &id, "done")?;
    await_there(&mut producer, number, None)?;
    worker.kill()?;
    assert_eq!(show(&node, &id)?["attempts"], 2);
    Ok(())
}

#[test]
fn a_job_that_has_ended_here_is_deleted_there_without_a_run() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let cancelled = "00000000-0000-4000-8000-000000000001";
    node.ok(["submit", "drunken-sailor", "--param=mode=normal", "--id", cancelled])?;
    node.ok(["cancel", cancelled])?;
    producer.put("default", (1337, 0, 3), QWORKER)?;
    take(&node, &server, &[])?;
    let before = show(&node, QWORKER_ID)?;
    let again = producer.put("default", (1337, 0, 3), QWORKER)?;
    let other = producer.put("default", (1337, 0, 3), QWORKER.replace("normal", "exit"))?;
    let ended = producer.put("default", (1024, 0, 3), job(json!({"mode": "normal"}), json!({"id": cancelled})))?;
    let said = take(&node, &server, &[])?;
    assert!(!said.contains("### Started"), "{said}");
    assert_eq!(show(&node, QWORKER_ID)?, before);
    assert_eq!((producer.job(again, "state")?, producer.job(ended, "state")?), (None, None));
    assert_eq!(producer.job(other, "state")?.as_deref(), Some("buried"), "another document is not the same job");
    let listed = rubbish(&node)?;
    assert_eq!((listed.len(), &listed[0]["number"]), (1, &json!(other)));
    assert!(listed[0]["reason"].to_string().contains("another document"), "{listed:?}");
    Ok(())
}

#[test]
fn two_puts_of_one_job_are_one_job() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let slow = QWORKER.replace(r#""normal""#, r#""slow","seconds":2"#);
    for _ in 0..2 {
        producer.put("default", PUT, &slow)?;
    }
    let said = take(&node, &server, &["--slots=2"])?;
    assert_eq!(said.matches("### Started").count(), 1, "{said}");
    assert_eq!((only(&node)?.as_str(), verdicts(&show(&node, QWORKER_ID)?)), (QWORKER_ID, vec!["done"]));
    assert_eq!(producer.figures("stats")?.context("figures")?["current-jobs-ready"], "0");
    Ok(())
}

#[test]
fn until_empty_waits_for_what_is_delayed_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    producer.put("default", (0, 2, 60), QWORKER)?;
    let held = producer.put("default", PUT, "rubbish")?;
    take(&node, &server, &[])?;
    assert_eq!(state(&node, QWORKER_ID)?, "done");
    // What is buried keeps nobody waiting, and what another consumer has reserved does.
    assert_eq!(producer.job(held, "state")?.as_deref(), Some("buried"));
    let reserved = producer.put("default", PUT, sober())?;
    assert!(producer.ask("reserve")?.starts_with("RESERVED"));
    let option = intake(&server);
    let mut worker = Worker::start(&node, &["--until-empty", &option])?;
    worker.await_line("serves default")?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    // The reserved body is still to be read on that connection.
    drop(producer);
    let (status, said) = worker.join()?;
    assert!(status.success() && said.contains("### Started"), "{said}");
    assert_eq!(server.connect()?.job(reserved, "state")?, None);
    Ok(())
}

#[test]
fn what_waits_for_long_leaves_its_server_and_is_this_queues_alone() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let ids = [1, 2, 3].map(|number| format!("00000000-0000-4000-8000-00000000000{number}"));
    let fields = [json!({"hold": true}), json!({"host": "another"}), json!({"delay": "1h"})];
    for (id, fields) in ids.iter().zip(fields) {
        let mut fields = fields;
        fields["id"] = json!(id);
        producer.put("default", PUT, job(json!({"mode": "normal"}), fields))?;
    }
    let option = intake(&server);
    let worker = Worker::start(&node, &["--name=here", &option])?;
    for number in 1..=3 {
        await_there(&mut producer, number, None)?;
    }
    let states = ids.iter().map(|id| state(&node, id)).collect::<anyhow::Result<Vec<_>>>()?;
    assert_eq!(states, ["held", "ready", "delayed"]);
    node.ok(["release", &ids[0]])?;
    node.ok(["update", &ids[2], "--delay=0s"])?;
    await_state(&node, &ids[0], "done")?;
    await_state(&node, &ids[2], "done")?;
    worker.kill()?;
    work(&node, &["--name=another"])?;
    assert_eq!(state(&node, &ids[1])?, "done");
    Ok(())
}

#[test]
fn a_cancelled_job_is_deleted_there() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let mut producer = server.connect()?;
    let number = producer.put("default", PUT, stuck(json!({"id": QWORKER_ID})))?;
    let option = intake(&server);
    let worker = Worker::start(&node, &[&option])?;
    await_that("it runs", || Ok((node.json(["list"])?[0]["state"] == "running").then_some(())))?;
    assert_eq!(producer.job(number, "state")?.as_deref(), Some("reserved"));
    node.ok(["cancel", QWORKER_ID])?;
    await_there(&mut producer, number, None)?;
    assert_eq!(state(&node, QWORKER_ID)?, "cancelled");
    worker.kill()
}

#[test]
fn an_unknown_algorithm_is_left_to_a_node_that_has_it() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let (stranger, option) = (Longboat::new()?, intake(&server));
    let mut producer = server.connect()?;
    // First nobody has it.
    let number = producer.put("default", PUT, QWORKER)?;
    let said = take(&stranger, &server, &[])?;
    assert_eq!(producer.job(number, "releases")?.as_deref(), Some("3"), "{said}");
    assert_eq!(producer.job(number, "state")?.as_deref(), Some("buried"));
    let listed = rubbish(&stranger)?;
    assert_eq!((listed.len(), list(&stranger)?.len()), (1, 0));
    assert!(listed[0]["reason"].to_string().contains("drunken-sailor"), "{listed:?}");
    // Then another node does.
    let number = producer.put("default", PUT, sober())?;
    let worker = Worker::start(&stranger, &[&option])?;
    await_that("it was released once", || {
        Ok((producer.job(number, "releases")?.as_deref() == Some("1")).then_some(()))
    })?;
    take(&node, &server, &[])?;
    worker.kill()?;
    assert_eq!(state(&node, &only(&node)?)?, "done");
    Ok(())
}

#[test]
fn a_worker_that_may_dial_nowhere_reaches_its_server() -> anyhow::Result<()> {
    let Some((server, node)) = server()? else { return Ok(()) };
    let nowhere = |section| format!("[{section}]\ndeny = [\"0.0.0.0/0\", \"::/0\"]\n");
    file(&node, "config.toml", nowhere("input") + &nowhere("result_url"))?;
    server.connect()?.put("default", PUT, QWORKER)?;
    let said = take(&node, &server, &[])?;
    assert_eq!(state(&node, QWORKER_ID)?, "done", "{said}");
    Ok(())
}

#[test]
fn addresses_that_make_no_sense_are_refused_by_name() -> anyhow::Result<()> {
    let node = sailor()?;
    let refused = |arguments: &[&str]| {
        let output = node.run(arguments)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        anyhow::Ok(text(&output.stderr))
    };
    for command in [&["status"][..], &["submit", "drunken-sailor"], &["worker", "--until-empty"], &["serve"]] {
        let said = refused(&[command, &["--queue", "beanstalkd://127.0.0.1:11300"]].concat())?;
        assert!(said.contains("--intake beanstalkd://HOST:PORT"), "{said}");
    }
    assert!(refused(&["status", "--queue", "redis://127.0.0.1"])?.contains("sqlite:PATH"));
    for (address, part) in [("http://x", "beanstalkd://HOST:PORT"), ("beanstalkd://x/-a", "tube")] {
        let said = refused(&["worker", "--intake", address])?;
        assert!(said.contains(part), "{said}");
    }
    file(&node, "config.toml", "[intake]\nservers = [\"beanstalkd://u@x\"]\n")?;
    let output = node.run(["worker", "--until-empty"])?;
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("[intake] servers") && said.contains("without a user"), "{said}");
    Ok(())
}
