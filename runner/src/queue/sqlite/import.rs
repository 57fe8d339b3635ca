//! Taking in what was exported: each line is checked by itself, then against what is there.
//!
//! What comes in passes the check of a queue's file (`check`) too.

use super::columns::{UNTIL_ENDED, json};
use super::export::{
    AlgorithmLine, Bytes, Forgotten, JobLine, Key, LONGEST, Line, Lines, ModuleLine, ModulePieceLine, OutcomeLine,
    Paused, PieceLine, VERSION,
};
use super::fault::Fault;
use super::modules;
use super::open::{self, Sharing};
use super::outcome::{self, Parcel, Piece};
use super::submit::{key_holder, tag};
use crate::job::{AttemptRecord, DeliveryRecord, DeliveryState, Digest, Document, JobId, State, Unique, is_unshowable};
use crate::queue::{MAX_MODULE, QueueError};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, named_params};
use serde::Serialize;
use std::io::{self, BufRead, Read};
use std::path::Path;

/// What was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Jobs that are in the queue now, and were not before.
    pub jobs: u64,
    /// Ids of deleted jobs that are known now, and were not before.
    pub forgotten: u64,
    /// Jobs and ids that were known before.
    pub known: u64,
}

/// Why an import ended early. What it had read so far is in the queue, and is left as it is by the next
/// import.
#[derive(Debug, thiserror::Error)]
#[error("{why}; {} jobs of the lines before are in the queue, and an import of the whole goes on from there", imported.jobs + imported.known)]
pub struct ImportError {
    /// What was imported.
    pub imported: Imported,
    /// Why no more; it is told with the rest, and so is no source of it.
    pub why: ImportFault,
}

/// What is wrong with an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportFault {
    /// A line of it.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The queue's fault.
    #[error(transparent)]
    Queue(QueueError),
    /// Where it is read from.
    #[error("reading failed: {0}")]
    Read(io::Error),
}

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
            _ => None,
        };
        let is_new = admit(connection, line, now).map_err(|refusal| match refusal {
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

    /// Reads one line, and how long it is; what is in it, unless that is only about the lines. Nothing at
    /// the end.
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

    /// Checks that the line has its place among the others; if it has, the line, unless it is only about
    /// these.
    fn place(&mut self, line: Line) -> Result<Option<Line>, String> {
        if self.counted.is_some() {
            return Err("the export has ended before; import one at a time".to_owned());
        }
        let seen = match (&mut self.seen, &line) {
            (Some(seen), _) => seen,
            (None, Line::Queue(head)) if (1..=VERSION).contains(&head.version) => {
                self.seen = Some(Lines::default());
                return Ok(None);
            }
            (None, Line::Queue(head)) => {
                return Err(format!(
                    "it is of version {}, and this program reads versions up to {VERSION}; use the longboat that wrote it, or \
                     a newer one",
                    head.version
                ));
            }
            (None, _) => return Err(format!("an export begins with another line{}", self.hint())),
        };
        match &line {
            Line::Queue(_) => return Err("another export begins here; import one at a time".to_owned()),
            Line::End(lines) if lines == seen => {
                self.counted = Some(*lines);
                return Ok(None);
            }
            Line::End(lines) => {
                return Err(format!("lines are missing before it: it counts {lines}, and there were {seen}"));
            }
            line => seen.count(line),
        }
        Ok(Some(line))
    }
}

/// What an id was submitted with, if it is known: a digest, or the document.
const KNOWN: &str = "
    SELECT submitted_as, json FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq WHERE id = ?1
    UNION ALL SELECT document, NULL FROM forgotten WHERE id = ?1";

const JOB: &str = "
    INSERT INTO jobs (id, state, tube, host, priority, algorithm, submitted_at, ready_at, expires_at, unique_key,
        unique_until, seed_pinned, max_attempts, kicks, attempts, uncounted, started_at, finished_at, verdict, published,
        submitted_as, public_url, module)
    VALUES (:id, :state, :tube, :host, :priority, :algorithm, :submitted_at, :ready_at, :expires_at, :unique_key,
        :unique_until, :seed_pinned, :max_attempts, :kicks, :attempts, :uncounted, :started_at, :finished_at, :verdict,
        :published, :submitted_as, :public_url, :module)";

const ATTEMPT: &str = "
    INSERT INTO attempts (seq, attempt, worker, started_at, finished_at, verdict, usage)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const DELIVERY: &str = "
    INSERT INTO deliveries (seq, attempt, url, state, tries, since, next_at, finished_at, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const FORGOTTEN: &str = "INSERT INTO forgotten (id, document, forgotten_at, files) VALUES (?1, ?2, ?3, ?4)";
const PAUSED: &str = "INSERT OR IGNORE INTO paused (tube, since, until) VALUES (?1, ?2, ?3)";

/// An attempt that has ended and has no outcome.
const WITHOUT_OUTCOME: &str = "
    SELECT jobs.seq FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempts.attempt = ?2
    WHERE id = ?1 AND attempts.finished_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM outcomes WHERE outcomes.seq = jobs.seq AND outcomes.attempt = attempts.attempt)";

const HAS_MODULE: &str = "SELECT 1 FROM modules WHERE digest = ?1";

/// Why a line is not taken in.
enum Refusal {
    /// It is wrong, or does not go with what is there.
    Line(String),
    /// The queue cannot take anything.
    Queue(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Refusal::Line(format!("the queue does not take it: {error}"))
            }
            fault => Refusal::Queue(fault),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sql(error).into()
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Line(what.into()))
}

