//! Writing all that a queue knows as JSON lines (`line`).

use super::fault::Fault;
use super::file::{ExportError, Exported, Faults};
use super::line::{DeliveryLine, Forgotten, Head, JobLine, Key, LONGEST, Line, Lines, Paused, VERSION};
use super::open;
use super::records::{self, parsed, time};
use super::sharing::Sharing;
use super::submit::UNTIL_ENDED;
use crate::job::{DeliveryRecord, Digest, JobId, State, Verdict};
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde_json::value::RawValue;
use std::io::Write;
use std::path::Path;

/// As many rows are read before any of them is written, unless they are large.
const ROWS: i64 = 500;
/// So many bytes are large.
const BYTES: usize = 4 << 20;

const JOBS: &str = "
    SELECT jobs.seq, id, state, submitted_at, ready_at, expires_at, started_at, finished_at, unique_key IS NOT NULL,
        unique_until, attempts, uncounted, kicks, verdict, published, public_url, submitted_as, json
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq WHERE jobs.seq > ?1
        AND unicode(host) IS NOT 1
    ORDER BY jobs.seq LIMIT ?2";

const DELIVERIES: &str = "
    SELECT store, url, attempt, state, tries, since, next_at, finished_at, reason FROM deliveries
    WHERE seq = ?1 ORDER BY attempt";

const FORGOTTEN: &str =
    "SELECT place, id, document, forgotten_at FROM forgotten WHERE place > ?1 ORDER BY place LIMIT ?2";

const PAUSED: &str = "SELECT tube, since, until FROM paused ORDER BY tube";

/// Lines that were read, but are not written yet, and where the next ones begin.
struct Piece {
    text: Vec<u8>,
    count: u64,
    last: Option<i64>,
}

