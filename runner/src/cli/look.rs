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
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", help_heading = "Which jobs")]
    pub limit: Option<u64>,
    /// Show more columns
    #[arg(long, conflicts_with = "columns")]
    pub wide: bool,
    /// Show these columns
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', value_enum)]
    pub columns: Vec<Column>,
    /// Print inputs that are part of the job whole, not only their sizes and digests
    #[arg(long)]
    pub full: bool,
}

/// Which job to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The job's id
    pub id: JobId,
    /// Print long params, and inputs that are part of the job, whole
    #[arg(long)]
    pub full: bool,
}

/// A column of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// Its id
    Id,
    /// Its state
    State,
    /// What it runs
    Algorithm,
    /// Where it waits
    Tube,
    /// 0 is the most urgent
    Priority,
    /// How many attempts were started
    Attempts,
    /// When it was submitted; all times are in UTC
    Submitted,
    /// The kind of its last verdict
    Verdict,
    /// When it was or is due
    Due,
    /// When its last attempt started
    Started,
    /// When it ended
    Finished,
    /// The time after which it is not started
    Expires,
    /// The time that an attempt may take
    Ttr,
    /// The only worker that may take it
    Host,
    /// Its tags
    Tags,
    /// Its unique key
    Unique,
    /// How often it was kicked
    Kicks,
    /// How far the running attempt has come
    Progress,
    /// What the last verdict says
    Message,
}

impl Column {
    /// The columns unless others are asked for; scripts rely on them.
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
    /// The additional columns of a wide list.
    pub const WIDE: [Self; 6] = [Self::Started, Self::Finished, Self::Host, Self::Tags, Self::Progress, Self::Message];
}

/// Which jobs to wait for, and how long.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Which jobs; a filter chooses jobs that fit it now.
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
    /// Go on until the job has ended; exit with 1 if it is then not done
    #[arg(short, long)]
    pub follow: bool,
}

/// Whose result to print, and where to save it.
#[derive(Debug, Args)]
pub struct ResultArgs {
    /// The job's id
    pub id: JobId,
    /// The result of this attempt [default: the attempt that counts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Also write result.json, log.txt and files/ into this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}
