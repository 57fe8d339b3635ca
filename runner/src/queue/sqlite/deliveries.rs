//! Results on their way to a `result_url`: the outbox.
//!
//! A row is written by the commit that publishes the result, and stays with it. The store that holds the result sends
//! it, whichever process works on that store.

use super::SqliteQueue;
use super::fault::Fault;
use super::records::time;
use crate::job::{DeliveryRecord, DeliveryState, JobId};
use crate::queue::{Delivered, Delivery, QueueError};
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use std::time::Duration;
use url::Url;

/// What is kept of a reason, in characters.
const MAX_REASON: usize = 1000;

const REPLACED: &str = "
    UPDATE deliveries
    SET state = 'given-up', finished_at = ?2, next_at = NULL, reason = 'a newer attempt has a result of its own'
    WHERE seq = ?1 AND state = 'pending'";

/// Looking for the field's name first spares the parsing of documents that have none, which may be megabytes.
const ADD: &str = "
    INSERT INTO deliveries (seq, attempt, store, url, state, since, next_at)
    SELECT seq, :attempt, :store, json ->> '$.result_url', 'pending', :now, :now FROM documents
    WHERE seq = :seq AND instr(json, '\"result_url\":') > 0 AND json ->> '$.result_url' IS NOT NULL";

const IS_DUE: &str =
    "SELECT EXISTS (SELECT 1 FROM deliveries WHERE store = ?1 AND state = 'pending' AND next_at <= ?2)";

const DUE: &str = "
    SELECT deliveries.seq, jobs.id, attempt, url, tries, since FROM deliveries JOIN jobs USING (seq)
    WHERE deliveries.store = ?1 AND deliveries.state = 'pending' AND next_at <= ?2
    ORDER BY next_at LIMIT ?3";

/// One that cannot be read would be due for ever.
const UNREADABLE: &str = "
    UPDATE deliveries SET state = 'given-up', finished_at = ?3, next_at = NULL, reason = ?4
    WHERE seq = ?1 AND attempt = ?2";

const TAKE: &str = "UPDATE deliveries SET tries = tries + 1, next_at = ?3 WHERE seq = ?1 AND attempt = ?2";

/// Only for whoever has taken it last.
const WAIT: &str = "
    UPDATE deliveries SET tries = tries - :untried, next_at = :next_at, reason = COALESCE(:reason, reason)
    WHERE seq = (SELECT seq FROM jobs WHERE id = :id) AND attempt = :attempt AND state = 'pending' AND tries = :tries";

const END: &str = "
    UPDATE deliveries
    SET state = :state, tries = tries - :untried, finished_at = :now, next_at = NULL, reason = :reason
    WHERE seq = (SELECT seq FROM jobs WHERE id = :id) AND attempt = :attempt AND state = 'pending'
        AND (:state = 'delivered' OR tries = :tries)";

const NEWEST: &str = "
    SELECT url, attempt, state, tries, since, next_at, finished_at, reason FROM deliveries
    WHERE seq = ?1 ORDER BY attempt DESC LIMIT 1";

/// Has the result of an attempt sent from `store`, if the job wants that. What its earlier attempts left is not sent
/// any more.
pub(super) fn add(connection: &Connection, seq: i64, attempt: u32, store: JobId, now: i64) -> Result<(), Fault> {
    connection.prepare_cached(REPLACED)?.execute((seq, now))?;
    connection.prepare_cached(ADD)?.execute(named_params! {
        ":seq": seq, ":attempt": attempt, ":store": store.as_bytes(), ":now": now,
    })?;
    Ok(())
}

/// Takes deliveries that are due, as [`crate::queue::Queue::deliveries`] does.
pub(super) async fn take_due(
    queue: &SqliteQueue,
    store: JobId,
    lease: Duration,
    most: usize,
) -> Result<Vec<Delivery>, QueueError> {
    let now = (queue.shared.clock)().as_millisecond();
    // Hardly ever is there anything, and asking that keeps no writer waiting.
    if !queue.shared.reader.call(move |connection| is_due(connection, store, now)).await? {
        return Ok(Vec::new());
    }
    let mut taken = Vec::new();
    loop {
        let room = most - taken.len();
        let found = queue.write(move |connection, now| take(connection, store, lease, room, now)).await;
        let unreadable = match found {
            Ok((found, unreadable)) => {
                taken.extend(found);
                unreadable
            }
            // Those that were taken are to be sent; the next call tells of the trouble.
            Err(_) if !taken.is_empty() => 0,
            Err(error) => return Err(error),
        };
        if taken.len() == most || unreadable == 0 {
            return Ok(taken);
        }
    }
}

