//! The files that algorithms leave. Documents and logs are rows of the queue's database.
//!
//! ```text
//! results/
//!   .staging/            contents of guests' files while the guests run; swept when their process is dead
//!   bc/bc3a…/2/          what attempt 2 has left, under the names that the algorithm gave
//!   bc/bc3a…/attempts/   results of versions before 0.2: result.json, log.txt and files/ of each attempt
//! ```
//!
//! Files are put in their place and synced before the queue's commit names their attempt. A crash or a stale holder
//! in between leaves a directory that no record names, and nobody is ever shown it.

mod files;
mod lock;
mod tree;

pub use files::Files;

use crate::job::{FileEntry, JobId};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use lock::ProcessLock;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

const STAGING: &str = ".staging";
/// The largest document or log of the old version that is read: what its ceilings allowed.
const MAX_OLD: u64 = 128 << 20;

/// Finds what attempts have left, on any node: it takes no lock, and creates and removes nothing.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
}

impl Reader {
    /// A reader of the tree at `root`, which need not be there yet.
    pub fn new(root: &Path) -> Self {
        Self { path: root.to_owned() }
    }

    /// The files of an attempt; to be asked only for the attempt that the queue's record names.
    pub fn files(&self, id: JobId, attempt: u32) -> Files {
        let place = self.place(id, attempt);
        Files::new(if place.is_dir() { place } else { self.old(id, attempt).join("files") })
    }

    /// The result document of an attempt that a version before 0.2 made.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none here; else the disk's.
    pub fn old_document(&self, id: JobId, attempt: u32) -> io::Result<Vec<u8>> {
        Files::new(self.old(id, attempt)).read("result.json", MAX_OLD)
    }

    /// The log of an attempt that a version before 0.2 made.
    ///
    /// # Errors
    /// As for [`old_document`](Self::old_document).
    pub fn old_log(&self, id: JobId, attempt: u32) -> io::Result<Vec<u8>> {
        Files::new(self.old(id, attempt)).read("log.txt", MAX_OLD)
    }

    /// Where a job's files are: the first two hex digits, then all 32, as msg-qworker had it.
    pub fn directory(&self, id: JobId) -> PathBuf {
        let hex = id.hex();
        self.path.join(&hex[..2]).join(hex)
    }

    fn place(&self, id: JobId, attempt: u32) -> PathBuf {
        self.directory(id).join(attempt.to_string())
    }

    fn old(&self, id: JobId, attempt: u32) -> PathBuf {
        self.directory(id).join("attempts").join(attempt.to_string())
    }
}

/// The results tree of a data directory, for a process that makes attempts.
#[derive(Debug)]
pub struct Results {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    reader: Reader,
    lock: ProcessLock,
}

impl Results {
    /// Opens the tree at `root`, creates it if need be, and removes what dead processes left unfinished.
    ///
    /// # Errors
    /// The disk's, with the path.
    pub fn open(root: &Path) -> io::Result<Self> {
        let staging = root.join(STAGING);
        let context = |error: io::Error| at(&staging, &error);
        fs::create_dir_all(&staging).map_err(context)?;
        let lock = ProcessLock::take(&staging).map_err(context)?;
        lock.sweep(&staging).map_err(context)?;
        Ok(Self { root: Arc::new(Root { reader: Reader::new(root), lock }) })
    }

    /// Finds what attempts have left.
    pub fn reader(&self) -> &Reader {
        &self.root.reader
    }

    /// A place for the files of an attempt, which makes no directory until there is a file.
    ///
    /// What is in that place already goes: it was left by an attempt whose claim a loss of power has taken away.
    ///
    /// # Errors
    /// The disk's.
    pub fn stage(&self, id: JobId, attempt: u32) -> io::Result<Staging> {
        let place = self.root.reader.place(id, attempt);
        let name = format!("{}.{attempt}", id.hex());
        if fs::symlink_metadata(&place).is_ok() {
            self.root.discard(&place, &name)?;
        }
        let scratch = self.root.staging().join(self.root.lock.own(&name));
        Ok(Staging {
            root: Arc::clone(&self.root),
            name,
            place,
            scratch,
            files: OnceLock::new(),
            has_scratch: Arc::default(),
            is_kept: false,
        })
    }

    /// Removes everything of a job; it is gone at once, whatever its size.
    ///
    /// # Errors
    /// The disk's; a job without files is none.
    pub fn remove(&self, id: JobId) -> io::Result<()> {
        self.root.discard(&self.root.reader.directory(id), &format!("{}.removed", id.hex()))
    }
}

impl Root {
    fn staging(&self) -> PathBuf {
        self.reader.path.join(STAGING)
    }

