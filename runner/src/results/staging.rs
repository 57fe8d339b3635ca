//! An attempt's results while nobody sees them, and the step that puts them in place.

use super::flush::Since;
use super::{DOCUMENT, FILES, LIVE_LOG, LOG, Root, at, tree};
use crate::job::JobId;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

const SCRATCH: &str = "scratch";
/// How often an attempt is put in its place before what keeps removing that place is an error.
const TRIES: u32 = 100;

/// The result directory of an attempt that runs. Dropped, it is removed.
///
/// It and the directories in it are made when they are needed: making and removing them is most of what a small
/// attempt costs.
#[derive(Debug)]
pub struct Staging {
    root: Arc<Root>,
    id: JobId,
    attempt: u32,
    path: PathBuf,
    files_path: PathBuf,
    files: OnceLock<Dir>,
    has_scratch: Arc<AtomicBool>,
    /// When the first of what is sealed began to be written. Until then a failing sync is no loss of this attempt's.
    since: Arc<OnceLock<Since>>,
    is_placed: bool,
}

impl Staging {
    pub(super) fn new(root: Arc<Root>, id: JobId, attempt: u32) -> Self {
        let path = root.staging().join(root.lock.own(&format!("{}.{attempt}", id.hex())));
        let files_path = path.join(FILES);
        let (files, has_scratch, since) = (OnceLock::new(), Arc::default(), Arc::default());
        Self { root, id, attempt, path, files_path, files, has_scratch, since, is_placed: false }
    }

    /// Where the algorithm's files get their names at publication; there only once it has been opened.
    pub fn files_dir(&self) -> &Path {
        &self.files_path
    }

    /// Opens a file in which the log can be read while the attempt runs; it is no part of what is sealed.
    ///
    /// What it returns fails with the disk's error.
    pub fn live_log(&self) -> impl Fn() -> io::Result<File> + Clone + Send + use<> {
        let path = self.path.clone();
        move || make(&path).and_then(|()| File::create(path.join(LIVE_LOG)))
    }

    /// The same directory as a capability, made if need be.
    ///
    /// # Errors
    /// The disk's.
    pub fn files(&self) -> io::Result<&Dir> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        self.begin();
        let files = open_new(&self.path, &self.files_path)?;
        Ok(self.files.get_or_init(|| files))
    }

    /// Makes a new directory for the contents of the guest's files, which get their names at publication.
    ///
    /// What it returns fails with the disk's error; an attempt has one such directory.
    pub fn scratch(&self) -> impl FnOnce() -> io::Result<Dir> + Send + use<> {
        let (path, has_scratch) = (self.path.clone(), Arc::clone(&self.has_scratch));
        let (root, since) = (Arc::clone(&self.root), Arc::clone(&self.since));
        move || {
            has_scratch.store(true, Ordering::Release);
            since.get_or_init(|| root.flush.since());
            open_new(&path, &path.join(SCRATCH))
        }
    }

    /// Puts the attempt in its place, from where a sync makes it durable and the queue's commit publishes it. It blocks.
    ///
    /// Whatever was in that place goes: only the lease's holder makes an attempt of this number, so it is left over,
    /// by a restored backup or by another queue.
    ///
    /// # Errors
    /// The disk's; nothing is left in place then.
    pub fn place(mut self, document: &[u8], log: &[u8], keep_files: bool) -> io::Result<Placed> {
        let place = self.root.reader.attempt(self.id, self.attempt);
        let name = format!("{}.{}", self.id.hex(), self.attempt);
        let sealed = Sealed { root: Arc::clone(&self.root), name, place };
        let since = self.begin();
        self.move_to(&sealed, document, log, keep_files).map_err(|error| at(&sealed.place, &error))?;
        Ok(Placed { sealed, since })
    }

    /// Puts the attempt in its place, on disk for good when this returns. It blocks, perhaps for long.
    ///
    /// # Errors
    /// As for [`place`](Self::place) and [`Placed::synced`].
    pub fn seal(self, document: &[u8], log: &[u8], keep_files: bool) -> io::Result<Sealed> {
        let Placed { sealed, since } = self.place(document, log, keep_files)?;
        match sealed.root.flush.sync_blocking(sealed.place.clone(), since) {
            Ok(()) => Ok(sealed),
            Err(error) => Err(sealed.give_up(&error)),
        }
    }

    /// To be called before anything is written that is sealed.
    fn begin(&self) -> Since {
        *self.since.get_or_init(|| self.root.flush.since())
    }

    fn move_to(&mut self, sealed: &Sealed, document: &[u8], log: &[u8], keep_files: bool) -> io::Result<()> {
        make(&self.path)?;
        tree::ignore_missing(fs::remove_file(self.path.join(LIVE_LOG)))?;
        if self.has_scratch.load(Ordering::Acquire) {
            tree::remove(&self.path.join(SCRATCH))?;
        }
        fs::write(self.path.join(DOCUMENT), document)?;
        fs::write(self.path.join(LOG), log)?;
        if !keep_files && self.files.get().is_some() {
            tree::remove(&self.files_path)?;
        }
        // The directories above may be removed at any moment, with a job that was deleted or by whoever left them empty.
        let mut put = self.put(sealed);
        for _ in 1..TRIES {
            match put {
                // One that goes while it is made is told as one that is there already.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                    put = self.put(sealed);
                }
                _ => break,
            }
        }
        put?;
        self.is_placed = true;
        Ok(())
    }

    fn put(&self, sealed: &Sealed) -> io::Result<()> {
        make(&self.root.reader.job(self.id))?;
        sealed.place.parent().map_or(Ok(()), make)?;
        match fs::rename(&self.path, &sealed.place) {
            // What a file system calls it is up to the file system.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                sealed.root.discard(&sealed.place, &sealed.name)?;
                fs::rename(&self.path, &sealed.place)
            }
            moved => moved,
        }
    }
}

