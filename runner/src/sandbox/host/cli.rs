//! `wasi:cli` and the `process` interface: streams, environment and exit.

use super::bindings::longboat::algorithm::process;
use super::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};
use super::charge::ITEM;
use super::io::{InputStream, OutputStream};
use super::{ARGUMENTS, Host, RESULT};
use wasmtime::component::Resource;

/// The guest ended itself with this code; travels as an error, since the call never returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm exited with code {0}")]
pub struct Exit(pub u32);

/// A terminal; guests have none.
#[derive(Debug)]
pub enum Terminal {}

impl Host {
    /// The input named `input`, or else the only one, or else nothing.
    pub(super) fn standard_input(&self) -> InputStream {
        let named = self.inputs.iter().find(|(name, _)| name == "input");
        let only = if let [only] = self.inputs.as_slice() { Some(only) } else { None };
        match named.or(only) {
            Some((_, body)) => InputStream::body(body.clone()),
            None => InputStream::Empty,
        }
    }

    pub(super) fn standard_output(&self) -> OutputStream {
        if self.outputs.stdout.is_some() { OutputStream::Stdout } else { OutputStream::Log }
    }
}

impl environment::Host for Host {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let environment = self.environment.clone();
        self.moved(environment.iter().map(|(name, value)| ITEM + name.len() + value.len()).sum());
        Ok(environment)
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(ARGUMENTS.map(str::to_owned).to_vec())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(Some(RESULT.to_owned()))
    }
}

impl exit::Host for Host {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(Exit(u32::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, code: u8) -> wasmtime::Result<()> {
        Err(Exit(u32::from(code)).into())
    }
}

impl process::Host for Host {
    fn exit(&mut self, code: u32) -> wasmtime::Result<()> {
        Err(Exit(code).into())
    }
}

impl stdin::Host for Host {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<InputStream>> {
        let stream = self.standard_input();
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for Host {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        let stream = self.standard_output();
        Ok(self.table.push(stream)?)
    }
}

impl stderr::Host for Host {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<OutputStream>> {
        Ok(self.table.push(OutputStream::Log)?)
    }
}

impl terminal_input::HostTerminalInput for Host {
    fn drop(&mut self, terminal: Resource<Terminal>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::HostTerminalOutput for Host {
    fn drop(&mut self, terminal: Resource<Terminal>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_input::Host for Host {}
impl terminal_output::Host for Host {}

impl terminal_stdin::Host for Host {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Host {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Host {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<Terminal>>> {
        Ok(None)
    }
}
