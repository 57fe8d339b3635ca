//! A data directory that version 0.1 has made, in the hands of this one.

use crate::guests;
use crate::http::get;
use crate::support::{Worker, await_that, state, text, work};
use longboat_tests::program::Longboat;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

const DONE: &str = "3ab61160-e3be-4ef0-9e09-c4c79977ec7e";
const HELD: &str = "da545ecf-73ea-4a6e-a20f-3443d7d1de80";
const DOCUMENT: &str = include_str!("upgrade/result.json");

/// The directory: queue, results with their links, and a registry of files.
fn old_node() -> anyhow::Result<Longboat> {
    let node = Longboat::new()?;
    let data = node.data_dir();
    rusqlite::Connection::open(data.join("queue.db"))?.execute_batch(include_str!("upgrade/version_6.sql"))?;
    let attempt = job_directory(&node).join("attempts/1");
    fs::create_dir_all(attempt.join("files"))?;
    for (name, text) in [("result.json", DOCUMENT), ("log.txt", "made by attempt 1\n"), ("files/witness.txt", &file())]
    {
        fs::write(attempt.join(name), text)?;
    }
    for (link, target) in [("latest", "attempts/1"), ("result.json", "latest/result.json")] {
        std::os::unix::fs::symlink(target, job_directory(&node).join(link))?;
    }
    let module = fs::read(guests::rust("witness")?)?;
    let digest: String = Sha256::digest(&module).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = serde_json::json!({
        "name": "witness", "module": format!("sha256:{digest}"), "shape": "command", "size": module.len(),
        "added_at": "2026-11-29T13:17:24.421509419Z",
    });
    for directory in ["modules", "names"] {
        fs::create_dir_all(data.join("algorithms").join(directory))?;
    }
    fs::write(data.join(format!("algorithms/modules/{digest}.wasm")), module)?;
    fs::write(data.join("algorithms/names/witness.json"), name.to_string())?;
    Ok(node)
}

/// What the job has left as its file.
fn file() -> String {
    "made by attempt 1\n".repeat(1_000)
}

fn job_directory(node: &Longboat) -> PathBuf {
    node.data_dir().join("results/3a").join(DONE.replace('-', ""))
}

#[test]
fn what_the_version_before_has_made_can_be_read() -> anyhow::Result<()> {
    let node = old_node()?;
    assert_eq!(node.json(["result", DONE])?["result"]["words"], "made by attempt 1");
    assert_eq!(text(&node.run(["logs", DONE])?.stdout), "made by attempt 1\n");
    let saved = node.data_dir().join("saved");
    node.ok(["result".as_ref(), DONE.as_ref(), "--save".as_ref(), saved.as_os_str()])?;
    assert_eq!(fs::read_to_string(saved.join("files/witness.txt"))?, file());
    let server = node.start(["serve"])?;
    let answer = get(&format!("{}/{DONE}", server.url))?;
    assert_eq!((answer.status, &*answer.body), (200, DOCUMENT.as_bytes()));
    let answer = get(&format!("{}/{DONE}/witness.txt", server.url))?;
    assert_eq!((answer.status, &*answer.body), (200, file().as_bytes()));
    assert!(node.ok(["queue", "check"])?.contains("sound"));
    Ok(())
}

#[test]
fn what_waited_in_the_version_before_is_run_by_this_one() -> anyhow::Result<()> {
    let node = old_node()?;
    assert_eq!(node.json(["algorithm", "list"])?[0]["name"], "witness");
    node.ok(["release", HELD])?;
    work(&node, &[])?;
    assert_eq!(state(&node, HELD)?, "done");
    assert_eq!(node.json(["result", HELD])?["result"]["words"], "made by attempt 1");
    Ok(())
}

#[test]
fn retention_removes_the_tree_of_the_version_before() -> anyhow::Result<()> {
    let node = old_node()?;
    fs::write(node.data_dir().join("config.toml"), "[retention]\ndone = \"1s\"\n")?;
    let worker = Worker::start(&node, &[])?;
    await_that("the old results are gone", || Ok((!job_directory(&node).exists()).then_some(())))?;
    assert_eq!(state(&node, HELD)?, "held");
    worker.kill()
}