/// Takes a line in, or nothing of it; whether it was news.
fn admit(connection: &Connection, line: Line, now: Timestamp) -> Result<bool, Refusal> {
    let execute = |sql| connection.prepare_cached(sql)?.execute([]);
    execute("SAVEPOINT line")?;
    let admitted = match line {
        Line::Job(line) => job(connection, &line, now.as_millisecond()),
        Line::Forgotten(line) => forgotten(connection, &line),
        Line::Paused(line) => paused(connection, &line),
        Line::Piece(line) => piece(connection, &line),
        Line::Outcome(line) => outcome_of(connection, &line),
        Line::ModulePiece(line) => module_piece(connection, &line),
        Line::Module(line) => module(connection, &line),
        Line::Algorithm(line) => algorithm(connection, &line),
        Line::Queue(_) | Line::End(_) => Ok(false),
    };
    // After some failures, a full disk among them, SQLite itself has rolled everything back.
    if !connection.is_autocommit() {
        if admitted.is_err() {
            execute("ROLLBACK TO line")?;
        }
        execute("RELEASE line")?;
    }
    admitted
}

fn job(connection: &Connection, line: &JobLine, now: i64) -> Result<bool, Refusal> {
    let document = document(line)?;
    let json = document.canonical();
    let submitted = line.submitted_as.unwrap_or_else(|| Digest::of(&json));
    if is_known(connection, line.id, submitted)? {
        return Ok(false);
    }
    check(line)?;
    let (key, until) = key(connection, line, document.unique.as_ref(), now)?;
    insert(connection, line, &document, (key, until))?;
    let seq = connection.last_insert_rowid();
    connection.prepare_cached("INSERT INTO documents VALUES (?1, ?2)")?.execute((seq, json))?;
    tag(connection, seq, &document.tags)?;
    for one in &line.history {
        attempt(connection, seq, one)?;
    }
    for one in &line.deliveries {
        delivery(connection, seq, one)?;
    }
    Ok(true)
}

/// The document, which stands beside its id and so does not have it.
fn document(line: &JobLine) -> Result<Document, Refusal> {
    let document: Document = serde_json::from_str(line.document.get())
        .map_err(|error| Refusal::Line(format!("the document of job {}: {error}", line.id)))?;
    match document.id {
        Some(other) if other != line.id => wrong(format!("the document of job {} has the id {other}", line.id)),
        _ => Document { id: None, ..document }
            .checked()
            .map_err(|error| Refusal::Line(format!("the document of job {}: {error}", line.id))),
    }
}

/// Whether the id was submitted before, with the document of this digest; with another one, it is refused.
fn is_known(connection: &Connection, id: JobId, submitted: Digest) -> Result<bool, Refusal> {
    let known = connection.prepare_cached(KNOWN)?.query_row([id.as_bytes()], |row| {
        let digest = match row.get(0)? {
            Some(digest) => Digest::from_bytes(digest),
            None => Digest::of(row.get_ref(1)?.as_bytes_or_null()?.unwrap_or_default()),
        };
        Ok(digest)
    });
    match known.optional()? {
        Some(digest) if digest == submitted => Ok(true),
        Some(_) => wrong(QueueError::IdTaken(id).to_string()),
        None => Ok(false),
    }
}

