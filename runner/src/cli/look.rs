//! The arguments of the commands that look at jobs.

use super::{ChosenArgs, FilterArgs};
use clap::{Args, ValueEnum};
use longboat::job::{JobId, Span};
use std::path::PathBuf;

/// Which jobs to list, and what of them.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which jobs.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most this many, those that were submitted first
    #[arg(long, value_name = "N", help_heading = "Which jobs")]
    pub limit: Option<u64>,
    /// Show more columns
    #[arg(long, conflicts_with = "columns")]
    pub wide: bool,
    /// Show these columns
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', value_enum)]
    pub columns: Vec<Column>,
}

/// What a listing tells of each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// Its id
    Id,
    /// The state that it is in
    State,
    /// What it runs
    Algorithm,
    /// Where it waits
    Tube,
    /// 0 is the most urgent
    Priority,
    /// How many were started
    Attempts,
    /// When, in UTC as all times are
    Submitted,
    /// The kind of the last one
    Verdict,
    /// When it can start, or could
    Due,
    /// When its last attempt started
    Started,
    /// When it ended
    Finished,
    /// After when it is not started
    Expires,
    /// The time that an attempt may take
    Ttr,
    /// The only worker that may take it
    Host,
    /// What to find it by
    Tags,
    /// The key that only one job may hold
    Unique,
    /// How often it was kicked
    Kicks,
    /// Its number at the server that keeps it
    Number,
    /// How far the running attempt has come
    Progress,
    /// What the last verdict says
    Message,
}

impl Column {
    /// What is shown unless something else is asked for; scripts go by it.
    pub const USUAL: [Self; 8] = [
        Self::Id,
        Self::State,
        Self::Algorithm,
        Self::Tube,
        Self::Priority,
        Self::Attempts,
        Self::Submitted,
        Self::Verdict,
    ];
    /// What more there is in a wide listing.
    pub const WIDE: [Self; 6] = [Self::Started, Self::Finished, Self::Host, Self::Tags, Self::Progress, Self::Message];
}

/// Which jobs to wait for, and how long.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Which jobs; by a filter those that fit it now.
    #[command(flatten)]
    pub chosen: ChosenArgs,
    /// Give up after this long
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

/// Whose log to print.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The job's id
    pub id: JobId,
    /// The log of this attempt [default: the last one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Go on until the job has ended; exit with 1 if it is not done then
    #[arg(short, long)]
    pub follow: bool,
}

/// Whose result to print.
#[derive(Debug, Args)]
pub struct ResultArgs {
    /// The job's id
    pub id: JobId,
    /// Copy the files of the result into this directory, which is created
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
}