/// Whether the store has anything to send at the time `now`.
fn is_due(connection: &Connection, store: JobId, now: i64) -> Result<bool, Fault> {
    Ok(connection.prepare_cached(IS_DUE)?.query_row((store.as_bytes(), now), |row| row.get(0))?)
}

/// Takes what the store has to send, the longest due first; it is due again after `lease`. How many of the `most` could
/// not be read comes with it.
fn take(
    connection: &Connection,
    store: JobId,
    lease: Duration,
    most: usize,
    now: Timestamp,
) -> Result<(Vec<Delivery>, usize), Fault> {
    let now = now.as_millisecond();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(DUE)?;
    let due =
        statement.query_map((store.as_bytes(), now, most), |row| Ok((row.get(0)?, row.get(2)?, delivery(row))))?;
    let (mut taken, mut unreadable) = (Vec::new(), 0);
    for (seq, attempt, delivery) in due.collect::<Result<Vec<(i64, i64, _)>, _>>()? {
        match delivery {
            Ok(delivery) => {
                connection.prepare_cached(TAKE)?.execute((seq, attempt, after(now, lease)))?;
                taken.push(delivery);
            }
            Err(fault) if fault.is_of_a_row() => {
                connection.prepare_cached(UNREADABLE)?.execute((seq, attempt, now, shortened(&fault.to_string())))?;
                unreadable += 1;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok((taken, unreadable))
}

fn delivery(row: &Row<'_>) -> Result<Delivery, Fault> {
    Ok(Delivery {
        id: JobId::from_bytes(row.get(1)?),
        attempt: row.get(2)?,
        url: url(row, 3)?,
        tries: row.get(4)?,
        since: time(row.get(5)?)?,
    })
}

/// Keeps what came of a delivery.
pub(super) fn end(
    connection: &Connection,
    delivery: &Delivery,
    outcome: &Delivered,
    now: Timestamp,
) -> Result<(), Fault> {
    let now = now.as_millisecond();
    let untried = matches!(outcome, Delivered::Untried { .. } | Delivered::TooLate { .. });
    let wait = |wait: Duration, reason: Option<&str>| {
        connection.prepare_cached(WAIT)?.execute(named_params! {
            ":id": delivery.id.as_bytes(), ":attempt": delivery.attempt, ":tries": delivery.tries.saturating_add(1),
            ":untried": untried, ":next_at": after(now, wait), ":reason": reason.map(shortened),
        })
    };
    let end = |state: &str, reason: Option<&str>| {
        connection.prepare_cached(END)?.execute(named_params! {
            ":id": delivery.id.as_bytes(), ":attempt": delivery.attempt, ":tries": delivery.tries.saturating_add(1),
            ":untried": untried, ":state": state, ":now": now, ":reason": reason.map(shortened),
        })
    };
    match outcome {
        Delivered::Yes => end("delivered", None),
        Delivered::Untried { after } => wait(*after, None),
        Delivered::Again { after, reason } => wait(*after, Some(reason)),
        Delivered::TooLate { reason } | Delivered::GivenUp { reason } => end("given-up", Some(reason)),
    }?;
    Ok(())
}

/// How the sending of a job's newest result stands, if it is sent at all.
pub(super) fn newest(connection: &Connection, seq: i64) -> Result<Option<DeliveryRecord>, Fault> {
    let mut statement = connection.prepare_cached(NEWEST)?;
    let mut rows = statement.query([seq])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let some_time = |column| row.get::<_, Option<i64>>(column)?.map(time).transpose();
    Ok(Some(DeliveryRecord {
        url: url(row, 0)?,
        attempt: row.get(1)?,
        state: state(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        tries: row.get(3)?,
        since: time(row.get(4)?)?,
        next_at: some_time(5)?,
        finished_at: some_time(6)?,
        reason: row.get(7)?,
    }))
}

fn after(now: i64, wait: Duration) -> i64 {
    now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

fn url(row: &Row<'_>, column: usize) -> Result<Url, Fault> {
    row.get::<_, String>(column)?.parse().map_err(|error| Fault::corrupt("a result_url", error))
}

fn state(text: &str) -> Result<DeliveryState, Fault> {
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| Fault::corrupt("the state of a delivery", text))
}

#[cfg(test)]
mod tests;
