//! The ends of attempts: written down before the server hears of them, so that what was cut short can be told from
//! what was not begun.

use super::kind::Kind;
use super::{Counts, Ledger, Place, host};
use crate::job::{Decision, Digest, JobId, Verdict};
use crate::queue::sqlite::begun::Begun;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::{json, parsed};
use crate::queue::sqlite::settle::{self, Ending};
use crate::queue::sqlite::timings::Tally;
use crate::queue::{Lease, QueueError, Settlement, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row};
use std::sync::Arc;
use std::time::Duration;

const BEGIN: &str = "
    INSERT OR REPLACE INTO settling (seq, attempt, decision, wait_ms, verdict, usage, published, committed, instance)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)";

/// The order of the tables is what keeps this from a look at all that the server has: idle workers ask every second.
pub(super) const OPEN: &str = "
    SELECT id, attempt, decision, worker, instance, number, body, reserves, releases, timeouts, placed.kicks
    FROM settling CROSS JOIN placed USING (seq) CROSS JOIN jobs USING (seq)
    WHERE server = ?1 ORDER BY settling.seq LIMIT 1000";

pub(super) const RUNNING: &str = "
    SELECT id, attempts, number, body, reserves, releases, timeouts, placed.kicks
    FROM jobs INDEXED BY jobs_running CROSS JOIN placed USING (seq) LEFT JOIN settling USING (seq)
    WHERE worker IS NOT NULL AND host = ?1 AND settling.seq IS NULL ORDER BY seq LIMIT 10000";

const HOLDER: &str = "
    SELECT attempts.worker, jobs.worker, EXISTS (
        SELECT 1 FROM serving WHERE start = jobs.worker AND beat_at + lease_ms >= ?3)
    FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempt = attempts
    WHERE jobs.seq = ?1 AND attempts = ?2 AND state = 'running'";

/// The end of an attempt that is on its way.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Intent {
    /// Which attempt.
    pub(in crate::queue) lease: Lease,
    /// What the server is to be told.
    pub(in crate::queue) kind: Kind,
    /// The start of the worker that has made the attempt. Nobody once this file has the end, and only the server's job
    /// is left to be deleted.
    pub(in crate::queue) holder: Option<JobId>,
    /// Where the server had the job when the attempt began.
    pub(in crate::queue) place: Place,
    /// The process of the server that has given the reservation.
    pub(in crate::queue) instance: u64,
}

/// An attempt that runs, as far as this file knows.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Running {
    /// Which attempt.
    pub(in crate::queue) lease: Lease,
    /// Where the server had the job when the attempt began.
    pub(in crate::queue) place: Place,
}

impl Ledger {
    /// Writes down how an attempt is about to end that `instance`, a process of the server, has given the job for.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if this file has it ended already.
    pub(in crate::queue) async fn begin(
        &self,
        worker: &WorkerId,
        lease: &Lease,
        settlement: Settlement,
        instance: u64,
    ) -> Result<(), QueueError> {
        let (worker, lease) = (worker.clone(), lease.clone());
        self.queue.write(move |connection, _| begin(connection, &worker, &lease, &settlement, instance)).await
    }

    /// Ends an attempt as it was written down. If it was a finish, the server's job is still to be deleted, and
    /// [`close`](Self::close) to be called.
    ///
    /// It may have been done before, by another process of this data directory; `home` is where its results are.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the attempt has ended in another way.
    pub(in crate::queue) async fn commit(&self, lease: &Lease, home: &WorkerId) -> Result<(), QueueError> {
        let (lease, home) = (lease.clone(), home.clone());
        self.queue.write(move |connection, now| commit(connection, &lease, &home, now.as_millisecond())).await
    }

    /// Forgets that an attempt was on its way to its end: both sides have heard.
    pub(in crate::queue) async fn close(&self, lease: &Lease) -> Result<(), QueueError> {
        let lease = lease.clone();
        self.queue
            .write(move |connection, _| match seq(connection, lease.id)? {
                Some(seq) => forget(connection, seq, lease.attempt),
                None => Ok(()),
            })
            .await
    }

