//! The second wall: what the process itself cannot do, should a guest ever get out of its sandbox.
//!
//! A process that runs strangers' code needs few directories, few files and few ports, and it knows which before it
//! runs any. [`confine`] takes everything else away from it for good, with Landlock and `no_new_privs` on Linux;
//! elsewhere there is nothing to build such walls from, and the answer says so. What is held by a descriptor
//! already, such as a socket that is bound, stays usable.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
mod report;
pub mod system;

#[cfg(not(target_os = "linux"))]
use elsewhere as platform;
#[cfg(target_os = "linux")]
use linux as platform;
pub use report::{Confinement, Kernel, Wall};

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// What a process goes on needing. TCP ports to listen on are not among it: they are bound before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories below which everything may be read, made, changed and removed. They must exist.
    pub write: Vec<PathBuf>,
    /// Files, and directories with all that is below them, that may be read. Those that do not exist are passed over.
    pub read: Vec<PathBuf>,
    /// The TCP ports that may be dialled, at any address; `None` stands for all.
    pub dial: Option<BTreeSet<u16>>,
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Walls hold the thread that puts them up, and those that it starts afterwards.
    #[error("{0} threads run already, and walls hold only those that start after them")]
    Threads(usize),
    /// A directory to write in.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// The kernel, which offers the wall, does not put it up.
    #[error("the kernel refuses")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes from this process, and from all that it ever starts, what it does not need. There is no way back.
///
/// As many walls are put up as the kernel has; the answer tells which.
///
/// # Errors
/// [`ConfinementError`]; some of the walls may stand all the same.
pub fn confine(needs: &Needs) -> Result<Confinement, ConfinementError> {
    match platform::threads() {
        0 | 1 => platform::restrict(needs),
        more => Err(ConfinementError::Threads(more)),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
