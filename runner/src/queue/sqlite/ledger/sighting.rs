//! A job that a worker has reserved: what this file says to it.

use super::{Counts, Known, Ledger, Place, blame, ending, host, is_forgotten, known};
use crate::job::{Document, Job, JobId, State, Verdict};
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::{self, time};
use crate::queue::sqlite::settle::{self, Ended};
use crate::queue::sqlite::submit;
use crate::queue::{Claimed, Lease, QueueError, WorkerId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};
use std::sync::Arc;
use std::time::Duration;

/// How much the clocks of a server and a worker may differ, and what whole seconds hide, before a job is early.
const EARLY: Duration = Duration::from_secs(1);

/// A job without an id of its own is the one that had its number, body and a smaller count of reservations before.
const SAME: &str = "
    SELECT id FROM placed JOIN jobs USING (seq)
    WHERE server = ?1 AND number = ?2 AND body = ?3 AND reserves < ?4 AND state NOT IN ('done', 'cancelled')
    ORDER BY placed.seq DESC LIMIT 1";

const ROW: &str = "
    SELECT attempts, uncounted, max_attempts, jobs.kicks, submitted_at, ready_at, expires_at, number
    FROM jobs JOIN placed USING (seq) WHERE seq = ?1";

const TAKE: &str = "
    UPDATE jobs SET state = 'running', attempts = :attempt, worker = :worker, started_at = :now,
        finished_at = NULL, expires_at = NULL
    WHERE seq = :seq";

/// Kicks that this file does not know of are taken for such that grant attempts. A job that was put twice is another one
/// to the server, with figures of its own.
const GRANT: &str = "
    UPDATE jobs SET kicks = kicks + MAX(0, ?3 - COALESCE(
        (SELECT placed.kicks FROM placed WHERE placed.seq = jobs.seq AND number = ?2), kicks))
    WHERE seq = ?1";

const PLACE: &str = "
    INSERT OR REPLACE INTO placed (seq, server, number, body, reserves, releases, timeouts, kicks)
    VALUES (:seq, :server, :number, :body, :reserves, :releases, :timeouts, :kicks)";

/// A job that a worker has just reserved.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Sighting {
    /// The id that its submitter gave it.
    pub(in crate::queue) id: Option<JobId>,
    /// What it asks for.
    pub(in crate::queue) document: Document,
    /// Where the server has it, this reservation counted.
    pub(in crate::queue) place: Place,
    /// When it was put, to the second.
    pub(in crate::queue) put_at: Timestamp,
    /// How many reservations before have died with their workers, as far as the server knows.
    pub(in crate::queue) deaths: u32,
}

/// What is to be done with it.
#[derive(Debug)]
pub(in crate::queue) enum Ruling {
    /// It is run.
    Run(Box<Claimed>),
    /// It has ended before, or by now has expired: it is deleted.
    Ended,
    /// It is dead: it is buried.
    Dead,
    /// It was put twice, and runs under another number: it is put off.
    Runs,
    /// It is not due for so long.
    Early(Duration),
    /// Its id is another job's: it is buried, for this reason.
    Taken(String),
}

impl Ledger {
    /// Leases the job to `worker`, unless there is something in the way.
    pub(in crate::queue) async fn sight(&self, sighting: Sighting, worker: &WorkerId) -> Result<Ruling, QueueError> {
        let (server, worker) = (Arc::clone(&self.server), worker.clone());
        self.queue.write(move |connection, now| rule(connection, &server, sighting, &worker, now)).await
    }

    /// Does not hold a reservation against a job of which no attempt has come.
    pub(in crate::queue) async fn given_back(&self, sighting: Sighting) -> Result<(), QueueError> {
        let server = Arc::clone(&self.server);
        self.queue.write(move |connection, _| give_back(connection, &server, sighting)).await
    }
}

fn give_back(connection: &Connection, server: &str, sighting: Sighting) -> Result<(), Fault> {
    let Sighting { id, document, place, put_at, .. } = sighting;
    let id = match id {
        Some(id) => id,
        None => same(connection, server, place)?.unwrap_or_else(JobId::new),
    };
    let seq = match known(connection, id)? {
        Some(known) if known.host != host(server) || known.json != document.canonical() => return Ok(()),
        Some(known) => known.seq,
        None => insert(connection, server, id, &document, place, put_at)?,
    };
    uncount(connection, seq)
}

fn rule(
    connection: &Connection,
    server: &str,
    sighting: Sighting,
    worker: &WorkerId,
    now: Timestamp,
) -> Result<Ruling, Fault> {
    let Sighting { id, document, place, put_at, deaths } = sighting;
    let id = match id {
        Some(id) => id,
        None => same(connection, server, place)?.unwrap_or_else(JobId::new),
    };
    let json = document.canonical();
    let seq = match known(connection, id)? {
        Some(known) if known.host != host(server) || known.json != json => return Ok(taken(id)),
        Some(known) => match standing(connection, &known, place, now)? {
            Some(ruling) => return Ok(ruling),
            None => known.seq,
        },
        None => match is_forgotten(connection, id, &json)? {
            Some(true) => return Ok(Ruling::Ended),
            Some(false) => return Ok(taken(id)),
            None => insert(connection, server, id, &document, place, put_at)?,
        },
    };
    if place.counts.kicks > 0 {
        connection.prepare_cached(GRANT)?.execute((seq, place.number, place.counts.kicks))?;
    }
    put(connection, seq, server, place)?;
    take(connection, seq, id, document, (place.counts, deaths, worker, now.as_millisecond()))
}

