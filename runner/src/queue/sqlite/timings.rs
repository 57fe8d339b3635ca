//! How attempts have gone, counted when they end and not read off the jobs: verdicts and durations, by tube and
//! algorithm.
//!
//! Durations are counted in buckets of growing width, after the idea of HdrHistogram (Gil Tene,
//! <https://hdrhistogram.org>): each octave has the same number of buckets, so whatever the duration, it is known to
//! within the same part of itself, and what several workers count adds up.

mod spread;

pub(super) use spread::read;

use super::fault::Fault;
use crate::job::Verdict;
use crate::queue::LISTED;
use rusqlite::{Connection, OptionalExtension, named_params};
use std::collections::BTreeMap;

/// The names of all pairs of tube and algorithm that are not counted apart. Submitters choose names, and neither these
/// tables nor whoever reads them may grow with them: beyond [`LISTED`] pairs there are no more, and a name under which
/// no module was found so far is none.
const OTHERS: (&str, &str) = ("", "");
/// No duration is counted as longer than this, about 35 years in milliseconds, which only a clock that was set wrong
/// can show.
const LONGEST: i64 = (1 << 40) - 1;

/// A job waits from when it was due, or from its submission, if its `run_at` was over by then. So a retry waits from the
/// end of its back-off on, and the time in a paused tube, or without the worker that the job is pinned to, is waiting.
const SAMPLE: &str = "SELECT tube, algorithm, MAX(ready_at, submitted_at), started_at FROM jobs WHERE seq = ?1";

const IS_COUNTED: &str = "SELECT 1 FROM endings WHERE tube = ?1 AND algorithm = ?2 LIMIT 1";

const COUNTED: &str = "SELECT COUNT(*) FROM (SELECT DISTINCT tube, algorithm FROM endings WHERE tube <> '')";

const COUNT_ENDING: &str = "
    INSERT INTO endings VALUES (:tube, :algorithm, :verdict, :attempts)
    ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts";

/// A sum that would no longer be an integer stays where it is.
const COUNT_DURATION: &str = "
    INSERT INTO timings VALUES (:tube, :algorithm, :what, :bucket, :attempts, :total_ms)
    ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts,
        total_ms = MIN(total_ms + excluded.total_ms, 4611686018427387904)";

/// What there is to count of one attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    tube: String,
    algorithm: String,
    verdict: &'static str,
    has_module: bool,
    /// From when the job was due to when the attempt started, in milliseconds.
    waited: i64,
    /// From when it started to when it ended, in milliseconds.
    ran: i64,
}

/// The attempts that ended in a transaction, until they are counted at its end. Most of them are alike, so for two
/// hundred that are settled together a few rows change, not six hundred.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<Sample>);

impl Tally {
    /// Takes in the attempt that the job's row tells of and that ends `now`.
    pub(super) fn add(&mut self, connection: &Connection, seq: i64, verdict: &Verdict, now: i64) -> Result<(), Fault> {
        let sample = connection.prepare_cached(SAMPLE)?.query_row([seq], |row| {
            let (due_at, started_at): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
            let started_at = started_at.unwrap_or(now);
            let lasted = |from: i64, to: i64| to.saturating_sub(from).clamp(0, LONGEST);
            let (waited, ran) = (lasted(due_at, started_at), lasted(started_at, now));
            let has_module = !matches!(verdict, Verdict::BadModule { .. });
            Ok(Sample { tube: row.get(0)?, algorithm: row.get(1)?, verdict: verdict.kind(), has_module, waited, ran })
        })?;
        self.0.push(sample);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was taken in after there were `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Counts what was taken in.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Fault> {
        let mut pairs: BTreeMap<(&str, &str), Vec<&Sample>> = BTreeMap::new();
        for sample in &self.0 {
            pairs.entry((&sample.tube, &sample.algorithm)).or_default().push(sample);
        }
        let mut others = Vec::new();
        let mut counted = None;
        for (pair, samples) in pairs {
            let has_module = samples.iter().any(|sample| sample.has_module);
            match is_apart(connection, pair, has_module, &mut counted)? {
                true => count(connection, pair, &samples)?,
                false => others.extend(samples),
            }
        }
        count(connection, OTHERS, &others)?;
        self.0.clear();
        Ok(())
    }
}

/// Whether the pair is counted by itself so far, or from now on. How many are `counted` is asked once.
fn is_apart(
    connection: &Connection,
    pair: (&str, &str),
    has_module: bool,
    counted: &mut Option<usize>,
) -> Result<bool, Fault> {
    let is_counted = connection.prepare_cached(IS_COUNTED)?.query_row(pair, |_| Ok(())).optional()?.is_some();
    if is_counted || !has_module {
        return Ok(is_counted);
    }
    let known = match *counted {
        Some(known) => known,
        None => connection.prepare_cached(COUNTED)?.query_row([], |row| row.get(0))?,
    };
    let has_room = known < LISTED;
    *counted = Some(known + usize::from(has_room));
    Ok(has_room)
}

fn count(connection: &Connection, (tube, algorithm): (&str, &str), samples: &[&Sample]) -> Result<(), Fault> {
    let mut endings: BTreeMap<&str, i64> = BTreeMap::new();
    let mut durations: BTreeMap<(&str, u32), (i64, i64)> = BTreeMap::new();
    for sample in samples {
        *endings.entry(sample.verdict).or_default() += 1;
        for (what, millis) in [("waited", sample.waited), ("ran", sample.ran)] {
            let (attempts, total) = durations.entry((what, spread::bucket(millis.unsigned_abs()))).or_default();
            (*attempts, *total) = (*attempts + 1, total.saturating_add(millis));
        }
    }
    for (verdict, attempts) in endings {
        let named = named_params! {
            ":tube": tube,
            ":algorithm": algorithm,
            ":verdict": verdict,
            ":attempts": attempts,
        };
        connection.prepare_cached(COUNT_ENDING)?.execute(named)?;
    }
    for ((what, bucket), (attempts, total_ms)) in durations {
        let named = named_params! {
            ":tube": tube,
            ":algorithm": algorithm,
            ":what": what,
            ":bucket": bucket,
            ":attempts": attempts,
            ":total_ms": total_ms,
        };
        connection.prepare_cached(COUNT_DURATION)?.execute(named)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
