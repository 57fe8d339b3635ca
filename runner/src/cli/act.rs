//! The arguments of the commands that act on jobs.

use super::{ChosenArgs, JobArgs};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use longboat::job::{AlgorithmRef, Span, Tube, When};
use url::Url;

/// Which jobs to act on.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The jobs.
    #[command(flatten)]
    pub chosen: ChosenArgs,
    /// Whether to ask first.
    #[command(flatten)]
    pub consent: ConsentArgs,
}

/// Whether to ask before acting on many jobs.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// Do not ask before acting on the jobs that the filter chooses
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Only show which jobs are chosen
    #[arg(long)]
    pub dry_run: bool,
}

/// Which jobs to cancel, and why.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The jobs.
    #[command(flatten)]
    pub act: ActArgs,
    /// The reason; the verdict keeps it
    #[arg(long, value_name = "TEXT", default_value = "by hand", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// Which jobs to change, and how.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The jobs.
    #[command(flatten)]
    pub act: ActArgs,
    /// Params, inputs and limits, as with submit.
    #[command(flatten)]
    pub job: JobArgs,
    /// The other fields.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What to change in a job, besides params, inputs and limits.
///
/// Where submit's option would choose jobs here, the option that changes them starts with `set`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes")]
pub struct ChangeArgs {
    /// Run another algorithm, or another module of it
    #[arg(long, value_name = "NAME")]
    pub set_algorithm: Option<AlgorithmRef>,
    /// Move the job to another tube
    #[arg(long, value_name = "TUBE")]
    pub set_tube: Option<Tube>,
    /// Pin the job to the worker of this name
    #[arg(long, value_name = "NAME")]
    pub set_host: Option<String>,
    /// Replace all tags by these; may be given many times
    #[arg(long = "set-tag", value_name = "TAG")]
    pub set_tags: Vec<String>,
    /// Add a tag; may be given many times
    #[arg(long = "add-tag", value_name = "TAG", conflicts_with = "set_tags")]
    pub add_tags: Vec<String>,
    /// Remove a tag; may be given many times
    #[arg(long = "remove-tag", value_name = "TAG", conflicts_with = "set_tags")]
    pub remove_tags: Vec<String>,
    /// Also send the result there; a result that is being sent already still goes to the old URL
    #[arg(long, value_name = "URL")]
    pub result_url: Option<Url>,
    /// 0 is the most urgent
    #[arg(long, value_name = "N")]
    pub priority: Option<u32>,
    /// Not before this much time from now, such as 90s or 1h30m
    #[arg(long, value_name = "DURATION", conflicts_with = "run_at")]
    pub delay: Option<Span>,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    pub run_at: Option<Timestamp>,
    /// Not after this time, or this much time from now
    #[arg(long, value_name = "TIME|DURATION")]
    pub expires: Option<When>,
    /// The time that one attempt may take, fetching included
    #[arg(long, value_name = "DURATION")]
    pub ttr: Option<Span>,
    /// How often the job may be tried
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Reset a field to its default; may be given many times
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_enum)]
    pub unset: Vec<Unset>,
}

/// A field that can be reset to its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Unset {
    /// No params
    Params,
    /// No input
    Input,
    /// Sent nowhere
    ResultUrl,
    /// The tube `default`
    Tube,
    /// 1024
    Priority,
    /// Due at once
    Delay,
    /// Due at once
    RunAt,
    /// For ever
    Expires,
    /// The operator's default
    Ttr,
    /// 3
    MaxAttempts,
    /// The operator's defaults
    Limits,
    /// From id and attempt
    Seed,
    /// The time of submission
    Clock,
    /// No tags
    Tags,
    /// Any worker
    Host,
}

/// Which tube to pause, and how long.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// The tube
    pub tube: Tube,
    /// For this time [default: until `longboat resume`]
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub period: Option<Span>,
    /// Until this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
}
