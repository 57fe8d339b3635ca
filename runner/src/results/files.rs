//! Reading what an attempt has left, without a way out of its directory.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The files of one attempt.
#[derive(Debug, Clone)]
pub struct Files {
    path: PathBuf,
}

impl Files {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where they are, for messages and for copying all of them.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this node has them.
    pub fn are_here(&self) -> bool {
        self.path.is_dir()
    }

    /// One of the files, by its name below the attempt's directory, with `/` between directories.
    ///
    /// The name may come from anybody. Each part of it is opened by itself, and no symbolic link is followed, so that
    /// no name leads anywhere else.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for everything that is not a regular file in there; else the disk's.
    pub fn open(&self, name: &str) -> io::Result<(File, Metadata)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory = openat(CWD, &self.path, flags, Mode::empty())?;
        let (parents, last) = name.rsplit_once('/').map_or((None, name), |(parents, last)| (Some(parents), last));
        for part in parents.into_iter().flat_map(|parents| parents.split('/')) {
            directory = open(&directory, part, OFlags::DIRECTORY)?;
        }
        // Opening a FIFO would wait for its other end.
        let file = File::from(open(&directory, last, OFlags::NONBLOCK)?);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// All bytes of one of the files, `most` at most.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let (file, _) = self.open(name)?;
        let mut bytes = Vec::new();
        if file.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
            let path = self.path.join(name);
            return Err(io::Error::other(format!("{} is larger than {most} bytes", path.display())));
        }
        Ok(bytes)
    }
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
