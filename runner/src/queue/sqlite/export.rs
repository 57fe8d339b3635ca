//! Writing all that a queue knows as JSON lines, one JSON object each.
//!
//! The first line is the head, the last the end, which counts the others: an export without an end is only
//! a part. Fields of a job's document are not repeated beside it.

use super::check::Faults;
use super::columns::{self, UNTIL_ENDED, named, parsed, some_time, time};
use super::fault::Fault;
use super::open::{self, Sharing};
use super::outcome::{self, Kind};
use super::{modules, outbox, records};
use crate::job::{AlgorithmName, AttemptRecord, DeliveryRecord, Digest, JobId, Shape, State, Tube, Verdict};
use crate::queue::QueueError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use url::Url;

/// The version of what is written here. Version 1 had neither outcomes nor modules.
pub(super) const VERSION: u32 = 2;
/// The longest line in bytes: a job document, and some ten thousand attempts with all that they have to say.
pub(super) const LONGEST: usize = 64 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Queue(Head),
    /// A job, in the order of submission.
    Job(Box<JobLine>),
    /// A part of a document or log that is too large for one line, before its outcome.
    Piece(PieceLine),
    /// What a settled attempt left, after its job.
    Outcome(Box<OutcomeLine>),
    /// What is left of a job that was deleted.
    Forgotten(Forgotten),
    /// A tube that is paused.
    Paused(Paused),
    /// A part of a module, before the module.
    ModulePiece(ModulePieceLine),
    /// A module.
    Module(ModuleLine),
    /// A name that points at a module; later lines count more.
    Algorithm(AlgorithmLine),
    /// The last.
    End(Lines),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) exported_at: Timestamp,
}

/// A job with its whole history. None runs: one that did is written as if its worker had given it back just
/// then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobLine {
    pub(super) id: JobId,
    pub(super) state: State,
    pub(super) submitted_at: Timestamp,
    pub(super) ready_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<Timestamp>,
    /// How the unique key in the document is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Key>,
    pub(super) attempts: u32,
    /// How many of these do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) uncounted: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) kicks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) public_url: Option<Url>,
    /// The module that the job is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<Digest>,
    /// The digest of the document as it was submitted, if it was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) submitted_as: Option<Digest>,
    pub(super) document: Box<RawValue>,
    pub(super) history: Vec<AttemptRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deliveries: Vec<DeliveryRecord>,
}

/// How a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    /// Until the job has ended.
    UntilEnded,
    /// It was, and the job has ended.
    Free,
    /// Until this time.
    Until(Timestamp),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PieceLine {
    pub(super) id: JobId,
    pub(super) attempt: u32,
    pub(super) kind: Kind,
    pub(super) place: u32,
    pub(super) bytes: Bytes,
}

