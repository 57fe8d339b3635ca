//! What a worker's process takes of its machine, and whether it still answers.

use crate::support::await_that;
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an answer may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// A running process, as Linux describes it.
pub struct Process(PathBuf);

impl Process {
    /// The process of a child, where the kernel tells of it.
    pub fn of(child: &Child) -> Option<Self> {
        let path = PathBuf::from("/proc").join(child.id().to_string());
        path.is_dir().then_some(Self(path))
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(self.0.join("fd"))?.count())
    }

    /// Waits until it holds no more descriptors than this.
    pub fn await_descriptors(&self, most: usize) -> anyhow::Result<()> {
        await_that(&format!("at most {most} descriptors are open"), || Ok((self.descriptors()? <= most).then_some(())))
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.0.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells of memory")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }
}

/// Asks again and again whether a server is well.
pub struct Pulse {
    asker: JoinHandle<anyhow::Result<usize>>,
    stop: Arc<AtomicBool>,
}

impl Pulse {
    /// Starts to ask.
    pub fn start(url: &str) -> Self {
        let host = url.trim_start_matches("http://").to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asker = thread::spawn(move || {
            let mut answers = 0;
            while !stopped.load(Ordering::Relaxed) {
                ask(&host)?;
                answers += 1;
                thread::sleep(PAUSE);
            }
            Ok(answers)
        });
        Self { asker, stop }
    }

    /// Stops asking; fails if any answer was late or wrong.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.asker.join().map_err(|_| anyhow::anyhow!("whoever asked has panicked"))??;
        ensure!(answers > 0, "nobody was asked");
        Ok(())
    }
}

fn ask(host: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("there is no answer")?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    ensure!(start.elapsed() < PATIENCE, "the answer took {:?}", start.elapsed());
    Ok(())
}