    /// Ends an attempt whose reservation was lost; whether it still ran. Nobody else may be about to end it, unless
    /// `also_ending`.
    pub(in crate::queue) async fn lost(&self, lease: &Lease, also_ending: bool) -> Result<bool, QueueError> {
        let (lease, begun) = (lease.clone(), Arc::clone(&self.queue.shared.begun));
        self.queue
            .write(move |connection, now| {
                let Some(seq) = seq(connection, lease.id)? else { return Ok(false) };
                if also_ending {
                    forget(connection, seq, lease.attempt)?;
                } else if is_ending(connection, seq)? {
                    return Ok(false);
                }
                lose(connection, &begun, seq, lease.attempt, now.as_millisecond())
            })
            .await
    }

    /// Ends of attempts that are on their way, the oldest jobs' first.
    pub(in crate::queue) async fn open(&self) -> Result<Vec<Intent>, QueueError> {
        let server = Arc::clone(&self.server);
        let list = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(OPEN)?;
            let mut rows = statement.query([&server])?;
            let mut open = Vec::new();
            while let Some(row) = rows.next()? {
                open.push(Intent {
                    lease: Lease { id: JobId::from_bytes(row.get(0)?), attempt: row.get(1)? },
                    kind: Kind::of(Kind::decision(&row.get::<_, String>(2)?, 0)?),
                    holder: row.get::<_, Option<[u8; 16]>>(3)?.map(JobId::from_bytes),
                    instance: row.get::<_, i64>(4)?.cast_unsigned(),
                    place: place(row, 5)?,
                });
            }
            Ok(open)
        };
        self.queue.shared.reader.call(list).await
    }

    /// Attempts that run and are not about to end.
    pub(in crate::queue) async fn running(&self) -> Result<Vec<Running>, QueueError> {
        let host = host(&self.server);
        let list = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(RUNNING)?;
            let rows = statement.query_map([host], |row| {
                let lease = Lease { id: JobId::from_bytes(row.get(0)?), attempt: row.get(1)? };
                Ok(Running { lease, place: place(row, 2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.queue.shared.reader.call(list).await
    }
}

fn place(row: &Row<'_>, first: usize) -> rusqlite::Result<Place> {
    let counts = Counts {
        reserves: row.get(first + 2)?,
        releases: row.get(first + 3)?,
        timeouts: row.get(first + 4)?,
        kicks: row.get(first + 5)?,
    };
    Ok(Place { number: row.get(first)?, body: Digest::from_bytes(row.get(first + 1)?), counts })
}

fn seq(connection: &Connection, id: JobId) -> Result<Option<i64>, Fault> {
    let seq =
        connection.prepare_cached("SELECT seq FROM jobs WHERE id = ?1")?.query_row([id.as_bytes()], |row| row.get(0));
    Ok(seq.optional()?)
}

fn is_ending(connection: &Connection, seq: i64) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM settling WHERE seq = ?1)")?;
    Ok(statement.query_row([seq], |row| row.get(0))?)
}

/// Forgets that an attempt was on its way to its end, and nothing of a later one, which another worker may be about to
/// end.
pub(super) fn forget(connection: &Connection, seq: i64, attempt: u32) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM settling WHERE seq = ?1 AND attempt = ?2")?.execute((seq, attempt))?;
    Ok(())
}

fn begin(
    connection: &Connection,
    worker: &WorkerId,
    lease: &Lease,
    settlement: &Settlement,
    instance: u64,
) -> Result<(), Fault> {
    let Some(seq) = settle::leased(connection, worker, lease)? else {
        return Err(QueueError::Stale { id: lease.id, attempt: lease.attempt }.into());
    };
    let wait = match settlement.decision {
        Decision::Retry(wait) => i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        _ => 0,
    };
    connection.prepare_cached(BEGIN)?.execute((
        seq,
        lease.attempt,
        Kind::of(settlement.decision).as_str(),
        wait,
        json(&settlement.verdict)?,
        json(&settle::finite(settlement.usage))?,
        settlement.published,
        instance.cast_signed(),
    ))?;
    Ok(())
}

fn commit(connection: &Connection, lease: &Lease, home: &WorkerId, now: i64) -> Result<(), Fault> {
    let stale = || QueueError::Stale { id: lease.id, attempt: lease.attempt };
    let Some(seq) = seq(connection, lease.id)? else { return Err(stale().into()) };
    let found = connection
        .prepare_cached(
            "SELECT decision, wait_ms, settling.verdict, usage, settling.published, committed, worker
            FROM settling JOIN jobs USING (seq)
            WHERE seq = ?1 AND attempt = ?2",
        )?
        .query_row((seq, lease.attempt), |row| {
            let start: Option<[u8; 16]> = row.get(6)?;
            let texts: (String, u64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((texts, row.get(4)?, row.get::<_, bool>(5)?, start))
        })
        .optional()?;
    match found {
        Some((_, _, true, _)) => Ok(()),
        Some(((decision, wait, verdict, usage), published, false, Some(start))) => {
            let settlement = Settlement {
                verdict: parsed("verdict", lease.id, &verdict)?,
                decision: Kind::decision(&decision, wait)?,
                usage: parsed("usage", lease.id, &usage)?,
                published,
            };
            let worker = WorkerId { start: JobId::from_bytes(start), ..home.clone() };
            let mut tally = Tally::default();
            settle::settle(connection, &mut tally, &worker, lease, &settlement, now)?;
            tally.write(connection)?;
            match settlement.decision {
                Decision::Finish => {
                    connection.prepare_cached("UPDATE settling SET committed = 1 WHERE seq = ?1")?.execute([seq])?;
                    Ok(())
                }
                _ => forget(connection, seq, lease.attempt),
            }
        }
        // Another process has done all of it, or the attempt was ended otherwise.
        _ if was_settled(connection, seq, lease)? => Ok(()),
        _ => Err(stale().into()),
    }
}

/// Whether an attempt has ended by what its worker has said of it, of whom alone it is known what it used.
fn was_settled(connection: &Connection, seq: i64, lease: &Lease) -> Result<bool, Fault> {
    let settled = connection
        .prepare_cached("SELECT usage IS NOT NULL FROM attempts WHERE seq = ?1 AND attempt = ?2")?
        .query_row((seq, lease.attempt), |row| row.get(0));
    Ok(settled.optional()?.unwrap_or(false))
}

/// Ends a running attempt whose reservation was lost. Whether the job may be tried again is seen when it is next
/// reserved, here or elsewhere.
///
/// It is not held against the job if its worker lives and its heart beats: then it was the server that was stopped, or the connection that was
/// cut, of which the server has an account of its own (`blame.rs`).
pub(super) fn lose(connection: &Connection, begun: &Begun, seq: i64, attempt: u32, now: i64) -> Result<bool, Fault> {
    let holder = connection.prepare_cached(HOLDER)?.query_row((seq, attempt, now), |row| {
        let (start, beats) = (JobId::from_bytes(row.get(1)?), row.get::<_, bool>(2)?);
        Ok((row.get::<_, String>(0)?, beats && begun.is_kept(start)))
    });
    let Some((worker, lives)) = holder.optional()? else { return Ok(false) };
    let verdict = match lives {
        true => Verdict::Interrupted {
            message: format!("worker {worker} has lost its reservation: the server was stopped, or its connection cut"),
        },
        false => Verdict::Lost {
            message: format!("worker {worker} has lost its reservation: it, its connection or the server was stopped"),
        },
    };
    let decision = Decision::Retry(Duration::ZERO);
    let ending = Ending { attempt, has_begun: true, verdict: &verdict, decision, usage: None, published: false };
    settle::end_attempt(connection, seq, &ending, now)?;
    Ok(true)
}
