//! The `longboat` program: parses the command line and runs the command.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;
mod output;
mod telemetry;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::start(cli.global.verbose);
    raise_file_limit();
    match commands::run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<commands::Usage>() => {
            output::tell(format_args!("error: {error}"));
            ExitCode::from(2)
        }
        Err(error) => fail(&error),
    }
}

/// Raises the limit on open files to the system's maximum: every running job needs some.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit on open files is not raised");
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    output::tell(format_args!("error: {error:#}"));
    ExitCode::FAILURE
}
