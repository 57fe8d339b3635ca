//! Looking whether a queue's file is whole, and whether what is in it fits together.

use super::export::named;
use super::fault::Fault;
use super::file::{Faults, Health};
use super::records::{history, parsed, time};
use super::sharing::Sharing;
use super::submit::UNTIL_ENDED;
use super::{ledger, open, schema};
use crate::job::{Document, JobId, State, Verdict};
use rusqlite::{Connection, Row, named_params};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const JOBS: &str = "
    SELECT jobs.seq, id, state, submitted_at, ready_at, expires_at, started_at, finished_at, attempts, uncounted,
        published, verdict, json, tube, host, priority, algorithm, max_attempts, seed_pinned,
        unique_key IS NOT NULL AND unique_until IS :until_ended
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq ORDER BY jobs.seq";

const UNWATCHED: &str =
    "SELECT seq, id FROM jobs WHERE worker IS NOT NULL AND worker NOT IN (SELECT start FROM workers)
    AND unicode(host) IS NOT 1";

const TWICE: &str = "SELECT place, id FROM forgotten WHERE id IN (SELECT id FROM jobs)";

const UNSENDABLE: &str = "
    SELECT COUNT(*) FROM deliveries WHERE seq = ?1 AND (state = 'pending') <> (next_at IS NOT NULL)";

/// How many jobs there are, by tube, host and state.
type Counts = BTreeMap<(String, String, String), i64>;

/// Looks at everything, in a state that it had at one moment.
pub(super) fn check(path: &Path, sharing: Sharing) -> Result<Health, Fault> {
    let connection = open::spectator(path, sharing)?;
    schema::expect_newest(&connection)?;
    let snapshot = connection.unchecked_transaction()?;
    let mut health = Health { jobs: 0, faults: Faults::default() };
    sqlites_own(&snapshot, &mut health.faults)?;
    match queues_own(&snapshot, &mut health) {
        // What is damaged in one place may keep from looking at others.
        Err(fault) if !health.faults.is_empty() => {
            health.faults.add(format!("the rest was not looked at: {}", fault.at(path)));
        }
        looked => looked?,
    }
    snapshot.commit()?;
    Ok(health)
}

fn sqlites_own(connection: &Connection, faults: &mut Faults) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA integrity_check(200)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            faults.add(said);
        }
    }
    let mut statement = connection.prepare("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, place, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = place.map_or_else(String::new, |place| format!(" {place}"));
        faults.add(format!("row{place} of {table} belongs to a row of {parent} that is not there"));
    }
    Ok(())
}

fn queues_own(connection: &Connection, health: &mut Health) -> Result<(), Fault> {
    let mut found = Counts::new();
    let mut statement = connection.prepare(JOBS)?;
    let mut rows = statement.query(named_params! {":until_ended": UNTIL_ENDED})?;
    while let Some(row) = rows.next()? {
        health.jobs += 1;
        let looked = counted(row, 13, 14, 2).map_err(Fault::from).and_then(|place| {
            *found.entry(place).or_default() += 1;
            job(connection, row, JobId::from_bytes(row.get(1)?))
        });
        match looked {
            Ok(faults) => faults.into_iter().for_each(|what| health.faults.add(format!("{}: {what}", named(row)))),
            Err(fault) if fault.is_of_a_row() => health.faults.add(format!("{}: {fault}", named(row))),
            Err(fault) => return Err(fault),
        }
    }
    counts(connection, found, &mut health.faults)?;
    for (sql, what) in [
        (UNWATCHED, "it runs, but its worker is not known, so that nobody would take it over"),
        (TWICE, "it is there, but its id is also among those of deleted jobs"),
    ] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            health.faults.add(format!("{}: {what}", named(row)));
        }
    }
    Ok(())
}

/// The tube, host and state in which a row counts, from these columns.
fn counted(row: &Row<'_>, tube: usize, host: usize, state: usize) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(tube)?, row.get(host)?, row.get(state)?))
}

/// Compares the counters of the status with what there is.
fn counts(connection: &Connection, mut found: Counts, faults: &mut Faults) -> Result<(), Fault> {
    let told = |(tube, host, state): &(String, String, String), counted: i64, jobs: i64| {
        let host = if host.is_empty() { String::new() } else { format!(", pinned to {host},") };
        format!("the counter of {state} jobs in tube {tube}{host} says {counted}, but there are {jobs}")
    };
    let mut statement = connection.prepare("SELECT tube, host, state, jobs FROM counts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match counted(row, 0, 1, 2).and_then(|place| Ok((place, row.get(3)?))).map_err(Fault::from) {
            Ok((place, counted)) => {
                let jobs = found.remove(&place).unwrap_or(0);
                if counted != jobs {
                    faults.add(told(&place, counted, jobs));
                }
            }
            Err(fault) if fault.is_of_a_row() => faults.add(format!("a counter: {fault}")),
            Err(fault) => return Err(fault),
        }
    }
    found.iter().for_each(|(place, jobs)| faults.add(told(place, 0, *jobs)));
    Ok(())
}

