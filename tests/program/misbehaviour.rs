//! Every way to misbehave, alone and all at once beside honest jobs.

mod node;
mod process;
mod row;
mod server;
mod table;

use crate::support::{argument, results};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use longboat_tests::{sample, workspace};
use node::{Node, below};
use process::{Process, Pulse};
use row::{Ends, Row};
use serde_json::{Value, json};

/// How much later than its `ttr` an attempt may end on a machine that is busy with other things, in milliseconds.
const GRACE: f64 = 5_000.0;
/// What the document says beside the result, and the log beside what was kept of it, in bytes.
const FRAME: u64 = 16 << 10;
/// Slots of the worker that runs all guests at once.
const SLOTS: u64 = 4;
/// What a worker may take beyond a slot's memory limit for each slot: its own code and the compiled code of all guests,
/// pages of the pool that stay resident, logs and results on their way to the disk, and the queue.
const CONSTANT: u64 = 128 << 20;
/// Descriptors that come and go: connections of those who ask for results.
const DESCRIPTORS: usize = 4;
/// How long all of it may take on a machine that is busy with other things.
const PATIENCE: &str = "5m";

/// Fails unless the attempt of a row ended as the row says, and left no more than it may.
fn check(node: &Node, row: &Row, id: &str) -> anyhow::Result<()> {
    let document = node.document(id)?;
    let (verdict, usage, limits) = (&document["verdict"], &document["usage"], row.limits());
    ensure!(verdict["kind"] == row.ends.kind(), "it should be {:?}", row.ends);
    ensure!(document["state"] == if row.ends == Ends::Done { "done" } else { "dead" }, "the state is wrong");
    ensure!(verdict["limit"] == json!(row.ends.limit()), "the limit should be {:?}", row.ends.limit());
    ensure!(verdict["allowed"] == json!(row.allowed()), "allowed are {:?}", row.allowed());
    ensure!(verdict["observed"].as_u64() >= row.allowed(), "what was observed is within the limit");
    let message = verdict["message"].as_str().unwrap_or_default();
    ensure!(row.ends == Ends::Done || message.contains(row.ends.limit().unwrap_or_default()), "the message is poor");
    ensure!(row.ends == Ends::Done || !message.is_empty(), "there is no message");
    let (code, permanent) =
        if let Ends::Failed(code, permanent) = row.ends { (code, permanent) } else { (None, false) };
    ensure!(verdict["exit_code"] == json!(code), "the exit code should be {code:?}");
    ensure!(
        row.ends == Ends::InputUnavailable || verdict["permanent"] == json!(permanent.then_some(true)),
        "whether it failed for good is wrong"
    );
    let wall = usage["wall_ms"].as_f64().context("a time")?;
    ensure!(wall <= limits.ttr_ms as f64 + GRACE, "it took {wall} ms");
    ensure!(usage["fuel"].as_u64().is_some_and(|fuel| fuel <= limits.fuel), "it used more fuel than it may");
    ensure!(usage["peak_memory"].as_u64().is_some_and(|peak| peak <= limits.memory), "it used more memory than it may");
    check_what_is_kept(node, row, id, &document)
}

fn check_what_is_kept(node: &Node, row: &Row, id: &str, document: &Value) -> anyhow::Result<()> {
    let (limits, directory) = (row.limits(), results(&node.longboat, id));
    let size = |command: &str| Ok::<_, anyhow::Error>(node.longboat.run([command, id])?.stdout.len() as u64);
    ensure!(size("logs")? <= limits.log_size + FRAME, "its log is too long");
    ensure!(size("result")? <= limits.document_size + FRAME, "its document is too large");
    if document["files"] == json!([]) {
        ensure!(!directory.exists(), "it has left something that its document does not name");
        return Ok(());
    }
    ensure!(row.ends == Ends::Done, "files of a failure are kept");
    let (mut bytes, mut entries) = (0, 0);
    for entry in below(&directory.join("1"))? {
        let kind = entry.file_type()?;
        ensure!(kind.is_file() || kind.is_dir(), "{} is neither file nor directory", entry.path().display());
        let name = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is no text"))?;
        ensure!(!name.chars().any(char::is_control), "{name:?} could not be shown safely");
        (bytes, entries) = (bytes + if kind.is_file() { entry.metadata()?.len() } else { 0 }, entries + 1);
    }
    ensure!(
        bytes <= limits.result_size && entries <= limits.result_files,
        "{bytes} bytes in {entries} entries are kept"
    );
    Ok(())
}

