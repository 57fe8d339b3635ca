//! A node for the guests of the table, and what they have left on it.

use super::row::Row;
use super::{server, table};
use crate::support::{submit_text, text};
use anyhow::{Context, ensure};
use longboat_tests::build;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::fs::{self, DirEntry};
use std::net::SocketAddr;
use std::path::Path;

/// What belongs into a data directory.
const OWN: [&str; 9] = [
    "algorithms",
    "cache",
    "config.toml",
    "queue.db",
    "queue.db-shm",
    "queue.db-wal",
    "queue.db.workers",
    "results",
    "spool",
];

/// A node in a directory of its own, so that what lies beside its data directory was put there by a guest.
pub struct Node {
    /// The program.
    pub longboat: Longboat,
    surroundings: tempfile::TempDir,
    server: SocketAddr,
    registered: Vec<String>,
}

impl Node {
    /// A node with the guests of the table registered, and these algorithms.
    pub fn new(algorithms: &[&str]) -> anyhow::Result<Self> {
        let surroundings = tempfile::tempdir()?;
        let data = surroundings.path().join("data");
        fs::create_dir(&data)?;
        let longboat = Longboat::at(data)?;
        let server = server::start()?;
        longboat.allow_input(server)?;
        let mut modules: Vec<_> = table::modules()?.into_iter().map(|(name, path)| (name.to_owned(), path)).collect();
        for name in algorithms {
            modules.push(((*name).to_owned(), build::algorithm(name)?));
        }
        for (name, module) in &modules {
            longboat.ok(["algorithm".as_ref(), "add".as_ref(), name.as_ref(), module.as_os_str()])?;
        }
        let registered = modules.into_iter().map(|(name, _)| name).collect();
        Ok(Self { longboat, surroundings, server, registered })
    }

    /// The rows of the table whose guests are here.
    pub fn rows(&self) -> Vec<Row> {
        table::rows().into_iter().filter(|row| self.registered.iter().any(|name| name == row.guest)).collect()
    }

    /// A short job for everything that is registered: whoever has run them holds every module that it will ever hold.
    pub fn short_jobs(&self) -> Vec<Value> {
        let limits = json!({"fuel": 1_000_000});
        let job = |name| json!({"algorithm": name, "params": {"mode": "normal"}, "limits": limits, "max_attempts": 1});
        self.registered.iter().map(job).collect()
    }

    /// Submits a job for each row and for each of these documents, in turn, and returns the ids of both.
    pub fn submit(&self, rows: &[Row], others: &[Value]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let mut jobs: Vec<_> = rows.iter().map(|row| (true, row.job(self.server))).collect();
        let apart = jobs.len() / others.len().max(1);
        for (place, other) in others.iter().enumerate() {
            jobs.insert(place * (apart + 1), (false, other.clone()));
        }
        let lines: String = jobs.iter().map(|(_, job)| format!("{job}\n")).collect();
        let output = submit_text(&self.longboat, &lines)?;
        ensure!(output.status.success(), "{}", text(&output.stderr));
        let ids = text(&output.stdout);
        let (of_rows, of_others): (Vec<_>, Vec<_>) = jobs.iter().zip(ids.lines()).partition(|((is_row, _), _)| *is_row);
        let ids = |list: Vec<(&(bool, Value), &str)>| list.into_iter().map(|(_, id)| id.to_owned()).collect();
        Ok((ids(of_rows), ids(of_others)))
    }

    /// The published document of a job.
    pub fn document(&self, id: &str) -> anyhow::Result<Value> {
        self.longboat.json(["result", id])
    }

    /// Fails if anything lies where nothing should: beside the data directory, or half finished in it.
    pub fn check_nothing_is_left(&self) -> anyhow::Result<()> {
        ensure!(names(self.surroundings.path())? == ["data"], "something lies beside the data directory");
        let data = self.longboat.data_dir();
        let own = |name: &String| OWN.contains(&name.as_str());
        ensure!(names(data)?.iter().all(own), "something lies in the data directory: {:?}", names(data)?);
        let unfinished = |name: &String| !name.ends_with(".lock");
        let staged = names(&data.join("results/.staging"))?;
        ensure!(!staged.iter().any(unfinished), "something is left in the staging directory: {staged:?}");
        ensure!(names(&data.join("spool"))?.is_empty(), "something is left in the spool");
        ensure!(!Path::new("/outside").exists(), "a guest has left the data directory");
        for entry in below(data)? {
            let path = entry.path();
            ensure!(entry.file_name() != "outside", "{} was to be outside", path.display());
            ensure!(!entry.file_type()?.is_symlink(), "{} is a link", path.display());
        }
        Ok(())
    }
}

/// All that is below a directory. Links are named and not followed.
pub fn below(directory: &Path) -> anyhow::Result<Vec<DirEntry>> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry);
        }
    }
    Ok(found)
}

fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {} failed", directory.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
