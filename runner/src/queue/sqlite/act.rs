//! What operators and submitters do to jobs.
//!
//! Whether something can be done to a job is known before anything is written, so a refusal leaves that job as it
//! was, and has no effect on the others that were named with it.

mod update;

use super::fault::Fault;
use super::forget;
use super::ledger;
use super::records;
use super::settle::{self, Ended, Ending};
use super::submit;
use crate::job::{Decision, Document, JobId, State, Unique, UniqueFor, Verdict};
use crate::queue::{Acted, Action, Refusal};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};

const FIND: &str = "
    SELECT seq, state, attempts, ready_at, expires_at, submitted_at, host FROM jobs WHERE id = ?1";

const WAIT: &str = "UPDATE jobs SET state = :state, ready_at = :ready_at WHERE seq = :seq";

/// The verdict and the result of the attempt that failed last stay until there are others.
const REVIVE: &str = "
    UPDATE jobs SET state = 'ready', ready_at = :now, finished_at = NULL, kicks = MIN(kicks + 1, :most_kicks),
        unique_key = COALESCE(:unique_key, unique_key)
    WHERE seq = :seq";

/// A job, as it stands before anything is done to it.
struct Found {
    seq: i64,
    id: JobId,
    state: State,
    attempts: u32,
    ready_at: i64,
    expires_at: Option<i64>,
}

/// Why nothing is done to a job.
enum Stop {
    /// It is told to whoever asked.
    Refused(Refusal),
    /// It ends the whole call.
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(fault: E) -> Self {
        Stop::Failed(fault.into())
    }
}

/// Does the same to each of these jobs.
pub(super) fn act(
    connection: &Connection,
    ids: &[JobId],
    action: &Action,
    now: Timestamp,
) -> Result<Vec<Acted>, Fault> {
    let mut acted = Vec::with_capacity(ids.len());
    for &id in ids {
        let outcome = match act_on(connection, id, action, now) {
            Ok(state) => Ok(state),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(fault)) => return Err(fault),
        };
        acted.push(Acted { id, outcome });
    }
    Ok(acted)
}

/// Does it to one job, and returns the state that it is in afterwards, or was in before it was deleted.
fn act_on(connection: &Connection, id: JobId, action: &Action, now: Timestamp) -> Result<State, Stop> {
    let millis = now.as_millisecond();
    let job = find(connection, id, millis)?;
    match action {
        Action::Cancel { reason } => cancel(connection, &job, reason, millis),
        Action::Hold => hold(connection, &job),
        Action::Release => release(connection, &job, millis),
        Action::Kick => kick(connection, &job, millis),
        Action::Update(patch) => update::update(connection, &job, patch, now),
        Action::Delete => delete(connection, &job, millis),
    }
}

/// The job of this id. One that has expired is cancelled here if no claim has come by to do so.
///
/// What is known of a server's job is not this queue's to change: the server would go on with the job as it was.
fn find(connection: &Connection, id: JobId, now: i64) -> Result<Found, Stop> {
    let mut statement = connection.prepare_cached(FIND)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let row = rows.next()?.ok_or(Refusal::NoSuchJob)?;
    let host: String = row.get(6)?;
    if let Some(server) = ledger::server_of(&host) {
        return Err(Refusal::Unsupported(format!("it is a job of {server}; give --queue {server}")).into());
    }
    let mut job = Found {
        seq: row.get(0)?,
        id,
        state: row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?,
        attempts: row.get(2)?,
        ready_at: row.get(3)?,
        expires_at: row.get(4)?,
    };
    if let Some(expired_at) = job.expires_at.filter(|expires_at| *expires_at <= now) {
        settle::expire(connection, job.seq, expired_at.max(row.get(5)?))?;
        job.state = State::Cancelled;
    }
    Ok(job)
}

fn cancel(connection: &Connection, job: &Found, reason: &str, now: i64) -> Result<State, Stop> {
    let verdict = &Verdict::Cancelled { message: reason.to_owned() }.clipped();
    match job.state {
        State::Cancelled => {}
        State::Done | State::Dead => {
            return Err(Refusal::State(job.state, ", and has ended; delete it if it is not wanted any more").into());
        }
        State::Running => {
            let (attempt, decision) = (job.attempts, Decision::Cancel);
            let ending = Ending { attempt, has_begun: true, verdict, decision, usage: None, published: false };
            settle::end_attempt(connection, job.seq, &ending, now)?;
        }
        State::Held | State::Delayed | State::Ready => {
            settle::end(connection, job.seq, &Ended { state: State::Cancelled, verdict, published: None }, now)?;
        }
    }
    Ok(State::Cancelled)
}

fn hold(connection: &Connection, job: &Found) -> Result<State, Stop> {
    let instead = match job.state {
        State::Held => return Ok(State::Held),
        State::Delayed | State::Ready => return wait(connection, job, State::Held, job.ready_at),
        State::Running => "; only a job that waits can be held: cancel it, or let it end",
        State::Done | State::Dead | State::Cancelled => ", and has ended; only a job that waits can be held",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn release(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    let instead = match job.state {
        State::Held => return wait(connection, job, submit::waits(job.ready_at, now), job.ready_at),
        State::Delayed | State::Ready => return Ok(job.state),
        State::Running => ", so nothing holds it",
        State::Dead => ", not held; kick it to have it tried again",
        State::Done | State::Cancelled => ", and has ended; submit a new job",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn kick(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    let instead = match job.state {
        State::Dead => return revive(connection, job, now),
        State::Delayed => return wait(connection, job, State::Ready, now),
        State::Held => "; release it",
        State::Ready => " already",
        State::Running => "; only a job that is dead or delayed can be kicked",
        State::Done | State::Cancelled => ", and has ended; submit a new job",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn wait(connection: &Connection, job: &Found, state: State, ready_at: i64) -> Result<State, Stop> {
    let named = named_params! {":seq": job.seq, ":state": state.as_str(), ":ready_at": ready_at};
    connection.prepare_cached(WAIT)?.execute(named)?;
    Ok(state)
}

/// Makes a dead job ready, with `max_attempts` more.
fn revive(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    // A key that is held for a time has not been given back; one that is held until the job ends has.
    let key = match document(connection, job)?.unique {
        Some(Unique { key, period: UniqueFor::Done }) => Some(key),
        Some(Unique { period: UniqueFor::For(_), .. }) | None => None,
    };
    if let Some(key) = &key
        && let Some(holder) = submit::key_holder(connection, key, now)?
    {
        return Err(Refusal::NotUnique(holder).into());
    }
    let named = named_params! {":seq": job.seq, ":now": now, ":most_kicks": u32::MAX, ":unique_key": key};
    connection.prepare_cached(REVIVE)?.execute(named)?;
    Ok(State::Ready)
}

fn delete(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    if job.state == State::Running {
        return Err(Refusal::State(job.state, "; cancel it first").into());
    }
    forget::remove(connection, job.seq, now)?;
    Ok(job.state)
}

/// The job's document. Without one that can be read, nothing can be done to the job but deleting it.
fn document(connection: &Connection, job: &Found) -> Result<Document, Stop> {
    match records::document(connection, job.seq, job.id) {
        Ok(document) => Ok(document),
        Err(fault) if fault.is_of_a_row() => Err(Refusal::Invalid(format!("{fault}; delete it")).into()),
        Err(fault) => Err(fault.into()),
    }
}

#[cfg(test)]
mod tests;