/// What an attempt left. What is in pieces is absent, but for its size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomeLine {
    pub(super) id: JobId,
    pub(super) attempt: u32,
    pub(super) settled_at: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) files: bool,
    /// Absent if the document is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document_size: Option<usize>,
    pub(super) log_size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Bytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModulePieceLine {
    pub(super) module: Digest,
    pub(super) place: u32,
    pub(super) bytes: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleLine {
    pub(super) module: Digest,
    pub(super) shape: Shape,
    pub(super) size: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlgorithmLine {
    pub(super) name: AlgorithmName,
    pub(super) module: Digest,
    pub(super) added_at: Timestamp,
}

/// Bytes as Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(de::Error::custom)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgotten {
    pub(super) id: JobId,
    /// The digest of the document as it was submitted.
    pub(super) document: Digest,
    pub(super) forgotten_at: Timestamp,
    /// Whether the job may have left files; if nothing is said, it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paused {
    pub(super) tube: Tube,
    pub(super) since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

/// How many lines there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lines {
    pub(super) jobs: u64,
    pub(super) forgotten: u64,
    pub(super) paused: u64,
    #[serde(default)]
    pub(super) outcomes: u64,
    #[serde(default)]
    pub(super) modules: u64,
    #[serde(default)]
    pub(super) algorithms: u64,
}

impl Lines {
    /// Counts one more.
    pub(super) fn count(&mut self, line: &Line) {
        match line {
            Line::Job(_) => self.jobs += 1,
            Line::Forgotten(_) => self.forgotten += 1,
            Line::Paused(_) => self.paused += 1,
            Line::Outcome(_) => self.outcomes += 1,
            Line::Module(_) => self.modules += 1,
            Line::Algorithm(_) => self.algorithms += 1,
            Line::Queue(_) | Line::Piece(_) | Line::ModulePiece(_) | Line::End(_) => {}
        }
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, forgotten, paused, outcomes, modules, algorithms } = self;
        write!(
            f,
            "{jobs} jobs, {outcomes} outcomes, {forgotten} ids of deleted jobs, {paused} paused tubes, {modules} modules and \
             {algorithms} names of algorithms"
        )
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// As many rows are read before any of them is written, unless they are large.
const ROWS: i64 = 500;
/// So many bytes are large.
const BYTES: usize = 4 << 20;

const JOBS: &str = "
    SELECT jobs.seq, id, state, submitted_at, ready_at, expires_at, started_at, finished_at, unique_key IS NOT NULL,
        unique_until, attempts, uncounted, kicks, verdict, published, public_url, submitted_as, json, module
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq WHERE jobs.seq > ?1
    ORDER BY jobs.seq LIMIT ?2";

const DELIVERIES: &str = "
    SELECT url, attempt, state, tries, since, next_at, finished_at, reason FROM deliveries
    WHERE seq = ?1 ORDER BY attempt";

/// Leftovers are not exported.
const PIECES: &str = "
    SELECT pieces.rowid, id, pieces.attempt, kind, place, size, bytes
    FROM pieces JOIN jobs USING (seq) JOIN outcomes USING (seq, attempt)
    WHERE pieces.rowid > ?1 ORDER BY pieces.rowid LIMIT ?2";

const OUTCOMES: &str = "
    SELECT outcomes.rowid, id, attempt, settled_at, files, document_size, log_size, document, log
    FROM outcomes JOIN jobs USING (seq) WHERE outcomes.rowid > ?1 ORDER BY outcomes.rowid LIMIT ?2";

const FORGOTTEN: &str =
    "SELECT place, id, document, forgotten_at, files FROM forgotten WHERE place > ?1 ORDER BY place LIMIT ?2";

const PAUSED: &str = "
    SELECT number, tube, since, until FROM (
        SELECT ROW_NUMBER() OVER (ORDER BY tube) AS number, tube, since, until FROM paused)
    WHERE number > ?1 ORDER BY number LIMIT ?2";

const MODULE_PIECES: &str = "
    SELECT module_pieces.rowid, digest, place, bytes FROM module_pieces JOIN modules USING (digest)
    WHERE module_pieces.rowid > ?1 ORDER BY module_pieces.rowid LIMIT ?2";

const MODULES: &str = "
    SELECT number, digest, shape, size FROM (
        SELECT ROW_NUMBER() OVER (ORDER BY digest) AS number, digest, shape, size FROM modules)
    WHERE number > ?1 ORDER BY number LIMIT ?2";

const ALGORITHMS: &str = "
    SELECT place, name, digest, added_at FROM algorithms WHERE place > ?1 ORDER BY place LIMIT ?2";

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Jobs.
    pub jobs: u64,
    /// Ids of jobs that were deleted.
    pub forgotten: u64,
    /// What could not be read, and is missing.
    pub faults: Faults,
}

/// Why there is no export, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The queue's fault.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Where it was to be written to.
    #[error("writing the export failed")]
    Write(#[from] io::Error),
}

/// One kind of lines: where they come from, and how a row becomes one.
type Section = (&'static str, fn(&Connection, &Row<'_>, Timestamp) -> Result<Line, Fault>, fn(&Row<'_>) -> String);

const SECTIONS: [Section; 8] = [
    (JOBS, job_line, named),
    (PIECES, piece, named),
    (OUTCOMES, outcome_line, named),
    (FORGOTTEN, forgotten, |_| "the id of a deleted job".to_owned()),
    (PAUSED, paused, |_| "a pause".to_owned()),
    (MODULE_PIECES, module_piece, |_| "a piece of a module".to_owned()),
    (MODULES, module, |_| "a module".to_owned()),
    (ALGORITHMS, algorithm, |_| "the name of an algorithm".to_owned()),
];

/// Writes everything. The time is when it was exported.
pub(super) fn export(
    path: &Path,
    sharing: Sharing,
    now: Timestamp,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let at = |fault: Fault| ExportError::Queue(fault.at(path));
    let now = time(now.as_millisecond()).map_err(at)?;
    let connection = connect(path, sharing).map_err(at)?;
    let (mut exported, mut lines) = (Exported::default(), Lines::default());
    to.write_all(&text(&Line::Queue(Head { version: VERSION, exported_at: now })).map_err(at)?)?;
    connection.execute_batch("BEGIN").map_err(|error| at(error.into()))?;
    for section in SECTIONS {
        let mut after = Some(0);
        while let Some(place) = after {
            let part = read(&connection, section, place, now, &mut lines, &mut exported.faults).map_err(at)?;
            after = part.last;
            if sharing == Sharing::ManyMachines {
                // Others commit before what was read is written: there they wait for readers.
                connection.execute_batch("COMMIT; BEGIN").map_err(|error| at(error.into()))?;
            }
            to.write_all(&part.text)?;
        }
    }
    to.write_all(&text(&Line::End(lines)).map_err(at)?)?;
    to.flush()?;
    (exported.jobs, exported.forgotten) = (lines.jobs, lines.forgotten);
    Ok(exported)
}

/// A connection that reads the newest schema, which the file is brought to.
fn connect(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    drop(open::spectator(path, sharing)?);
    let connection = open::writer(path, sharing)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Lines that were read, but are not written yet, and the row after which the next ones begin.
struct Part {
    text: Vec<u8>,
    last: Option<i64>,
}

/// Reads lines of the rows after `place`. A row that is damaged is told of and left out; what the disk does
/// not give is an error.
fn read(
    connection: &Connection,
    (sql, line, name): Section,
    place: i64,
    now: Timestamp,
    lines: &mut Lines,
    faults: &mut Faults,
) -> Result<Part, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((place, ROWS))?;
    let mut part = Part { text: Vec::new(), last: None };
    while let Some(row) = rows.next()? {
        part.last = Some(row.get(0)?);
        let read = line(connection, row, now).and_then(|line| Ok((text(&line)?, line)));
        match read {
            Ok((text, line)) if text.len() <= LONGEST => {
                part.text.extend(text);
                lines.count(&line);
            }
            Ok((text, _)) => faults.add(format!(
                "{}: with its history it takes {} bytes, more than a line may have; a backup has it",
                name(row),
                text.len()
            )),
            Err(fault) if fault.is_of_a_row() => faults.add(format!("{}: {fault}", name(row))),
            Err(fault) => return Err(fault),
        }
        if part.text.len() > BYTES {
            break;
        }
    }
    Ok(part)
}

fn text(line: &Line) -> Result<Vec<u8>, Fault> {
    let mut text = columns::json(line)?.into_bytes();
    text.push(b'\n');
    Ok(text)
}

fn job_line(connection: &Connection, row: &Row<'_>, now: Timestamp) -> Result<Line, Fault> {
    job(connection, row, now).map(|line| Line::Job(Box::new(line)))
}

fn job(connection: &Connection, row: &Row<'_>, now: Timestamp) -> Result<JobLine, Fault> {
    let (seq, id) = (row.get(0)?, JobId::from_bytes(row.get(1)?));
    let corrupt = |what: &str, why: &dyn std::fmt::Display| Fault::corrupt(&format!("the {what} of job {id}"), why);
    let document: Option<String> = row.get(17)?;
    let document = document.ok_or_else(|| corrupt("document", &"it is missing"))?;
    let verdict: Option<String> = row.get(13)?;
    let public_url: Option<String> = row.get(15)?;
    let mut line = JobLine {
        id,
        state: row.get::<_, String>(2)?.parse().map_err(|error| corrupt("state", &error))?,
        submitted_at: time(row.get(3)?)?,
        ready_at: time(row.get(4)?)?,
        expires_at: some_time(row, 5)?,
        started_at: some_time(row, 6)?,
        finished_at: some_time(row, 7)?,
        key: match (row.get(8)?, row.get::<_, Option<i64>>(9)?) {
            (_, None) => None,
            (true, Some(UNTIL_ENDED)) => Some(Key::UntilEnded),
            (false, Some(_)) => Some(Key::Free),
            (true, Some(until)) => Some(Key::Until(time(until)?)),
        },
        attempts: row.get(10)?,
        uncounted: row.get(11)?,
        kicks: row.get(12)?,
        verdict: verdict.map(|json| parsed("verdict", id, &json)).transpose()?,
        published: row.get(14)?,
        public_url: public_url.map(|url| url.parse()).transpose().map_err(|error| corrupt("public URL", &error))?,
        module: row.get::<_, Option<[u8; 32]>>(18)?.map(Digest::from_bytes),
        submitted_as: row.get::<_, Option<[u8; 32]>>(16)?.map(Digest::from_bytes),
        document: RawValue::from_string(document).map_err(|error| corrupt("document", &error))?,
        history: records::history(connection, id, seq)?,
        deliveries: deliveries(connection, id, seq)?,
    };
    if line.state == State::Running {
        give_back(&mut line, now);
    }
    Ok(line)
}

/// What the queue would do to a job whose worker stopped now.
fn give_back(line: &mut JobLine, now: Timestamp) {
    (line.state, line.ready_at) = (State::Ready, now);
    line.uncounted += 1;
    if let Some(attempt) = line.history.last_mut().filter(|attempt| attempt.finished_at.is_none()) {
        let message = format!("the queue was exported while worker {} ran this attempt", attempt.worker);
        attempt.finished_at = Some(now);
        attempt.verdict = Some(Verdict::Interrupted { message });
        line.verdict.clone_from(&attempt.verdict);
    }
}

fn deliveries(connection: &Connection, id: JobId, seq: i64) -> Result<Vec<DeliveryRecord>, Fault> {
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let mut rows = statement.query([seq])?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        deliveries.push(outbox::record(row).map_err(|fault| match fault {
            Fault::Corrupt(what) => Fault::Corrupt(format!("of job {id}: {what}")),
            fault => fault,
        })?);
    }
    Ok(deliveries)
}

fn piece(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let kind: String = row.get(3)?;
    Ok(Line::Piece(PieceLine {
        id: JobId::from_bytes(row.get(1)?),
        attempt: row.get(2)?,
        kind: outcome::Kind::named(&kind)?,
        place: row.get(4)?,
        bytes: Bytes(outcome::unpacked(blob(row, 6)?, row.get(5)?)?),
    }))
}

fn outcome_line(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let (document_size, log_size): (Option<usize>, usize) = (row.get(5)?, row.get(6)?);
    let unpacked = |column, size| match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => outcome::unpacked(blob(row, column)?, size).map(|bytes| Some(Bytes(bytes))),
    };
    Ok(Line::Outcome(Box::new(OutcomeLine {
        id: JobId::from_bytes(row.get(1)?),
        attempt: row.get(2)?,
        settled_at: time(row.get(3)?)?,
        files: row.get(4)?,
        document_size,
        log_size,
        document: unpacked(7, document_size.unwrap_or(0))?,
        log: unpacked(8, log_size)?,
    })))
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], Fault> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

fn forgotten(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    Ok(Line::Forgotten(Forgotten {
        id: JobId::from_bytes(row.get(1)?),
        document: Digest::from_bytes(row.get(2)?),
        forgotten_at: time(row.get(3)?)?,
        files: Some(row.get(4)?),
    }))
}

fn paused(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let tube = row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?;
    Ok(Line::Paused(Paused { tube, since: time(row.get(2)?)?, until: some_time(row, 3)? }))
}

fn module_piece(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let bytes = Bytes(blob(row, 3)?.to_vec());
    Ok(Line::ModulePiece(ModulePieceLine { module: Digest::from_bytes(row.get(1)?), place: row.get(2)?, bytes }))
}

fn module(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let shape = modules::shape(&row.get::<_, String>(2)?)?;
    Ok(Line::Module(ModuleLine { module: Digest::from_bytes(row.get(1)?), shape, size: row.get(3)? }))
}

fn algorithm(_: &Connection, row: &Row<'_>, _: Timestamp) -> Result<Line, Fault> {
    let name = row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("an algorithm's name", error))?;
    Ok(Line::Algorithm(AlgorithmLine { name, module: Digest::from_bytes(row.get(2)?), added_at: time(row.get(3)?)? }))
}
