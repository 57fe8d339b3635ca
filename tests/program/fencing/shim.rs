//! A worker that stops itself at a chosen call: `tests/shim/stop.c`, preloaded.

use crate::support::{Worker, await_that};
use anyhow::{Context, ensure};
use longboat_tests::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The shim, compiled into a directory that its user may write to.
pub struct Shim {
    library: PathBuf,
    mark: PathBuf,
}

impl Shim {
    /// Compiles it.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let shim = Self { library: directory.join("stop.so"), mark: directory.join("stopped") };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&shim.library);
        let output = compiler.arg(workspace().join("tests/shim/stop.c")).arg("-ldl").output();
        let output = output.context("there is no C compiler, which SQLite needs as well")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(shim)
    }

    /// Has whatever runs stop at the last of these steps.
    pub fn arm(&self, command: &mut Command, steps: &str) {
        command.env("LD_PRELOAD", &self.library).env("LONGBOAT_SHIM_STEPS", steps);
        command.env("LONGBOAT_SHIM_MARK", &self.mark);
    }

    /// Waits until the worker has come there.
    pub fn await_stop(&self, worker: &Worker) -> anyhow::Result<()> {
        await_that("the worker has come to the point where it stops", || Ok(self.mark.exists().then_some(())))?;
        await_stopped(worker)
    }
}

/// Stops a worker from outside, at a moment at which it does not write to the queue: it would keep everybody from it.
pub fn stop(worker: &Worker) -> anyhow::Result<()> {
    await_that("the worker is stopped while it does not write", || {
        worker.signal("STOP")?;
        await_stopped(worker)?;
        // SQLite locks this byte of the file beside the database: https://sqlite.org/walformat.html#locks
        let (process, range) = (format!(" {} ", worker.id()), " 120 120");
        let locks = std::fs::read_to_string("/proc/locks")?;
        if !locks.lines().any(|lock| lock.contains(" WRITE ") && lock.contains(&process) && lock.ends_with(range)) {
            return Ok(Some(()));
        }
        worker.signal("CONT")?;
        Ok(None)
    })
}

/// Waits until no thread of a worker runs any more.
fn await_stopped(worker: &Worker) -> anyhow::Result<()> {
    await_that("the worker is stopped", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", worker.id()))?;
        for thread in threads {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            // The state follows the name, which is in parentheses and may hold any others.
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if state != Some('T') {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}
