//! The ways to behave, and to misbehave.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A way to behave. JSON spells the names in kebab-case.
///
/// What each of them should come to is in the README; `tests/program/misbehaviour` holds the sandbox to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    // msg-qworker's four, among which the dice choose.
    /// Returns at once.
    Normal,
    /// Sleeps for `seconds` and returns.
    Slow,
    /// Exits with `code`.
    Exit,
    /// Never comes to an end.
    EndlessLoop,

    // Ways to end badly.
    /// Calls itself for ever.
    EndlessRecursion,
    /// Calls itself with a frame of 64 KiB each time, for ever.
    LargeFrames,
    /// Panics.
    Panic,
    /// Panics in a destructor while it panics.
    PanicInDrop,
    /// Aborts.
    Abort,
    /// Reports a failure, a permanent one if `permanent` says so.
    Fail,

    // Time.
    /// Sleeps for ever.
    Sleep,
    /// Sleeps a nanosecond, over and over.
    Naps,
    /// Reads the clocks over and over.
    Clocks,
    /// Waits for `count` clocks at once, of which none will ever ring.
    PollClocks,

    // Memory.
    /// Takes more and more memory until there is no more, which ends a Rust program.
    MemoryBomb,
    /// Asks for memory for ever, however often it is refused.
    MemoryNibble,
    /// Fills `size` bytes, over and over.
    MemoryFill,
    /// Copies `size` bytes, over and over.
    MemoryCopy,
    /// Reports a failure once it was refused memory.
    MemoryFail,
    /// Goes on without the memory that it was refused.
    MemoryCope,

    // The quota of the result directory.
    /// Makes files until one is refused, and fails.
    ResultFiles,
    /// Writes bytes until some are refused, and fails.
    ResultBytes,
    /// Appends to one file through many handles in turn until that is refused, and fails.
    Append,
    /// Extends one file with nothing in it to `size` bytes, and fails if that is refused.
    Sparse,
    /// Writes one byte at offset `size`, and fails if that is refused.
    Seek,
    /// Writes files that have lost their name but are still open until that is refused, and fails.
    UnlinkOpen,
    /// Traps once a write was refused.
    WriteThenTrap,
    /// Goes on without the files that it was refused.
    FilesCope,
    /// Writes a file and moves it over the one before, `count` times.
    Rename,
    /// Extends a file to `size` bytes and cuts it again, over and over.
    Truncate,
    /// Writes the same bytes of a file over and over.
    Overwrite,

    // Names.
    /// Makes directories in directories until one is refused.
    DeepDirectories,
    /// Makes files with ever longer names, up to `size` bytes.
    LongNames,
    /// Makes files with names that terminals, shells and other systems might misread.
    OddNames,
    /// Tries paths that lead out of the result directory.
    Escape,
    /// Tries links that lead out of the result directory, symbolic and hard ones.
    Links,

    // Handles.
    /// Opens a file `count` times and keeps all of the handles.
    OpenFiles,
    /// Starts `count` listings of a directory and keeps all of them.
    OpenDirectories,
    /// Lists a directory of `count` files over and over.
    ListForEver,

    // Words.
    /// Logs for ever, or `count` lines.
    LogFlood,
    /// Reports progress in messages of `size` bytes for ever.
    ProgressFlood,
    /// Returns `text` as it is.
    NotJson,
    /// Returns arrays nested `count` deep.
    NestedResult,
    /// Returns a text of `size` bytes.
    HugeResult,

    // Other calls.
    /// Asks for random bytes, `size` at a time, for ever.
    Random,
    /// Asks for environment and arguments for ever.
    Environment,
    /// Asks how much fuel is left until none is.
    FuelLeft,
    /// Reads its input to the end over and over.
    ReadInput,
    /// Asks for sockets.
    Sockets,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
