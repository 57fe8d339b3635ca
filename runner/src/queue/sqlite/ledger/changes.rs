//! What operators do to a server's jobs, once the server has done its part.

use super::{Ledger, ending};
use crate::job::{Decision, JobId, State, Verdict};
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::forget;
use crate::queue::sqlite::settle::{self, Ended, Ending};
use crate::queue::{QueueError, Retention};
use rusqlite::{Connection, OptionalExtension};

const KICK: &str = "
    UPDATE jobs SET state = 'ready', ready_at = ?2, finished_at = NULL,
        kicks = kicks + MAX(?3 - (SELECT placed.kicks FROM placed WHERE placed.seq = jobs.seq), 0)
    WHERE seq = ?1 AND state IN ('dead', 'delayed', 'ready')";

const SEEN: &str = "UPDATE placed SET kicks = ?2 WHERE seq = ?1";

impl Ledger {
    /// Ends a job that was cancelled; the state that it is in now.
    pub(in crate::queue) async fn cancelled(&self, id: JobId, reason: &str) -> Result<Option<State>, QueueError> {
        let message = reason.to_owned();
        self.queue
            .write(move |connection, now| {
                let Some((seq, state)) = state(connection, id)? else { return Ok(None) };
                if state.is_final() {
                    return Ok(Some(state));
                }
                let (now, verdict) = (now.as_millisecond(), Verdict::Cancelled { message }.clipped());
                if state == State::Running {
                    cancel(connection, seq, &verdict, now)?;
                } else {
                    let ended = Ended { state: State::Cancelled, verdict: &verdict, published: None };
                    settle::end(connection, seq, &ended, now)?;
                }
                Ok(Some(State::Cancelled))
            })
            .await
    }

    /// Takes note that a job was made ready, whose kicks the server had counted as `before`. Only to one that was dead
    /// that grants attempts, and the server counts both alike.
    pub(in crate::queue) async fn kicked(&self, id: JobId, before: u32, was_dead: bool) -> Result<(), QueueError> {
        let granting = before.saturating_add(u32::from(was_dead));
        self.queue
            .write(move |connection, now| {
                if let Some((seq, _)) = state(connection, id)? {
                    connection.prepare_cached(KICK)?.execute((seq, now.as_millisecond(), granting))?;
                    connection.prepare_cached(SEEN)?.execute((seq, before.saturating_add(1)))?;
                }
                Ok(())
            })
            .await
    }

    /// Deletes jobs that ended too long ago, `most` at most, and returns how many. None goes before the server has heard
    /// of its end.
    pub(in crate::queue) async fn forget(&self, retention: &Retention, most: usize) -> Result<usize, QueueError> {
        self.sweep.forget(&self.queue, retention, most).await
    }

    /// Deletes a job that does not run; that its id had this document stays known.
    pub(in crate::queue) async fn removed(&self, id: JobId) -> Result<(), QueueError> {
        self.queue
            .write(move |connection, now| {
                let Some((seq, _)) = state(connection, id)? else { return Ok(()) };
                forget::remove(connection, seq, now.as_millisecond())?;
                Ok(())
            })
            .await
    }
}

fn state(connection: &Connection, id: JobId) -> Result<Option<(i64, State)>, Fault> {
    let row = connection
        .prepare_cached("SELECT seq, state FROM jobs WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((seq, state)) = row else { return Ok(None) };
    Ok(Some((seq, state.parse().map_err(|error| Fault::corrupt("a job's state", error))?)))
}

/// Ends a running attempt, and its job, because somebody wished so. Its worker finds out when it asks, or settles.
fn cancel(connection: &Connection, seq: i64, verdict: &Verdict, now: i64) -> Result<(), Fault> {
    let attempt =
        connection.prepare_cached("SELECT attempts FROM jobs WHERE seq = ?1")?.query_row([seq], |row| row.get(0))?;
    ending::forget(connection, seq, attempt)?;
    let ending =
        Ending { attempt, has_begun: true, verdict, decision: Decision::Cancel, usage: None, published: false };
    settle::end_attempt(connection, seq, &ending, now)
}
