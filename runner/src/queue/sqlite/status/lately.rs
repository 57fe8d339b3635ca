//! Jobs that ended lately, and those that have expired meanwhile.

use super::tube;
use crate::job::State;
use crate::queue::sqlite::fault::Fault;
use crate::queue::sqlite::records::time;
use crate::queue::{COUNTED, Recent, Status};
use rusqlite::{Connection, named_params};

/// How many hours are looked back.
const HOURS: [u32; 2] = [1, 24];
/// As many jobs that have expired are looked at; the others are counted as if they had not.
const EXPIRED: i64 = 100_000;

pub(super) const ENDED: &str = "
    SELECT COUNT(*) FROM (
        SELECT 1 FROM jobs INDEXED BY jobs_ended
        WHERE state = :state AND finished_at IS NOT NULL AND unicode(host) IS NOT 1 AND finished_at > :since LIMIT :most)";

pub(super) const HAVE_EXPIRED: &str = "
    SELECT state, tube, submitted_at, MAX(expires_at, submitted_at) FROM jobs INDEXED BY jobs_expiring
    WHERE expires_at IS NOT NULL AND expires_at <= :now AND unicode(host) IS NOT 1
    ORDER BY expires_at LIMIT :most";

fn hours_before(now: i64, hours: u32) -> i64 {
    now.saturating_sub(i64::from(hours) * 3_600_000)
}

/// How many jobs ended in the last hours.
pub(super) fn recent(connection: &Connection, now: i64) -> Result<Vec<Recent>, Fault> {
    let mut statement = connection.prepare_cached(ENDED)?;
    let mut count = |state: State, hours| {
        let since = hours_before(now, hours);
        let named = named_params! {":state": state.as_str(), ":since": since, ":most": COUNTED};
        Ok((state, statement.query_row(named, |row| row.get(0))?))
    };
    let mut recent = |hours| {
        let ended = State::ALL.into_iter().filter(|state| state.is_final()).map(|state| count(state, hours));
        Ok(Recent { hours, jobs: ended.collect::<Result<_, Fault>>()? })
    };
    HOURS.into_iter().map(&mut recent).collect()
}

/// Has the status tell of jobs that have expired as if somebody had cancelled them already.
pub(super) fn expire(connection: &Connection, status: &mut Status, now: i64) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(HAVE_EXPIRED)?;
    let mut rows = statement.query(named_params! {":now": now, ":most": EXPIRED})?;
    while let Some(row) = rows.next()? {
        let state: State = row.get::<_, String>(0)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
        let (submitted_at, ended_at) = (time(row.get(2)?)?, row.get::<_, i64>(3)?);
        for (state, change) in [(state, -1), (State::Cancelled, 1)] {
            let jobs = status.states.entry(state).or_default();
            *jobs = jobs.saturating_add_signed(change);
        }
        let tube = tube(row.get(1)?)?;
        if let Some(states) = status.tubes.get_mut(&tube) {
            if let Some(jobs) = states.get_mut(&state) {
                *jobs = jobs.saturating_sub(1);
            }
            states.retain(|_, jobs| *jobs > 0);
            if states.is_empty() {
                status.tubes.remove(&tube);
            }
        }
        let (oldest, newest) = status.ages.entry(State::Cancelled).or_insert((submitted_at, submitted_at));
        (*oldest, *newest) = ((*oldest).min(submitted_at), (*newest).max(submitted_at));
        for recent in status.recent.iter_mut().filter(|recent| ended_at > hours_before(now, recent.hours)) {
            *recent.jobs.entry(State::Cancelled).or_default() += 1;
        }
    }
    Ok(())
}
