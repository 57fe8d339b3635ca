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
use std::io::{BufRead, Read};
use std::path::Path;

/// A transaction holds at most so many lines, so that it does not keep workers from the queue for long …
const LINES: usize = 1000;
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
    let mut reading = Reading { from, number: 0, seen: None, counted: None };
    loop {
        // Nobody waits for the queue while this waits for its lines.
        let Batch { lines, then } = reading.batch();
        // What a transaction adds is nothing until it is committed.
        let mut added = imported;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(imported, error.into()))?;
        let refused = match take(&connection, lines, now, &mut added) {
            Ok(()) => None,
            Err(Stop::Line(line, what)) => Some(ImportFault::Line { line, what: shown(&what) }),
            Err(Stop::Queue(fault)) => return Err(failed(imported, fault)),
        };
        connection.execute_batch("COMMIT").map_err(|error| failed(imported, error.into()))?;
        imported = added;
        match (refused, then) {
            (Some(why), _) | (None, Then::Fault(why)) => return Err(ImportError { imported, why }),
            (None, Then::More) => {}
            (None, Then::End) => return Ok(imported),
        }
    }
}

/// Takes lines in, in their order.
fn take(connection: &Connection, lines: Vec<(u64, Line)>, now: Timestamp, imported: &mut Imported) -> Result<(), Stop> {
    for (number, line) in lines {
        let added = match &line {
            Line::Job(_) => Some(&mut imported.jobs),
            Line::Forgotten(_) => Some(&mut imported.forgotten),
            Line::Queue(_) | Line::Paused(_) | Line::End(_) => None,
        };
        let is_new = admit::admit(connection, line, now).map_err(|refusal| match refusal {
            Refusal::Line(what) => Stop::Line(number, what),
            Refusal::Queue(fault) => Stop::Queue(fault),
        })?;
        match added {
            Some(added) if is_new => *added += 1,
            Some(_) => imported.known += 1,
            None => {}
        }
    }
    Ok(())
}

/// What may be shown of a message that may quote a stranger.
fn shown(what: &str) -> String {
    let printable = |c: char| if is_unshowable(c) { char::REPLACEMENT_CHARACTER } else { c };
    what.chars().take(MAX_MESSAGE).map(printable).collect()
}

/// Why no more lines are taken in.
enum Stop {
    /// The line with this number; the queue holds nothing of it.
    Line(u64, String),
    /// The queue, in which nothing of the transaction remains.
    Queue(Fault),
}

/// Lines that are taken in together, each with its number.
struct Batch {
    lines: Vec<(u64, Line)>,
    then: Then,
}

/// What comes after them.
enum Then {
    More,
    End,
    Fault(ImportFault),
}

/// How far an import has been read.
struct Reading<'a> {
    from: &'a mut dyn BufRead,
    /// The line that was read last, counted from 1.
    number: u64,
    /// The lines after the head, once that was there.
    seen: Option<Lines>,
    /// What the last line says that they are.
    counted: Option<Lines>,
}

impl Reading<'_> {
    /// Reads as many lines as a transaction may hold.
    fn batch(&mut self) -> Batch {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let then = loop {
            if lines.len() == LINES || bytes >= BYTES {
                break Then::More;
            }
            match self.line() {
                Ok(Some((line, length))) => {
                    bytes += length;
                    lines.extend(line.map(|line| (self.number, line)));
                }
                Ok(None) => break Then::End,
                Err(fault) => break Then::Fault(fault),
            }
        };
        Batch { lines, then }
    }

    /// Reads one line, and how long it is; what is in it, unless that is only about the lines. Nothing at the end.
    fn line(&mut self) -> Result<Option<(Option<Line>, usize)>, ImportFault> {
        match (self.next()?, self.counted) {
            (None, Some(_)) => Ok(None),
            (None, None) => Err(self.wrong("the export ends here, before its last line: a part of it is missing")),
            (Some(text), _) => {
                let line = serde_json::from_slice(&text)
                    .map_err(|error| self.wrong(&format!("this is no line of an export: {error}{}", self.hint())))?;
                Ok(Some((self.place(line).map_err(|what| self.wrong(&what))?, text.len())))
            }
        }
    }

    fn wrong(&self, what: &str) -> ImportFault {
        ImportFault::Line { line: self.number, what: shown(what) }
    }

    /// The next line that has anything in it, if there is one.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ImportFault> {
        let most = LONGEST as u64 + 1;
        let mut text = Vec::new();
        loop {
            self.number += 1;
            (&mut *self.from).take(most).read_until(b'\n', &mut text).map_err(ImportFault::Read)?;
            if text.len() as u64 == most && !text.ends_with(b"\n") {
                return Err(self.wrong(&format!("it has more than {LONGEST} bytes, as no line of an export has")));
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

    /// Checks that the line has its place among the others; if it has, the line, unless it is only about these.
    fn place(&mut self, line: Line) -> Result<Option<Line>, String> {
        if self.counted.is_some() {
            return Err("the export has ended before; import one at a time".to_owned());
        }
        let seen = match (&mut self.seen, &line) {
            (Some(seen), _) => seen,
            (None, Line::Queue(head)) if head.version == VERSION => {
                self.seen = Some(Lines::default());
                return Ok(None);
            }
            (None, Line::Queue(head)) => {
                return Err(format!(
                    "it is of version {}, and this program reads version {VERSION}; use the longboat that wrote it, or \
                     a newer one",
                    head.version
                ));
            }
            (None, _) => return Err(format!("an export begins with another line{}", self.hint())),
        };
        match &line {
            Line::Queue(_) => return Err("another export begins here; import one at a time".to_owned()),
            Line::Job(_) => seen.jobs += 1,
            Line::Forgotten(_) => seen.forgotten += 1,
            Line::Paused(_) => seen.paused += 1,
            Line::End(lines) if lines == seen => {
                self.counted = Some(*lines);
                return Ok(None);
            }
            Line::End(lines) => {
                return Err(format!("lines are missing before it: it counts {lines}, and there were {seen}"));
            }
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests;
