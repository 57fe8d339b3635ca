//! Measuring contenders in turn, so that whatever else the machine does falls on all of them alike.

use criterion::{BenchmarkGroup, measurement::WallTime};
use std::time::{Duration, Instant};

/// How long one sample of a contest takes at least; short calls are repeated.
const SAMPLE: Duration = Duration::from_millis(2);

/// Something that is measured.
pub struct Contender<'a> {
    name: String,
    measure: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose calls are measured as they are.
    pub fn new(name: impl Into<String>, mut call: impl FnMut() + 'a) -> Self {
        Self::timed(name, move |calls| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed()
        })
    }

    /// A contender that tells how long so many calls took, without what it had to prepare for them.
    pub fn timed(name: impl Into<String>, measure: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self { name: name.into(), measure: Box::new(measure) }
    }

    /// What it is called in every table.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Lets criterion measure each contender alone, and compare it with the run before.
pub fn alone(group: &mut BenchmarkGroup<'_, WallTime>, contenders: &mut [Contender<'_>]) {
    for contender in contenders {
        group.bench_function(contender.name.clone(), |bencher| bencher.iter_custom(&mut contender.measure));
    }
}

/// Measures all contenders in so many rounds, each with another one first.
///
/// In a test run, as criterion knows it, there is one round of one call.
pub fn in_turn(rounds: usize, contenders: &mut [Contender<'_>]) -> Vec<Times> {
    let (rounds, sample) = if is_measuring() { (rounds, SAMPLE) } else { (1, Duration::ZERO) };
    let calls: Vec<_> = contenders.iter_mut().map(|contender| calls(&mut contender.measure, sample)).collect();
    let mut times = vec![Times(Vec::with_capacity(rounds)); contenders.len()];
    for round in 0..rounds {
        for place in 0..contenders.len() {
            let who = (round + place) % contenders.len();
            let took = (contenders[who].measure)(calls[who]);
            times[who].0.push(took.as_secs_f64() / calls[who] as f64);
        }
    }
    times
}

/// Whether figures are wanted (`cargo bench`), or only to see that everything runs (`cargo test --benches`).
pub fn is_measuring() -> bool {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    has("--bench") && !has("--test")
}

/// How many calls make a sample, after one to warm up.
fn calls(measure: &mut dyn FnMut(u64) -> Duration, sample: Duration) -> u64 {
    measure(1);
    let once = measure(1).max(Duration::from_nanos(1));
    (sample.as_secs_f64() / once.as_secs_f64()).ceil().max(1.0) as u64
}

/// Seconds that one call took, for each round.
#[derive(Debug, Clone)]
pub struct Times(Vec<f64>);

impl Times {
    /// The median in seconds.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// What the quietest tenth of the rounds stayed below, in seconds.
    pub fn quiet(&self) -> f64 {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 10).copied().unwrap_or(f64::NAN)
    }

    /// How many times as long as `other` it took: the median of the rounds' own ratios, which a busy minute does not
    /// move.
    pub fn ratio_to(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }
}

/// The geometric mean of ratios.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
