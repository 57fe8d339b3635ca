//! A whole node, driven through its command line, and what it takes of the machine.

use anyhow::{Context, ensure};
use longboat_tests::program::{Longboat, Server};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How often a node is asked whether it is idle.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Job documents, in order.
pub type Jobs = Vec<Value>;

/// A node of its own.
pub struct Node(Longboat);

impl Node {
    /// A node with these algorithms registered.
    ///
    /// # Errors
    /// The compiler's or the disk's.
    pub fn with_algorithms(names: &[&str]) -> anyhow::Result<Self> {
        Longboat::with_algorithms(names).map(Self)
    }

    /// A node in a directory of its own, with one module registered.
    ///
    /// # Errors
    /// The compiler's or the disk's.
    pub fn at(data: &Path, name: &str, module: &Path) -> anyhow::Result<Self> {
        let node = Longboat::at(data.to_owned())?;
        node.ok(["algorithm".as_ref(), "add".as_ref(), name.as_ref(), module.as_os_str()])?;
        Ok(Self(node))
    }

    /// Runs a worker until its options end it, and returns what it took of the machine at most.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn work(&self, options: &[&str]) -> anyhow::Result<Footprint> {
        let mut command = self.0.command(["worker"].iter().chain(options));
        let mut worker = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut most = None;
        loop {
            // A process that has just ended tells nothing any more.
            most = Footprint::of(worker.id()).ok().or(most);
            if let Some(status) = worker.try_wait()? {
                ensure!(status.success(), "the worker ended with {status}");
                return most.context("the worker ended before it could be looked at");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts working and serving.
    ///
    /// # Errors
    /// If it does not start.
    pub fn up(&self, options: &[&str]) -> anyhow::Result<Server> {
        self.0.start(["up"].iter().chain(options))
    }

    /// Starts serving results, without a worker.
    ///
    /// # Errors
    /// If it does not start.
    pub fn serve(&self) -> anyhow::Result<Server> {
        self.0.start(["serve"])
    }

    /// Submits all of these jobs in one transaction.
    ///
    /// # Errors
    /// If one is refused.
    pub fn submit(&self, jobs: &Jobs) -> anyhow::Result<()> {
        let file = self.0.data_dir().join("jobs.jsonl");
        let lines: String = jobs.iter().map(|job| format!("{job}\n")).collect();
        fs::write(&file, lines)?;
        self.0.ok(["submit".as_ref(), "--file".as_ref(), file.as_os_str()]).map(drop)
    }

    /// Every job's record.
    ///
    /// # Errors
    /// If there is no list.
    pub fn records(&self) -> anyhow::Result<Vec<Value>> {
        match self.0.json(["list"])? {
            Value::Array(records) => Ok(records),
            other => anyhow::bail!("{other} is no list"),
        }
    }

    /// How many jobs ended in which way.
    ///
    /// # Errors
    /// If there is no list.
    pub fn verdicts(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut verdicts = BTreeMap::new();
        for record in self.records()? {
            *verdicts.entry(record["verdict"]["kind"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
        }
        Ok(verdicts)
    }
}

/// Waits until no job waits or runs.
///
/// # Errors
/// If the node does not answer.
pub fn wait_until_idle(node: &Node) -> anyhow::Result<()> {
    loop {
        let status = node.0.json(["status"])?;
        let jobs = ["ready", "delayed", "running"].map(|state| status["states"][state].as_u64());
        let jobs: u64 = jobs.into_iter().sum::<Option<u64>>().context("the status counts jobs")?;
        if jobs == 0 {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a process takes of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most of it at any time.
    pub peak: u64,
    /// Open files, sockets among them.
    pub open_files: usize,
    /// Threads.
    pub threads: u64,
}

impl Footprint {
    /// That of a running process.
    ///
    /// # Errors
    /// If the process has ended, or the system does not tell.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let figure = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
            Ok(line.split_whitespace().next().context("an empty figure")?.parse()?)
        };
        Ok(Self {
            resident: figure("VmRSS:")? << 10,
            peak: figure("VmHWM:")? << 10,
            open_files: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: figure("Threads:")?,
        })
    }
}

/// Asks for an `http` URL on a connection of its own.
///
/// # Errors
/// If the answer is not 200.
pub fn get(url: &str) -> anyhow::Result<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).context("not an http URL")?;
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap_or_default());
    Ok(answer)
}
