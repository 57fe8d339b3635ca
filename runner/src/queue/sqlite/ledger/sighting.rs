//! A job that a worker has reserved: what this file says to it.

use super::identity::{self, Known, is_forgotten, known};
use super::{Counts, Ledger, Place, blame, ending, expiry, host, missing, unreadable};
use crate::job::{Document, Job, JobId, State, Verdict};
use crate::queue::sqlite::begun::Begun;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::time;
use crate::queue::sqlite::settle::{self, Ended};
use crate::queue::sqlite::submit;
use crate::queue::{Claimed, Lease, QueueError, WorkerId};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much the clocks of a server and a worker may differ, and what whole seconds hide, before a job is early.
const EARLY: Duration = Duration::from_secs(1);

const ROW: &str = "
    SELECT attempts, uncounted, max_attempts, kicks, submitted_at, ready_at FROM jobs WHERE seq = ?1";

/// Under another number a job has other figures, of which only the last reservation is another try.
const RENUMBER: &str = "
    UPDATE jobs SET uncounted = MAX(?2 - 1, attempts) - MAX(attempts - uncounted, 0) WHERE seq = ?1";

const TAKE: &str = "
    UPDATE jobs SET state = 'running', attempts = :attempt, uncounted = :uncounted, worker = :worker,
        started_at = :now, finished_at = NULL
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
    /// Whether its `ttr` is the server's.
    pub(in crate::queue) has_servers_ttr: bool,
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
    /// Leases the job to `worker`, unless there is something in the way, or the reservation has lasted only `until` then.
    pub(in crate::queue) async fn sight_until(
        &self,
        until: Instant,
        sighting: Sighting,
        worker: &WorkerId,
    ) -> Result<Ruling, QueueError> {
        let (server, worker) = (Arc::clone(&self.server), worker.clone());
        let begun = Arc::clone(&self.queue.shared.begun);
        self.queue
            .write(move |connection, now| {
                // Whoever was kept from the file for so long may hold nothing any more: his figures are another's by now.
                if Instant::now() >= until {
                    let why = format!("a reservation at {server} was over before it could be written down");
                    return Err(QueueError::Busy(why).into());
                }
                rule(connection, &begun, &server, sighting, &worker, now)
            })
            .await
    }

    /// Does not hold a reservation against a job of which no attempt has come.
    pub(in crate::queue) async fn given_back(&self, sighting: Sighting) -> Result<(), QueueError> {
        let server = Arc::clone(&self.server);
        let give_back = move |connection: &Connection, _| match give_back(connection, &server, &sighting) {
            // Nothing can be held against a job whose row cannot be read, and nobody is to be kept from the others.
            Err(fault) if fault.is_of_a_row() => Ok(()),
            given_back => given_back,
        };
        self.queue.write(give_back).await
    }
}

fn give_back(connection: &Connection, server: &str, sighting: &Sighting) -> Result<(), Fault> {
    let id = identity::id(connection, server, sighting)?;
    let Sighting { document, place, put_at, .. } = sighting;
    let seq = match known(connection, id)? {
        // Nothing is kept of another number's figures.
        Some(known) if !known.is(server, sighting) || !known.has_number(place.number) => return Ok(()),
        Some(known) => known.seq,
        // A job that has ended and was deleted is none again.
        None if is_forgotten(connection, id, &document.canonical())?.is_some() => return Ok(()),
        None => insert(connection, server, id, document, *place, *put_at)?,
    };
    uncount(connection, seq)
}

fn rule(
    connection: &Connection,
    begun: &Begun,
    server: &str,
    sighting: Sighting,
    worker: &WorkerId,
    now: Timestamp,
) -> Result<Ruling, Fault> {
    let id = identity::id(connection, server, &sighting)?;
    let (place, json) = (sighting.place, sighting.document.canonical());
    // What was put aside under this number before is another matter.
    unreadable::forget(connection, server, place.number)?;
    let (seq, in_vain) = match known(connection, id)? {
        Some(known) if !known.is(server, &sighting) => return Ok(taken(id)),
        Some(known) => match standing(connection, begun, &known, place, now)? {
            Some(ruling) => return Ok(ruling),
            None => {
                missing::find_again(connection, known.seq)?;
                known.adopt(connection, &sighting.document, &json)?;
                if !known.has_number(place.number) {
                    connection.prepare_cached(RENUMBER)?.execute((known.seq, place.counts.reserves))?;
                }
                (known.seq, known.in_vain(place.number))
            }
        },
        None => match is_forgotten(connection, id, &json)? {
            Some(true) => return Ok(Ruling::Ended),
            Some(false) => return Ok(taken(id)),
            None => (insert(connection, server, id, &sighting.document, place, sighting.put_at)?, 0),
        },
    };
    if place.counts.kicks > 0 {
        connection.prepare_cached(GRANT)?.execute((seq, place.number, place.counts.kicks))?;
    }
    put(connection, seq, server, place)?;
    let taking =
        Taking { seq, id, document: sighting.document, counts: place.counts, deaths: sighting.deaths, in_vain };
    take(connection, taking, worker, now.as_millisecond())
}

