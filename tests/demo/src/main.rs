//! `cargo demo`: builds the program, its algorithms and the demonstration, and starts the demonstration.
//!
//! Two runs of cargo work at the same time. The one for WebAssembly has a target directory of its own, since
//! the other one holds the lock of the first. All that is here comes from the standard library, so that it
//! speaks at once.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

const ALGORITHMS: [&str; 4] = ["forecast", "power-flow", "storage", "drunken-sailor"];
const GUESTS: &str = "wasm32-wasip1";
/// Processor time of a build from nothing, in seconds, and the least time however many processors there are.
const WORK: (u64, u64) = (1500, 300);
/// Packages of a build from nothing.
const PACKAGES: usize = 367;
/// How often the progress is shown on a terminal, and elsewhere.
const SHOWN_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What a run of cargo says.
enum Said {
    /// This package is compiled, or was before.
    Compiled(String),
    /// Something for people: a download, a warning, an error.
    Line(String),
    /// The run has ended, well or not.
    Ended(Result<(), String>),
}

fn main() -> ExitCode {
    match demonstrate() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate() -> Result<ExitCode, String> {
    let release = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let release = release.ok_or("the place of this program is not known")?;
    let processors = available_parallelism().map_or(1, usize::from);
    if release.join("longboat").exists() {
        println!("Building what has changed since the last time.");
    } else {
        let seconds = WORK.1.max(WORK.0 / processors as u64);
        println!(
            "Building the program and four algorithms: about {} minutes on {processors} processors, the first time only.",
            seconds.div_ceil(60)
        );
    }
    build(&release, processors)?;
    let mut demonstration = Command::new(release.join("demo"));
    let status = demonstration.args(std::env::args_os().skip(1)).env("CARGO_MANIFEST_DIR", top()).status();
    let status = status.map_err(|error| format!("failed to start the demonstration: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The top of the checkout.
fn top() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../..")
}

/// Builds everything, and shows how far it is.
fn build(release: &Path, processors: usize) -> Result<(), String> {
    // It may be missing although `rust-toolchain.toml` names it; without rustup the compiler says so.
    let _ = Command::new("rustup").args(["target", "add", GUESTS]).current_dir(top()).stderr(Stdio::null()).status();
    let started = Instant::now();
    let (sender, said) = mpsc::channel();
    // Together, so that both have their dependencies with the same features.
    let mut program = cargo();
    program.args(["--package", "longboat", "--package", "longboat-tests", "--bin", "longboat", "--bin", "demo"]);
    run(program, sender.clone());
    let mut algorithms = cargo();
    algorithms.args(["--target", GUESTS]).args(ALGORITHMS.iter().flat_map(|name| ["--package", name]));
    algorithms.arg("--target-dir").arg(release.parent().unwrap_or(release).join("guests"));
    // The program takes longest: the other run only fills the gaps.
    algorithms.args(["--jobs", &processors.div_ceil(2).to_string()]);
    run(algorithms, sender);
    let result = watch(&said, started);
    println!();
    result
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"]).current_dir(top());
    cargo
}

/// Runs cargo on threads of its own.
fn run(mut cargo: Command, said: Sender<Said>) {
    thread::spawn(move || {
        let result = follow(cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()), &said);
        // Nobody listens any more if the other run has failed.
        let _ = said.send(Said::Ended(result));
    });
}

/// Passes on what cargo says until it has ended.
fn follow(cargo: &mut Command, said: &Sender<Said>) -> Result<(), String> {
    let mut child = cargo.spawn().map_err(|error| format!("failed to start cargo: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let sender = said.clone();
    let errors = thread::spawn(move || {
        for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok) {
            if !["Compiling ", "Finished ", "Fresh "].iter().any(|word| line.trim_start().starts_with(word)) {
                let _ = sender.send(Said::Line(line));
            }
        }
    });
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
        if line.starts_with(r#"{"reason":"compiler-artifact""#)
            && let Some(package) = package(&line)
        {
            let _ = said.send(Said::Compiled(package.to_owned()));
        }
    }
    let _ = errors.join();
    let status = child.wait().map_err(|error| format!("cargo was lost: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo build` ended with {status}, as was said above")) }
}

/// The package of a message of cargo's, such as `tokio@1.54.1`, or the name of its directory.
fn package(message: &str) -> Option<&str> {
    let id = message.split(r#""package_id":""#).nth(1)?.split('"').next()?;
    let (place, version) = id.split_once('#')?;
    if version.contains('@') { Some(version) } else { place.rsplit('/').next() }
}

/// Shows how far the two runs are until both have ended.
fn watch(said: &Receiver<Said>, started: Instant) -> Result<(), String> {
    let is_terminal = io::stdout().is_terminal();
    let every = if is_terminal { SHOWN_EVERY.0 } else { SHOWN_EVERY.1 };
    let mut compiled: Vec<String> = Vec::new();
    let (mut running, mut shown) = (2, None::<Instant>);
    while running > 0 {
        let left = shown.map_or(Duration::ZERO, |shown| every.saturating_sub(shown.elapsed()));
        match said.recv_timeout(left) {
            Ok(Said::Compiled(package)) if compiled.contains(&package) => {}
            Ok(Said::Compiled(package)) => compiled.push(package),
            Ok(Said::Line(line)) => eprintln!("{}{line}", if is_terminal { "\r\x1b[K" } else { "" }),
            Ok(Said::Ended(result)) => {
                result?;
                running -= 1;
            }
            Err(RecvTimeoutError::Disconnected) => return Err("cargo was lost".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = started.elapsed().as_secs();
                let (minutes, seconds) = (seconds / 60, seconds % 60);
                let (count, last) = (compiled.len(), compiled.last().map_or("", String::as_str));
                let text = format!("{minutes:2}:{seconds:02}  {count} of about {PACKAGES} packages  {last}");
                print!("{}", if is_terminal { format!("\r\x1b[K{text}") } else { format!("{text}\n") });
                // A reader that has gone away misses nothing that matters.
                let _ = io::stdout().flush();
                shown = Some(Instant::now());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_package() {
        let registry =
            r#"{"reason":"compiler-artifact","package_id":"registry+https://x.example/index#tokio@1.54.1","m":1}"#;
        assert_eq!(package(registry), Some("tokio@1.54.1"));
        let local = r#"{"reason":"compiler-artifact","package_id":"path+file:///x/longboat-tests#0.1.0"}"#;
        assert_eq!(package(local), Some("longboat-tests"));
        assert_eq!(package("{}"), None);
    }
}
