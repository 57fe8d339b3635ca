//! Two hundred endless loops beside two hundred honest jobs, on few cores.
//!
//! One node works and serves; the loops have 3 s each, the honest jobs some tens of milliseconds of work and 60 s. HTTP is
//! asked all the while, and must go on answering. `cargo bench -p longboat-benches --bench crowd`.

use anyhow::{Context, ensure};
use longboat_benches::contest::is_measuring;
use longboat_benches::node::{Footprint, Jobs, Node, get, wait_until_idle};
use longboat_benches::table;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SLOTS: u32 = 32;
const TTR_MS: f64 = 3000.0;
/// How often HTTP is asked.
const PAUSE: Duration = Duration::from_millis(5);
/// What 99 of 100 answers of HTTP may take at most, in milliseconds.
const PROMPT_MS: f64 = 50.0;

/// An answer of HTTP, or that there was none.
struct Answer {
    milliseconds: f64,
    is_good: bool,
}

fn main() -> anyhow::Result<()> {
    let each = if is_measuring() { 200 } else { 4 };
    let node = Node::with_algorithms(&["drunken-sailor", "storage"])?;
    let server = node.up(&["--slots", &SLOTS.to_string()])?;
    let before = Footprint::of(server.child.id())?;
    let jobs = (0..2 * each).map(|number| match number % 2 {
        0 => json!({"algorithm": "drunken-sailor", "params": {"mode": "endless-loop"}, "ttr": "3s", "max_attempts": 1,
            "limits": {"fuel": 1_000_000_000_000_u64}}),
        _ => json!({"algorithm": "storage", "params": {"scenarios": 100}, "ttr": "60s"}),
    });
    let started = Instant::now();
    node.submit(&jobs.collect::<Jobs>())?;
    let over = AtomicBool::new(false);
    let (idle, answers) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&server.url, &over));
        let idle = wait_until_idle(&node);
        over.store(true, Ordering::Relaxed);
        (idle, asking.join().expect("asking does not panic"))
    });
    idle?;
    let took = started.elapsed();
    let after = Footprint::of(server.child.id())?;
    let records = node.records()?;
    let of = |algorithm: &str| records.iter().filter(|record| record["algorithm"] == algorithm).collect::<Vec<_>>();
    let (loops, honest) = (of("drunken-sailor"), of("storage"));
    let done = honest.iter().filter(|record| record["state"] == "done" && record["attempts"] == 1).count();
    let stopped = loops.iter().filter(|record| record["verdict"]["kind"] == "deadline").count();
    let mut late = loops.iter().map(|record| lateness(record)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut waits: Vec<f64> = answers.iter().map(|answer| answer.milliseconds).collect();
    let slow = percentile(&mut waits, 99);
    let failed = answers.iter().filter(|answer| !answer.is_good).count();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rows = [
        ("honest jobs done at their first attempt", format!("{done} of {}", honest.len())),
        ("endless loops stopped at their deadline", format!("{stopped} of {}", loops.len())),
        ("all of it took", table::seconds(took.as_secs_f64())),
        ("verdict after the deadline, median", format!("{:.1} ms", percentile(&mut late, 50))),
        ("verdict after the deadline, 99th percentile", format!("{:.1} ms", percentile(&mut late, 99))),
        ("HTTP requests that failed", format!("{failed} of {}", answers.len())),
        ("HTTP answer, median", format!("{:.2} ms", percentile(&mut waits, 50))),
        ("HTTP answer, 99th percentile", format!("{slow:.2} ms")),
        ("resident memory before", mib(before.resident)),
        ("resident memory at most", mib(after.peak)),
    ];
    table::print("Endless loops beside honest jobs", &["", ""], rows.map(|(what, value)| vec![what.to_owned(), value]));
    ensure!(done == honest.len(), "an honest job was not done, or not at once");
    ensure!(stopped == loops.len(), "a loop did not end at its deadline");
    if is_measuring() {
        ensure!(failed == 0, "an HTTP request failed");
        ensure!(slow < PROMPT_MS, "one HTTP answer of a hundred took {PROMPT_MS} ms or more");
    }
    Ok(())
}

/// How long after its deadline an attempt was over, in milliseconds.
fn lateness(record: &Value) -> anyhow::Result<f64> {
    let time = |name: &str| -> anyhow::Result<jiff::Timestamp> {
        Ok(record[name].as_str().context("a record without its times")?.parse()?)
    };
    Ok(time("finished_at")?.duration_since(time("started_at")?).as_secs_f64() * 1e3 - TTR_MS)
}

/// Asks until all is over, and keeps every answer, the failed ones too.
fn ask(url: &str, over: &AtomicBool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let is_good = get(&format!("{url}/readyz")).is_ok();
        answers.push(Answer { milliseconds: start.elapsed().as_secs_f64() * 1e3, is_good });
        std::thread::sleep(PAUSE);
    }
    answers
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
