//! Running many cases of one target, and saying which of them broke a promise.

use crate::cases::Cases;
use crate::resident::{Held, held};
use crate::{Target, lossy};
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// No case takes nearly as long, on a busy machine either; what does hangs.
const HANG: Duration = Duration::from_secs(60);
/// What the second half of a campaign may add to memory: allocators and caches settle late.
const GROWTH: u64 = 48 << 20;
/// Fewer cases say nothing about growth.
const ENOUGH: u64 = 100;
/// So much of a case is shown.
const SHOWN: usize = 2_000;

/// Panics on any thread, those included that some runtime has caught.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What is to be run.
#[derive(Debug)]
pub struct Campaign {
    /// Which target.
    pub target: Target,
    /// What cases follow from.
    pub seed: u64,
    /// The number of the first case.
    pub first: u64,
    /// How many.
    pub cases: u64,
    /// Samples beside the target's own.
    pub samples: Vec<Vec<u8>>,
}

/// What came of a campaign in which no promise was broken.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    cases: u64,
    took: Duration,
    /// How many cases ended in which way.
    pub endings: BTreeMap<&'static str, u64>,
    held: Option<Held>,
}

impl Campaign {
    /// Runs the cases one after the other on a thread of their own, whose stack is as large as that of any thread.
    ///
    /// # Errors
    /// The number of the case that broke a promise or hangs, and how to run it alone; or that the process has grown.
    pub fn run(self) -> anyhow::Result<Report> {
        count_panics();
        let name = self.target.name;
        let (seed, started) = (self.seed, Instant::now());
        let (sender, steps) = mpsc::channel();
        // What samples are made of may have to be built, which takes longer than any case.
        let samples = (self.target.samples)().into_iter().chain(self.samples.clone()).collect();
        let runner = thread::Builder::new().name(name.to_owned()).spawn(move || self.work(samples, &sender))?;
        let mut current = None;
        loop {
            match steps.recv_timeout(HANG) {
                Ok(number) => current = Some(number),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let number = current.context("the first case was never made")?;
                    bail!("case {number} of {name} hangs; run it alone: {}", alone(name, seed, number));
                }
            }
        }
        let mut report = runner.join().map_err(|_| anyhow::anyhow!("the campaign itself failed"))??;
        report.took = started.elapsed();
        Ok(report)
    }

    fn work(&self, samples: Vec<Vec<u8>>, steps: &mpsc::Sender<u64>) -> anyhow::Result<Report> {
        let Target { name, check, largest, words, .. } = self.target;
        let cases = Cases::new(self.seed, largest, samples, words);
        let mut endings = BTreeMap::new();
        let mut half = None;
        for number in self.first..self.first.saturating_add(self.cases) {
            steps.send(number)?;
            let bytes = cases.make(number);
            let panics = PANICS.load(Ordering::SeqCst);
            let ending = panic::catch_unwind(AssertUnwindSafe(|| check(&bytes)));
            let ending = ending.ok().filter(|_| PANICS.load(Ordering::SeqCst) == panics);
            let Some(ending) = ending else {
                let shown = &bytes[..bytes.len().min(SHOWN)];
                bail!(
                    "case {number} of {name} broke a promise, as was said above; run it alone: {}\n{} bytes: {:?}",
                    alone(name, self.seed, number),
                    bytes.len(),
                    lossy(shown)
                );
            };
            *endings.entry(ending).or_insert(0) += 1;
            if number - self.first == self.cases / 2 {
                half = held();
            }
        }
        let held = held();
        if let (Some(half), Some(end), true) = (half, held, self.cases >= ENOUGH) {
            ensure!(end.bytes <= half.bytes + GROWTH, "{name}: memory grew from {half:?} to {end:?}");
            ensure!(end.descriptors <= half.descriptors + 2, "{name}: descriptors grew from {half:?} to {end:?}");
        }
        Ok(Report { name, cases: self.cases, took: Duration::ZERO, endings, held })
    }
}

/// The command that runs one case.
fn alone(name: &str, seed: u64, number: u64) -> String {
    format!("cargo hostile {name} --seed {seed} --first {number} --cases 1")
}

/// Counts panics from now on; they are printed as before.
fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            print(panic);
        }));
    });
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} cases in {:.1} s", self.name, self.cases, self.took.as_secs_f64())?;
        if let Some(held) = self.held {
            write!(f, ", {} MiB and {} descriptors held", held.bytes >> 20, held.descriptors)?;
        }
        let endings = self.endings.iter().map(|(ending, count)| format!("{count} {ending}"));
        write!(f, "; {}", endings.collect::<Vec<_>>().join(", "))
    }
}
