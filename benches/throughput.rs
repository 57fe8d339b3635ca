//! How many jobs a second a node does from the queue to the published result, and whether that depends on how many
//! wait.
//!
//! Jobs do nothing, so all that is measured is what Longboat adds: every submit, settle and result is on disk before it
//! counts. `cargo bench -p longboat-benches --bench throughput`; with `-- --large` at the end the longest queue has five
//! million jobs instead of 500,000, which takes minutes and 10 GB of disk.

use anyhow::{Context, ensure};
use longboat::job::{Document, JobId, Span, Tube};
use longboat::queue::sqlite::SqliteQueue;
use longboat::queue::{Jobs as _, Submission};
use longboat_benches::contest::{self, Contender, is_measuring};
use longboat_benches::node::Node;
use longboat_benches::noop::Noop;
use longboat_benches::{claimant, table};
use longboat_tests::build;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Jobs that a worker does from the queue to the published result.
const JOBS: usize = 20_000;
/// Jobs that are submitted one by one.
const SINGLES: usize = 1_000;
/// The shortest queue, which the others are compared with.
const SHORT: usize = 1_000;
/// Jobs in one submission of a long queue.
const BATCH: usize = 10_000;
/// Jobs that a round claims and settles.
const CLAIMED: usize = 64;
const ROUNDS: usize = 30;
/// Jobs that a worker does with each of the queues.
const WORKED: usize = 2_000;

fn main() -> anyhow::Result<()> {
    // On the disk that the target directory is on: `/tmp` may be in memory, where syncing costs nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let noop = Noop::build(directory.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    end_to_end(&runtime, &directory.path().join("node"), &noop)?;
    growth(&runtime, &directory.path().join("growth"), &noop)
}

fn worked() -> usize {
    if is_measuring() { WORKED } else { 20 }
}

fn document() -> Document {
    Document::new("noop".parse().expect("this is a name"))
}

fn open(node: &Path) -> anyhow::Result<SqliteQueue> {
    Ok(SqliteQueue::open(&node.join("queue.db"))?)
}

/// Submits so many jobs in batches.
fn fill(runtime: &Runtime, queue: &SqliteQueue, jobs: usize, document: &Document) -> anyhow::Result<()> {
    for start in (0..jobs).step_by(BATCH) {
        let batch =
            (start..jobs.min(start + BATCH)).map(|_| Submission { id: JobId::new(), document: document.clone() });
        runtime.block_on(queue.submit(batch.collect()))?;
    }
    Ok(())
}

