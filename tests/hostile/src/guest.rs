//! Running guests under tiny limits, and what must hold after every one.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use longboat::body::Body;
use longboat::config::NanBits;
use longboat::job::{FileEntry, JobId, Limits, Span, Verdict};
use longboat::sandbox::{Metering, Outcome, Program, Run, Sandbox, SandboxConfig, Stop};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Bytes and entries of the result directory.
pub(crate) const RESULT: (u64, u32) = (64 << 10, 8);
/// What counts for an entry that is smaller.
pub(crate) const BLOCK: u64 = 4096;
/// Bytes of a returned document.
pub(crate) const DOCUMENT: u64 = 16 << 10;
const TTR: Duration = Duration::from_millis(200);
/// A guest is stopped soon after its deadline; on a machine that is busy with other things, after this.
const LATE: Duration = Duration::from_secs(20);

/// What targets without threads of their own wait with.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("threads can be started")
});

/// One sandbox for all cases, so that what one of them leaves behind meets the next.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let metering = Metering::IN_GUEST;
    let config = SandboxConfig {
        slots: 4,
        threads: 2,
        max_memory: 16 << 20,
        cache: None,
        metering,
        nan_bits: NanBits::Platform,
    };
    Sandbox::new(&config).expect("a sandbox can be made")
});

/// What was seen of a guest that kept to its bounds.
#[derive(Debug)]
pub(crate) struct Ended {
    pub verdict: Verdict,
    pub result: Option<String>,
    pub files: Vec<FileEntry>,
    /// Where the files are.
    pub target: tempfile::TempDir,
}

/// Compiles what strangers hand in; in a word why not, if it cannot be run.
pub(crate) fn compile(module: &[u8]) -> Result<Arc<Program>, &'static str> {
    match SANDBOX.compile(module) {
        Ok(program) => Ok(Arc::new(program)),
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty(), "a refusal says why");
            Err("refused")
        }
    }
}

/// A guest of the targets' own.
pub(crate) fn compile_own(text: &str) -> Arc<Program> {
    compile(&wat::parse_str(text).expect("own guests are well-formed")).expect("own guests can be run")
}

/// Runs a guest under tiny limits, and looks at what it did and left behind.
pub(crate) fn endure(program: &Arc<Program>, input: Vec<u8>) -> Ended {
    let (scratch, target) = (directory(), directory());
    let limits = Limits {
        fuel: 1_000_000,
        memory: 4 << 20,
        result_size: RESULT.0,
        result_files: RESULT.1,
        document_size: DOCUMENT,
        log_size: 2 << 10,
        input_size: 1 << 20,
        ttr: Span(TTR),
    };
    let started = Instant::now();
    let run = Run {
        id: JobId::from_bytes([7; 16]),
        attempt: 1,
        params: "{}".to_owned(),
        limits,
        inputs: BTreeMap::from([("input".to_owned(), Body::from_bytes(input))]),
        scratch: open(scratch.path()).into(),
        seed: 7,
        clock: jiff::Timestamp::UNIX_EPOCH,
        progress: None,
        live_log: None,
        stop: Arc::new(Stop::at(started + TTR)),
    };
    let mut outcome = RUNTIME.block_on(SANDBOX.run(Arc::clone(program), run));
    assert!(started.elapsed() < LATE, "a guest took {:?}", started.elapsed());
    keeps_bounds(&outcome, &limits);
    let tree = outcome.tree.take().expect("a guest that has run has a result directory");
    let files = tree.publish(&open(target.path())).expect("what a guest leaves can be published");
    drop(tree);
    let (bytes, entries) = size(target.path());
    assert!(bytes <= RESULT.0 && entries <= u64::from(RESULT.1), "{bytes} bytes in {entries} entries were left");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("the directory is there").collect();
    assert!(left.is_empty(), "nothing is left but what was published: {left:?}");
    Ended { verdict: outcome.verdict, result: outcome.result, files, target }
}

fn keeps_bounds(outcome: &Outcome, limits: &Limits) {
    let Outcome { verdict, result, log, fuel, peak_memory, .. } = outcome;
    let kind = verdict.kind();
    let is_guests = !matches!(kind, "host-error" | "lost" | "interrupted" | "cancelled" | "bad-module");
    assert!(is_guests, "the guest is not to blame for {verdict:?}");
    assert_eq!(result.is_some(), verdict.is_done(), "a result comes with `done` and nothing else");
    assert!(result.as_ref().is_none_or(|json| json.len() as u64 <= limits.document_size));
    // What says how much of the middle was dropped comes on top.
    assert!(log.len() as u64 <= limits.log_size + 200, "{} bytes of log", log.len());
    assert!(*fuel <= limits.fuel && *peak_memory <= limits.memory, "{fuel} units of fuel, {peak_memory} bytes");
}

/// What lies below a directory, counted as the quota counts it.
fn size(directory: &Path) -> (u64, u64) {
    let (mut bytes, mut entries) = (0, 0);
    for entry in std::fs::read_dir(directory).expect("a directory can be read") {
        let entry = entry.expect("a directory can be read");
        let metadata = entry.metadata().expect("an entry can be looked at");
        assert!(!metadata.is_symlink(), "no guest makes links");
        let inner = if metadata.is_dir() { size(&entry.path()) } else { (0, 0) };
        let own = if metadata.is_dir() { BLOCK } else { metadata.len().max(BLOCK) };
        bytes += own + inner.0;
        entries += 1 + inner.1;
    }
    (bytes, entries)
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("the disk has room")
}

fn open(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).expect("a directory that was just made can be opened")
}
