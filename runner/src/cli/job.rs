//! The fields of a job document as options.

use clap::Args;
use jiff::Timestamp;
use longboat::job::{AlgorithmRef, JobId, LimitsRequest, Span, Tube, When, parse_fuel, parse_size};
use std::path::PathBuf;
use url::Url;

/// Params, inputs and limits: the options that `run`, `submit` and `update` share.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// An input: a URL, a path, or - for standard input; NAME=… if there are several
    #[arg(long = "input", value_name = "[NAME=]SOURCE")]
    pub inputs: Vec<String>,
    /// All params as a JSON object, or @FILE
    #[arg(long, value_name = "JSON|@FILE")]
    pub params: Option<String>,
    /// One param; a value that is not JSON is taken as text
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub param: Vec<String>,
    /// Pin the algorithm's randomness
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The wall clock that the algorithm sees at its start, as an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub clock: Option<Timestamp>,
    /// What an attempt may use
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What an attempt may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Units of fuel, roughly one an instruction [default: 1e10]
    #[arg(long, value_name = "UNITS", value_parser = parse_fuel)]
    pub fuel: Option<u64>,
    /// All memories and tables together [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Everything in the result directory [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub result_size: Option<u64>,
    /// Entries in the result directory [default: 1000]
    #[arg(long, value_name = "N")]
    pub result_files: Option<u32>,
    /// The JSON that the algorithm returns [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub document_size: Option<u64>,
    /// What is kept of the log [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub log_size: Option<u64>,
    /// All inputs together [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub input_size: Option<u64>,
}

impl LimitArgs {
    /// The limits as a job document asks for them.
    pub fn request(&self) -> LimitsRequest {
        LimitsRequest {
            fuel: self.fuel,
            memory: self.memory,
            result_size: self.result_size,
            result_files: self.result_files,
            document_size: self.document_size,
            log_size: self.log_size,
            input_size: self.input_size,
        }
    }
}

/// The options that describe a single job. None of them goes with a file of jobs.
const ONE_JOB: [&str; 26] = [
    "inputs",
    "params",
    "param",
    "seed",
    "clock",
    "fuel",
    "memory",
    "result_size",
    "result_files",
    "document_size",
    "log_size",
    "input_size",
    "id",
    "result_url",
    "tube",
    "priority",
    "delay",
    "run_at",
    "expires",
    "ttr",
    "max_attempts",
    "unique",
    "unique_for",
    "tags",
    "host",
    "hold",
];

/// A job, or a file of them.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The algorithm: NAME, or NAME@sha256:… to pin a module
    #[arg(value_name = "NAME", required_unless_present = "file", conflicts_with = "file")]
    pub algorithm: Option<AlgorithmRef>,
    /// Submit job documents from a file, as JSON or JSON lines; - is standard input. All of them or none
    #[arg(long, value_name = "JOBS", conflicts_with_all = ONE_JOB)]
    pub file: Option<PathBuf>,
    /// An id of your own, so that submitting twice changes nothing
    #[arg(long, value_name = "UUID")]
    pub id: Option<JobId>,
    /// Also send the result document there, with PUT, once the job is done or dead
    #[arg(long, value_name = "URL")]
    pub result_url: Option<Url>,
    /// The tube [default: default]
    #[arg(long, value_name = "TUBE")]
    pub tube: Option<Tube>,
    /// 0 is the most urgent [default: 1024]
    #[arg(long, value_name = "N")]
    pub priority: Option<u32>,
    /// Not before this much time after submission, such as 90s or 1h30m
    #[arg(long, value_name = "DURATION", conflicts_with = "run_at")]
    pub delay: Option<Span>,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    pub run_at: Option<Timestamp>,
    /// Not after this time, or this much time after submission
    #[arg(long, value_name = "TIME|DURATION")]
    pub expires: Option<When>,
    /// The time that one attempt may take, fetching included [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub ttr: Option<Span>,
    /// How often the job may be tried [default: 3]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Refuse a second job with this key until this one has ended
    #[arg(long, value_name = "KEY")]
    pub unique: Option<String>,
    /// Refuse it for this time instead
    #[arg(long, value_name = "DURATION", requires = "unique")]
    pub unique_for: Option<Span>,
    /// A tag to find the job by; may be given many times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The only worker that may take the job, by its --name
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Submit without releasing
    #[arg(long)]
    pub hold: bool,
    /// Params, inputs and limits.
    #[command(flatten)]
    pub job: JobArgs,
}

/// An algorithm and what to run it on.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A WebAssembly file, or the name of a registered algorithm (NAME, or NAME@sha256:…)
    #[arg(value_name = "FILE|NAME")]
    pub algorithm: String,
    /// The time that the attempt may take [default: 60s]
    #[arg(long, visible_alias = "ttr", value_name = "DURATION", help_heading = "Limits")]
    pub timeout: Option<Span>,
    /// Where to put the files of the result; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub result_dir: Option<PathBuf>,
    /// Params, inputs and limits.
    #[command(flatten)]
    pub job: JobArgs,
}