/// What is wrong with one job.
fn job(connection: &Connection, row: &Row<'_>, id: JobId) -> Result<Vec<String>, Fault> {
    let seq: i64 = row.get(0)?;
    let state: State = row.get::<_, String>(2)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
    let mut faults = Vec::new();
    for column in 3..=7 {
        row.get::<_, Option<i64>>(column)?.map(time).transpose()?;
    }
    // One that a server has no more has the time at which it was missed.
    let is_servers = ledger::server_of(&row.get::<_, String>(14)?).is_some();
    match (state.is_final(), row.get::<_, Option<i64>>(7)?) {
        (true, None) => faults.push(format!("it is {state}, but nothing says since when")),
        (false, Some(_)) if !is_servers => faults.push(format!("it is {state}, but has ended")),
        _ => {}
    }
    let verdict: Option<String> = row.get(11)?;
    verdict.map(|json| parsed::<Verdict>("verdict", id, &json)).transpose()?;
    let (attempts, uncounted): (u32, u32) = (row.get(8)?, row.get(9)?);
    let history = history(connection, id, seq)?;
    // Of a server's job only the attempts that were made from here are known, and reservations of which none came do
    // not count either.
    if !is_servers && !history.iter().map(|one| one.attempt).eq(1..=attempts) {
        let numbers: Vec<_> = history.iter().take(20).map(|one| one.attempt.to_string()).collect();
        faults.push(format!(
            "it had {attempts} attempts, but its history has {}: {}",
            history.len(),
            numbers.join(", ")
        ));
    }
    let open: Vec<_> = history.iter().filter(|one| one.finished_at.is_none()).map(|one| one.attempt).collect();
    let expected = if state == State::Running { vec![attempts] } else { Vec::new() };
    if !is_servers && open != expected {
        faults.push(format!("it is {state}, but the attempts that have not ended are {open:?}"));
    }
    let published: Option<u32> = row.get(10)?;
    let has_uncounted = !is_servers && uncounted > attempts;
    if has_uncounted || published.is_some_and(|attempt| !(1..=attempts).contains(&attempt)) {
        faults.push(format!("of its {attempts} attempts {uncounted} do not count, and {published:?} is published"));
    }
    let may_expire = row.get::<_, Option<i64>>(5)?.is_some();
    if may_expire && (state.is_final() || (!is_servers && (state == State::Running || attempts > uncounted))) {
        faults.push(format!("it is {state} after {attempts} attempts, and would still expire"));
    }
    if state.is_final() && row.get(19)? {
        faults.push(format!("it is {state}, but holds its unique key until it has ended"));
    }
    let unsendable: i64 = connection.prepare_cached(UNSENDABLE)?.query_row([seq], |row| row.get(0))?;
    if unsendable > 0 {
        faults.push(format!("{unsendable} of its deliveries are pending and never due, or due and not pending"));
    }
    faults.extend(document(connection, row, id, seq)?);
    Ok(faults)
}

/// What is wrong with a job's document, and with what is kept of it in columns.
fn document(connection: &Connection, row: &Row<'_>, id: JobId, seq: i64) -> Result<Vec<String>, Fault> {
    let Some(json) = row.get::<_, Option<String>>(12)? else { return Ok(vec!["it has no document".to_owned()]) };
    let document: Document = parsed("document", id, &json)?;
    let columns: (String, String, u32, String, u32, bool) =
        (row.get(13)?, row.get(14)?, row.get(15)?, row.get(16)?, row.get(17)?, row.get(18)?);
    let expected = (
        document.tube.as_str().to_owned(),
        match ledger::server_of(&columns.1) {
            Some(_) => columns.1.clone(),
            None => document.host.unwrap_or_default(),
        },
        document.priority,
        document.algorithm.name.as_str().to_owned(),
        document.max_attempts,
        document.seed.is_some(),
    );
    let mut faults = Vec::new();
    if columns != expected {
        faults.push(format!("it is kept as {columns:?}, but its document says {expected:?}"));
    }
    let mut statement = connection.prepare_cached("SELECT tag FROM tags WHERE seq = ?1")?;
    let tags = statement.query_map([seq], |row| row.get(0))?.collect::<Result<BTreeSet<String>, _>>()?;
    if tags != document.tags.into_iter().collect() {
        faults.push(format!("it is found by the tags {tags:?}, which are not its document's"));
    }
    Ok(faults)
}

#[cfg(test)]
mod tests;
