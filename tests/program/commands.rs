//! Plain WASI commands, which know nothing of Longboat.

use crate::guests;
use crate::support::{argument, results, run, show, submit, work};
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
    let saved = node.data_dir().join("saved");
    node.ok(["result", &id, "--save", argument(&saved)?])?;
    for file in [saved.join("files/copies/input.txt"), results(&node, &id).join("1/copies/input.txt")] {
        assert_eq!(std::fs::read_to_string(file)?, "a\nb\n");
    }
    assert_eq!(std::fs::read_to_string(saved.join("log.txt"))?, "read 4 bytes\n");
    assert_eq!(node.run(["logs", &id])?.stdout, b"read 4 bytes\n");
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(saved.join("result.json"))?)?, document);
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

/// wasi-libc of Debian 12 takes all memory that there is at the first `malloc`.
#[test]
fn a_c_program_reads_its_environment_and_then_allocates() -> anyhow::Result<()> {
    let module = match guests::c("allocator")? {
        Ok(module) => module,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return Ok(());
        }
    };
    let node = Longboat::new()?;
    for length in [1, 100_000] {
        let params = crate::support::file(&node, "params.json", format!(r#"{{"a":"{}"}}"#, "x".repeat(length)))?;
        let (document, _) = run(&node, [argument(&module)?, "--params", &format!("@{}", argument(&params)?)])?;
        assert_eq!(document["result"], json!({"sum": 2_064_384, "params": length + 8}), "{document}");
    }
    Ok(())
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
    assert_eq!(document["result"], 2, "EACCES: nobody accepts a connection");
    Ok(())
}
