//! Walks along the jobs: in order of submission, and along an index where there is one.
//!
//! The jobs of a tag are walked along, or those of each state by themselves, however many are in the others. What the
//! filter asks beyond that is asked of each job on the way.

use super::question::{FITS, Question, millis};
use crate::job::State;
use crate::queue::sqlite::fault::Fault;
use crate::queue::{Filter, Times};
use rusqlite::types::ToSql;
use rusqlite::{Connection, named_params};
use std::collections::BTreeSet;

/// How many jobs ended in a state and a span of time, `:most` at most.
const ENDED: &str = "
    SELECT COUNT(*) FROM (
        SELECT 1 FROM jobs INDEXED BY jobs_ended
        WHERE state = :state AND finished_at IS NOT NULL AND unicode(host) IS NOT 1
            AND finished_at >= :since AND finished_at < :before
        LIMIT :most)";

/// A way along the jobs, in order of submission.
#[derive(Debug, Clone, Copy)]
pub(super) enum Walk<'a> {
    All,
    Tagged(&'a str),
    /// Those that are in this state, though some of them may have expired.
    In(State),
    /// Those that ended in this state and in the span of time that the filter names, which are few.
    Ended(State),
    /// Those that have expired and that nobody has cancelled so far.
    Expired,
}

/// The walks that together meet all jobs that may fit.
pub(super) fn walks<'a>(connection: &Connection, filter: &'a Filter, most: usize) -> Result<Vec<Walk<'a>>, Fault> {
    if let Some(tag) = filter.tags.first() {
        return Ok(vec![Walk::Tagged(tag)]);
    }
    let has_ended = filter.finished != Times::default();
    if filter.states.is_empty() && !has_ended {
        return Ok(vec![Walk::All]);
    }
    let mut states: BTreeSet<State> = filter.states.iter().copied().collect();
    if states.is_empty() {
        states.extend(State::ALL);
    }
    states.retain(|state| state.is_final() || !has_ended);
    let mut walks = Vec::new();
    for &state in &states {
        let few = has_ended && are_few(connection, state, filter.finished, most)?;
        walks.push(if few { Walk::Ended(state) } else { Walk::In(state) });
    }
    if states.contains(&State::Cancelled) {
        walks.push(Walk::Expired);
    }
    Ok(walks)
}

/// Whether so few jobs ended in the state and the span of time that they can be put in order of submission.
fn are_few(connection: &Connection, state: State, times: Times, most: usize) -> Result<bool, Fault> {
    let named = named_params! {
        ":state": state.as_str(),
        ":since": times.since.map_or(i64::MIN, millis),
        ":before": times.before.map_or(i64::MAX, millis),
        ":most": integer(most),
    };
    let ended: usize = connection.prepare_cached(ENDED)?.query_row(named, |row| row.get(0))?;
    Ok(ended < most)
}

impl Walk<'_> {
    pub(super) fn sql(self) -> String {
        let from = match self {
            Walk::All => "jobs WHERE seq > :after ORDER BY seq",
            // The cross join has SQLite start from the tag.
            Walk::Tagged(_) => {
                "tags CROSS JOIN jobs USING (seq) WHERE tags.tag = :key AND tags.seq > :after ORDER BY tags.seq"
            }
            Walk::In(_) => {
                "jobs INDEXED BY jobs_state WHERE state = :key AND unicode(host) IS NOT 1 AND seq > :after ORDER BY seq"
            }
            Walk::Ended(_) => {
                "(SELECT seq AS place FROM jobs INDEXED BY jobs_ended
                    WHERE state = :key AND finished_at IS NOT NULL AND unicode(host) IS NOT 1
                        AND finished_at >= COALESCE(:finished_since, -9223372036854775808)
                        AND finished_at < COALESCE(:finished_before, 9223372036854775807)
                        AND seq > :after
                    ORDER BY seq LIMIT :most)
                CROSS JOIN jobs WHERE seq = place ORDER BY place"
            }
            Walk::Expired => {
                "(SELECT seq AS place FROM jobs INDEXED BY jobs_expiring
                    WHERE expires_at IS NOT NULL AND unicode(host) IS NOT 1 AND expires_at <= :now AND seq > :after
                    ORDER BY seq LIMIT :most)
                CROSS JOIN jobs WHERE seq = place ORDER BY place"
            }
        };
        format!("SELECT jobs.seq, {FITS} FROM {from}")
    }

    fn key(&self) -> Option<&str> {
        match self {
            Walk::Tagged(tag) => Some(tag),
            Walk::In(state) | Walk::Ended(state) => Some(state.as_str()),
            Walk::All | Walk::Expired => None,
        }
    }

    /// Whether it has to know beforehand at how many jobs it may look.
    fn is_sorted(self) -> bool {
        matches!(self, Walk::Ended(_) | Walk::Expired)
    }

    /// The first jobs after `after` that fit: one more than `limit`, which tells that there are more, unless `most`
    /// were looked at before.
    pub(super) fn take(
        self,
        connection: &Connection,
        question: &Question<'_>,
        (after, limit, most): (i64, usize, usize),
    ) -> Result<Found, Fault> {
        let (key, bound) = (self.key(), integer(most));
        let mut named = question.parameters();
        named.push((":after", &after));
        named.extend(key.as_ref().map(|key| (":key", key as &dyn ToSql)));
        named.extend(self.is_sorted().then_some((":most", &bound as &dyn ToSql)));
        let mut statement = connection.prepare_cached(&self.sql())?;
        let mut rows = statement.query(named.as_slice())?;
        let (mut found, mut looked_at) = (Found { places: Vec::new(), reached: None }, 0);
        while let Some(row) = rows.next()? {
            let place = row.get(0)?;
            looked_at += 1;
            // What cannot be told, such as when a job ended that has not, is NULL.
            if row.get::<_, Option<bool>>(1)? == Some(true) {
                found.places.push(place);
            }
            if found.places.len() > limit || looked_at == most {
                found.reached = Some(place);
                break;
            }
        }
        Ok(found)
    }
}

/// What a walk has met.
pub(super) struct Found {
    /// The places of jobs that fit, in order.
    pub(super) places: Vec<i64>,
    /// How far it has come, if not to its end.
    pub(super) reached: Option<i64>,
}

fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
