//! Two workers and the job that one of them loses to the other, or does not.

use super::shim::{Shim, stop};
use super::watch::Site;
use crate::guests;
use crate::support::{Worker, argument, await_state, await_that, file, results, show, submit, verdicts};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the second worker keeps its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Houses {
    /// In the same data directory as the first one.
    Shared,
    /// In a data directory of its own; the two share the queue's file only.
    Apart,
}

/// A job, and the nodes of the two workers.
pub struct Scene {
    pub first: Longboat,
    pub second: Longboat,
    pub id: String,
    shim: Shim,
}

impl Scene {
    /// Nothing runs yet, and the job waits. The leases of the first worker last for `lease`.
    pub fn new(houses: Houses, lease: &str, params: &str) -> anyhow::Result<Self> {
        let first = Longboat::new()?;
        let queue = format!("sqlite:{}", first.data_dir().join("queue.db").display());
        let second = match houses {
            Houses::Shared => Longboat::at(first.data_dir().to_owned())?,
            Houses::Apart => Longboat::new()?,
        };
        let [first, second] = [first, second].map(|node| node.with_queue(&queue));
        for node in [&first, &second] {
            // A short lease is long enough for a busy machine not to use it up by itself.
            file(node, "config.toml", format!("[worker]\nlease = \"{lease}\"\nheartbeat = \"400ms\"\n"))?;
            node.ok(["algorithm", "add", "witness", argument(&guests::rust("witness")?)?])?;
        }
        let id = submit(&first, ["witness", "--params", params])?;
        let shim = Shim::new(first.data_dir())?;
        Ok(Self { first, second, id, shim })
    }

    /// What each of the nodes shows of the job.
    pub fn sites(&self) -> anyhow::Result<Vec<Site<'_>>> {
        [&self.first, &self.second].map(|node| Site::open(node, &self.id)).into_iter().collect()
    }

    /// Starts the first worker, which takes the job and will stop at the last of these steps, if there are any.
    pub fn start_first(&self, steps: &str) -> anyhow::Result<Worker> {
        let mut command = self.first.command(["worker", "--name=first", "--slots=1"]);
        if !steps.is_empty() {
            self.shim.arm(&mut command, steps);
        }
        Worker::spawn(command)
    }

    /// Starts the second worker, whose own lease outlasts any test.
    pub fn start_second(&self, options: &[&str]) -> anyhow::Result<Worker> {
        let mut command = self.second.command(["worker", "--name=second"]);
        command.args(options).env("LONGBOAT__WORKER__LEASE", "60s");
        Worker::spawn(command)
    }

    /// Waits until the first worker has stopped itself.
    pub fn await_stop(&self, first: &Worker) -> anyhow::Result<()> {
        self.shim.await_stop(first)
    }

    /// Stops the first worker while its guest sleeps, having written its file.
    pub fn stop_while_the_guest_runs(&self) -> anyhow::Result<Worker> {
        let first = self.start_first("")?;
        await_state(&self.first, &self.id, "running")?;
        await_that("the guest has written", || {
            let found = contents(&self.first.data_dir().join("results/.staging"))?;
            let has_written = |scratch: &PathBuf| contents(scratch).is_ok_and(|files| !files.is_empty());
            Ok(found.iter().any(has_written).then_some(()))
        })?;
        stop(&first)?;
        Ok(first)
    }

    /// Has the second worker do all that it may take.
    pub fn run_second(&self) -> anyhow::Result<()> {
        let (status, said) = self.start_second(&["--until-empty"])?.join()?;
        ensure!(status.success(), "{said}");
        Ok(())
    }

    /// Has the first worker do another job, as if nothing had happened, and end.
    pub fn go_on(&self, first: Worker) -> anyhow::Result<()> {
        let later = submit(&self.first, ["witness"])?;
        await_state(&self.first, &later, "done")?;
        ensure!(self.first.json(["result", &later])?["result"]["words"] == "made by attempt 1");
        end(first)
    }

    /// The verdicts of the job's attempts, each with its worker.
    pub fn history(&self) -> anyhow::Result<Vec<String>> {
        let record = show(&self.first, &self.id)?;
        let workers = record["history"].as_array().context("a history")?.iter().map(|attempt| &attempt["worker"]);
        let workers = workers.map(|worker| worker.as_str().unwrap_or_default());
        Ok(workers.zip(verdicts(&record)).map(|(worker, verdict)| format!("{worker}: {verdict}")).collect())
    }

    /// The attempt that the record names, after a look at whether document, log and file are whole.
    pub fn published(&self, node: &Longboat) -> anyhow::Result<Value> {
        let (record, document) = (show(node, &self.id)?, node.json(["result", &self.id])?);
        ensure!(document["attempt"] == record["published"] && document["id"] == self.id.as_str(), "{document}");
        let words = format!("made by attempt {}\n", record["published"]);
        ensure!(node.run(["logs", &self.id])?.stdout == words.as_bytes(), "the log is another one");
        let file = results(node, &self.id).join(record["published"].to_string()).join("witness.txt");
        ensure!(std::fs::read_to_string(file)? == words.repeat(1_000), "the file is another one");
        Ok(record["published"].clone())
    }

    /// Fails if anything of guests is left, once no worker runs any more.
    pub fn ensure_nothing_is_staged(&self) -> anyhow::Result<()> {
        for node in [&self.first, &self.second] {
            let mut staged = contents(&node.data_dir().join("results/.staging"))?;
            // The lock of a process that has ended is nobody's, and the next one to start removes it.
            staged.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
            ensure!(staged.is_empty(), "something is left: {staged:?}");
        }
        Ok(())
    }

    /// The numbers of the attempts that a node has a directory of.
    pub fn kept(&self, node: &Longboat) -> anyhow::Result<BTreeSet<String>> {
        let attempts = contents(&results(node, &self.id))?;
        Ok(attempts.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }
}

/// Ends a worker in good order.
pub fn end(worker: Worker) -> anyhow::Result<()> {
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    ensure!(status.success(), "{said}");
    Ok(())
}

/// What is in a directory; nothing is in one that is not there.
fn contents(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}
