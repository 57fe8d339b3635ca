//! What to do with the queue's file.

use clap::Subcommand;
use std::path::PathBuf;

/// What to do with the queue's file.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Copy the queue, as it is at one moment, while workers go on
    Backup {
        /// The copy; it appears once it is whole and on disk
        file: PathBuf,
        /// Put it in the place of an earlier copy
        #[arg(long)]
        replace: bool,
    },
    /// Look whether the file is whole, and whether what is in it fits together; exit with 1 if not
    Check,
    /// Write all jobs with their history, and the ids of deleted ones, as JSON lines
    Export {
        /// Where to; - is standard output, and while its reader takes its time, the log beside the queue grows
        #[arg(long, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Put it in the place of an earlier export
        #[arg(long)]
        replace: bool,
    },
    /// Take in what was exported, and leave as it is what the queue knows already
    Import {
        /// The export; - is standard input
        file: PathBuf,
    },
}
