//! Buckets of durations, and what they tell.

use super::super::fault::Fault;
use super::OTHERS;
use crate::queue::{Attempts, Spread, Timing};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Each octave has as many buckets as this is a power of two.
const PRECISION: u32 = 3;
/// The highest bucket that any version counts in.
const HIGHEST: u32 = bucket(u64::MAX);

const ENDINGS: &str = "SELECT tube, algorithm, verdict, attempts FROM endings ORDER BY tube, algorithm";

const DURATIONS: &str = "
    SELECT tube, algorithm, what, bucket, attempts, total_ms FROM timings ORDER BY tube, algorithm, what";

/// The bucket of a duration in milliseconds: its own up to 15 ms, then an eighth of an octave.
pub(super) const fn bucket(millis: u64) -> u32 {
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

/// How attempts have gone: by tube and algorithm, and all together, those included that are not counted apart.
pub(in crate::queue::sqlite) fn read(connection: &Connection) -> Result<(Vec<Timing>, Attempts), Fault> {
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
    use proptest::prelude::*;

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
