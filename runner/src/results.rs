//! The results tree: what attempts leave behind, and what readers are served.
//!
//! ```text
//! results/
//!   .staging/                      attempts that run; swept when their process is dead
//!   bc/bc3a…/attempts/2/           a sealed attempt: result.json, log.txt, files/
//!   bc/bc3a…/latest → attempts/2   and result.json → latest/result.json (log.txt, files): for people and plain
//!                                  web servers
//! ```
//!
//! An attempt is staged, placed under its own number, sealed by a sync that it shares with others, and published only
//! by the queue's record naming that number. A crash or a stale holder in between leaves a directory that no record names, and shows nothing.

mod flush;
mod links;
mod lock;
mod published;
mod staging;
mod store;
mod tree;

pub use published::Published;
pub use staging::{Placed, Sealed, Staging};

use crate::job::JobId;
use flush::Flush;
use lock::ProcessLock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STAGING: &str = ".staging";
const STORE: &str = ".store";
const DOCUMENT: &str = "result.json";
const LOG: &str = "log.txt";
const FILES: &str = "files";
/// In a staging directory: the log of an attempt that runs, as far as it has come.
const LIVE_LOG: &str = "live.txt";
const LATEST: &str = "latest";
/// What a link is called for the moment before it has its place.
const SPARE: &str = ".latest";

/// Finds what attempts have left, whoever runs them: it takes no lock, and creates and removes nothing.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
}

/// The results tree of a data directory, as whoever makes attempts needs it.
#[derive(Debug)]
pub struct Results {
    root: Arc<Root>,
}

/// What stagings share with the tree they are part of.
#[derive(Debug)]
struct Root {
    reader: Reader,
    store: JobId,
    lock: ProcessLock,
    flush: Flush,
}

impl Reader {
    /// A reader of the tree at `root`, which need not be there yet.
    pub fn new(root: &Path) -> Self {
        Self { path: root.to_owned() }
    }

    /// What an attempt has left; to be asked only for the attempt that the queue's record names.
    pub fn published(&self, id: JobId, attempt: u32) -> Published {
        Published::new(self.attempt(id, attempt))
    }

    /// The log so far of an attempt that a worker of this tree runs.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if none does, or if its guest has written nothing; else the disk's.
    pub fn live_log(&self, id: JobId, attempt: u32) -> io::Result<fs::File> {
        let prefix = format!("{}.{attempt}.", id.hex());
        for entry in fs::read_dir(self.path.join(STAGING))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                return fs::File::open(entry.path().join(LIVE_LOG));
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// The first two hex digits, then all 32, as msg-qworker had it.
    fn job(&self, id: JobId) -> PathBuf {
        let hex = id.hex();
        self.path.join(&hex[..2]).join(hex)
    }

    fn attempt(&self, id: JobId, attempt: u32) -> PathBuf {
        self.job(id).join("attempts").join(attempt.to_string())
    }
}

impl Results {
    /// Opens the tree at `root`, creates it if need be, and removes what dead processes left unfinished.
    ///
    /// # Errors
    /// The disk's, with the path.
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::open_with(root, tree::syncing)
    }

    /// [`Results::open`] with another way to sync.
    pub(crate) fn open_with(root: &Path, syncing: impl FnOnce(&Path) -> io::Result<flush::Sync>) -> io::Result<Self> {
        let staging = root.join(STAGING);
        let context = |error: io::Error| at(&staging, &error);
        fs::create_dir_all(&staging).map_err(context)?;
        let lock = ProcessLock::take(&staging).map_err(context)?;
        lock.sweep(&staging).map_err(context)?;
        let store = store::identify(root).map_err(|error| at(root, &error))?;
        let flush = syncing(root).and_then(Flush::start).map_err(|error| at(root, &error))?;
        Ok(Self { root: Arc::new(Root { reader: Reader::new(root), store, lock, flush }) })
    }

    /// The tree's own id, which tells it from any other that serves the same queue.
    pub fn store(&self) -> JobId {
        self.root.store
    }

    /// A place for the results of an attempt, seen by nobody until it is sealed. It touches no disk.
    pub fn stage(&self, id: JobId, attempt: u32) -> Staging {
        Staging::new(Arc::clone(&self.root), id, attempt)
    }

    /// What an attempt has left; to be asked only for the attempt that the queue's record names.
    pub fn published(&self, id: JobId, attempt: u32) -> Published {
        self.root.reader.published(id, attempt)
    }

    /// Points the job's `result.json`, `log.txt` and `files` at an attempt, for people and plain web servers, unless
    /// a later one was exposed before.
    ///
    /// A convenience that follows publication: a crash before it loses nothing that is served.
    /// Where the job's results were removed meanwhile, there is nothing to point at.
    ///
    /// # Errors
    /// The disk's.
    pub fn expose(&self, id: JobId, attempt: u32) -> io::Result<()> {
        tree::ignore_missing(self.link(id, attempt))
    }

    fn link(&self, id: JobId, attempt: u32) -> io::Result<()> {
        let directory = self.root.reader.job(id);
        links::point(&directory, attempt, &directory.join(self.root.lock.own(SPARE)))
    }

    /// Removes everything of a job; it is gone at once, whatever its size.
    ///
    /// Whoever seals an attempt at this moment may put it in place afterwards. Its lease is lost, so it is discarded, and
    /// what a crash leaves of it is removed with the next call.
    ///
    /// # Errors
    /// The disk's; a job without results is none.
    pub fn remove(&self, id: JobId) -> io::Result<()> {
        self.root.discard(&self.root.reader.job(id), &format!("{}.removed", id.hex()))
    }

    /// Where a job's results are, for messages.
    pub fn directory(&self, id: JobId) -> PathBuf {
        self.root.reader.job(id)
    }
}

impl Root {
    fn staging(&self) -> PathBuf {
        self.reader.path.join(STAGING)
    }

    /// Moves a directory out of sight under a name of this process, then removes it.
    fn discard(&self, directory: &Path, name: &str) -> io::Result<()> {
        let hidden = self.staging().join(self.lock.own(name));
        match fs::rename(directory, &hidden) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at(directory, &error)),
            Ok(()) => tree::remove(&hidden),
        }
    }
}

/// The error with the path that it is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