/// From nothing to results on disk, with the slots that a node has by itself, against the bare cost of the rows.
fn end_to_end(runtime: &Runtime, data: &Path, noop: &Noop) -> anyhow::Result<()> {
    let (jobs, singles) = if is_measuring() { (JOBS, SINGLES) } else { (50, 5) };
    let sailor = build::algorithm("drunken-sailor")?;
    let mut rows = Vec::new();
    let bare = bare_rows(&data.join("bare.db"), jobs)?;
    let mut row = |what: &str, jobs: usize, took: Duration| {
        let seconds = took.as_secs_f64();
        let (each, rate) = (table::seconds(seconds / jobs as f64), jobs as f64 / seconds);
        rows.push(vec![what.to_owned(), jobs.to_string(), each, format!("{rate:.0}"), format!("{:.2}", rate / bare)]);
    };
    row("bare rows of 1 KiB, in commits of 64", jobs, Duration::from_secs_f64(jobs as f64 / bare));
    let mut bytes = Vec::new();
    for (name, module, what) in [("noop", &noop.module, "a plain command"), ("sailor", &sailor, "the SDK's algorithm")]
    {
        let directory = data.join(name);
        let node = Node::at(&directory, name, module)?;
        let document = Document::read(&format!(r#"{{"algorithm": "{name}", "params": {{"mode": "normal"}}}}"#))?;
        let queue = open(&directory)?;
        let start = Instant::now();
        for _ in 0..singles {
            runtime.block_on(queue.submit(vec![Submission { id: JobId::new(), document: document.clone() }]))?;
        }
        row("submit, one by one", singles, start.elapsed());
        let start = Instant::now();
        fill(runtime, &queue, jobs - singles, &document)?;
        row("submit, 10,000 in a call", jobs - singles, start.elapsed());
        drop(queue);
        let start = Instant::now();
        node.work(&["--until-empty"])?;
        row(&format!("work on {what}, from the queue to the published result"), jobs, start.elapsed());
        let verdicts = node.verdicts()?;
        ensure!(verdicts.get("done") == Some(&jobs) && verdicts.len() == 1, "not all jobs are done: {verdicts:?}");
        let size = std::fs::metadata(directory.join("queue.db"))?.len() - std::fs::metadata(module)?.len();
        bytes.push(format!("{what}: {} bytes of queue.db a job", size / jobs as u64));
    }
    let header = ["", "jobs", "each", "jobs a second", "of the bare rate"];
    table::print("Jobs that do nothing, durable", &header, rows);
    println!("{}", bytes.join("\n"));
    Ok(())
}

/// How many rows of 1 KiB one thread writes in a second, synced in commits of 64.
fn bare_rows(path: &Path, rows: usize) -> anyhow::Result<f64> {
    std::fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full; CREATE TABLE rows (id INTEGER PRIMARY KEY, bytes BLOB);",
    )?;
    let bytes = [7_u8; 1024];
    let start = Instant::now();
    for first in (0..rows).step_by(CLAIMED) {
        connection.execute_batch("BEGIN")?;
        for _ in first..rows.min(first + CLAIMED) {
            connection.prepare_cached("INSERT INTO rows (bytes) VALUES (?1)")?.execute([&bytes[..]])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}

/// A queue with many jobs, of which most are of one kind.
struct Long {
    name: String,
    jobs: usize,
    document: Document,
    pause: bool,
}

fn queues() -> Vec<Long> {
    let longest = match (is_measuring(), std::env::args().any(|argument| argument == "--large")) {
        (false, _) => 2_000,
        (true, false) => 500_000,
        (true, true) => 5_000_000,
    };
    let medium = longest.min(100_000);
    let long = |name: &str, jobs, document| Long { name: name.to_owned(), jobs, document, pause: false };
    let elsewhere: Tube = "elsewhere".parse().expect("this is a name");
    let delayed = Document { delay: Some(Span(Duration::from_secs(86_400))), ..document() };
    vec![
        long("ready", SHORT, document()),
        long("ready", medium, document()),
        long("ready", longest, document()),
        long("delayed", longest, Document { priority: 0, ..delayed }),
        long("pinned elsewhere", longest, Document { priority: 0, host: Some("elsewhere".to_owned()), ..document() }),
        Long { pause: true, ..long("paused", longest, Document { priority: 0, tube: elsewhere, ..document() }) },
    ]
}

/// What claiming costs with long queues, in the same rounds, and what a worker needs with each of them.
fn growth(runtime: &Runtime, directory: &Path, noop: &Noop) -> anyhow::Result<()> {
    let (mut names, mut nodes, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (number, Long { name, jobs, document: most, pause }) in queues().into_iter().enumerate() {
        let data = directory.join(number.to_string());
        let node = Node::at(&data, "noop", &noop.module)?;
        let queue = open(&data)?;
        if pause && let Err(error) = runtime.block_on(queue.pause(&most.tube, None)) {
            println!("no row for paused jobs: {error}");
            continue;
        }
        let start = Instant::now();
        // The ready ones that a worker takes are the last, so none of them is found by luck.
        fill(runtime, &queue, jobs.saturating_sub(SHORT), &most)?;
        fill(runtime, &queue, SHORT + worked(), &document())?;
        println!("{jobs} jobs {name}: submitted in {}", table::seconds(start.elapsed().as_secs_f64()));
        names.push(format!("{jobs} {name}"));
        nodes.push(node);
        kept.push(queue);
    }
    claiming(runtime, &names, &kept);
    drop(kept);
    working(&names, &nodes)
}

fn claiming(runtime: &Runtime, names: &[String], queues: &[SqliteQueue]) {
    let tubes = [Tube::default(), "elsewhere".parse().expect("this is a name")];
    let document = document();
    let mut contenders = Vec::new();
    for (name, queue) in names.iter().zip(queues) {
        contenders.push(Contender::timed(name.clone(), |calls| {
            claimant::turn_over(runtime, queue, &tubes, &document, calls, 1).claimed
        }));
        contenders.push(Contender::timed(name.clone(), |calls| {
            let took = claimant::turn_over(runtime, queue, &tubes, &document, calls, CLAIMED);
            took.claimed + took.settled
        }));
    }
    let times = contest::in_turn(if is_measuring() { ROUNDS } else { 1 }, &mut contenders);
    let rows = times.chunks(2).zip(names).map(|(own, name)| {
        let figures = (0..2).flat_map(|which| {
            let ratio = own[which].ratio_to(&times[which]);
            [table::seconds(own[which].median()), format!("{ratio:.2}")]
        });
        std::iter::once(name.clone()).chain(figures).collect()
    });
    let header = ["waiting", "claim one", "ratio", "claim and settle 64", "ratio"];
    table::print("What a claim costs with long queues (asked: ratios below 2)", &header, rows);
}

fn working(names: &[String], nodes: &[Node]) -> anyhow::Result<()> {
    let jobs = worked();
    let mut rows = Vec::new();
    for (name, node) in names.iter().zip(nodes) {
        let start = Instant::now();
        let footprint = node.work(&["--max-jobs", &jobs.to_string(), "--tube=default", "--tube=elsewhere"])?;
        let rate = jobs as f64 / start.elapsed().as_secs_f64();
        rows.push(vec![
            name.clone(),
            format!("{rate:.0}"),
            format!("{:.1} MiB", footprint.peak as f64 / f64::from(1 << 20)),
        ]);
    }
    table::print("A worker with long queues, started anew", &["waiting", "jobs a second", "memory at most"], rows);
    Ok(())
}
