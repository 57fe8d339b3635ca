//! The arguments of `run`.

use super::JobArgs;
use clap::Args;
use longboat::job::Span;
use std::path::PathBuf;

/// An algorithm and what to run it on.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A WebAssembly file, or the name of a registered algorithm (NAME, or NAME@sha256:…)
    #[arg(value_name = "FILE|NAME")]
    pub algorithm: String,
    /// The job.
    #[command(flatten)]
    pub job: JobArgs,
    /// The time that the attempt may take [default: 60s]
    #[arg(long, visible_alias = "ttr", value_name = "DURATION", help_heading = "Limits")]
    pub timeout: Option<Span>,
    /// Where the files of the result appear; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub result_dir: Option<PathBuf>,
}
