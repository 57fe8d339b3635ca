//! The program and a data directory for it.

use crate::build;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program with a data directory of its own, which goes with it.
#[derive(Debug)]
pub struct Longboat {
    program: PathBuf,
    data: PathBuf,
    queue: Option<String>,
    _temporary: Option<tempfile::TempDir>,
}

impl Longboat {
    /// A node with nothing in it.
    ///
    /// # Errors
    /// The compiler's or the disk's.
    pub fn new() -> anyhow::Result<Self> {
        let temporary = tempfile::tempdir()?;
        let data = temporary.path().to_owned();
        Ok(Self { program: build::longboat()?, data, queue: None, _temporary: Some(temporary) })
    }

    /// A node that keeps everything in a directory that stays.
    ///
    /// # Errors
    /// The compiler's.
    pub fn at(data: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { program: build::longboat()?, data, queue: None, _temporary: None })
    }

    /// A node with these algorithms registered.
    ///
    /// # Errors
    /// The compiler's or the disk's, or that one is refused.
    pub fn with_algorithms(names: &[&str]) -> anyhow::Result<Self> {
        let node = Self::new()?;
        for name in names {
            node.ok([OsStr::new("algorithm"), "add".as_ref(), name.as_ref(), build::algorithm(name)?.as_ref()])?;
        }
        Ok(node)
    }

    /// The same node with another queue than the one in its data directory.
    #[must_use]
    pub fn with_queue(self, url: &str) -> Self {
        Self { queue: Some(url.to_owned()), ..self }
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Lets jobs fetch from a loopback address.
    ///
    /// # Errors
    /// The disk's.
    pub fn allow_input(&self, address: std::net::SocketAddr) -> anyhow::Result<()> {
        let config = format!("[input]\nallow = [\"{address}\"]\n");
        Ok(std::fs::write(self.data.join("config.toml"), config)?)
    }

    /// The command line, ready to be run.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LONGBOAT_DATA_DIR", &self.data).stdin(Stdio::null());
        for variable in ["LONGBOAT_QUEUE", "LONGBOAT_SHARED", "LONGBOAT_CONFIG", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.envs(self.queue.iter().map(|url| ("LONGBOAT_QUEUE", url)));
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Output> {
        self.command(arguments).output().context("starting longboat failed")
    }

    /// Runs it, and returns what it prints.
    ///
    /// # Errors
    /// If it exits with an error; what it said is part of that.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        ensure!(
            output.status.success(),
            "longboat ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Runs it with `-o json`, and returns what it prints, whether it exits with an error or not.
    ///
    /// # Errors
    /// If that is not JSON.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Value> {
        let output = self.command(arguments).args(["-o", "json"]).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("not JSON; on standard error: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts `up` or `serve`, and returns once it says where it serves.
    ///
    /// # Errors
    /// If it ends without saying so.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Server> {
        self.start_with_output(arguments, Stdio::null())
    }

    /// The same, with standard output of the caller's choice.
    ///
    /// # Errors
    /// If it ends without saying where it serves.
    pub fn start_with_output<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        output: Stdio,
    ) -> anyhow::Result<Server> {
        let mut command = self.command(arguments);
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stdout(output).stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take().context("standard error is piped")?;
        let mut lines = BufReader::new(errors).lines();
        let mut said = String::new();
        for line in &mut lines {
            let line = line?;
            if let Some(url) = line.strip_prefix("results at ").and_then(|rest| rest.strip_suffix("/<id>")) {
                let url = url.to_owned();
                // Whoever writes to a pipe that nobody reads stops sooner or later.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Server { child, url });
            }
            said.push_str(&line);
        }
        child.wait()?;
        anyhow::bail!("longboat does not serve: {said}")
    }
}

/// A running `up` or `serve`; it is killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub child: Child,
    /// Where it serves, without a slash at the end.
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
