//! Telling people what goes on: on standard error, apart from what was asked for.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard error, or several, in one piece.
///
/// That nobody reads any more, as with `2>&1 | tee` whose `tee` has ended, is no reason to stop the work, so it is
/// passed over. The macros of the standard library would panic.
pub fn tell(what: impl Display) {
    let _ = io::stderr().write_all(format!("{what}\n").as_bytes());
}
