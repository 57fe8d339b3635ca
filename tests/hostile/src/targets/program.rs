//! Programs that are valid and make no sense: random code that calls the host with random arguments.
//!
//! A program of its own makes them, `smith`, so that what it is made of does not reach what the sandbox is
//! made of.

use crate::Target;
use crate::guest::{compile, endure};
use crate::wasi::imports;
use anyhow::Context as _;
use longboat_tests::build;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Random programs.
pub const TARGET: Target = Target {
    name: "program",
    check,
    cases: 80,
    largest: 3_000,
    // There are none; but `smith` is built before the first case is timed.
    samples: || {
        LazyLock::force(&SMITH);
        Vec::new()
    },
    words: &[],
    reached: &["trapped", "bad-result", "out-of-fuel"],
};

static SMITH: LazyLock<Mutex<Smith>> =
    LazyLock::new(|| Mutex::new(Smith::start().expect("the program that makes modules can be built and started")));

/// What grows from these bytes is refused with a reason, or runs to a verdict of its own within its bounds.
pub fn check(bytes: &[u8]) -> &'static str {
    let module = SMITH.lock().unwrap_or_else(PoisonError::into_inner).module(bytes).expect("modules can be made");
    if module.is_empty() {
        return "too few bytes";
    }
    match compile(&module) {
        Ok(program) => endure(&program, b"[1, 2, 3]".to_vec()).verdict.kind(),
        Err(ending) => ending,
    }
}

/// The running `smith`, which ends when its standard input does.
struct Smith {
    _process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Smith {
    /// Builds and starts it, with the imports of all functions, so that random code finds some with the
    /// arguments that it has, and with what an entry needs.
    fn start() -> anyhow::Result<Self> {
        let shape = format!(r#"(module {} (memory (export "memory") 1 20) (func (export "_start")))"#, imports());
        let mut process =
            Command::new(build::smith()?).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("smith")?;
        let input = process.stdin.take().context("its standard input is piped")?;
        let output = process.stdout.take().context("its standard output is piped")?;
        let mut smith = Self { _process: process, input, output };
        smith.send(&wat::parse_str(shape)?)?;
        Ok(smith)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.input.write_all(bytes)
    }

    /// The module that grows from these bytes; an empty one if there are too few.
    fn module(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.send(bytes)?;
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let mut module = vec![0; u32::from_le_bytes(length) as usize];
        self.output.read_exact(&mut module)?;
        Ok(module)
    }
}
