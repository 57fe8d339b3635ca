//! What the results tree must be like.

use crate::program::Longboat;
use anyhow::{Context, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What may be in a job's directory.
const KNOWN: [&str; 5] = ["attempts", "files", "latest", "log.txt", "result.json"];

/// Checks all that is left of a job's attempts against its record, and returns how many files were compared.
pub fn check(node: &Longboat, record: &Value) -> anyhow::Result<usize> {
    let id = record["id"].as_str().context("an id")?;
    let hex = id.replace('-', "");
    let job = node.data_dir().join("results").join(&hex[..2]).join(&hex);
    let history = record["history"].as_array().context("a history")?;
    let mut files = 0;
    for (number, attempt) in (1_u64..).zip(history) {
        let directory = job.join("attempts").join(number.to_string());
        let verdict = attempt["verdict"]["kind"].as_str().context("a verdict")?;
        let is_disturbed = ["lost", "interrupted"].contains(&verdict);
        if !directory.exists() {
            ensure!(is_disturbed, "attempt {number} is settled, and what it left is not there");
            continue;
        }
        // Its worker may have been killed between this and the commit, but nobody sees a part of it.
        let document = whole(&directory).with_context(|| format!("attempt {number}"))?;
        files += document["files"].as_array().map_or(0, Vec::len);
        ensure!(document["id"] == id && document["attempt"] == number, "{document}");
        ensure!(is_disturbed || document["verdict"] == attempt["verdict"], "{document}");
    }
    check_publication(&job, record)?;
    for directory in [job.join("attempts"), job] {
        for entry in entries(&directory)? {
            let name = entry.file_name().and_then(|name| name.to_str()).context("names here are text")?;
            let is_attempt = name.parse().is_ok_and(|number: usize| (1..=history.len()).contains(&number));
            ensure!(is_attempt || KNOWN.contains(&name), "{} is left over", entry.display());
        }
    }
    Ok(files)
}

/// What is published is the last attempt, unless its worker was lost; the links at the top lead there or are missing.
fn check_publication(job: &Path, record: &Value) -> anyhow::Result<()> {
    let published = record["published"].as_u64();
    let is_lost = record["verdict"]["kind"] == "lost";
    let last = record["attempts"].as_u64();
    ensure!(published == last || (is_lost && published.is_none()), "it is the last attempt that is published");
    if let Some(attempt) = published {
        let document: Value = serde_json::from_slice(&fs::read(job.join(format!("attempts/{attempt}/result.json")))?)?;
        ensure!(document["verdict"] == record["verdict"] && document["state"] == record["state"], "{document}");
    }
    if let Ok(shown) = fs::read(job.join("result.json")) {
        let shown: Value = serde_json::from_slice(&shown).context("what the link shows")?;
        ensure!(shown["attempt"].as_u64() == published, "the link shows {shown}");
    }
    Ok(())
}

/// Reads an attempt's document, and compares the files that it lists with those that are there.
fn whole(directory: &Path) -> anyhow::Result<Value> {
    let document: Value = serde_json::from_slice(&fs::read(directory.join("result.json"))?)?;
    ensure!(directory.join("log.txt").is_file(), "there is no log");
    let mut listed = BTreeMap::new();
    for file in document["files"].as_array().context("a list of files")? {
        let name = file["name"].as_str().context("a name")?;
        listed.insert(directory.join("files").join(name), (file["size"].as_u64(), file["sha256"].as_str()));
    }
    let mut found = Vec::new();
    files_below(&directory.join("files"), &mut found)?;
    ensure!(found.len() == listed.len(), "{} files are there, and {} are listed", found.len(), listed.len());
    for path in found {
        let (size, sha256) = listed.get(&path).with_context(|| format!("{} is not listed", path.display()))?;
        let bytes = fs::read(&path)?;
        let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        ensure!(*size == Some(bytes.len() as u64) && *sha256 == Some(digest.as_str()), "{} is torn", path.display());
    }
    Ok(document)
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in entries(directory)? {
        match entry.symlink_metadata()?.is_dir() {
            true => files_below(&entry, found)?,
            false => found.push(entry),
        }
    }
    Ok(())
}

/// What is in a directory; nothing is in one that is not there.
fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Checks that nothing is left of processes that are gone.
pub fn check_leftovers(node: &Longboat) -> anyhow::Result<()> {
    for directory in ["results/.staging", "spool"] {
        let left = entries(&node.data_dir().join(directory))?;
        ensure!(left.is_empty(), "something is left: {left:?}");
    }
    Ok(())
}