/// Whether what the line says of the job's life fits together.
fn check(line: &JobLine) -> Result<(), Refusal> {
    let JobLine { id, attempts, uncounted, history, .. } = line;
    if line.state == State::Running {
        return wrong(format!(
            "job {id} is running, as no job of an export is; have the state ready, and end its attempt"
        ));
    }
    if line.state.is_final() != line.finished_at.is_some() {
        let has = if line.state.is_final() { "has no" } else { "has a" };
        return wrong(format!("job {id} is {}, but {has} finished_at", line.state));
    }
    if line.expires_at.is_some() && (line.state.is_final() || attempts > uncounted) {
        return wrong(format!("job {id} has an expires_at, as no job has that has ended or was started"));
    }
    if line.key == Some(Key::UntilEnded) && line.state.is_final() {
        return wrong(format!("job {id} is {}, but holds its unique key until it has ended", line.state));
    }
    if line.key == Some(Key::Free) && !line.state.is_final() {
        return wrong(format!("job {id} is {}, but its unique key is free, as it is once a job has ended", line.state));
    }
    let pending = |one: &&DeliveryRecord| one.state == DeliveryState::Pending;
    if line.deliveries.iter().filter(pending).count() > 1 {
        return wrong(format!("job {id} has more than one pending delivery"));
    }
    if let Some(one) = line.deliveries.iter().find(|one| pending(one) != one.next_at.is_some()) {
        let attempt = one.attempt;
        return wrong(format!("the delivery of attempt {attempt} of job {id} has a next_at just if it is pending"));
    }
    if !history.iter().map(|one| one.attempt).eq(1..=*attempts) {
        return wrong(format!("the history of job {id} is not that of the attempts from 1 to {attempts}"));
    }
    if let Some(open) = history.iter().find(|one| one.finished_at.is_none()) {
        return wrong(format!("attempt {} of job {id} has no finished_at", open.attempt));
    }
    if uncounted > attempts {
        return wrong(format!("job {id} has {attempts} attempts, and {uncounted} of them do not count"));
    }
    let mut published = line.published.iter().chain(line.deliveries.iter().map(|one| &one.attempt));
    match published.find(|attempt| !(1..=*attempts).contains(attempt)) {
        Some(attempt) => wrong(format!("job {id} has a result of attempt {attempt}, but {attempts} attempts")),
        None => Ok(()),
    }
}

/// The unique key that the job holds, and until when, or had.
fn key<'a>(
    connection: &Connection,
    line: &JobLine,
    unique: Option<&'a Unique>,
    now: i64,
) -> Result<(Option<&'a str>, Option<i64>), Refusal> {
    let (unique, until) = match (unique, line.key) {
        (None, None) => return Ok((None, None)),
        (Some(_), Some(Key::Free)) => return Ok((None, Some(UNTIL_ENDED))),
        (Some(unique), Some(Key::UntilEnded)) => (unique, UNTIL_ENDED),
        (Some(unique), Some(Key::Until(until))) => (unique, until.as_millisecond()),
        _ => return wrong(format!("job {}: `key` is there if its document has `unique`, and only then", line.id)),
    };
    // One that has expired, and waits for a worker to say so, holds its key no more.
    let has_expired = line.expires_at.is_some_and(|expires_at| expires_at.as_millisecond() <= now);
    if until > now
        && !has_expired
        && let Some(holder) = key_holder(connection, &unique.key, now)?
    {
        return wrong(QueueError::NotUnique { key: unique.key.clone(), holder }.to_string());
    }
    Ok((Some(&unique.key), Some(until)))
}

fn insert(
    connection: &Connection,
    line: &JobLine,
    document: &Document,
    (unique_key, unique_until): (Option<&str>, Option<i64>),
) -> Result<(), Refusal> {
    connection.prepare_cached(JOB)?.execute(named_params! {
        ":id": line.id.as_bytes(),
        ":state": line.state.as_str(),
        ":tube": document.tube.as_str(),
        ":host": document.host.as_deref().unwrap_or_default(),
        ":priority": document.priority,
        ":algorithm": document.algorithm.name.as_str(),
        ":submitted_at": line.submitted_at.as_millisecond(),
        ":ready_at": line.ready_at.as_millisecond(),
        ":expires_at": millis(line.expires_at),
        ":unique_key": unique_key,
        ":unique_until": unique_until,
        ":seed_pinned": document.seed.is_some(),
        ":max_attempts": document.max_attempts,
        ":kicks": line.kicks,
        ":attempts": line.attempts,
        ":uncounted": line.uncounted,
        ":started_at": millis(line.started_at),
        ":finished_at": millis(line.finished_at),
        ":verdict": line.verdict.as_ref().map(json).transpose()?,
        ":published": line.published,
        ":submitted_as": line.submitted_as.as_ref().map(Digest::as_bytes),
        ":public_url": line.public_url.as_ref().map(url::Url::as_str),
        ":module": line.module.as_ref().map(Digest::as_bytes),
    })?;
    Ok(())
}

fn attempt(connection: &Connection, seq: i64, one: &AttemptRecord) -> Result<(), Refusal> {
    connection.prepare_cached(ATTEMPT)?.execute((
        seq,
        one.attempt,
        &one.worker,
        one.started_at.as_millisecond(),
        millis(one.finished_at),
        one.verdict.as_ref().map(json).transpose()?,
        one.usage.as_ref().map(json).transpose()?,
    ))?;
    Ok(())
}

