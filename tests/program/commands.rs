//! Plain WASI commands, which know nothing of Longboat.

use crate::guests;
use crate::support::{argument, run, show, submit, work};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::path::Path;

/// What a program that knows nothing of Longboat gets and leaves, whatever it was written in.
fn is_a_good_command(module: &Path) -> anyhow::Result<()> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "plain", argument(module)?])?;
    assert_eq!(node.json(["algorithm", "show", "plain"])?["shape"], "command");
    let id = submit(&node, ["plain", "--input=data:,a%0Ab%0A", "--seed=7", "--param=a=[1]"])?;
    work(&node, &[])?;
    let document = node.json(["result", &id])?;
    let result = json!({
        "bytes": 4, "lines": 2, "id": id, "attempt": 1, "params": {"a": [1]}, "seed": 7, "secret": null
    });
    assert_eq!(document["result"], result);
    assert_eq!(document["files"][0]["name"], "copies/input.txt");
    let files = node.data_dir().join("files");
    node.ok(["result", &id, "--files", argument(&files)?])?;
    assert_eq!(std::fs::read_to_string(files.join("copies/input.txt"))?, "a\nb\n");
    let job = node.data_dir().join("results").join(&id[..2]).join(id.replace('-', ""));
    assert_eq!(std::fs::read_to_string(job.join("log.txt"))?, "read 4 bytes\n");
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(job.join("result.json"))?)?, document);
    assert_eq!(show(&node, &id)?["history"][0]["usage"], document["usage"], "both tell of the same attempt");
    Ok(())
}

#[test]
fn a_rust_program_is_a_command() -> anyhow::Result<()> {
    is_a_good_command(&guests::rust("plain")?)
}

#[test]
fn a_c_program_is_a_command() -> anyhow::Result<()> {
    match guests::c("plain")? {
        Ok(module) => is_a_good_command(&module),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            Ok(())
        }
    }
}

#[test]
fn no_door_opens_for_a_prisoner() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("prisoner")?;
    let output = node.command(["run", argument(&module)?]).env("SECRET", "told").env("HOME", "/root").output()?;
    let result: Value = serde_json::from_slice(&output.stdout).context("the prisoner reports")?;
    assert_eq!(result["open"], json!([]));
    let variables = ["LONGBOAT_JOB_ID", "LONGBOAT_ATTEMPT", "LONGBOAT_PARAMS", "LONGBOAT_SEED"];
    assert_eq!(result["variables"], json!(variables));
    assert_eq!(result["arguments"], 1, "its own name, which is everybody's");
    let (document, _) = run(&node, [argument(&module)?, "--param=try=accept"])?;
    assert_eq!(document["verdict"]["kind"], "trapped", "accepting a connection is not even an error");
    Ok(())
}
