//! The walls around the program itself, as its users meet them. What holds behind them is tried one thing at a time
//! in the library's own tests; here the program has to live with them.

use crate::support::{
    Worker, argument, await_state, await_that, file, register_sailor, sailor, show, submit, text, verdicts, work,
};
use anyhow::{Context, ensure};
use longboat_tests::data_server::DataServer;
use longboat_tests::program::Longboat;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Whether this kernel can confine the program wholly; if not, whether it says what it lacks.
fn kernel_has_all() -> anyhow::Result<bool> {
    let output = Longboat::new()?.run(["worker", "--until-empty", "--require-confinement"])?;
    let said = text(&output.stderr);
    if output.status.success() {
        ensure!(said.contains("confined by Landlock") && !said.contains("not confined"), "{said}");
        return Ok(true);
    }
    ensure!(said.contains("confined wholly or not to start") && said.contains("\nnot confined: "), "{said}");
    println!("skipped: {said}");
    Ok(false)
}

fn configure(node: &Longboat, worker: &str) -> anyhow::Result<()> {
    file(node, "config.toml", format!("[worker]\n{worker}\n")).map(drop)
}

/// A job that has run to its end without any trouble.
fn done(node: &Longboat) -> anyhow::Result<()> {
    let id = submit(node, ["drunken-sailor", "--param=mode=normal"])?;
    work(node, &[])?;
    ensure!(verdicts(&show(node, &id)?) == ["done"], "{}", show(node, &id)?);
    Ok(())
}

/// Puts a directory elsewhere, and a link in its place.
fn move_away(from: &Path, to: PathBuf) -> anyhow::Result<()> {
    std::fs::create_dir_all(from)?;
    // The other place may be on another file system.
    let copied = std::process::Command::new("cp").arg("-a").args([from, &to]).status()?;
    ensure!(copied.success(), "{} could not be copied", from.display());
    std::fs::remove_dir_all(from)?;
    Ok(std::os::unix::fs::symlink(to, from)?)
}

#[test]
fn a_confined_worker_resolves_names_fetches_compiles_and_publishes() -> anyhow::Result<()> {
    let node = sailor()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(DataServer::start([file(&node, "data.csv", "a\n1\n")?]))?;
    node.allow_input(server.address())?;
    let url = format!("http://localhost:{}/data.csv", server.address().port());
    let id = submit(&node, ["drunken-sailor", "--param=mode=normal", "--input", &url])?;
    let output = node.run(["worker", "--until-empty"])?;
    let said = text(&output.stderr);
    ensure!(output.status.success() && said.contains("confined"), "{said}");
    let document = node.json(["result", &id])?;
    assert_eq!((&document["state"], &document["usage"]["input_bytes"]), (&json!("done"), &json!(4)), "{said}");
    ensure!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let compiled = std::fs::read_dir(node.data_dir().join("cache"))?.count();
    assert!(compiled > 0, "compiled code is kept");
    Ok(())
}

#[test]
fn a_confined_worker_holds_a_lock_that_ends_with_it() -> anyhow::Result<()> {
    let node = sailor()?;
    let worker = Worker::start(&node, &[])?;
    let locks = || Ok::<_, anyhow::Error>(std::fs::read_dir(node.data_dir().join("queue.db.workers"))?.count());
    await_that("the worker has its lock", || Ok((locks().unwrap_or_default() == 1).then_some(())))?;
    worker.signal("TERM")?;
    ensure!(worker.join()?.0.success());
    assert_eq!(locks()?, 0, "its file goes with the worker");
    Ok(())
}

