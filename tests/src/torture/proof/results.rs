//! What the results tree must be like.

use crate::program::Longboat;
use anyhow::{Context, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The documents of a job's attempts, as far as there are any.
pub fn documents(node: &Longboat, record: &Value) -> anyhow::Result<Vec<Option<Value>>> {
    let id = record["id"].as_str().context("an id")?;
    let count = record["history"].as_array().map_or(0, Vec::len);
    let document = |attempt| {
        let output = node.run(["result", id, "--attempt", &format!("{attempt}"), "-o", "json"])?;
        if output.stdout.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&output.stdout)?)) }
    };
    (1..=count).map(document).collect()
}

/// Checks all that is left of a job's attempts against its record, and returns how many files were compared.
pub fn check(node: &Longboat, record: &Value, documents: &[Option<Value>]) -> anyhow::Result<usize> {
    let id = record["id"].as_str().context("an id")?;
    let hex = id.replace('-', "");
    let job = node.data_dir().join("results").join(&hex[..2]).join(&hex);
    let history = record["history"].as_array().context("a history")?;
    let mut files = 0;
    for (number, (attempt, document)) in (1_u64..).zip(history.iter().zip(documents)) {
        let verdict = attempt["verdict"]["kind"].as_str().context("a verdict")?;
        let Some(document) = document else {
            ensure!(["lost", "interrupted"].contains(&verdict), "attempt {number} is settled, and has no document");
            continue;
        };
        ensure!(document["id"] == id && document["attempt"] == number, "{document}");
        ensure!(document["verdict"] == attempt["verdict"], "{document}");
        // The worker of a lost attempt may have been killed between its files and the commit.
        if verdict != "lost" {
            files += compare(&job.join(number.to_string()), document).with_context(|| format!("attempt {number}"))?;
        }
    }
    check_publication(record, documents)?;
    for entry in entries(&job)? {
        let name = entry.file_name().and_then(|name| name.to_str()).context("names here are text")?;
        let is_attempt = name.parse().is_ok_and(|number: usize| (1..=history.len()).contains(&number));
        ensure!(is_attempt, "{} is left over", entry.display());
    }
    Ok(files)
}

/// What is published is the last attempt, unless its worker was lost.
fn check_publication(record: &Value, documents: &[Option<Value>]) -> anyhow::Result<()> {
    let published = record["published"].as_u64();
    let is_lost = record["verdict"]["kind"] == "lost";
    let last = record["attempts"].as_u64();
    ensure!(published == last || (is_lost && published.is_none()), "it is the last attempt that is published");
    if published.is_some() {
        let document = documents.last().and_then(Option::as_ref).context("what is published has a document")?;
        ensure!(document["verdict"] == record["verdict"] && document["state"] == record["state"], "{document}");
    }
    Ok(())
}

/// Compares the files that a document lists with those that are there, and returns how many there are.
fn compare(directory: &Path, document: &Value) -> anyhow::Result<usize> {
    let mut listed = BTreeMap::new();
    for file in document["files"].as_array().context("a list of files")? {
        let name = file["name"].as_str().context("a name")?;
        listed.insert(directory.join(name), (file["size"].as_u64(), file["sha256"].as_str()));
    }
    let mut found = Vec::new();
    files_below(directory, &mut found)?;
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
    Ok(listed.len())
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
    for directory in ["results/.staging", "spool", "queue.db.workers"] {
        let left = entries(&node.data_dir().join(directory))?;
        ensure!(left.is_empty(), "something is left: {left:?}");
    }
    Ok(())
}
