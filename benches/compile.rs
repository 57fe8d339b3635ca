//! The longest that compiling takes: for each kind of hostile body the largest that passes the bounds, then whole modules
//! of the worst ones.
//!
//! Each is compiled by a process of its own, whose peak memory is read, and with the settings that make for most code:
//! checks in the guest and canonical NaNs.

use anyhow::{Context, ensure};
use longboat::config::NanBits;
use longboat::sandbox::Metering;
use longboat_benches::contest::is_measuring;
use longboat_benches::guest::Guests;
use longboat_benches::hostile::{KINDS, Kind, Shape};
use longboat_benches::table;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What tells a process of this program to compile what it reads.
const CHILD: &str = "--compile-standard-input";
/// How many of the worst kinds fill a whole module.
const WORST: usize = 2;
/// The bytes of the largest modules that are tried; the bound on code is the same.
const MOST: usize = 32 << 20;

/// What compiling a module took.
struct Taken {
    wall: f64,
    cpu: f64,
    memory: f64,
    outcome: String,
}

/// A kind at the bound for one body.
struct Case {
    kind: &'static Kind,
    shape: Shape,
    size: usize,
    taken: Taken,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == CHILD) {
        return compile();
    }
    let guests = Guests::new(Metering::IN_GUEST, NanBits::Canonical)?;
    let passes = |module: &[u8]| guests.sandbox.check(module).is_ok();
    let most = if is_measuring() { 512 << 10 } else { 1 << 10 };
    let mut cases = Vec::new();
    for (kind, shape) in KINDS.iter().flat_map(|kind| kind.shapes.iter().map(move |shape| (kind, *shape))) {
        let size = largest(most, |size| passes(&kind.module(shape, size, 1)));
        cases.push(Case { kind, shape, size, taken: measure(&kind.module(shape, size, 1))? });
    }
    cases.sort_by(|a, b| b.taken.cpu.total_cmp(&a.taken.cpu));
    let row = |case: &Case, times: usize, taken: &Taken| {
        let Shape(values, locals, depth) = case.shape;
        vec![
            case.kind.name.to_owned(),
            format!("{values} / {locals} / {depth}"),
            times.to_string(),
            case.size.to_string(),
            table::seconds(taken.wall),
            table::seconds(taken.cpu),
            format!("{:.0} MiB", taken.memory),
            taken.outcome.clone(),
        ]
    };
    let header = ["body", "values / locals / depth", "times", "bytes", "time", "processor", "memory", ""];
    table::print(
        "compiling the largest body of each kind",
        &header,
        cases.iter().map(|case| row(case, 1, &case.taken)),
    );
    if is_measuring() {
        let mut rows = Vec::new();
        for case in &cases[..WORST] {
            let times =
                largest(MOST / case.size.max(1), |times| passes(&case.kind.module(case.shape, case.size, times)));
            rows.push(row(case, times, &measure(&case.kind.module(case.shape, case.size, times))?));
        }
        table::print("compiling the largest modules of the worst kinds", &header, rows);
    }
    Ok(())
}

/// The largest number up to `most` of which `passes` is true.
fn largest(most: usize, passes: impl Fn(usize) -> bool) -> usize {
    let (mut good, mut bad) = (0, most + 1);
    while bad - good > 1 + good / 100 {
        let middle = good.midpoint(bad);
        if passes(middle) { good = middle } else { bad = middle }
    }
    good
}

fn measure(module: &[u8]) -> anyhow::Result<Taken> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(CHILD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("standard input is piped")?.write_all(module)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "compiling ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let mut figures = text.splitn(4, ' ');
    let mut figure = || -> anyhow::Result<f64> { Ok(figures.next().context("a figure is missing")?.parse()?) };
    let (wall, cpu, memory) = (figure()?, figure()?, figure()?);
    Ok(Taken { wall, cpu, memory, outcome: figures.next().unwrap_or_default().trim().chars().take(60).collect() })
}

fn compile() -> anyhow::Result<()> {
    let mut module = Vec::new();
    std::io::stdin().read_to_end(&mut module)?;
    let guests = Guests::new(Metering::IN_GUEST, NanBits::Canonical)?;
    let (base, spent, start) = (peak_memory()?, processor_time()?, Instant::now());
    let compiled = guests.sandbox.compile(&module);
    let (wall, cpu, memory) = (start.elapsed().as_secs_f64(), processor_time()? - spent, peak_memory()? - base);
    println!("{wall} {cpu} {memory} {}", compiled.err().map(|error| error.to_string()).unwrap_or_default());
    Ok(())
}

/// The most memory that this process has had, in MiB.
fn peak_memory() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Seconds that this process has had a processor, in user and in kernel mode (ticks of 10 ms; see proc(5)).
fn processor_time() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| -> anyhow::Result<f64> { Ok(fields.get(field).context("a short stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
