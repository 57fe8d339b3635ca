//! A line's way into the queue: it is checked by itself, then against what is there.
//!
//! What comes in passes the check of a queue's file (`check`) too.

use super::fault::Fault;
use super::line::{DeliveryLine, Forgotten, JobLine, Key, Line, Paused};
use super::records::json;
use super::submit::{UNTIL_ENDED, key_holder, tag};
use crate::job::{AttemptRecord, DeliveryState, Digest, Document, JobId, State, Unique};
use crate::queue::QueueError;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, named_params};

/// What an id was submitted with, if it is known: a digest, or the document; and whether a server was to have it.
const KNOWN: &str = "
    SELECT submitted_as, json, unicode(host) IS 1 FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq WHERE id = ?1
    UNION ALL SELECT document, NULL, FALSE FROM forgotten WHERE id = ?1";

const JOB: &str = "
    INSERT INTO jobs (id, state, tube, host, priority, algorithm, submitted_at, ready_at, expires_at, unique_key,
        unique_until, seed_pinned, max_attempts, kicks, attempts, uncounted, started_at, finished_at, verdict, published,
        submitted_as, public_url)
    VALUES (:id, :state, :tube, :host, :priority, :algorithm, :submitted_at, :ready_at, :expires_at, :unique_key,
        :unique_until, :seed_pinned, :max_attempts, :kicks, :attempts, :uncounted, :started_at, :finished_at, :verdict,
        :published, :submitted_as, :public_url)";

const ATTEMPT: &str = "
    INSERT INTO attempts (seq, attempt, worker, started_at, finished_at, verdict, usage)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const DELIVERY: &str = "
    INSERT INTO deliveries (seq, attempt, store, url, state, tries, since, next_at, finished_at, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const FORGOTTEN: &str = "INSERT INTO forgotten (id, document, forgotten_at) VALUES (?1, ?2, ?3)";
const PAUSED: &str = "INSERT OR IGNORE INTO paused (tube, since, until) VALUES (?1, ?2, ?3)";

/// Why a line is not taken in.
pub(super) enum Refusal {
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
pub(super) fn admit(connection: &Connection, line: Line, now: Timestamp) -> Result<bool, Refusal> {
    let execute = |sql| connection.prepare_cached(sql)?.execute([]);
    execute("SAVEPOINT line")?;
    let admitted = match line {
        Line::Job(line) => job(connection, &line, now.as_millisecond()),
        Line::Forgotten(line) => forgotten(connection, &line),
        Line::Paused(line) => paused(connection, &line),
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
        Ok((digest, row.get(2)?))
    });
    match known.optional()? {
        Some((digest, false)) if digest == submitted => Ok(true),
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
    let pending = |one: &&DeliveryLine| one.record.state == DeliveryState::Pending;
    if line.deliveries.iter().filter(pending).count() > 1 {
        return wrong(format!("job {id} has more than one pending delivery"));
    }
    if let Some(one) = line.deliveries.iter().find(|one| pending(one) != one.record.next_at.is_some()) {
        let attempt = one.record.attempt;
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
    let mut published = line.published.iter().chain(line.deliveries.iter().map(|one| &one.record.attempt));
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

fn delivery(connection: &Connection, seq: i64, DeliveryLine { store, record }: &DeliveryLine) -> Result<(), Refusal> {
    let state = match record.state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::GivenUp => "given-up",
    };
    connection.prepare_cached(DELIVERY)?.execute((
        seq,
        record.attempt,
        store.as_bytes(),
        record.url.as_str(),
        state,
        record.tries,
        record.since.as_millisecond(),
        millis(record.next_at),
        millis(record.finished_at),
        &record.reason,
    ))?;
    Ok(())
}

fn forgotten(connection: &Connection, line: &Forgotten) -> Result<bool, Refusal> {
    if is_known(connection, line.id, line.document)? {
        return Ok(false);
    }
    let row = (line.id.as_bytes(), line.document.as_bytes(), line.forgotten_at.as_millisecond());
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
