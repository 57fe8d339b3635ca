//! Taking in what was exported, line by line.

use super::admit::{self, Refusal};
use super::fault::Fault;
use super::file::{ImportError, ImportFault, Imported};
use super::line::{LONGEST, Line, Lines, VERSION};
use super::open;
use super::sharing::Sharing;
use crate::job::is_unshowable;
use jiff::Timestamp;
use rusqlite::Connection;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// A transaction holds at most so many lines, so that it does not keep workers from the queue for long …
const LINES: u64 = 1000;
/// … and about so many bytes, so that its journal stays small.
const BYTES: usize = 16 << 20;
/// What is said of a line, in characters; it may quote the line.
const MAX_MESSAGE: usize = 500;

/// Takes in everything that `from` has. The time is when it is imported.
pub(super) fn import(
    path: &Path,
    sharing: Sharing,
    now: Timestamp,
    from: &mut dyn BufRead,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let failed = |imported, fault: Fault| ImportError { imported, why: ImportFault::Queue(fault.at(path)) };
    let connection = open::writer(path, sharing).map_err(|fault| failed(imported, fault))?;
    let mut reading = Reading { from, now, number: 0, seen: None, counted: None };
    loop {
        // What a transaction adds is nothing until it is committed.
        let mut added = imported;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(imported, error.into()))?;
        let more = reading.batch(&connection, &mut added);
        if let Err(Stop::Queue(fault)) = more {
            return Err(failed(imported, fault));
        }
        connection.execute_batch("COMMIT").map_err(|error| failed(imported, error.into()))?;
        imported = added;
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(imported),
            Err(Stop::Queue(fault)) => return Err(failed(imported, fault)),
            Err(Stop::Line(what)) => {
                let why = ImportFault::Line { line: reading.number, what: shown(&what) };
                return Err(ImportError { imported, why });
            }
            Err(Stop::Read(error)) => return Err(ImportError { imported, why: ImportFault::Read(error) }),
        }
    }
}

/// What may be shown of a message that may quote a stranger.
fn shown(what: &str) -> String {
    let printable = |c: char| if is_unshowable(c) { char::REPLACEMENT_CHARACTER } else { c };
    what.chars().take(MAX_MESSAGE).map(printable).collect()
}

/// Why no more lines are taken in.
enum Stop {
    /// The line that was read last; the queue holds nothing of it.
    Line(String),
    /// Where the lines come from.
    Read(io::Error),
    /// The queue, in which nothing of the transaction remains.
    Queue(Fault),
}

/// How far an import has been read.
struct Reading<'a> {
    from: &'a mut dyn BufRead,
    now: Timestamp,
    /// The line that was read last, counted from 1.
    number: u64,
    /// The lines after the head, once that was there.
    seen: Option<Lines>,
    /// What the last line says that they are.
    counted: Option<Lines>,
}

impl Reading<'_> {
    /// Takes in as many lines as a transaction may hold; whether there are more.
    fn batch(&mut self, connection: &Connection, imported: &mut Imported) -> Result<bool, Stop> {
        let (first, mut bytes) = (self.number, 0);
        while self.number < first + LINES && bytes < BYTES {
            let Some(text) = self.next()? else {
                return match self.counted {
                    Some(_) => Ok(false),
                    None => Err(Stop::Line(
                        "the export ends here, before its last line: a part of it is missing".to_owned(),
                    )),
                };
            };
            bytes += text.len();
            let line = serde_json::from_slice(&text)
                .map_err(|error| Stop::Line(format!("this is no line of an export: {error}{}", self.hint())))?;
            self.take(connection, line, imported)?;
        }
        Ok(true)
    }

    /// The next line that has anything in it, if there is one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let most = LONGEST as u64 + 1;
        let mut text = Vec::new();
        loop {
            self.number += 1;
            (&mut *self.from).take(most).read_until(b'\n', &mut text).map_err(Stop::Read)?;
            if text.len() as u64 == most && !text.ends_with(b"\n") {
                return Err(Stop::Line(format!("it has more than {LONGEST} bytes, as no line of an export has")));
            }
            match text.trim_ascii().is_empty() {
                true if text.is_empty() => return Ok(None),
                true => text.clear(),
                false => return Ok(Some(text)),
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self.seen {
            None => "; job documents are for `longboat submit --file`",
            Some(_) => "",
        }
    }

    fn take(&mut self, connection: &Connection, line: Line, imported: &mut Imported) -> Result<(), Stop> {
        if self.counted.is_some() {
            return Err(Stop::Line("the export has ended before; import one at a time".to_owned()));
        }
        let (seen, now) = match (&mut self.seen, &line) {
            (Some(seen), _) => (seen, self.now),
            (None, Line::Queue(head)) if head.version == VERSION => {
                self.seen = Some(Lines::default());
                return Ok(());
            }
            (None, Line::Queue(head)) => {
                return Err(Stop::Line(format!(
                    "it is of version {}, and this program reads version {VERSION}; use the longboat that wrote it, or \
                     a newer one",
                    head.version
                )));
            }
            (None, _) => return Err(Stop::Line(format!("an export begins with another line{}", self.hint()))),
        };
        let (count, added) = match &line {
            Line::Queue(_) => return Err(Stop::Line("another export begins here; import one at a time".to_owned())),
            Line::Job(_) => (&mut seen.jobs, Some(&mut imported.jobs)),
            Line::Forgotten(_) => (&mut seen.forgotten, Some(&mut imported.forgotten)),
            Line::Paused(_) => (&mut seen.paused, None),
            Line::End(lines) if lines == seen => {
                self.counted = Some(*lines);
                return Ok(());
            }
            Line::End(lines) => {
                return Err(Stop::Line(format!(
                    "lines are missing before it: it counts {lines:?}, and there were {seen:?}"
                )));
            }
        };
        *count += 1;
        let is_new = admit::admit(connection, line, now).map_err(|refusal| match refusal {
            Refusal::Line(what) => Stop::Line(what),
            Refusal::Queue(fault) => Stop::Queue(fault),
        })?;
        match added {
            Some(added) if is_new => *added += 1,
            Some(_) => imported.known += 1,
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