    /// Removes an attempt's files.
    fn remove(&self, place: &Path, name: &str) -> io::Result<()> {
        self.discard(place, name)?;
        // Only what is empty goes; the next attempt with files makes these directories again.
        let _ = place.ancestors().skip(1).take(2).try_for_each(fs::remove_dir);
        Ok(())
    }

    /// Moves a directory out of sight under a name of this process, then removes it.
    fn discard(&self, directory: &Path, name: &str) -> io::Result<()> {
        let hidden = self.staging().join(self.lock.own(name));
        match fs::rename(directory, &hidden) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at(directory, &error)),
            Ok(()) => tree::remove(&hidden),
        }
    }
}

/// The files of an attempt that no record names so far. Dropped, they are removed.
#[derive(Debug)]
pub struct Staging {
    root: Arc<Root>,
    name: String,
    /// Where the files have their names.
    place: PathBuf,
    /// Where their contents are while the guest runs.
    scratch: PathBuf,
    files: OnceLock<Dir>,
    has_scratch: Arc<AtomicBool>,
    is_kept: bool,
}

impl Staging {
    /// Makes a new directory for the contents of the guest's files, which get their names when it has ended.
    ///
    /// What it returns fails with the disk's error; an attempt has one such directory.
    pub fn scratch(&self) -> impl FnOnce() -> io::Result<Dir> + Send + use<> {
        let (path, has_scratch) = (self.scratch.clone(), Arc::clone(&self.has_scratch));
        move || {
            has_scratch.store(true, Ordering::Release);
            make(&path)
        }
    }

    /// The directory in which the files get their names, made at the first call.
    ///
    /// # Errors
    /// The disk's.
    pub fn files(&self) -> io::Result<&Dir> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let files = make(&self.place)?;
        Ok(self.files.get_or_init(|| files))
    }

    /// Makes the files survive a loss of power: each of them, and each name on the way to them. It blocks.
    ///
    /// Only these are synced. A sync of the whole file system would wait for every other program's writes.
    ///
    /// # Errors
    /// The disk's; nothing is left in place then.
    pub fn keep(mut self, files: &[FileEntry]) -> io::Result<Kept> {
        if self.files.get().is_some() {
            sync(&self.place, files, &self.root.reader.path).map_err(|error| at(&self.place, &error))?;
        }
        self.is_kept = true;
        Ok(Kept { root: Arc::clone(&self.root), name: self.name.clone(), place: self.place.clone() })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let scratch = self.has_scratch.load(Ordering::Acquire).then(|| tree::remove(&self.scratch));
        let unnamed = (self.files.get().is_some() && !self.is_kept).then(|| self.root.remove(&self.place, &self.name));
        for removed in [scratch, unnamed].into_iter().flatten() {
            if let Err(error) = removed {
                tracing::warn!(%error, "files of an attempt are left for the next start to remove");
            }
        }
    }
}

/// The files of an attempt, on disk, that wait for the queue's commit.
#[derive(Debug)]
#[must_use = "kept files are named by the queue's commit, or discarded"]
pub struct Kept {
    root: Arc<Root>,
    name: String,
    place: PathBuf,
}

impl Kept {
    /// Removes them: the queue did not take the attempt.
    ///
    /// # Errors
    /// The disk's.
    pub fn discard(self) -> io::Result<()> {
        self.root.remove(&self.place, &self.name)
    }
}

/// How often a directory is made anew because those above it were removed meanwhile.
const TRIES: u32 = 100;

/// Makes a directory that must not be there, with those above it, and opens it.
fn make(path: &Path) -> io::Result<Dir> {
    let attempt = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::create_dir(path)?;
        Dir::open_ambient_dir(path, ambient_authority())
    };
    let mut made = attempt();
    for _ in 1..TRIES {
        match made {
            // The directories above go with a job that is deleted, or when they are empty.
            Err(error) if error.kind() == ErrorKind::NotFound => made = attempt(),
            made => return made.map_err(|error| at(path, &error)),
        }
    }
    made.map_err(|error| at(path, &error))
}

/// Syncs the files below `place`, all directories that hold them, and those on the way up to `root`.
fn sync(place: &Path, files: &[FileEntry], root: &Path) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for file in files {
        let path = place.join(&file.name);
        File::open(&path)?.sync_all()?;
        directories.extend(path.ancestors().skip(1).take_while(|above| above.starts_with(root)).map(Path::to_owned));
    }
    directories.extend(place.ancestors().take_while(|above| above.starts_with(root)).map(Path::to_owned));
    // The deepest first, so that no name is on disk before what it names.
    directories.iter().rev().try_for_each(|directory| File::open(directory)?.sync_all())
}

/// The error with the path that it is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
