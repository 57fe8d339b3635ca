//! What all tests need: a node to ask, a worker to command, and patience.

use anyhow::{Context, bail, ensure};
use longboat_tests::build;
use longboat_tests::program::Longboat;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes, so that only what never comes fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with the sailor registered, who can do all that a queue needs to see.
pub fn sailor() -> anyhow::Result<Longboat> {
    Longboat::with_algorithms(&["drunken-sailor"])
}

/// A job of the sailor's that is done at once, and leaves one file.
pub const LEAVES_A_FILE: [&str; 3] = ["drunken-sailor", "--param=mode=rename", "--param=count=1"];

/// Registers the sailor once more in the queue that these options name.
pub fn register_sailor(node: &Longboat, options: &[&str]) -> anyhow::Result<()> {
    let module = build::algorithm("drunken-sailor")?;
    node.ok(["algorithm", "add", "drunken-sailor", argument(&module)?].iter().chain(options))?;
    Ok(())
}

/// Where a node keeps the files that a job has left.
pub fn results(node: &Longboat, id: &str) -> PathBuf {
    let hex = id.replace('-', "");
    node.data_dir().join("results").join(&hex[..2]).join(hex)
}

/// Submits one job, and returns its id.
pub fn submit<S: AsRef<OsStr>>(node: &Longboat, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
    let mut command = node.command(["submit"]);
    let output = command.args(arguments).output()?;
    ensure!(output.status.success(), "submit failed: {}", text(&output.stderr));
    Ok(text(&output.stdout).trim().to_owned())
}

/// Submits what is given on standard input, and returns what became of it.
pub fn submit_text(node: &Longboat, jobs: &str) -> anyhow::Result<Output> {
    with_input(node.command(["submit", "--file", "-"]), jobs.as_bytes())
}

/// Runs a command on a terminal of 110 columns, where somebody types this, and returns its exit code and all that
/// the terminal shows. Without a program that makes terminals there is none.
pub fn on_terminal(
    node: &Longboat,
    arguments: &[&str],
    typed: &str,
    variables: &[(&str, &str)],
) -> anyhow::Result<Option<(Option<i32>, String)>> {
    let made = Command::new("script").arg("--version").output();
    if !made.is_ok_and(|made| text(&made.stdout).contains("util-linux")) {
        let reason = "no `script` of util-linux here, which makes terminals";
        ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
        eprintln!("skipped: {reason}");
        return Ok(None);
    }
    let program = node.command(arguments);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut command = Command::new("script");
    let line = format!("stty cols 110 -echo; {}", words.join(" "));
    command.args(["-qefc", &line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.envs(variables.iter().copied());
    let output = with_input(command, typed.as_bytes())?;
    Ok(Some((output.status.code(), text(&output.stdout).replace('\r', ""))))
}

/// Runs a command that reads these bytes.
pub fn with_input(mut command: Command, input: &[u8]) -> anyhow::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    thread::scope(|scope| {
        // A program that does not read its input is no failure of this side.
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input));
        Ok(child.wait_with_output()?)
    })
}

/// All that is known of a job.
pub fn show(node: &Longboat, id: &str) -> anyhow::Result<Value> {
    node.json(["show", id])
}

/// The state that a job is in.
pub fn state(node: &Longboat, id: &str) -> anyhow::Result<String> {
    Ok(show(node, id)?["state"].as_str().context("a job has a state")?.to_owned())
}

/// A time of a record; as text they sort by what they mean.
pub fn time(value: &Value) -> anyhow::Result<String> {
    value.as_str().filter(|text| text.ends_with('Z')).map(str::to_owned).context("a time in UTC")
}

/// The verdict kinds of a job's attempts.
pub fn verdicts(record: &Value) -> Vec<&str> {
    let history = record["history"].as_array().into_iter().flatten();
    history.map(|attempt| attempt["verdict"]["kind"].as_str().unwrap_or("none")).collect()
}

/// Works until nothing is left to do.
pub fn work(node: &Longboat, arguments: &[&str]) -> anyhow::Result<String> {
    node.ok(["worker", "--until-empty"].iter().chain(arguments))
}

/// Runs `longboat run -o json`, and returns its document and its exit code.
pub fn run<S: AsRef<OsStr>>(
    node: &Longboat,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<(Value, Option<i32>)> {
    let output = node.command(["run", "-o", "json"]).args(arguments).output()?;
    let document = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not JSON; on standard error: {}", text(&output.stderr)))?;
    Ok((document, output.status.code()))
}

/// What a process printed, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks again and again until there is something to see.
pub fn await_that<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        ensure!(start.elapsed() < PATIENCE, "{what}: still not so after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a job is in a state.
pub fn await_state(node: &Longboat, id: &str, wanted: &str) -> anyhow::Result<()> {
    await_that(&format!("job {id} is {wanted}"), || Ok((state(node, id)? == wanted).then_some(())))
}

/// A worker that runs beside the test; it is killed when dropped.
pub struct Worker {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Worker {
    /// Starts one, whose leases are short enough to wait for their end.
    pub fn start(node: &Longboat, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = node.command(["worker"]);
        command.args(arguments).env("LONGBOAT__WORKER__LEASE", "1s").env("LONGBOAT__WORKER__HEARTBEAT", "300ms");
        Self::spawn(command)
    }

    /// Starts one whose leases a busy machine does not use up by itself.
    pub fn patient(node: &Longboat, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = node.command(["worker"]);
        command.args(arguments).env("LONGBOAT__WORKER__LEASE", "3s").env("LONGBOAT__WORKER__HEARTBEAT", "500ms");
        Self::spawn(command)
    }

    /// Starts one by a command line of the test's own.
    pub fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                // A test that has heard enough drops the receiver; the rest is read all the same, so that the
                // worker does not stop at a full pipe.
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        Ok(Self { child, lines, said: String::new() })
    }

    /// Waits until it has said so.
    pub fn await_line(&mut self, part: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.said.contains(part) {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.extend([line.as_str(), "\n"]),
                Err(_) => bail!("the worker never said {part:?}, but:\n{}", self.said),
            }
        }
        Ok(())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "the signal {name} could not be sent");
        Ok(())
    }

    /// Waits for its end, and returns how it ended and all that it said.
    pub fn join(mut self) -> anyhow::Result<(ExitStatus, String)> {
        let status = await_that("the worker has ended", || Ok(self.child.try_wait()?))?;
        self.said.extend(self.lines.iter().flat_map(|line| [line, "\n".to_owned()]));
        Ok((status, std::mem::take(&mut self.said)))
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of this test's own.
pub fn file(node: &Longboat, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
    let path = node.data_dir().join(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// A path as an argument.
pub fn argument(path: &std::path::Path) -> anyhow::Result<&str> {
    path.to_str().context("a path of the tests is text")
}
