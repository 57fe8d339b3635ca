//! Looking after the queue's file: backup, check, export and import.

use crate::support::{
    Worker, argument, await_state, await_that, file, sailor, show, state, submit, text, verdicts, with_input, work,
};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::path::PathBuf;

const SOBER: &str = "--param=mode=normal";

/// A queue at another place than the node's.
struct Other {
    path: PathBuf,
    option: String,
}

fn other(node: &Longboat, name: &str) -> anyhow::Result<Other> {
    let path = node.data_dir().join("other").join(name);
    std::fs::create_dir_all(path.parent().context("a directory")?)?;
    let option = format!("--queue=sqlite:{}", argument(&path)?);
    Ok(Other { path, option })
}

#[test]
fn a_backup_made_while_a_worker_works_is_a_queue_in_which_others_go_on() -> anyhow::Result<()> {
    let node = sailor()?;
    let done = submit(&node, ["drunken-sailor", SOBER])?;
    work(&node, &[])?;
    let params = r#"--params={"mode": ["endless-loop", "normal"]}"#;
    let running = submit(&node, ["drunken-sailor", "--ttr=60s", "--fuel=1e12", params])?;
    let worker = Worker::start(&node, &["--name=one"])?;
    await_state(&node, &running, "running")?;
    let copy = other(&node, "copy.db")?;
    let told = node.json(["queue", "backup", argument(&copy.path)?])?;
    assert_eq!(told, json!({"file": copy.path, "jobs": 2, "size": copy.path.metadata()?.len()}));
    assert_eq!(state(&node, &running)?, "running", "the worker goes on");
    worker.kill()?;

    assert_eq!(node.ok(["queue", "check", &copy.option])?, "sound, with 2 jobs");
    assert_eq!(node.json(["show", &done, &copy.option])?, show(&node, &done)?);
    let (status, said) = Worker::start(&node, &["--name=two", "--until-empty", &copy.option])?.join()?;
    assert!(status.success(), "{said}");
    let record = node.json(["show", &running, &copy.option])?;
    assert_eq!((verdicts(&record), &record["state"]), (vec!["lost", "done"], &json!("done")));
    Ok(())
}

#[test]
fn a_backup_replaces_only_an_earlier_one_and_only_if_told_so() -> anyhow::Result<()> {
    let node = sailor()?;
    submit(&node, ["drunken-sailor"])?;
    let copy = other(&node, "copy.db")?;
    let target = argument(&copy.path)?;
    let backup = |more: &[&str]| node.run(["queue", "backup"].iter().chain(more));
    ensure!(backup(&[target])?.status.success());
    submit(&node, ["drunken-sailor"])?;
    let refused = backup(&[target])?;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("give --replace"), "{}", text(&refused.stderr));
    assert_eq!(text(&backup(&[target, "--replace"])?.stdout).split(',').next(), Some(&*format!("{target}: 2 jobs")));
    let queue = node.data_dir().join("queue.db");
    let refused = backup(&[argument(&queue)?, "--replace"])?;
    assert_eq!(refused.status.code(), Some(1), "the queue itself");
    let log = node.data_dir().join("queue.db-wal");
    let refuses = || {
        for command in [&["backup", "--replace"][..], &["export", "--replace", "--file"]] {
            let refused = node.run(["queue"].iter().chain(command).chain(&[argument(&log)?]))?;
            assert!(text(&refused.stderr).contains("is not to be replaced"), "{command:?}: {}", text(&refused.stderr));
        }
        Ok::<_, anyhow::Error>(())
    };
    refuses()?;
    let _worker = Worker::start(&node, &[])?;
    await_that("the queue has a log", || Ok(log.exists().then_some(())))?;
    refuses()?;
    let nightly = node.data_dir().join("queue.db-2026-11-22");
    for _ in 0..2 {
        ensure!(backup(&[argument(&nightly)?, "--replace"])?.status.success(), "it is nobody's");
    }
    std::fs::write(copy.path.with_extension("db-wal"), "left over")?;
    let refused = backup(&[target, "--replace"])?;
    assert!(text(&refused.stderr).contains("was in use as a queue"), "{}", text(&refused.stderr));
    let nowhere = backup(&[argument(&node.data_dir().join("no/such/place"))?])?;
    assert_eq!(nowhere.status.code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(copy.path.parent().context("a directory")?)?.collect::<Result<_, _>>()?;
    assert_eq!(left.len(), 2, "nothing half done is left: {left:?}");
    Ok(())
}