fn taken(id: JobId) -> Ruling {
    Ruling::Taken(QueueError::IdTaken(id).to_string())
}

/// What is in the way of a job that is known already.
fn standing(connection: &Connection, known: &Known, place: Place, now: Timestamp) -> Result<Option<Ruling>, Fault> {
    let &Known { seq, state, .. } = known;
    let (attempt, kicks, number): (u32, u32, u64) = connection
        .prepare_cached("SELECT attempts, placed.kicks, number FROM jobs JOIN placed USING (seq) WHERE seq = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let is_same = number == place.number;
    Ok(match state {
        State::Done | State::Cancelled => Some(Ruling::Ended),
        State::Dead if !is_same => Some(Ruling::Ended),
        // Somebody has kicked it, or else the server has forgotten that it was buried.
        State::Dead => (place.counts.kicks <= kicks).then_some(Ruling::Dead),
        State::Running if !is_same => {
            uncount(connection, seq)?;
            Some(Ruling::Runs)
        }
        State::Running => {
            ending::forget(connection, seq)?;
            ending::lose(connection, seq, attempt, now.as_millisecond())?;
            None
        }
        State::Held | State::Delayed | State::Ready => None,
    })
}

fn same(connection: &Connection, server: &str, place: Place) -> Result<Option<JobId>, Fault> {
    let row = (server, place.number, place.body.as_bytes(), place.counts.reserves);
    Ok(connection.prepare_cached(SAME)?.query_row(row, |row| Ok(JobId::from_bytes(row.get(0)?))).optional()?)
}

/// Adds a job of a server.
pub(super) fn insert(
    connection: &Connection,
    server: &str,
    id: JobId,
    document: &Document,
    place: Place,
    put_at: Timestamp,
) -> Result<i64, Fault> {
    let document = Document { id: None, ..document.clone() };
    let json = document.canonical();
    let kept_for = Document { host: Some(host(server)), ..document };
    submit::insert(connection, id, &kept_for, &json, put_at)?;
    let seq = connection
        .prepare_cached("SELECT seq FROM jobs WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    // Nothing was made of its kicks so far.
    let counts = Counts { kicks: 0, ..place.counts };
    put(connection, seq, server, Place { counts, ..place })?;
    Ok(seq)
}

fn put(connection: &Connection, seq: i64, server: &str, place: Place) -> Result<(), Fault> {
    let Counts { reserves, releases, timeouts, kicks } = place.counts;
    connection.prepare_cached(PLACE)?.execute(named_params! {
        ":seq": seq,
        ":server": server,
        ":number": place.number,
        ":body": place.body.as_bytes(),
        ":reserves": reserves,
        ":releases": releases,
        ":timeouts": timeouts,
        ":kicks": kicks,
    })?;
    Ok(())
}

/// Starts an attempt, if the job has one left and its time has come.
fn take(
    connection: &Connection,
    seq: i64,
    id: JobId,
    document: Document,
    (counts, deaths, worker, now): (Counts, u32, &WorkerId, i64),
) -> Result<Ruling, Fault> {
    let (attempts, uncounted, max_attempts, kicks, submitted_at, ready_at, expires_at): (
        u32,
        u32,
        u32,
        u32,
        i64,
        i64,
        Option<i64>,
    ) = connection.prepare_cached(ROW)?.query_row([seq], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
    })?;
    if let Some(expired) = expires_at.filter(|expires_at| *expires_at <= now) {
        let ended = Ended { state: State::Cancelled, verdict: &records::expired(), published: None };
        settle::end(connection, seq, &ended, expired.max(submitted_at))?;
        return Ok(Ruling::Ended);
    }
    let early = u64::try_from(ready_at.saturating_sub(now)).map(Duration::from_millis).unwrap_or_default();
    if early > EARLY && attempts == 0 && counts.kicks == 0 {
        uncount(connection, seq)?;
        return Ok(Ruling::Early(early));
    }
    // A server that has replayed its binlog counts from what was written there.
    let attempt = counts.reserves.max(attempts.saturating_add(1));
    let granted = settle::granted(max_attempts, kicks);
    let spent = blame::spent(connection, seq, deaths)?;
    if spent >= granted {
        let message = format!("it was tried {spent} times and may be tried {granted} times: its workers died");
        let ended = Ended { state: State::Dead, verdict: &Verdict::Lost { message }, published: None };
        settle::end(connection, seq, &ended, now)?;
        return Ok(Ruling::Dead);
    }
    // If others have reserved it more often than it may be tried, this is the last time.
    let counted = attempt.saturating_sub(uncounted).min(granted);
    connection.prepare_cached(TAKE)?.execute(named_params! {
        ":seq": seq,
        ":attempt": attempt,
        ":worker": worker.start.as_bytes(),
        ":now": now,
    })?;
    connection
        .prepare_cached("INSERT INTO attempts (seq, attempt, worker, started_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((seq, attempt, &worker.name, now))?;
    let job = Job { id, submitted_at: time(submitted_at)?, document };
    let lease = Lease { id, attempt };
    Ok(Ruling::Run(Box::new(Claimed { job, lease, attempts: counted, granted, expires_at: None })))
}

/// Does not hold a reservation against the job, since nothing came of it that is its fault.
fn uncount(connection: &Connection, seq: i64) -> Result<(), Fault> {
    connection.prepare_cached("UPDATE jobs SET uncounted = uncounted + 1 WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}
