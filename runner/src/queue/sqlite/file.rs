//! A queue's file, to look after while workers go on with the queue in it.

use super::sharing::Sharing;
use super::{backup, check, export, import};
use crate::queue::QueueError;
use jiff::Timestamp;
use serde::Serialize;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

/// As many faults are told; the rest is counted.
const TOLD: usize = 100;

/// A queue's file.
///
/// What is done here takes as long as the file is large, and blocks.
#[derive(Debug, Clone)]
pub struct QueueFile {
    path: PathBuf,
    sharing: Sharing,
}

/// What is wrong, as far as anybody wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// The first hundred.
    pub told: Vec<String>,
    /// How many others there are.
    pub more: u64,
}

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn add(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        } else {
            self.more += 1;
        }
    }
}

/// A copy of a queue's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Jobs in it.
    pub jobs: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// How a queue's file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Jobs that were looked at.
    pub jobs: u64,
    /// What is wrong.
    pub faults: Faults,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Jobs.
    pub jobs: u64,
    /// Ids of jobs that were deleted.
    pub forgotten: u64,
    /// What could not be read, and is missing.
    pub faults: Faults,
}

/// Why there is no export, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The queue's fault.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Where it was to be written to.
    #[error("writing the export failed")]
    Write(#[from] io::Error),
}

/// What was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Jobs that are in the queue now, and were not before.
    pub jobs: u64,
    /// Ids of deleted jobs that are known now, and were not before.
    pub forgotten: u64,
    /// Jobs and ids that were known before.
    pub known: u64,
}

/// Why an import ended early. What it had read so far is in the queue, and is left as it is by the next import.
#[derive(Debug, thiserror::Error)]
#[error("{why}; {} jobs of the lines before are in the queue, and an import of the whole goes on from there", imported.jobs + imported.known)]
pub struct ImportError {
    /// What was imported.
    pub imported: Imported,
    /// Why no more; it is told with the rest, and so is no source of it.
    pub why: ImportFault,
}

/// What is wrong with an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportFault {
    /// A line of it.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The queue's fault.
    #[error(transparent)]
    Queue(QueueError),
    /// Where it is read from.
    #[error("reading failed: {0}")]
    Read(io::Error),
}

impl QueueFile {
    /// The file at this path, which is used in this way by all who use it.
    pub fn new(path: &Path, sharing: Sharing) -> Self {
        Self { path: path.to_owned(), sharing }
    }

    /// Copies the queue, as it is at one moment, into the file at `target`, which is empty or not there. The copy is
    /// on disk when this returns. After an error the target is to be thrown away.
    ///
    /// Workers go on meanwhile; on a directory that several machines share they wait with their commits.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if the file is no queue, or damaged, or the target cannot be written.
    pub fn copy(&self, target: &Path) -> Result<Copied, QueueError> {
        backup::copy(&self.path, self.sharing, target).map_err(|fault| fault.at(&self.path))
    }

    /// Looks whether the file is whole, and whether what is in it fits together. Nothing is changed.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if the file cannot be looked at, or is no queue.
    pub fn check(&self) -> Result<Health, QueueError> {
        check::check(&self.path, self.sharing).map_err(|fault| fault.at(&self.path))
    }

    /// Writes all jobs with their history, as they are at one moment, as JSON lines. Running ones are written as if
    /// their workers had given them back just then.
    ///
    /// Where several machines share the file, it is not one moment for all jobs, but for each some hundred of them:
    /// nobody could commit meanwhile.
    ///
    /// # Errors
    /// [`ExportError`]. A job that cannot be read is none: it is left out and told of.
    pub fn export(&self, to: &mut dyn Write) -> Result<Exported, ExportError> {
        export::export(&self.path, self.sharing, Timestamp::now(), to)
    }

    /// Takes in what was exported. Jobs keep their order and everything else, and come after those that are there.
    ///
    /// A job that is known, with the document that it was submitted with, is left as it is; so an import that broke
    /// off is simply repeated. Each thousand lines are a transaction.
    ///
    /// # Errors
    /// [`ImportError`], with the line; what stands before it is in the queue.
    pub fn import(&self, from: &mut dyn BufRead) -> Result<Imported, ImportError> {
        import::import(&self.path, self.sharing, Timestamp::now(), from)
    }
}