#[test]
fn what_is_no_queue_is_neither_made_nor_changed_by_looking_after_it() -> anyhow::Result<()> {
    let node = sailor()?;
    let none = other(&node, "none.db")?;
    let export = node.data_dir().join("export.jsonl");
    for command in [&["queue", "check"][..], &["queue", "export"], &["queue", "backup", argument(&export)?]] {
        let refused = node.run(command.iter().copied().chain([none.option.as_str()]))?;
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("none.db"), "{command:?}: {said}");
        assert!(!none.path.exists() && !export.exists(), "{command:?}");
    }
    let diary = file(&node, "diary.db", "Dear diary, ".repeat(1000))?;
    let refused = node.run(["queue", "check", &format!("--queue=sqlite:{}", argument(&diary)?)])?;
    assert!(text(&refused.stderr).contains("this is not a queue"), "{}", text(&refused.stderr));
    Ok(())
}

#[test]
fn damage_is_found_and_told_with_what_to_do() -> anyhow::Result<()> {
    let node = sailor()?;
    for _ in 0..5 {
        submit(&node, ["drunken-sailor", "--tag=a"])?;
    }
    assert_eq!(node.ok(["queue", "check"])?, "sound, with 5 jobs");
    let path = node.data_dir().join("queue.db");
    let mut bytes = std::fs::read(&path)?;
    // The first page has the schema; the others have tables and indexes.
    for page in bytes.chunks_mut(4096).skip(3) {
        page[2000..].fill(0x55);
    }
    std::fs::write(&path, bytes)?;
    let checked = node.run(["queue", "check"])?;
    assert_eq!(checked.status.code(), Some(1));
    let said = text(&checked.stdout) + &text(&checked.stderr);
    assert!(said.contains("backup") && said.contains(".recover"), "{said}");
    let json = node.run(["queue", "check", "-o", "json"])?;
    assert_eq!(json.status.code(), Some(1));
    Ok(())
}

