//! What one attempt costs beyond the algorithm's own work, against a process of its own for the same program.
//!
//! All guests are warm: compiled before, as a worker's are after the first job. The opponent is the same program built
//! natively, started by `std::process::Command`, which leaves out the copy of the page tables that a plain fork makes.
//! Once its standard streams are `/dev/null` and nobody reads a result; once its result is read through a pipe, as a
//! guest's is. They cost about the same, and the first is what all ratios refer to.

use anyhow::ensure;
use criterion::{Criterion, criterion_group, criterion_main};
use longboat::config::{LimitsConfig, NanBits};
use longboat::execute::{Attempt, Executor};
use longboat::fetch::Fetcher;
use longboat::job::{Digest, Document, FileEntry, Job, JobId, Limits, Shape, State};
use longboat::policy::{Purpose, Rules, UrlPolicy};
use longboat::queue::Modules as _;
use longboat::queue::sqlite::SqliteQueue;
use longboat::results::Results;
use longboat::sandbox::{Metering, Scratch};
use longboat_benches::contest::{self, Contender, Times};
use longboat_benches::guest::{self, Guests};
use longboat_benches::noop::Noop;
use longboat_benches::table;
use longboat_tests::build;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 150;
const SAILOR: &str = r#"{"mode":"normal"}"#;

fn attempt(criterion: &mut Criterion) {
    measure(criterion).expect("a bench needs its compilers and its disk");
}

fn measure(criterion: &mut Criterion) -> anyhow::Result<()> {
    // On the disk that the target directory is on: `/tmp` may be in memory, where syncing costs nothing.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let noop = Noop::build(directory.path())?;
    let guests = Guests::new(Metering::IN_GUEST, NanBits::Platform)?;
    let at_slices = Guests::new(Metering::AT_SLICES, NanBits::Platform)?;
    let command = guests.compile(&noop.module)?;
    let command_at_slices = at_slices.compile(&noop.module)?;
    let sailor = guests.compile(&build::algorithm("drunken-sailor")?)?;
    let scratch = guest::open(&tempfile::tempdir_in(&directory)?.keep())?;
    let node = Node::new(&guests, directory.path(), &std::fs::read(&noop.module)?)?;
    let run = |params: &str| guest::run(params, None, &scratch);

    let mut contenders = [
        Contender::new("fork+exec+wait", || spawn(&noop.program).expect("the program runs")),
        Contender::new("fork+exec+wait, output read", || read(&noop.program).expect("the program runs")),
        Contender::new("command", || drop(guests.run(&command, run("{}")))),
        Contender::new("command, checks at slices", || drop(at_slices.run(&command_at_slices, run("{}")))),
        Contender::new("command, on the guests' threads", || {
            drop(guests.runtime.block_on(guests.sandbox.run(Arc::clone(&command), run("{}"))));
        }),
        Contender::new("algorithm of the SDK", || drop(guests.run(&sailor, run(SAILOR)))),
        Contender::new("stage, seal, expose", || node.keep_a_file().expect("the disk takes it")),
        Contender::new("stage, execute, seal, expose", || node.attempt(&guests).expect("the disk takes it")),
    ];
    let mut group = criterion.benchmark_group("attempt");
    contest::alone(&mut group, &mut contenders);
    group.finish();
    let times = contest::in_turn(ROUNDS, &mut contenders);
    summarise(&contenders, &times);
    Ok(())
}

fn summarise(contenders: &[Contender<'_>], times: &[Times]) {
    let rows = contenders.iter().zip(times).map(|(contender, own)| {
        let (quiet, median) = (table::seconds(own.quiet()), table::seconds(own.median()));
        vec![contender.name().to_owned(), median, quiet, format!("1/{:.1}", times[0].quiet() / own.quiet())]
    });
    let header = ["", "median", "quietest tenth", "of fork+exec+wait"];
    table::print("One attempt at a program that does nothing", &header, rows);
    // A busy machine delays a new process far more than a call, so the quietest rounds are the fair ones.
    println!(
        "overhead of one attempt: 1/{:.1} of fork+exec+wait (required: at most 1/15)",
        times[0].quiet() / times[2].quiet()
    );
}

fn spawn(program: &Path) -> anyhow::Result<()> {
    let null = Stdio::null;
    let status = Command::new(program).stdin(null()).stdout(null()).stderr(null()).spawn()?.wait()?;
    ensure!(status.success());
    Ok(())
}

fn read(program: &Path) -> anyhow::Result<()> {
    let output = Command::new(program).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    ensure!(output.stdout == b"null\n");
    Ok(())
}

/// What a worker does for one attempt, apart from the queue.
struct Node {
    executor: Executor,
    results: Results,
    document: Document,
}

impl Node {
    fn new(guests: &Guests, directory: &Path, module: &[u8]) -> anyhow::Result<Self> {
        let queue = SqliteQueue::open(&directory.join("queue.db"))?;
        guests.runtime.block_on(queue.add(&"noop".parse()?, Shape::Command, module.to_vec()))?;
        let fetcher = Fetcher::new(UrlPolicy::new(Purpose::Input, Rules::default()), directory.to_owned())?;
        let (sandbox, cache) = (Arc::clone(&guests.sandbox), directory.join("algorithms"));
        let executor = Executor::new(sandbox, Arc::new(queue), cache, fetcher, LimitsConfig::default());
        Ok(Self {
            executor,
            results: Results::open(&directory.join("results"))?,
            document: Document::new("noop".parse()?),
        })
    }

    fn attempt(&self, guests: &Guests) -> anyhow::Result<()> {
        let (submitted_at, document) = (jiff::Timestamp::now(), self.document.clone());
        let job = Arc::new(Job { id: JobId::new(), submitted_at, module: None, document });
        let staging = self.results.stage(job.id, 1)?;
        let scratch = Scratch::when_needed(staging.scratch());
        let attempt = Attempt::start(Arc::clone(&job), 1, Limits::default(), Instant::now());
        let mut executed = guests.runtime.block_on(self.executor.execute(attempt, scratch));
        ensure!(executed.verdict.is_done(), "{:?}", executed.verdict);
        let document = executed.publish(&job, 1, State::Done, || staging.files())?;
        serde_json::to_vec(&document)?;
        drop(staging.keep(&document.files)?);
        Ok(())
    }

    fn keep_a_file(&self) -> std::io::Result<()> {
        let staging = self.results.stage(JobId::new(), 1)?;
        staging.files()?.write("result.csv", "1,2\n")?;
        let file = FileEntry { name: "result.csv".to_owned(), size: 4, sha256: Digest::of("1,2\n").hex() };
        drop(staging.keep(&[file])?);
        Ok(())
    }
}

fn config() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(200), Duration::from_secs(1));
    Criterion::default().sample_size(30).warm_up_time(warm_up).measurement_time(measurement)
}

criterion_group! { name = benches; config = config(); targets = attempt }
criterion_main!(benches);
