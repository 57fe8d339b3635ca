//! Why an operation on the result directory was not done.

use std::io;

/// Why an operation was not done; the names are those of `wasi:filesystem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// Nothing has that name.
    NoEntry,
    /// Something has that name already.
    Exist,
    /// A directory is needed.
    NotDirectory,
    /// A file is needed.
    IsDirectory,
    /// The directory has entries.
    NotEmpty,
    /// The request makes no sense.
    Invalid,
    /// The name leads out of the directory, or the operation is never allowed.
    NotPermitted,
    /// The name or the whole path is longer, or lies deeper, than is allowed.
    NameTooLong,
    /// The name has control characters.
    IllegalName,
    /// The quota on bytes would be passed.
    InsufficientSpace,
    /// The quota on entries would be passed.
    Quota,
    /// The host's disk failed, which no guest is told: the attempt ends.
    Io(io::ErrorKind),
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the staging directory failed");
        TreeError::Io(error.kind())
    }
}

/// The host's disk failed its guest, which cannot go on; travels as an error, since the call never returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host's disk failed the algorithm: {0}")]
pub struct HostFault(pub io::ErrorKind);
