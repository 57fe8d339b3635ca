//! An attempt's results while nobody sees them, and the step that puts them in place.

use super::{DOCUMENT, FILES, LIVE_LOG, LOG, Root, at, tree};
use crate::job::JobId;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SCRATCH: &str = "scratch";
/// How often an attempt is put in its place before what keeps removing that place is an error.
const TRIES: u32 = 100;

/// The result directory of an attempt that runs. Dropped, it is removed.
#[derive(Debug)]
pub struct Staging {
    root: Arc<Root>,
    id: JobId,
    attempt: u32,
    path: PathBuf,
    files_path: PathBuf,
    files: Dir,
    is_sealed: bool,
}

impl Staging {
    pub(super) fn new(root: Arc<Root>, id: JobId, attempt: u32) -> io::Result<Self> {
        let path = root.staging().join(root.lock.own(&format!("{}.{attempt}", id.hex())));
        let files_path = path.join(FILES);
        let files = fs::create_dir_all(&files_path)
            .and_then(|()| Dir::open_ambient_dir(&files_path, ambient_authority()))
            .map_err(|error| at(&path, &error))?;
        Ok(Self { root, id, attempt, path, files_path, files, is_sealed: false })
    }

    /// Where the algorithm's files get their names at publication.
    pub fn files_dir(&self) -> &Path {
        &self.files_path
    }

    /// The same directory as a capability.
    pub fn files(&self) -> &Dir {
        &self.files
    }

    /// Where the log can be read while the attempt runs; it is no part of what is sealed.
    pub fn live_log(&self) -> PathBuf {
        self.path.join(LIVE_LOG)
    }

    /// A new directory for the contents of the guest's files, which get their names at publication.
    ///
    /// # Errors
    /// The disk's; an attempt has one such directory.
    pub fn scratch(&self) -> io::Result<Dir> {
        let path = self.path.join(SCRATCH);
        let opened = fs::create_dir(&path).and_then(|()| Dir::open_ambient_dir(&path, ambient_authority()));
        opened.map_err(|error| at(&path, &error))
    }

    /// Puts the attempt in its place, on disk for good when this returns. Only the queue's commit publishes it.
    ///
    /// One sync at the end is enough, since nothing reads the place before that commit: after a power loss in
    /// between, what is there is the leftover of an attempt that no record names. It blocks, perhaps for long.
    ///
    /// Whatever was in that place goes: only the lease's holder makes an attempt of this number, so it is left over,
    /// by a restored backup or by another queue.
    ///
    /// # Errors
    /// The disk's; nothing is left in place then.
    pub fn seal(mut self, document: &[u8], log: &[u8], keep_files: bool) -> io::Result<Sealed> {
        let place = self.root.reader.attempt(self.id, self.attempt);
        let name = format!("{}.{}", self.id.hex(), self.attempt);
        let sealed = Sealed { root: Arc::clone(&self.root), name, place };
        self.move_to(&sealed, document, log, keep_files).map_err(|error| at(&sealed.place, &error))?;
        match tree::sync(&self.root.reader.path, &sealed.place) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                let error = at(&sealed.place, &error);
                sealed.discard()?;
                Err(error)
            }
        }
    }

    fn move_to(&mut self, sealed: &Sealed, document: &[u8], log: &[u8], keep_files: bool) -> io::Result<()> {
        tree::remove(&self.path.join(SCRATCH))?;
        tree::ignore_missing(fs::remove_file(self.live_log()))?;
        fs::write(self.path.join(DOCUMENT), document)?;
        fs::write(self.path.join(LOG), log)?;
        if !keep_files {
            tree::remove(&self.files_path)?;
        }
        sealed.root.discard(&sealed.place, &sealed.name)?;
        // The directories above may be removed at any moment, with a job that was deleted or by whoever left them empty.
        let mut put = self.put(&sealed.place);
        for _ in 1..TRIES {
            match put {
                Err(error) if error.kind() == io::ErrorKind::NotFound => put = self.put(&sealed.place),
                _ => break,
            }
        }
        put?;
        self.is_sealed = true;
        Ok(())
    }

    fn put(&self, place: &Path) -> io::Result<()> {
        place.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(&self.path, place)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_sealed {
            return;
        }
        if let Err(error) = tree::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a staging directory is left for the next start to remove");
        }
    }
}

/// An attempt that is in its place and waits for the queue's commit.
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
}
