//! Pages of the jobs that fit a filter, in order of submission.

mod question;
mod walk;

use super::{RECORD, record};
use crate::job::Record;
use crate::queue::sqlite::fault::Fault;
use crate::queue::{Cursor, Filter};
use question::Question;
use rusqlite::Connection;

/// A page ends early once its documents have this many bytes; the next one goes on from there.
const PAGE_BYTES: usize = 64 << 20;
/// A page ends early, perhaps with nothing in it, once so many jobs were looked at; the next one goes on from there.
/// So no filter, however few jobs fit it, holds up other listings or keeps SQLite from tidying up its log.
const LOOKED_AT: usize = 20_000;

/// A page of jobs as they are at the time `now`, and the place after which the next one starts, if there are more.
pub(in crate::queue::sqlite) fn list(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
) -> Result<(Vec<Record>, Option<Cursor>), Fault> {
    page(connection, filter, after, limit, now, LOOKED_AT)
}

fn page(
    connection: &Connection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
    most: usize,
) -> Result<(Vec<Record>, Option<Cursor>), Fault> {
    if limit == 0 {
        return Ok((Vec::new(), None));
    }
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    let question = Question::new(filter, now)?;
    let (mut places, mut reached) = (Vec::new(), None);
    for walk in walk::walks(connection, filter, most)? {
        let found = walk.take(connection, &question, (after, limit, most))?;
        places.extend(found.places);
        reached = reached.into_iter().chain(found.reached).min();
    }
    // A job that has expired may be met twice, in the state that is written down and as expired. Beyond the place that
    // all walks have come to, jobs of the slower ones are still missing.
    places.sort_unstable();
    places.dedup();
    places.retain(|place| reached.is_none_or(|reached| *place <= reached));
    if places.len() > limit {
        places.truncate(limit);
        reached = places.last().copied();
    }
    let records = records(connection, &places, now)?;
    if records.len() < places.len() {
        reached = records.len().checked_sub(1).map(|last| places[last]);
    }
    Ok((records, reached.and_then(|place| Cursor::try_from(place).ok())))
}

/// The records at these places, or the first of them if their documents are large.
fn records(connection: &Connection, places: &[i64], now: i64) -> Result<Vec<Record>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{RECORD} WHERE jobs.seq = ?1"))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    for place in places {
        let mut rows = statement.query([place])?;
        let Some(row) = rows.next()? else { return Err(Fault::Corrupt(format!("job number {place} has no document"))) };
        bytes += row.get_ref(12)?.as_str().map_err(rusqlite::Error::from)?.len();
        records.push(record(row, now)?);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
