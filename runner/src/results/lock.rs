//! Tells the staging directories of living processes from those of dead ones.
//!
//! Each opened tree holds a lock on a file `NAME.lock` beside its stagings, which all end in `.NAME`. The kernel
//! drops the lock when the process dies, on a file server too, so a lock that can be taken belongs to nobody.

use super::tree;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

const SUFFIX: &str = ".lock";

/// The sign of life of one opened tree.
#[derive(Debug)]
pub(super) struct ProcessLock {
    name: String,
    path: PathBuf,
    count: AtomicU64,
    /// Locked for as long as it is open.
    _file: File,
}

impl ProcessLock {
    /// Takes a lock under a new random name.
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        loop {
            let name = Uuid::new_v4().simple().to_string()[..16].to_owned();
            let path = directory.join(format!("{name}{SUFFIX}"));
            let file = File::create_new(&path)?;
            // A sweep may have come between creation and lock, and have removed the file.
            if try_lock(&file)? && is_still_at(&file, &path)? {
                return Ok(Self { name, path, count: AtomicU64::new(0), _file: file });
            }
        }
    }

    /// A name that starts with `name`, was not given out before, and shows who owns it.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{name}.{}.{}", self.count.fetch_add(1, Ordering::Relaxed), self.name)
    }

    /// Removes what belongs to no living process.
    ///
    /// Whatever it is gets a name of this process first, which only one of those who come at once can give it: two
    /// that removed the same directory would stand in each other's way.
    pub(super) fn sweep(&self, directory: &Path) -> io::Result<()> {
        let mut living = Vec::new();
        let mut others = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            // Names with other bytes than these are nobody's.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.strip_suffix(SUFFIX) {
                Some(owner) if is_alive(&path)? => living.push(owner.to_owned()),
                Some(_) => {}
                None => others.push(path),
            }
        }
        for path in others {
            let owner = path.extension().and_then(|owner| owner.to_str()).unwrap_or_default();
            // An owner that is not in the list may have started since it was read.
            let lock = directory.join(format!("{owner}{SUFFIX}"));
            if living.iter().any(|alive| alive == owner) || is_alive(&lock)? {
                continue;
            }
            let mine = directory.join(self.own("swept"));
            match fs::rename(&path, &mine) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.and_then(|()| tree::remove(&mine))?,
            }
        }
        Ok(())
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the lock is held; one that is not is removed.
fn is_alive(lock: &Path) -> io::Result<bool> {
    let file = match File::options().read(true).write(true).open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !try_lock(&file)? {
        return Ok(true);
    }
    tree::ignore_missing(fs::remove_file(lock))?;
    Ok(false)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
