//! Reading what an attempt has left, without a way out of its directory.

use super::{DOCUMENT, FILES, LOG};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// The results of one attempt.
#[derive(Debug, Clone)]
pub struct Published {
    path: PathBuf,
}

impl Published {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where they are, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The result document.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if this attempt has left nothing here; else the disk's.
    pub fn document(&self) -> io::Result<(File, Metadata)> {
        regular(&self.directory()?, DOCUMENT)
    }

    /// The log.
    ///
    /// # Errors
    /// As for [`document`](Self::document).
    pub fn log(&self) -> io::Result<(File, Metadata)> {
        regular(&self.directory()?, LOG)
    }

    /// Whether the attempt has left anything here at all.
    pub fn is_here(&self) -> bool {
        self.path.is_dir()
    }

    /// Where the algorithm's files are, for copying all of them.
    pub fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }

    /// Whether the files were kept; those of a failed attempt are not.
    pub fn has_files(&self) -> bool {
        self.files().is_dir()
    }

    /// One of the algorithm's files, by its name below the result directory, with `/` between directories.
    ///
    /// Whoever asks may have chosen the name. Each part of it is opened by itself, and no symbolic link is
    /// followed, so that no name leads anywhere else.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for everything that is not a regular file in there; else the disk's.
    pub fn open_file(&self, name: &str) -> io::Result<(File, Metadata)> {
        let mut directory = open(&self.directory()?, FILES, OFlags::DIRECTORY)?;
        let (parents, last) = name.rsplit_once('/').map_or((None, name), |(parents, last)| (Some(parents), last));
        for part in parents.into_iter().flat_map(|parents| parents.split('/')) {
            directory = open(&directory, part, OFlags::DIRECTORY)?;
        }
        regular(&directory, last)
    }

    fn directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(CWD, &self.path, flags, Mode::empty())?)
    }
}

fn regular(directory: &OwnedFd, name: &str) -> io::Result<(File, Metadata)> {
    // Opening a FIFO would wait for its other end.
    let file = File::from(open(directory, name, OFlags::NONBLOCK)?);
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Opens one entry of a directory, which `name` cannot make another's.
fn open(directory: &OwnedFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map_err(|errno| match errno {
        // A link, a file among the directories, a socket, a name that no file system has.
        rustix::io::Errno::LOOP
        | rustix::io::Errno::NOTDIR
        | rustix::io::Errno::NXIO
        | rustix::io::Errno::NAMETOOLONG
        | rustix::io::Errno::INVAL => io::ErrorKind::NotFound.into(),
        errno => errno.into(),
    })
}
