//! What metering costs in compute: the algorithms in the sandbox against the same code called natively.
//!
//! Each measures a whole run: from params and input, through parsing, computation and the files that are written, to
//! the result's JSON. The guest is the module that users register, warm, compiled with each of [`SETTINGS`]; the native
//! opponent is the same package in this process, with the mathematics of the host's C library
//! where the guest has its own.

use anyhow::{Context, anyhow};
use criterion::{Criterion, criterion_group, criterion_main};
use longboat::body::Body;
use longboat::config::NanBits;
use longboat::sandbox::{Metering, Program};
use longboat_benches::contest::{self, Contender, Times, geometric_mean};
use longboat_benches::guest::{self, Guests};
use longboat_benches::{network, table};
use longboat_sdk::{Failure, Job};
use longboat_tests::{build, sample};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 11;
/// How guests are compiled: counting nothing, what a worker's two settings count, and what canonical NaNs cost on top.
const SETTINGS: [(&str, Metering, NanBits); 5] = [
    ("plain", Metering { fuel: false, epoch: false, slice: None }, NanBits::Platform),
    ("epoch alone", Metering { fuel: false, epoch: true, slice: None }, NanBits::Platform),
    ("at-slices", Metering::AT_SLICES, NanBits::Platform),
    ("in-guest", Metering::IN_GUEST, NanBits::Platform),
    ("in-guest, canonical NaNs", Metering::IN_GUEST, NanBits::Canonical),
];

/// One algorithm at work.
struct Kernel {
    name: &'static str,
    algorithm: &'static str,
    params: &'static str,
    input: Option<Vec<u8>>,
    native: fn(&Kernel, &Path) -> anyhow::Result<String>,
}

fn kernels() -> anyhow::Result<Vec<Kernel>> {
    // Four weeks and the header; more would only take longer.
    let demand = std::fs::read_to_string(sample("forecast", "demand.csv"))?;
    let demand: Vec<u8> = demand.split_inclusive('\n').take(1 + 4 * 7 * 48).flat_map(str::bytes).collect();
    let series = |name, params| Kernel {
        name,
        algorithm: "forecast",
        params,
        input: Some(demand.clone()),
        native: |kernel, directory| kernel.call(forecast::forecast, directory),
    };
    let house = |name, params| Kernel {
        name,
        algorithm: "storage",
        params,
        input: None,
        native: |kernel, directory| kernel.call(storage::storage, directory),
    };
    let grid = |name, side| Kernel {
        name,
        algorithm: "power-flow",
        params: "{}",
        input: Some(network::grid(side).into_bytes()),
        native: |kernel, directory| kernel.call(power_flow::power_flow, directory),
    };
    Ok(vec![
        series("forecast, auto", r#"{"horizon":48}"#),
        series("forecast, MSTL", r#"{"horizon":48,"method":"mstl"}"#),
        grid("power flow, 400 buses", 20),
        grid("power flow, 1,600 buses", 40),
        house("storage, by the hour", r#"{"scenarios":50}"#),
        house("storage, by the quarter", r#"{"scenarios":12,"step_minutes":15}"#),
    ])
}

impl Kernel {
    /// What the SDK makes of a guest's call, natively.
    fn call<P: DeserializeOwned, R: Serialize>(
        &self,
        algorithm: fn(Job<P>) -> Result<R, Failure>,
        directory: &Path,
    ) -> anyhow::Result<String> {
        let mut job = Job::native(serde_json::from_str(self.params)?).with_result_dir(directory).with_seed(7);
        if let Some(input) = &self.input {
            job = job.with_input("input", input.clone());
        }
        let result = algorithm(job).map_err(|failure| anyhow!("{failure}"))?;
        Ok(serde_json::to_string(&result)?)
    }

    /// The time of a native run, with a directory of its own as a guest has.
    fn run_natively(&self) -> anyhow::Result<Duration> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let start = Instant::now();
        (self.native)(self, directory.path())?;
        Ok(start.elapsed())
    }

    fn run_guest(&self, guests: &Guests, program: &Program, input: Option<&Body>) -> anyhow::Result<Duration> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let scratch = guest::open(directory.path())?;
        let start = Instant::now();
        guests.run(program, guest::run(self.params, input, &scratch));
        Ok(start.elapsed())
    }

    /// The native run, and one for each of [`SETTINGS`].
    fn contenders<'a>(&'a self, sandboxes: &'a [(&str, Guests)]) -> anyhow::Result<Vec<Contender<'a>>> {
        let mut contenders = vec![repeated("native".to_owned(), || self.run_natively())];
        let module = build::algorithm(self.algorithm)?;
        for (metering, guests) in sandboxes {
            let program: Arc<Program> = guests.compile(&module)?;
            let input = self.input.clone().map(Body::from_bytes);
            contenders.push(repeated((*metering).to_owned(), move || self.run_guest(guests, &program, input.as_ref())));
        }
        Ok(contenders)
    }
}

fn repeated<'a>(name: String, once: impl Fn() -> anyhow::Result<Duration> + 'a) -> Contender<'a> {
    Contender::timed(name, move |calls| (0..calls).map(|_| once().expect("the kernel runs")).sum())
}

fn measure(criterion: &mut Criterion) {
    compare(criterion).expect("a bench needs its compilers and its disk");
}

fn compare(criterion: &mut Criterion) -> anyhow::Result<()> {
    let sandboxes = SETTINGS
        .into_iter()
        .map(|(name, metering, nan_bits)| Ok((name, Guests::new(metering, nan_bits)?)))
        .collect::<anyhow::Result<Vec<_>>>()
        .context("setting up a sandbox failed")?;
    let mut rows = Vec::new();
    let mut ratios = vec![Vec::new(); SETTINGS.len()];
    for kernel in &kernels()? {
        let mut contenders = kernel.contenders(&sandboxes)?;
        let mut group = criterion.benchmark_group(kernel.name);
        contest::alone(&mut group, &mut contenders);
        group.finish();
        let times = contest::in_turn(ROUNDS, &mut contenders);
        let own: Vec<_> = times[1..].iter().map(|guest: &Times| guest.ratio_to(&times[0])).collect();
        ratios.iter_mut().zip(&own).for_each(|(all, own)| all.push(*own));
        rows.push(row(kernel.name, table::seconds(times[0].median()), &own));
    }
    let means: Vec<_> = ratios.iter().map(|ratios| geometric_mean(ratios)).collect();
    rows.push(row("geometric mean", String::new(), &means));
    let of_plain: Vec<_> = means.iter().map(|mean| mean / means[0]).collect();
    rows.push(row("the same, of plain", String::new(), &of_plain));
    let header: Vec<_> = ["", "native"].into_iter().chain(SETTINGS.map(|(name, ..)| name)).collect();
    table::print("Guests against native code: how many times as long they take", &header, rows);
    Ok(())
}

fn row(name: &str, native: String, ratios: &[f64]) -> Vec<String> {
    let ratios = ratios.iter().map(|ratio| format!("{ratio:.2}"));
    [name.to_owned(), native].into_iter().chain(ratios).collect()
}

fn config() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(50), Duration::from_millis(300));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measurement)
}

criterion_group! { name = benches; config = config(); targets = measure }
criterion_main!(benches);
