//! How attempts have gone, counted when they end and not read off the jobs: verdicts and durations, by tube
//! and algorithm.
//!
//! Durations are counted in buckets of growing width, after the idea of HdrHistogram (Gil Tene,
//! <https://hdrhistogram.org>): each octave has the same number of buckets, so whatever the duration, it is
//! known to within the same part of itself, and what several workers count adds up.

use super::fault::Fault;
use crate::job::Verdict;
use crate::queue::{Attempts, LISTED, Spread, Timing};
use rusqlite::{Connection, OptionalExtension, named_params};
use std::collections::BTreeMap;

/// The names of all pairs of tube and algorithm that are not counted apart. Submitters choose names, and
/// neither these tables nor whoever reads them may grow with them: beyond [`LISTED`] pairs there are no
/// more, and a name under which no module was found so far is none.
const OTHERS: (&str, &str) = ("", "");
/// No duration is counted as longer than this, about 35 years in milliseconds, which only a clock that was
/// set wrong can show.
const LONGEST: i64 = (1 << 40) - 1;

/// A job waits from when it was due, or from its submission, if its `run_at` was over by then. So a retry
/// waits from the end of its back-off on, and the time in a paused tube, or without the worker that the job
/// is pinned to, is waiting.
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

/// The attempts that ended in a transaction, until they are counted at its end. Most of them are alike, so
/// for two hundred that are settled together a few rows change, not six hundred.
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
            let (attempts, total) = durations.entry((what, bucket(millis.unsigned_abs()))).or_default();
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

/// Each octave has as many buckets as this is a power of two.
const PRECISION: u32 = 3;
/// The highest bucket that any version counts in.
const HIGHEST: u32 = bucket(u64::MAX);

const ENDINGS: &str = "SELECT tube, algorithm, verdict, attempts FROM endings ORDER BY tube, algorithm";

const DURATIONS: &str = "
    SELECT tube, algorithm, what, bucket, attempts, total_ms FROM timings ORDER BY tube, algorithm, what";

/// The bucket of a duration in milliseconds: its own up to 15 ms, then an eighth of an octave.
const fn bucket(millis: u64) -> u32 {
    let shift = (u64::BITS - millis.leading_zeros()).saturating_sub(PRECISION + 1);
    // The leading bits go from 8 to 15, so that each octave goes on where the one before has ended.
    (shift << PRECISION) + (millis >> shift) as u32
}

/// The longest duration in a bucket, in milliseconds.
fn longest_in(bucket: u32) -> u64 {
    let shift = (bucket >> PRECISION).saturating_sub(1);
    let leading = u64::from(bucket - (shift << PRECISION));
    (leading << shift) | ((1 << shift) - 1)
}

/// How often durations of each bucket were counted, and their sum in milliseconds.
#[derive(Debug, Default)]
struct Histogram(BTreeMap<u32, (u64, u64)>);

impl Histogram {
    fn add(&mut self, bucket: u32, attempts: u64, total_ms: u64) {
        let counted = self.0.entry(bucket.min(HIGHEST)).or_default();
        *counted = (counted.0.saturating_add(attempts), counted.1.saturating_add(total_ms));
    }

    fn spread(&self) -> Spread {
        let sum = |part: fn(&(u64, u64)) -> u64| self.0.values().map(part).fold(0, u64::saturating_add);
        let count = sum(|counted| counted.0);
        if count == 0 {
            return Spread::default();
        }
        Spread {
            count,
            mean_ms: sum(|counted| counted.1) as f64 / count as f64,
            p50_ms: self.quantile(count, 50),
            p90_ms: self.quantile(count, 90),
            p99_ms: self.quantile(count, 99),
            max_ms: self.quantile(count, 100),
        }
    }

