//! Whether a worker that has run ten thousand jobs of all kinds is as large as after the first hundred.
//!
//! Resident memory and open files are read while the worker is idle. `cargo bench -p longboat-benches --bench soak`; a
//! number as last argument asks for as many jobs.

use anyhow::ensure;
use longboat_benches::contest::is_measuring;
use longboat_benches::node::{Footprint, Jobs, Node, wait_until_idle};
use longboat_benches::table;
use serde_json::json;

const FIRST: usize = 100;
const ALL: usize = 10_000;

fn main() -> anyhow::Result<()> {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let all = asked.unwrap_or(if is_measuring() { ALL } else { 2 * FIRST });
    let node = Node::with_algorithms(&["drunken-sailor", "storage", "power-flow"])?;
    let server = node.up(&[])?;
    let mut rows = Vec::new();
    let mut footprints = Vec::new();
    for (from, to) in [(0, FIRST), (FIRST, all.max(FIRST))] {
        let jobs = (from..to).map(job).collect::<Jobs>();
        node.submit(&jobs)?;
        wait_until_idle(&node)?;
        let footprint = Footprint::of(server.child.id())?;
        rows.push(vec![
            format!("after {to} jobs"),
            format!("{:.1} MiB", footprint.resident as f64 / f64::from(1 << 20)),
            footprint.open_files.to_string(),
            footprint.threads.to_string(),
        ]);
        footprints.push(footprint);
    }
    table::print("A worker with HTTP, idle", &["", "resident", "open files", "threads"], rows);
    for (verdict, count) in node.verdicts()? {
        println!("{count:>7} {verdict}");
    }
    let [first, last] = footprints[..] else { return Ok(()) };
    ensure!(last.open_files <= first.open_files + 8, "open files grew");
    ensure!(last.resident <= first.resident * 5 / 4 + (16 << 20), "resident memory grew");
    Ok(())
}

/// One of the kinds of jobs there are, good ones and bad ones.
fn job(number: usize) -> serde_json::Value {
    let sailor = |params: serde_json::Value| json!({"algorithm": "drunken-sailor", "params": params});
    let mut job = match number % 10 {
        0 => sailor(json!({"mode": "exit"})),
        1 => json!({"algorithm": "drunken-sailor", "params": {"mode": "endless-loop"}, "limits": {"fuel": 1_000_000}}),
        2 => json!({"algorithm": "drunken-sailor", "params": {"mode": "endless-loop"}, "ttr": "20ms"}),
        3 => json!({"algorithm": "storage", "params": {"scenarios": 1}}),
        4 => json!({"algorithm": "power-flow", "input": "data:,not%20a%20case"}),
        5 => json!({"algorithm": "power-flow", "input": "http://127.0.0.1:9/refused-by-policy"}),
        6 => json!({"algorithm": "nobody-knows-it"}),
        7 => json!({"algorithm": "storage", "limits": {"memory": "64KiB"}}),
        8 => json!({"algorithm": "storage", "params": {"scenarios": 1}, "limits": {"result_size": "4KiB"}}),
        _ => sailor(json!({"mode": "normal"})),
    };
    job["max_attempts"] = json!(1);
    job
}