#[test]
fn what_is_exported_is_imported_elsewhere_with_its_history_and_order() -> anyhow::Result<()> {
    let node = sailor()?;
    let done = submit(&node, ["drunken-sailor", SOBER, "--tag=a"])?;
    let dead = submit(&node, ["drunken-sailor", "--param=mode=exit", "--max-attempts=2"])?;
    work(&node, &[])?;
    let held = submit(&node, ["drunken-sailor", SOBER, "--hold", "--unique=k"])?;
    let export = node.data_dir().join("jobs.jsonl");
    let name = argument(&export)?;
    node.ok(["queue", "export", "--file", name])?;
    let lines = std::fs::read_to_string(&export)?;
    let mut kinds = lines.lines().map(kind).collect::<anyhow::Result<Vec<_>>>()?;
    // A module is larger than a line.
    let pieces = kinds.len();
    kinds.retain(|kind| kind != "module_piece");
    assert!(kinds.len() < pieces);
    let (jobs, outcomes) = (["job"; 3], ["outcome"; 3]);
    let expected = [&["queue"][..], &jobs, &outcomes, &["module", "algorithm", "end"]].concat();
    assert_eq!(kinds, expected);
    assert_eq!(node.run(["queue", "export", "--file", name])?.status.code(), Some(2), "it is there");

    let copy = other(&node, "new/copy.db")?;
    let told = node.json(["queue", "import", name, &copy.option])?;
    assert_eq!(told, json!({"jobs": 3, "forgotten": 0, "known": 0}));
    let list = |options: &[&str]| node.json(["list"].iter().chain(options));
    assert_eq!(list(&[&copy.option])?, list(&[])?);
    for id in [&done, &dead, &held] {
        assert_eq!(node.json(["show", id, &copy.option])?, show(&node, id)?);
    }
    for (id, attempt) in [(&done, 1), (&dead, 1), (&dead, 2)] {
        let attempt = format!("--attempt={attempt}");
        for command in ["result", "logs"] {
            let (here, there) = (node.run([command, id, &attempt])?, node.run([command, id, &attempt, &copy.option])?);
            assert!(!here.stdout.is_empty(), "{command} {id} {attempt}: {}", text(&here.stderr));
            assert_eq!((here.stdout, here.status), (there.stdout, there.status), "{command} {id} {attempt}");
        }
    }
    assert_eq!(node.ok(["queue", "check", &copy.option])?, "sound, with 3 jobs");
    // Through a pipe it comes out alike, and once more it changes nothing.
    let again = with_input(node.command(["queue", "import", "-", "-o", "json", &copy.option]), lines.as_bytes())?;
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout)?, json!({"jobs": 0, "forgotten": 0, "known": 3}));
    let exported = node.ok(["queue", "export", &copy.option])?;
    assert!(exported.lines().skip(1).eq(lines.lines().skip(1)), "the second export is another one");
    // The module came along.
    node.ok(["release", &held, &copy.option])?;
    work(&node, &[&copy.option])?;
    assert_eq!(verdicts(&node.json(["show", &held, &copy.option])?), ["done"]);
    Ok(())
}

/// What a line of an export is.
fn kind(line: &str) -> anyhow::Result<String> {
    let line: serde_json::Map<String, Value> = serde_json::from_str(line)?;
    line.keys().next().cloned().context("a line is an object with one field")
}

#[test]
fn a_wrong_line_is_told_with_its_number_and_what_was_before_it_stays() -> anyhow::Result<()> {
    let node = sailor()?;
    submit(&node, ["drunken-sailor"])?;
    let mut lines: Vec<_> = node.ok(["queue", "export"])?.lines().map(str::to_owned).collect();
    lines.insert(2, "{\"job\": {\"id\": 7}}".to_owned());
    let export = file(&node, "wrong.jsonl", lines.join("\n"))?;
    let copy = other(&node, "copy.db")?;
    let refused = node.run(["queue", "import", argument(&export)?, &copy.option])?;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.contains("wrong.jsonl") && said.matches("line 3: ").count() == 1 && said.contains("1 jobs of the lines"),
        "{said}"
    );
    assert_eq!(node.json(["list", &copy.option])?.as_array().map(Vec::len), Some(1));
    let documents = file(&node, "documents.jsonl", "{\"algorithm\": \"drunken-sailor\"}")?;
    let refused = node.run(["queue", "import", argument(&documents)?, &copy.option])?;
    assert!(text(&refused.stderr).contains("longboat submit --file"), "{}", text(&refused.stderr));
    Ok(())
}

#[test]
fn a_worker_runs_what_another_process_imports_and_goes_on_while_it_is_exported() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", SOBER])?;
    let export = node.ok(["queue", "export"])?;
    let copy = other(&node, "copy.db")?;
    let worker = Worker::start(&node, &["--name=one", &copy.option])?;
    let imported = with_input(node.command(["queue", "import", "-", &copy.option]), export.as_bytes())?;
    ensure!(imported.status.success(), "{}", text(&imported.stderr));
    await_that("the imported job is done", || {
        Ok((node.json(["show", &id, &copy.option])?["state"] == "done").then_some(()))
    })?;
    ensure!(node.ok(["queue", "export", &copy.option])?.contains("\"done\""));
    worker.kill()
}