fn delivery(connection: &Connection, seq: i64, record: &DeliveryRecord) -> Result<(), Refusal> {
    connection.prepare_cached(DELIVERY)?.execute((
        seq,
        record.attempt,
        record.url.as_str(),
        record.state.as_str(),
        record.tries,
        record.since.as_millisecond(),
        millis(record.next_at),
        millis(record.finished_at),
        &record.reason,
    ))?;
    Ok(())
}

/// The place of the job, if this attempt of it still lacks its outcome.
fn lacking(connection: &Connection, id: JobId, attempt: u32) -> Result<Option<i64>, Refusal> {
    let lacking = connection.prepare_cached(WITHOUT_OUTCOME)?.query_row((id.as_bytes(), attempt), |row| row.get(0));
    Ok(lacking.optional()?)
}

fn piece(connection: &Connection, line: &PieceLine) -> Result<bool, Refusal> {
    let PieceLine { id, attempt, kind, place, bytes } = line;
    if bytes.0.len() > outcome::PIECE {
        return wrong(format!("a piece of job {id} has {} bytes, more than any has", bytes.0.len()));
    }
    if let Some(seq) = lacking(connection, *id, *attempt)? {
        Piece::imported(*kind, *place, &bytes.0).keep(connection, seq, *attempt)?;
    }
    Ok(false)
}

fn outcome_of(connection: &Connection, line: &OutcomeLine) -> Result<bool, Refusal> {
    let OutcomeLine { id, attempt, settled_at, files, document_size, log_size, document, log } = line;
    let part = |size: Option<usize>, bytes: &Option<Bytes>| match (size, bytes) {
        (Some(size), Some(bytes)) if bytes.0.len() == size && size <= outcome::PIECE => Ok(()),
        (Some(size), None) if size > outcome::PIECE => Ok(()),
        (None, None) => Ok(()),
        _ => wrong(format!("the outcome of attempt {attempt} of job {id} does not have the size that it says")),
    };
    part(*document_size, document)?;
    part(Some(*log_size), log)?;
    let Some(seq) = lacking(connection, *id, *attempt)? else { return Ok(false) };
    let bytes = |bytes: &'_ Option<Bytes>| bytes.as_ref().map(|bytes| bytes.0.clone());
    let (document, log) = (bytes(document), bytes(log));
    let parcel = Parcel::imported(
        (document_size.unwrap_or(0), document.as_deref().or(document_size.is_none().then_some(&[]))),
        (*log_size, log.as_deref()),
        *files,
    );
    let settled_at = settled_at.as_millisecond();
    outcome::keep(connection, (seq, *attempt), &parcel, document_size.is_some(), settled_at)?;
    Ok(true)
}

fn has_module(connection: &Connection, digest: Digest) -> Result<bool, Refusal> {
    Ok(connection.prepare_cached(HAS_MODULE)?.exists([digest.as_bytes()])?)
}

fn module_piece(connection: &Connection, line: &ModulePieceLine) -> Result<bool, Refusal> {
    if line.bytes.0.len() > modules::PIECE {
        return wrong(format!("a piece of a module has {} bytes, more than any has", line.bytes.0.len()));
    }
    if !has_module(connection, line.module)? {
        modules::keep_piece(connection, line.module, line.place as usize, &line.bytes.0)?;
    }
    Ok(false)
}

fn module(connection: &Connection, line: &ModuleLine) -> Result<bool, Refusal> {
    if has_module(connection, line.module)? {
        return Ok(false);
    }
    if line.size as u64 > MAX_MODULE || !modules::keep(connection, line.module, line.shape, line.size)? {
        return wrong(format!("the module {} does not have the size that it says", line.module));
    }
    let bytes = modules::bytes(connection, line.module)?.unwrap_or_default();
    if Digest::of(bytes) != line.module {
        return wrong(format!("the bytes of the module {} have another digest", line.module));
    }
    Ok(true)
}

/// A name that is there keeps what it points at.
fn algorithm(connection: &Connection, line: &AlgorithmLine) -> Result<bool, Refusal> {
    if !has_module(connection, line.module)? {
        return wrong(format!("the algorithm {} points at a module that is missing", line.name));
    }
    modules::take_in(connection, &line.name, line.module, line.added_at.as_millisecond())?;
    Ok(true)
}

fn forgotten(connection: &Connection, line: &Forgotten) -> Result<bool, Refusal> {
    if is_known(connection, line.id, line.document)? {
        return Ok(false);
    }
    let row =
        (line.id.as_bytes(), line.document.as_bytes(), line.forgotten_at.as_millisecond(), line.files.unwrap_or(true));
    connection.prepare_cached(FORGOTTEN)?.execute(row)?;
    Ok(true)
}

fn paused(connection: &Connection, line: &Paused) -> Result<bool, Refusal> {
    let row = (line.tube.as_str(), line.since.as_millisecond(), millis(line.until));
    Ok(connection.prepare_cached(PAUSED)?.execute(row)? > 0)
}

fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests;