    /// A duration that so many percent of all are not longer than.
    fn quantile(&self, count: u64, percent: u64) -> f64 {
        let rank = (u128::from(count) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        let mut reaches = |counted: u64| {
            seen += u128::from(counted);
            seen >= rank
        };
        let bucket = self.0.iter().find(|(_, (counted, _))| reaches(*counted)).map_or(HIGHEST, |(bucket, _)| *bucket);
        longest_in(bucket) as f64
    }
}

/// What was counted of one pair, or of all.
#[derive(Debug, Default)]
struct Counted {
    verdicts: BTreeMap<String, u64>,
    waited: Histogram,
    ran: Histogram,
}

impl Counted {
    fn attempts(self) -> Attempts {
        Attempts { verdicts: self.verdicts, waited: self.waited.spread(), ran: self.ran.spread() }
    }
}

/// How attempts have gone: by tube and algorithm, and all together, those included that are not counted
/// apart.
pub(super) fn read(connection: &Connection) -> Result<(Vec<Timing>, Attempts), Fault> {
    let mut pairs: BTreeMap<(String, String), Counted> = BTreeMap::new();
    let mut all = Counted::default();
    let mut statement = connection.prepare_cached(ENDINGS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (verdict, attempts): (String, u64) = (row.get(2)?, row.get(3)?);
        for counted in [&mut all, pairs.entry((row.get(0)?, row.get(1)?)).or_default()] {
            let sum = counted.verdicts.entry(verdict.clone()).or_default();
            *sum = sum.saturating_add(attempts);
        }
    }
    let mut statement = connection.prepare_cached(DURATIONS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (bucket, attempts, total_ms) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let has_waited = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)? == "waited";
        for counted in [&mut all, pairs.entry((row.get(0)?, row.get(1)?)).or_default()] {
            let histogram = if has_waited { &mut counted.waited } else { &mut counted.ran };
            histogram.add(bucket, attempts, total_ms);
        }
    }
    pairs.remove(&(OTHERS.0.to_owned(), OTHERS.1.to_owned()));
    let named = |((tube, algorithm), counted): ((String, String), Counted)| {
        Ok::<_, Fault>(Timing {
            tube: tube.parse().map_err(|error| Fault::corrupt("a tube's name", error))?,
            algorithm: algorithm.parse().map_err(|error| Fault::corrupt("an algorithm's name", error))?,
            attempts: counted.attempts(),
        })
    };
    Ok((pairs.into_iter().map(named).collect::<Result<_, _>>()?, all.attempts()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Document, Span, Verdict};
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Jobs, Settled, Work};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    async fn timings(fixture: &Fixture) -> (Vec<Timing>, Attempts) {
        let status = fixture.queue.status().await.unwrap();
        (status.timings, status.attempts)
    }

