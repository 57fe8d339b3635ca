//! Whether calls of the host cost their guest what they cost the machine.
//!
//! For each kind of call a guest makes many of them; what it burns and how long it takes are compared with a loop that
//! only computes. A call whose units pass more slowly than compute's is one by which a guest gets more of the machine
//! than its fuel should buy.

use anyhow::Context;
use longboat::body::Body;
use longboat::config::NanBits;
use longboat::sandbox::{Metering, Program};
use longboat_benches::contest::is_measuring;
use longboat_benches::guest::{self, Guests};
use longboat_benches::{noop, table};
use std::time::Instant;

/// The first is what all others are compared with.
const CALLS: [(&str, u32); 17] = [
    ("compute", 20_000),
    ("memory.grow, refused", 50_000),
    ("sched_yield", 50_000),
    ("clock", 50_000),
    ("random, 8 bytes", 50_000),
    ("random, 64 KiB", 2_000),
    ("log, 1 byte", 50_000),
    ("log, 64 KiB", 2_000),
    ("file, write 1 byte", 20_000),
    ("file, write 64 KiB", 2_000),
    ("file, read 64 KiB", 2_000),
    ("stat", 20_000),
    ("open and close", 20_000),
    ("create, write, remove", 2_000),
    ("rename", 20_000),
    ("list 100 entries", 500),
    ("input, 64 KiB", 2_000),
];
const ROUNDS: usize = 7;

/// Units and seconds of one run.
#[derive(Clone, Copy)]
struct Cost {
    units: f64,
    seconds: f64,
}

fn main() -> anyhow::Result<()> {
    let rounds = if is_measuring() { ROUNDS } else { 1 };
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let module = directory.path().join("calls.wasm");
    noop::rustc("calls", &module, &["--target", longboat_tests::build::TARGET])?;
    let guests = Guests::new(Metering::IN_GUEST, NanBits::Platform)?;
    let program = guests.compile(&module)?;
    let mut rows = Vec::new();
    let mut compute = None;
    for (call, times) in CALLS {
        let mut costs =
            (0..rounds).map(|_| once(&guests, &program, call, times)).collect::<anyhow::Result<Vec<_>>>()?;
        costs.sort_by(|one, two| one.seconds.total_cmp(&two.seconds));
        let cost = costs[costs.len() / 2];
        let rate = cost.units / cost.seconds;
        let compute = *compute.get_or_insert(rate);
        rows.push(vec![
            call.to_owned(),
            table::seconds(cost.seconds),
            format!("{:.0}", cost.units),
            format!("{:.2}", rate / compute),
        ]);
    }
    let header = ["", "a call takes", "and burns units", "units a second, of compute's"];
    table::print("What calls of the host cost a guest", &header, rows);
    Ok(())
}

/// What one call of a kind costs, without starting and ending the guest.
fn once(guests: &Guests, program: &Program, call: &str, times: u32) -> anyhow::Result<Cost> {
    let (none, all) = (run(guests, program, call, 0)?, run(guests, program, call, times)?);
    let calls = f64::from(times);
    Ok(Cost { units: (all.units - none.units) / calls, seconds: (all.seconds - none.seconds).max(0.0) / calls })
}

fn run(guests: &Guests, program: &Program, call: &str, times: u32) -> anyhow::Result<Cost> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("a guest needs a directory")?;
    let scratch = guest::open(directory.path())?;
    let input = Body::from_bytes(vec![7; if call.starts_with("input") { 160 << 20 } else { 0 }]);
    let run = guest::run(&format!(r#"{{"call":"{call}","times":"{times}"}}"#), Some(&input), &scratch);
    let start = Instant::now();
    let outcome = guests.run(program, run);
    Ok(Cost { units: outcome.fuel as f64, seconds: start.elapsed().as_secs_f64() })
}