fn taken(id: JobId) -> Ruling {
    Ruling::Taken(QueueError::IdTaken(id).to_string())
}

/// What is in the way of a job that is known already.
fn standing(
    connection: &Connection,
    begun: &Begun,
    known: &Known,
    place: Place,
    now: Timestamp,
) -> Result<Option<Ruling>, Fault> {
    let &Known { seq, state, attempts, kicks, .. } = known;
    let is_same = known.has_number(place.number);
    Ok(match state {
        State::Done | State::Cancelled => Some(Ruling::Ended),
        State::Dead if !is_same => Some(Ruling::Ended),
        // Somebody has kicked it, or else the server has forgotten that it was buried.
        State::Dead => (place.counts.kicks <= kicks).then_some(Ruling::Dead),
        State::Running if !is_same => Some(Ruling::Runs),
        State::Running => {
            ending::forget(connection, seq, attempts)?;
            ending::lose(connection, begun, seq, attempts, now.as_millisecond())?;
            None
        }
        State::Held | State::Delayed | State::Ready => None,
    })
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
    let kept_for = Document { host: Some(host(server)), expires: None, ..document };
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

/// A reservation of which an attempt is to come.
struct Taking {
    seq: i64,
    id: JobId,
    document: Document,
    counts: Counts,
    /// How many reservations ended without a word.
    deaths: u32,
    /// How many reservations before are known to have come to nothing.
    in_vain: u32,
}

/// Starts an attempt, if the job has one left and its time has come.
fn take(connection: &Connection, taking: Taking, worker: &WorkerId, now: i64) -> Result<Ruling, Fault> {
    let Taking { seq, id, document, counts, deaths, in_vain } = taking;
    let (attempts, uncounted, max_attempts, kicks, submitted_at, ready_at): (u32, u32, u32, u32, i64, i64) = connection
        .prepare_cached(ROW)?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))?;
    let was_started = attempts > 0 || counts.reserves.saturating_sub(1) > in_vain;
    if let Some(expired) = expiry::expires_at(&document, submitted_at)?
        && expired <= now
        && !was_started
    {
        settle::expire(connection, seq, expired)?;
        return Ok(Ruling::Ended);
    }
    let early = u64::try_from(ready_at.saturating_sub(now)).map(Duration::from_millis).unwrap_or_default();
    if early > EARLY && attempts == 0 && counts.kicks == 0 {
        uncount(connection, seq)?;
        return Ok(Ruling::Early(early));
    }
    // A server that has replayed its binlog counts from what was written there.
    let attempt = counts.reserves.max(attempts.saturating_add(1));
    // It may also have forgotten reservations that do not count.
    let uncounted = uncounted.min(attempt - 1);
    let granted = settle::granted(max_attempts, kicks);
    let spent = blame::spent(connection, seq, deaths)?;
    if spent >= granted {
        let message = format!(
            "of {granted} attempts that it may have, {spent} have failed or ended without a word, as when a worker dies"
        );
        let ended = Ended { state: State::Dead, verdict: &Verdict::Lost { message }, published: None };
        settle::end(connection, seq, &ended, now)?;
        return Ok(Ruling::Dead);
    }
    // If others have reserved it more often than it may be tried, this is the last time.
    let counted = attempt.saturating_sub(uncounted).min(granted);
    connection.prepare_cached(TAKE)?.execute(named_params! {
        ":seq": seq,
        ":attempt": attempt,
        ":uncounted": uncounted,
        ":worker": worker.start.as_bytes(),
        ":now": now,
    })?;
    connection
        .prepare_cached("INSERT INTO attempts (seq, attempt, worker, started_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((seq, attempt, &worker.name, now))?;
    let size = document.canonical().len() as u64;
    let job = Job { id, submitted_at: time(submitted_at)?, document };
    let lease = Lease { id, attempt };
    Ok(Ruling::Run(Box::new(Claimed { job, lease, attempts: counted, granted, size })))
}

/// Does not hold a reservation against the job, since nothing came of it that is its fault.
fn uncount(connection: &Connection, seq: i64) -> Result<(), Fault> {
    connection.prepare_cached("UPDATE jobs SET uncounted = uncounted + 1 WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}
