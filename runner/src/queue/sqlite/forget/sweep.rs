//! Deleting jobs that ended too long ago.
//!
//! Not all of them may go, and there may be millions that may not. So they are looked at a piece at a time, where no
//! writer waits for that, and a sweep whose caller wants no more goes on with the next call from where it has come to.

use super::remove;
use crate::job::State;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::{SqliteQueue, claim, lock};
use crate::queue::{QueueError, Retention};
use rusqlite::{Connection, OptionalExtension, named_params};
use std::sync::{Arc, Mutex};

/// As many jobs are looked at in one piece.
const PIECE: usize = 2_000;

/// Whether a job may go: not while it holds a unique key, nor while its result is still to be sent, nor while a server
/// may not have heard how it ended.
const MAY_GO: &str = "
    (unique_key IS NULL OR unique_until <= :now)
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = jobs.seq AND deliveries.state = 'pending')
    AND NOT EXISTS (SELECT 1 FROM settling WHERE settling.seq = jobs.seq)";

/// Whose jobs are deleted.
#[derive(Debug, Clone)]
pub(in crate::queue::sqlite) enum Whose {
    /// Those of the file's own queue.
    Own,
    /// Those of a server, which have this `host`.
    Servers(Arc<str>),
}

/// A way along all jobs that have ended.
pub(in crate::queue::sqlite) struct Sweep {
    whose: Whose,
    reached: Mutex<Reached>,
}

/// The job that was looked at last, by when it ended and by its place.
#[derive(Debug, Clone, Copy)]
struct Reached {
    /// Which kind of ending is looked at.
    kind: usize,
    finished_at: i64,
    seq: i64,
}

impl Reached {
    fn beginning(kind: usize) -> Self {
        Self { kind, finished_at: i64::MIN, seq: 0 }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue::sqlite) struct Sought {
    pub(in crate::queue::sqlite) state: State,
    /// Until when it must have ended.
    pub(in crate::queue::sqlite) before: i64,
    pub(in crate::queue::sqlite) now: i64,
}

impl Sweep {
    pub(in crate::queue::sqlite) fn new(whose: Whose) -> Self {
        Self { whose, reached: Mutex::new(Reached::beginning(0)) }
    }

    /// Deletes jobs that ended too long ago, `most` at most, and returns how many. If these are fewer, the sweep has come
    /// to its end, and the next one begins.
    pub(in crate::queue::sqlite) async fn forget(
        &self,
        queue: &SqliteQueue,
        retention: &Retention,
        most: usize,
    ) -> Result<usize, QueueError> {
        if let Whose::Own = self.whose {
            // Where no worker runs, nobody else would write down that they have expired.
            queue.write(|connection, now| claim::cancel_expired(connection, now.as_millisecond())).await?;
        }
        let Retention { done, dead, cancelled } = *retention;
        let kinds = [(State::Done, done), (State::Dead, dead), (State::Cancelled, cancelled)];
        let (mut reached, mut forgotten) = (*lock(&self.reached), 0);
        while forgotten < most
            && let Some(&(state, kept)) = kinds.get(reached.kind)
        {
            let Some(kept) = kept else {
                reached = Reached::beginning(reached.kind + 1);
                continue;
            };
            let now = (queue.shared.clock)().as_millisecond();
            let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            let sought = Sought { state, before: now.saturating_sub(kept), now };
            let (whose, left) = (self.whose.clone(), most - forgotten);
            let look = move |connection: &Connection| sought.look(connection, &whose, reached, left);
            let (found, last) = queue.shared.lister.call(look).await?;
            if !found.is_empty() {
                let rows = found.len();
                forgotten += queue.write_for(rows, move |connection, _| sought.remove(connection, &found)).await?;
            }
            reached = last;
        }
        *lock(&self.reached) = if forgotten < most { Reached::beginning(0) } else { reached };
        Ok(forgotten)
    }
}

/// The jobs that have ended, in the order in which they have; whether they may go is asked of each on the way.
fn sql(whose: &Whose) -> String {
    let from = match whose {
        Whose::Own => "jobs INDEXED BY jobs_ended WHERE unicode(host) IS NOT 1",
        Whose::Servers(_) => "jobs INDEXED BY placed_ended WHERE unicode(host) IS 1 AND host = :host",
    };
    // However many ended in the same millisecond, none of them is passed twice.
    let piece = |after| {
        format!(
            "SELECT seq, finished_at, {MAY_GO} FROM {from}
            AND state = :state AND finished_at IS NOT NULL AND finished_at <= :before AND {after}"
        )
    };
    let (same, later) = (piece("finished_at = :finished_at AND seq > :seq"), piece("finished_at > :finished_at"));
    format!("{same} UNION ALL {later} ORDER BY 2, 1")
}

impl Sought {
    /// The places of jobs that may go, `most` at most, and how far this has come.
    fn look(
        self,
        connection: &Connection,
        whose: &Whose,
        from: Reached,
        most: usize,
    ) -> Result<(Vec<i64>, Reached), Fault> {
        let mut statement = connection.prepare_cached(&sql(whose))?;
        let named = named_params! {
            ":state": self.state.as_str(),
            ":before": self.before,
            ":now": self.now,
            ":finished_at": from.finished_at,
            ":seq": from.seq,
        };
        let mut named = named.to_vec();
        if let Whose::Servers(host) = whose {
            named.push((":host", host));
        }
        let mut rows = statement.query(named.as_slice())?;
        let (mut found, mut looked_at) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let reached = Reached { seq: row.get(0)?, finished_at: row.get(1)?, ..from };
            looked_at += 1;
            if row.get::<_, Option<bool>>(2)? == Some(true) {
                found.push(reached.seq);
            }
            if found.len() == most || looked_at == PIECE {
                return Ok((found, reached));
            }
        }
        Ok((found, Reached::beginning(from.kind + 1)))
    }

    /// Deletes those of them that may still go, and returns how many.
    pub(in crate::queue::sqlite) fn remove(self, connection: &Connection, places: &[i64]) -> Result<usize, Fault> {
        let sql =
            format!("SELECT 1 FROM jobs WHERE seq = :seq AND state = :state AND finished_at <= :before AND {MAY_GO}");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut removed = 0;
        for seq in places {
            let named = named_params! {
                ":seq": seq,
                ":state": self.state.as_str(),
                ":before": self.before,
                ":now": self.now,
            };
            if statement.query_row(named, |_| Ok(())).optional()?.is_some() {
                remove(connection, *seq, self.now)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;