/// Makes a directory, and those above it that are missing; it may be there.
///
/// [`fs::create_dir_all`] looks at each of them again after it has failed to make it.
fn make(path: &Path) -> io::Result<()> {
    let made = match (fs::create_dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make(parent).and_then(|()| fs::create_dir(path))
        }
        (made, _) => made,
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes a directory, which must not be there, inside of one that may be, and opens it.
fn open_new(parent: &Path, path: &Path) -> io::Result<Dir> {
    let made = make(parent).and_then(|()| fs::create_dir(path));
    let opened = made.and_then(|()| Dir::open_ambient_dir(path, ambient_authority()));
    opened.map_err(|error| at(path, &error))
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        if let Err(error) = tree::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a staging directory is left for the next start to remove");
        }
    }
}

/// An attempt that is in its place, and that a power loss may still damage.
#[derive(Debug)]
#[must_use = "a placed attempt is synced before the queue hears of it"]
pub struct Placed {
    sealed: Sealed,
    since: Since,
}

impl Placed {
    /// Waits until it is on disk for good.
    ///
    /// One sync at the end is enough, since nothing reads the place before the queue's commit: after a power loss in
    /// between, what is there is the leftover of an attempt that no record names. Whoever was placed before the sync
    /// began shares it.
    ///
    /// # Errors
    /// The disk's; nothing is left in place then.
    pub async fn synced(self) -> io::Result<Sealed> {
        let Self { sealed, since } = self;
        let Err(error) = sealed.root.flush.sync(sealed.place.clone(), since).await else { return Ok(sealed) };
        let given_up = tokio::task::spawn_blocking(move || sealed.give_up(&error)).await;
        Err(given_up.unwrap_or_else(io::Error::other))
    }
}

/// An attempt that is in its place, on disk, and waits for the queue's commit.
#[derive(Debug)]
#[must_use = "a sealed attempt is committed with the queue, or discarded"]
pub struct Sealed {
    root: Arc<Root>,
    name: String,
    place: PathBuf,
}

impl Sealed {
    /// Removes it: the commit was refused because the lease was lost. If the job was deleted meanwhile, nothing of it is
    /// left then.
    ///
    /// # Errors
    /// The disk's.
    pub fn discard(self) -> io::Result<()> {
        self.root.discard(&self.place, &self.name)?;
        // Only what is empty goes; whoever needs these directories makes them again.
        let _ = self.place.ancestors().skip(1).take(2).try_for_each(fs::remove_dir);
        Ok(())
    }

    /// Removes it because it could not be synced; returns that error, or the one of removing it.
    fn give_up(self, error: &io::Error) -> io::Error {
        let error = at(&self.place, error);
        self.discard().err().unwrap_or(error)
    }
}
