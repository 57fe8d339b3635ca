//! A real beanstalkd server, and producers that know nothing of Longboat.

use anyhow::{Context, bail, ensure};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a loopback port, with a directory for its binlog that goes with it. It is killed when dropped.
#[derive(Debug)]
pub struct Beanstalkd {
    child: Child,
    port: u16,
    binlog: Option<tempfile::TempDir>,
}

impl Beanstalkd {
    /// A server that writes everything to its binlog before it answers; or why there is none.
    ///
    /// # Errors
    /// If it does not start; and if it is missing where everything is installed on purpose.
    pub fn start() -> anyhow::Result<Result<Self, &'static str>> {
        Self::start_with(Some(tempfile::tempdir()?))
    }

    /// A server that forgets everything when it ends; or why there is none.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn forgetful() -> anyhow::Result<Result<Self, &'static str>> {
        Self::start_with(None)
    }

    fn start_with(binlog: Option<tempfile::TempDir>) -> anyhow::Result<Result<Self, &'static str>> {
        let mut binlog = binlog;
        // Somebody may be faster in taking the port that was free a moment ago.
        for _ in 0..10 {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let child = match launch(port, binlog.as_ref()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let reason = "there is no beanstalkd here; on Debian: apt-get install beanstalkd";
                    // Where everything is installed on purpose, a test that does nothing would go unnoticed.
                    ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
                    return Ok(Err(reason));
                }
                child => child.context("starting beanstalkd failed")?,
            };
            let mut server = Self { child, port, binlog };
            if server.await_listening()? {
                return Ok(Ok(server));
            }
            binlog = server.binlog.take();
        }
        bail!("no port is free")
    }

    /// Where it is, as `--intake` takes it.
    pub fn url(&self) -> String {
        format!("beanstalkd://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, after it was killed, on what it has written, and in the same place.
    ///
    /// # Errors
    /// If it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child = launch(self.port, self.binlog.as_ref())?;
        ensure!(self.await_listening()?, "beanstalkd does not start again");
        Ok(())
    }

    /// Lets time pass that the server does not see, so that reservations whose time is over then are taken back.
    ///
    /// A server of version 1.12 forgets about half of those whose time is over while it looks on and their connections
    /// say nothing: it looks once, in the very microsecond of the deadline, and takes only what is past it.
    ///
    /// # Errors
    /// The system's.
    pub fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        for signal in ["STOP", "CONT"] {
            let told = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status()?;
            ensure!(told.success(), "the signal {signal} could not be sent");
            if signal == "STOP" {
                std::thread::sleep(time);
            }
        }
        Ok(())
    }

    /// A connection of somebody else's.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(&self) -> anyhow::Result<Producer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Producer { stream: BufReader::new(stream) })
    }

    fn await_listening(&mut self) -> anyhow::Result<bool> {
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(true);
            }
            ensure!(started.elapsed() < PATIENCE, "beanstalkd does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }
}

fn launch(port: u16, binlog: Option<&tempfile::TempDir>) -> std::io::Result<Child> {
    let mut command = Command::new("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &port.to_string()]);
    if let Some(directory) = binlog {
        command.arg("-b").arg(directory.path()).args(["-f", "0"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

impl Drop for Beanstalkd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever puts something into a server, or looks into it, without Longboat.
#[derive(Debug)]
pub struct Producer {
    stream: BufReader<TcpStream>,
}

impl Producer {
    /// Gives a command, and returns the line that is the answer.
    ///
    /// # Errors
    /// If the connection ends.
    pub fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.line()
    }

    /// Puts a job, and returns its number.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn put(
        &mut self,
        tube: &str,
        (priority, delay, ttr): (u32, u32, u32),
        body: impl AsRef<[u8]>,
    ) -> anyhow::Result<u64> {
        let body = body.as_ref();
        self.ask(&format!("use {tube}"))?;
        let mut command = format!("put {priority} {delay} {ttr} {}\r\n", body.len()).into_bytes();
        command.extend_from_slice(body);
        command.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&command)?;
        let answer = self.line()?;
        answer.strip_prefix("INSERTED ").and_then(|number| number.parse().ok()).context(answer)
    }

    /// The figures of a job, a tube or the server, if there are any.
    ///
    /// # Errors
    /// If the connection ends.
    pub fn figures(&mut self, command: &str) -> anyhow::Result<Option<HashMap<String, String>>> {
        let answer = self.ask(command)?;
        let Some(length) = answer.strip_prefix("OK ") else { return Ok(None) };
        let mut yaml = vec![0; length.parse::<usize>()? + 2];
        self.stream.read_exact(&mut yaml)?;
        let yaml = String::from_utf8(yaml)?;
        let pairs = yaml.lines().filter_map(|line| line.split_once(": "));
        Ok(Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }

    /// A figure of a job; `None` if there is no such job.
    ///
    /// # Errors
    /// If the connection ends, or there is no such figure.
    pub fn job(&mut self, number: u64, figure: &str) -> anyhow::Result<Option<String>> {
        match self.figures(&format!("stats-job {number}"))? {
            Some(mut figures) => Ok(Some(figures.remove(figure).context("there is no such figure")?)),
            None => Ok(None),
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.strip_suffix("\r\n").context("the server has ended the connection")?.to_owned())
    }
}