#[test]
fn a_worker_says_at_its_start_which_walls_stand() -> anyhow::Result<()> {
    if !kernel_has_all()? {
        return Ok(());
    }
    let node = Longboat::new()?;
    let output = node.run(["worker", "--until-empty"])?;
    let said = text(&output.stderr);
    let line = said.lines().find(|line| line.starts_with("confined by Landlock")).context(said.clone())?;
    let data = node.data_dir().canonicalize()?;
    for part in [
        "no new privileges; no execution",
        &format!("writes below {} only", data.display()),
        "TCP: binds no port, dials any",
    ] {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
    let nowhere = |section| format!("[{section}]\ndeny = [\"0.0.0.0/0\", \"::/0\"]\n");
    for (config, dials) in [
        (nowhere("input"), "dials any"),
        (nowhere("result_url"), "dials any"),
        (nowhere("input") + &nowhere("result_url"), "dials 53 only"),
    ] {
        file(&node, "config.toml", &config)?;
        let said = text(&node.run(["worker", "--until-empty"])?.stderr);
        assert!(said.contains(&format!("TCP: binds no port, {dials}")), "{config}: {said}");
    }
    Ok(())
}

#[test]
fn every_thread_of_a_worker_is_confined_and_the_pagemap_scan_goes_on() -> anyhow::Result<()> {
    let held = |mode: &str| -> anyhow::Result<(Vec<String>, bool)> {
        let node = sailor()?;
        configure(&node, &format!("confinement = \"{mode}\""))?;
        let id = submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12"])?;
        let worker = Worker::start(&node, &[])?;
        await_state(&node, &id, "running")?;
        let process = PathBuf::from(format!("/proc/{}", worker.id()));
        let mut privileges = Vec::new();
        for thread in std::fs::read_dir(process.join("task"))? {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            privileges.extend(status.lines().filter(|line| line.starts_with("NoNewPrivs:")).map(str::to_owned));
        }
        let open = std::fs::read_dir(process.join("fd"))?.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let scans = open.into_iter().any(|target| target.ends_with("pagemap"));
        worker.kill()?;
        Ok((privileges, scans))
    };
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux tells about its processes in this way");
        return Ok(());
    }
    let (confined, scans) = held("best-effort")?;
    ensure!(confined.len() > 4, "a worker has several threads: {confined:?}");
    assert!(confined.iter().all(|line| line == "NoNewPrivs:\t1"), "{confined:?}");
    assert_eq!(scans, held("off")?.1, "what a new instance costs must not depend on walls");
    Ok(())
}

#[test]
fn a_confined_worker_follows_no_link_out_of_its_data_directory() -> anyhow::Result<()> {
    if !kernel_has_all()? {
        return Ok(());
    }
    let (node, elsewhere) = (sailor()?, tempfile::tempdir()?);
    done(&node)?;
    // The cache has the only copy then.
    let queue = rusqlite::Connection::open(node.data_dir().join("queue.db"))?;
    assert!(queue.execute("DELETE FROM module_pieces", [])? > 0);
    for module in std::fs::read_dir(node.data_dir().join("algorithms"))? {
        let module = module?.path();
        let outside = elsewhere.path().join(module.file_name().context("a module has a name")?);
        std::fs::copy(&module, &outside)?;
        std::fs::remove_file(&module)?;
        std::os::unix::fs::symlink(&outside, &module)?;
    }
    let id = submit(&node, ["drunken-sailor", "--param=mode=normal", "--max-attempts=1"])?;
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert!(matches!(verdicts(&record)[..], ["host-error" | "bad-module"]), "{record}");
    configure(&node, "confinement = \"off\"")?;
    done(&node)
}

#[test]
fn directories_and_queue_may_be_elsewhere_behind_links_or_by_name() -> anyhow::Result<()> {
    let (node, elsewhere) = (sailor()?, tempfile::tempdir()?);
    for name in ["results", "cache", "spool"] {
        move_away(&node.data_dir().join(name), elsewhere.path().join(name))?;
    }
    done(&node)?;
    let queue = format!("sqlite:{}", argument(&elsewhere.path().join("queues/own.db"))?);
    register_sailor(&node, &["--queue", &queue])?;
    node.ok(["submit", "--queue", &queue, "drunken-sailor", "--param=mode=normal"])?;
    let said = node.ok(["worker", "--until-empty", "--queue", &queue])?;
    assert!(said.contains("job completed"), "{said}");
    Ok(())
}

#[test]
fn to_require_walls_and_to_switch_them_off_is_a_contradiction() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    configure(&node, "confinement = \"off\"")?;
    for command in ["worker", "serve", "up"] {
        let output = node.run([command, "--require-confinement"])?;
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("worker.confinement = \"off\""), "{said}");
    }
    let said = text(&node.run(["worker", "--until-empty"])?.stderr);
    assert!(said.contains("not confined: the configuration"), "{said}");
    configure(&node, "confinement = \"required\"")?;
    assert_eq!(node.run(["worker", "--until-empty"])?.status.success(), kernel_has_all()?);
    Ok(())
}

#[test]
fn the_unit_names_what_the_program_has() -> anyhow::Result<()> {
    let unit = std::fs::read_to_string(longboat_tests::workspace().join("runner/dist/longboat.service"))?;
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("a unit starts something")?;
    let mut words = command.split_whitespace();
    ensure!(words.next().is_some_and(|program| program.ends_with("/longboat")), "{command}");
    let node = Longboat::new()?;
    let help = node.ok([words.next().context("a command")?, "--help"])?;
    for option in words.filter(|word| word.starts_with("--")) {
        ensure!(help.contains(option), "{option} is no option:\n{help}");
    }
    Ok(())
}