    fn verdicts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
        expected.iter().map(|&(kind, attempts)| (kind.to_owned(), attempts)).collect()
    }

    #[tokio::test]
    async fn every_attempt_is_counted_once_however_it_ends() {
        let fixture = Fixture::new();
        fixture.submit(document()).await;
        let nobody = worker("nobody");
        // Waited 3 s and ran 1; was due again after 2 s, waited 1 and ran 2.
        fixture.advance(Duration::from_secs(3));
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.advance(Duration::from_secs(1));
        fixture.settle("a", &lease, failed(), Decision::Retry(Duration::from_secs(2))).await.unwrap();
        fixture.advance(Duration::from_secs(3));
        fixture.claim("a").await.unwrap();
        fixture.advance(Duration::from_secs(2));
        fixture.queue.unregister(&worker("a")).await.unwrap();
        fixture.claim("b").await.unwrap();
        let start = Instant::now();
        for seconds in [0, 100] {
            let clock = move || start + Duration::from_secs(seconds);
            fixture.queue.take_over_by(clock, &nobody).await.unwrap();
        }
        let lease = fixture.claim("c").await.unwrap().lease;
        fixture.settle("c", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        let (timings, all) = timings(&fixture).await;
        assert_eq!(timings.len(), 1);
        assert_eq!((timings[0].tube.as_str(), timings[0].algorithm.as_str()), ("default", "x"));
        assert_eq!(timings[0].attempts, all);
        assert_eq!(all.verdicts, verdicts(&[("done", 1), ("failed", 1), ("interrupted", 1), ("lost", 1)]));
        assert_eq!((all.waited.count, all.waited.mean_ms, all.waited.p50_ms), (4, 1_000.0, 0.0));
        assert_eq!((all.ran.count, all.ran.mean_ms, all.ran.p50_ms), (4, 750.0, 0.0));
        assert!((3_000.0..=3_375.0).contains(&all.waited.max_ms) && (2_000.0..=2_250.0).contains(&all.ran.max_ms));
    }

    #[tokio::test]
    async fn a_job_that_was_due_before_it_was_submitted_waits_from_then_on() {
        let fixture = Fixture::new();
        let long_ago = "2001-01-01T00:00:00Z".parse().unwrap();
        fixture.submit(Document { run_at: Some(long_ago), ..document() }).await;
        fixture.advance(Duration::from_secs(1));
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        assert_eq!(timings(&fixture).await.1.waited.mean_ms, 1_000.0);
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_no_duration_negative() {
        let fixture = Fixture::new();
        fixture.submit(Document { delay: Some(Span(Duration::from_secs(1))), ..document() }).await;
        fixture.advance(Duration::from_secs(1));
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.sql("UPDATE jobs SET started_at = 1, ready_at = 9000000000000000000");
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        let all = timings(&fixture).await.1;
        assert_eq!((all.waited.max_ms, all.ran.max_ms), (0.0, LONGEST as f64));
    }

    #[tokio::test]
    async fn what_is_settled_in_one_transaction_is_counted_in_it_and_what_is_refused_is_not() {
        let fixture = Fixture::new();
        fixture.submit_all(vec![document(); 40]).await;
        let mut leases = Vec::new();
        while let Some(claimed) = fixture.claim("a").await {
            leases.push(claimed.lease);
        }
        let settle = |name, lease| fixture.settle(name, lease, Verdict::Done, Decision::Finish);
        let settled = leases.iter().flat_map(|lease| [settle("b", lease), settle("a", lease)]);
        let settled = futures_util::future::join_all(settled).await;
        let refused = |result: &&Result<Settled, _>| matches!(result, Ok(Settled::Stale));
        assert_eq!((settled.iter().filter(refused).count(), settled.len()), (40, 80));
        let all = timings(&fixture).await.1;
        assert_eq!((all.verdicts, all.waited.count, all.ran.count), (verdicts(&[("done", 40)]), 40, 40));
    }

    #[tokio::test]
    async fn only_so_many_pairs_are_told_of_by_name_whatever_submitters_call_theirs() {
        let fixture = Fixture::new();
        for number in 0..LISTED - 1 {
            fixture.sql(&format!("INSERT INTO endings VALUES ('default', 'a{number}', 'done', 1)"));
        }
        let names = ["late", "later", "late", "latest"];
        fixture.submit_all(names.map(|name| Document::new(name.parse().unwrap())).into()).await;
        let mut leases = Vec::new();
        while let Some(claimed) = fixture.claim("a").await {
            leases.push(claimed.lease);
        }
        let settle = |lease| fixture.settle("a", lease, Verdict::Done, Decision::Finish);
        futures_util::future::join_all(leases.iter().map(settle)).await;
        let (timings, all) = timings(&fixture).await;
        assert_eq!(timings.len(), LISTED);
        let late = timings.iter().find(|timing| timing.algorithm.as_str() == "late").unwrap();
        assert_eq!((late.attempts.ran.count, late.attempts.verdicts["done"]), (2, 2));
        assert_eq!((all.ran.count, all.verdicts["done"]), (4, LISTED as u64 + 3), "the sum knows them all");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_registered_takes_no_place() {
        let fixture = Fixture::new();
        let unknown = Verdict::BadModule { message: "no algorithm is called so".to_owned() };
        for (name, verdict) in [("x", failed()), ("x", unknown.clone()), ("y", unknown)] {
            fixture.submit(Document::new(name.parse().unwrap())).await;
            let lease = fixture.claim("a").await.unwrap().lease;
            fixture.settle("a", &lease, verdict, Decision::Bury).await.unwrap();
        }
        let (timings, all) = timings(&fixture).await;
        assert_eq!(timings.len(), 1);
        assert_eq!(timings[0].attempts.verdicts, verdicts(&[("bad-module", 1), ("failed", 1)]));
        assert_eq!(all.verdicts, verdicts(&[("bad-module", 2), ("failed", 1)]));
    }

    #[tokio::test]
    async fn a_sum_that_is_full_stays_full_and_no_settle_fails_for_it() {
        let fixture = Fixture::new();
        fixture.sql("INSERT INTO timings VALUES ('default', 'x', 'ran', 0, 1, 9223372036854775807)");
        fixture.sql("INSERT INTO timings VALUES ('default', 'x', 'waited', 303, 1, 9223372036854775807)");
        fixture.submit(document()).await;
        fixture.advance(Duration::from_millis(LONGEST.unsigned_abs()));
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        let all = timings(&fixture).await.1;
        assert_eq!((all.ran.count, all.waited.count), (2, 2));
    }

    #[test]
    fn counting_seeks_and_does_not_search() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (SAMPLE, "jobs USING INTEGER PRIMARY KEY (rowid=?)"),
            (IS_COUNTED, "endings USING PRIMARY KEY (tube=? AND algorithm=?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN"), "{sql}: {plan}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for millis in 0..100_000 {
            let bucket = bucket(millis);
            assert!(bucket == last || bucket == last + 1, "{millis} ms is in bucket {bucket}");
            last = bucket;
        }
        assert_eq!((bucket(0), bucket(15), bucket(16), bucket(17), bucket(18)), (0, 15, 16, 16, 17));
        assert_eq!((longest_in(HIGHEST), longest_in(0)), (u64::MAX, 0));
    }

    proptest! {
        #[test]
        fn a_duration_is_known_to_within_an_eighth_of_itself(millis in any::<u64>(), shift in 0..64_u32) {
            let millis = millis >> shift;
            let longest = longest_in(bucket(millis));
            prop_assert!(longest >= millis && longest - millis <= millis / 8, "{millis} ms is told as {longest} ms");
            prop_assert_eq!(bucket(longest), bucket(millis));
        }

        #[test]
        fn a_quantile_is_an_upper_bound_at_most_an_eighth_too_large(
            mut millis in prop::collection::vec(prop_oneof![0..30_u64, 0..1_000_000_u64], 1..300),
        ) {
            let mut histogram = Histogram::default();
            for &one in &millis {
                histogram.add(bucket(one), 1, one);
            }
            millis.sort_unstable();
            let spread = histogram.spread();
            prop_assert_eq!(spread.count, millis.len() as u64);
            let sum: u64 = millis.iter().sum();
            prop_assert!((spread.mean_ms - sum as f64 / millis.len() as f64).abs() < 1e-6);
            for (percent, told) in [(50, spread.p50_ms), (90, spread.p90_ms), (99, spread.p99_ms), (100, spread.max_ms)] {
                let exact = millis[(millis.len() * percent).div_ceil(100) - 1] as f64;
                prop_assert!(told >= exact && told <= exact * 1.125, "{percent} %: {exact} ms is told as {told} ms");
            }
        }
    }

    #[test]
    fn what_a_damaged_file_says_is_told_without_a_panic() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.spread(), Spread::default());
        histogram.add(u32::MAX, u64::MAX, u64::MAX);
        histogram.add(u32::MAX, u64::MAX, u64::MAX);
        assert_eq!(histogram.spread().max_ms, u64::MAX as f64);
    }
}