/// Checks all rows, and tells of all that are wrong at once.
fn check_all(node: &Node, rows: &[Row], ids: &[String]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (row, id) in rows.iter().zip(ids) {
        if let Err(error) = check(node, row, id) {
            let said = node.document(id).unwrap_or_default();
            wrong.push(format!("{row}: {error:#}\n    {} {}", said["verdict"], said["usage"]));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    Ok(())
}

/// Runs every row one after the other, by a worker that looks at deadlines so.
fn alone(epoch_checks: &str) -> anyhow::Result<()> {
    let node = Node::new(&[])?;
    let rows = node.rows();
    let (ids, _) = node.submit(&rows, &[])?;
    let mut worker = node.longboat.command(["worker", "--until-empty", "--slots=1"]);
    let output = worker.env("LONGBOAT__WORKER__EPOCH_CHECKS", epoch_checks).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_all(&node, &rows, &ids)?;
    node.check_nothing_is_left()
}

#[test]
fn each_guest_that_misbehaves_alone_gets_its_verdict_and_leaves_nothing_above_its_quota() -> anyhow::Result<()> {
    alone("in-guest")
}

#[test]
fn each_gets_the_same_verdict_where_deadlines_are_looked_at_between_slices() -> anyhow::Result<()> {
    alone("at-slices")
}

#[test]
fn all_guests_that_misbehave_at_once_harm_no_honest_job() -> anyhow::Result<()> {
    let node = Node::new(&["forecast", "power-flow", "storage"])?;
    let server = node.longboat.start(["up".to_owned(), format!("--slots={SLOTS}")])?;
    let process = Process::of(&server.child);
    let (_, warm) = node.submit(&[], &node.short_jobs())?;
    await_all(&node.longboat, &warm)?;
    let descriptors = process.as_ref().map(Process::descriptors).transpose()?;

    let pulse = Pulse::start(&server.url);
    let rows = node.rows();
    let mut honest = vec![with_input("forecast", &json!({"horizon": 4}), "demand.csv")?];
    honest.push(with_input("power-flow", &json!({}), "case14.json")?);
    honest.push(json!({"algorithm": "storage", "params": {"scenarios": 20}}));
    honest.extend(vec![sober(); 20]);
    let (ids, honest) = node.submit(&rows, &honest)?;
    await_all(&node.longboat, &ids)?;
    await_all(&node.longboat, &honest)?;
    pulse.stop()?;

    for id in &honest {
        ensure!(node.document(id)?["verdict"]["kind"] == "done", "an honest job: {}", node.document(id)?);
    }
    if let Some((process, descriptors)) = process.zip(descriptors) {
        process.await_descriptors(descriptors + DESCRIPTORS)?;
        let most = rows.iter().map(|row| row.limits().memory).max().unwrap_or_default();
        let (peak, allowed) = (process.peak_memory()?, SLOTS * most + CONSTANT);
        ensure!(peak <= allowed, "the worker took {peak} bytes of memory, where {allowed} are promised");
    }
    check_all(&node, &rows, &ids)?;
    node.check_nothing_is_left()
}

#[test]
fn modules_that_nobody_can_run_are_refused_before_they_are_registered_or_run() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    for (module, part) in table::unrunnable()? {
        for command in [&["algorithm", "add", "refused"][..], &["run"]] {
            let output = node.run(command.iter().copied().chain([argument(&module)?]))?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{}: {said}", module.display());
            assert!(said.contains(part), "{}: {said}", module.display());
        }
    }
    assert_eq!(node.json(["algorithm", "list"])?, json!([]));
    Ok(())
}

#[test]
fn every_mode_of_the_sailor_is_in_the_table_and_in_its_readme() -> anyhow::Result<()> {
    let sailor = workspace().join("algorithms/drunken-sailor");
    let modes = std::fs::read_to_string(sailor.join("src/mode.rs"))?;
    let modes: Vec<_> = modes.lines().filter_map(|line| kebab(line.strip_prefix("    ")?.strip_suffix(',')?)).collect();
    ensure!(modes.contains(&"endless-loop".to_owned()), "the modes were not found: {modes:?}");
    let (readme, rows) = (std::fs::read_to_string(sailor.join("README.md"))?, table::rows());
    for mode in modes {
        assert!(readme.contains(&format!("`{mode}`")), "the README says nothing of {mode}");
        let in_table = format!("\"mode\":\"{mode}\"");
        assert!(rows.iter().any(|row| row.to_string().contains(&in_table)), "no row is about {mode}");
    }
    Ok(())
}

/// A name of an enum's variant as JSON spells it; none if it is something else.
fn kebab(name: &str) -> Option<String> {
    let is_name = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
    let spell = |c: char| if c.is_uppercase() { format!("-{}", c.to_lowercase()) } else { c.to_string() };
    is_name.then(|| name.chars().map(spell).collect::<String>().trim_start_matches('-').to_owned())
}

/// A job that does nothing wrong.
fn sober() -> Value {
    json!({"algorithm": "drunken-sailor", "params": {"mode": "normal"}})
}

/// A job that works on its algorithm's sample data.
fn with_input(algorithm: &str, params: &Value, file: &str) -> anyhow::Result<Value> {
    let encode =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    let data: String = std::fs::read(sample(algorithm, file))?.into_iter().map(encode).collect();
    Ok(json!({"algorithm": algorithm, "params": params, "input": format!("data:,{data}")}))
}

/// Waits until jobs have ended, well or not.
fn await_all(node: &Longboat, ids: &[String]) -> anyhow::Result<()> {
    let arguments = ["wait", "--timeout", PATIENCE].into_iter().chain(ids.iter().map(String::as_str));
    node.run(arguments)?;
    Ok(())
}
