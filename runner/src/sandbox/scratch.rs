//! Where the contents of a guest's files go.

use cap_std::fs::Dir;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};

type Open = Box<dyn FnOnce() -> io::Result<Dir> + Send>;

/// An empty directory for the contents of a guest's files; a clone is the same one.
///
/// Most guests write none, and to a small attempt a directory costs more than all else that it does.
#[derive(Clone)]
pub struct Scratch(Arc<LazyLock<io::Result<Dir>, Open>>);

impl Scratch {
    /// A directory that `open` makes when the guest's first file gets a content; it may block.
    pub fn when_needed(open: impl FnOnce() -> io::Result<Dir> + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(open))))
    }

    /// The directory, made by the first who asks.
    ///
    /// # Errors
    /// What making it failed with, each time.
    pub(super) fn dir(&self) -> io::Result<&Dir> {
        LazyLock::force(&self.0).as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
    }
}

impl From<Dir> for Scratch {
    fn from(dir: Dir) -> Self {
        Self::when_needed(move || Ok(dir))
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Scratch").finish_non_exhaustive()
    }
}