impl Piece {
    /// Adds a line, unless its row is damaged, which is told; what the disk does not give is an error.
    fn add(&mut self, line: Result<Line, Fault>, what: &str, faults: &mut Faults) -> Result<(), Fault> {
        match line {
            Ok(line) => {
                self.text.extend(text(&line)?);
                self.count += 1;
            }
            Err(fault) if fault.is_of_a_row() => faults.add(format!("{what}: {fault}")),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }
}

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
    begin(&connection).map_err(at)?;
    let mut after = Some(0);
    while let Some(place) = after {
        let piece = jobs(&connection, place, now, &mut exported.faults).map_err(at)?;
        (after, lines.jobs) = (piece.last, lines.jobs + piece.count);
        pause(&connection, sharing).map_err(at)?;
        to.write_all(&piece.text)?;
    }
    let mut after = Some(0);
    while let Some(place) = after {
        let piece = forgotten(&connection, place, &mut exported.faults).map_err(at)?;
        (after, lines.forgotten) = (piece.last, lines.forgotten + piece.count);
        pause(&connection, sharing).map_err(at)?;
        to.write_all(&piece.text)?;
    }
    let piece = paused(&connection, &mut exported.faults).map_err(at)?;
    lines.paused = piece.count;
    to.write_all(&piece.text)?;
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

fn begin(connection: &Connection) -> Result<(), Fault> {
    Ok(connection.execute_batch("BEGIN")?)
}

/// Lets others commit before what was read is written, where they wait for whoever reads.
fn pause(connection: &Connection, sharing: Sharing) -> Result<(), Fault> {
    match sharing {
        Sharing::OneMachine => Ok(()),
        Sharing::ManyMachines => Ok(connection.execute_batch("COMMIT; BEGIN")?),
    }
}

fn text(line: &Line) -> Result<Vec<u8>, Fault> {
    let mut text = records::json(line)?.into_bytes();
    text.push(b'\n');
    Ok(text)
}

/// The lines of the jobs after `place`.
fn jobs(connection: &Connection, place: i64, now: Timestamp, faults: &mut Faults) -> Result<Piece, Fault> {
    let mut statement = connection.prepare_cached(JOBS)?;
    let mut rows = statement.query((place, ROWS))?;
    let mut piece = Piece { text: Vec::new(), count: 0, last: None };
    while let Some(row) = rows.next()? {
        piece.last = Some(row.get(0)?);
        match job(connection, row, now).and_then(|line| text(&Line::Job(Box::new(line)))) {
            Ok(line) if line.len() <= LONGEST => {
                piece.text.extend(line);
                piece.count += 1;
            }
            Ok(line) => faults.add(format!(
                "{}: with its history it takes {} bytes, more than a line may have; a backup has it",
                named(row),
                line.len()
            )),
            // What is damaged is left out; what the disk does not give ends it all.
            Err(fault) if fault.is_of_a_row() => faults.add(format!("{}: {fault}", named(row))),
            Err(fault) => return Err(fault),
        }
        if piece.text.len() > BYTES {
            break;
        }
    }
    Ok(piece)
}

/// What a job is called whose place and id are a row's first columns, if it has an id.
pub(super) fn named(row: &Row<'_>) -> String {
    match row.get(1).map(JobId::from_bytes) {
        Ok(id) => format!("job {id}"),
        Err(_) => format!("the job in row {}", row.get(0).unwrap_or(0_i64)),
    }
}

fn job(connection: &Connection, row: &Row<'_>, now: Timestamp) -> Result<JobLine, Fault> {
    let (seq, id) = (row.get(0)?, JobId::from_bytes(row.get(1)?));
    let some_time = |column| row.get::<_, Option<i64>>(column)?.map(time).transpose();
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
        expires_at: some_time(5)?,
        started_at: some_time(6)?,
        finished_at: some_time(7)?,
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

/// What the queue would do to a job whose worker stopped now, if the attempt has begun, which is not looked at.
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

fn deliveries(connection: &Connection, id: JobId, seq: i64) -> Result<Vec<DeliveryLine>, Fault> {
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let mut rows = statement.query([seq])?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        let some_time = |column| row.get::<_, Option<i64>>(column)?.map(time).transpose();
        let url: String = row.get(1)?;
        let state: String = row.get(3)?;
        deliveries.push(DeliveryLine {
            store: JobId::from_bytes(row.get(0)?),
            record: DeliveryRecord {
                url: url.parse().map_err(|error| Fault::corrupt(&format!("a URL of job {id}"), error))?,
                attempt: row.get(2)?,
                state: parsed("delivery", id, &format!("\"{state}\""))?,
                tries: row.get(4)?,
                since: time(row.get(5)?)?,
                next_at: some_time(6)?,
                finished_at: some_time(7)?,
                reason: row.get(8)?,
            },
        });
    }
    Ok(deliveries)
}

fn forgotten(connection: &Connection, place: i64, faults: &mut Faults) -> Result<Piece, Fault> {
    let mut statement = connection.prepare_cached(FORGOTTEN)?;
    let mut rows = statement.query((place, ROWS))?;
    let mut piece = Piece { text: Vec::new(), count: 0, last: None };
    while let Some(row) = rows.next()? {
        piece.last = Some(row.get(0)?);
        let line = || {
            let (id, document) = (JobId::from_bytes(row.get(1)?), Digest::from_bytes(row.get(2)?));
            Ok(Line::Forgotten(Forgotten { id, document, forgotten_at: time(row.get(3)?)? }))
        };
        piece.add(line(), "the id of a deleted job", faults)?;
    }
    Ok(piece)
}

fn paused(connection: &Connection, faults: &mut Faults) -> Result<Piece, Fault> {
    let mut statement = connection.prepare_cached(PAUSED)?;
    let mut rows = statement.query([])?;
    let mut piece = Piece { text: Vec::new(), count: 0, last: None };
    while let Some(row) = rows.next()? {
        let line = || {
            let tube = row.get::<_, String>(0)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?;
            let until = row.get::<_, Option<i64>>(2)?.map(time).transpose()?;
            Ok(Line::Paused(Paused { tube, since: time(row.get(1)?)?, until }))
        };
        piece.add(line(), "a pause", faults)?;
    }
    Ok(piece)
}
