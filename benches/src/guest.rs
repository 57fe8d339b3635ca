//! A sandbox as a worker has it, for guests one after the other.

use anyhow::Context;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use longboat::body::Body;
use longboat::config::{LimitsConfig, NanBits};
use longboat::job::{JobId, Limits};
use longboat::sandbox::{Metering, Outcome, Program, Run, Sandbox, SandboxConfig, Scratch, Stop};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// A sandbox and a runtime to wait for it.
pub struct Guests {
    /// The sandbox.
    pub sandbox: Arc<Sandbox>,
    /// What a worker does everything else on.
    pub runtime: Runtime,
}

impl Guests {
    /// A sandbox with a worker's defaults, apart from what it counts.
    ///
    /// # Errors
    /// If the host cannot give what it takes.
    pub fn new(metering: Metering, nan_bits: NanBits) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sandbox = Sandbox::new(&SandboxConfig {
            slots: u32::try_from(2 * cores)?,
            threads: cores,
            max_memory: LimitsConfig::default().ceiling.memory,
            cache: None,
            metering,
            nan_bits,
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
        Ok(Self { sandbox: Arc::new(sandbox), runtime })
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// The file's, or the compiler's.
    pub fn compile(&self, module: &Path) -> anyhow::Result<Arc<Program>> {
        let bytes = std::fs::read(module).with_context(|| module.display().to_string())?;
        Ok(Arc::new(self.sandbox.compile(&bytes)?))
    }

    /// Runs a guest on this thread.
    ///
    /// # Panics
    /// If it does not end well: then its time means nothing.
    pub fn run(&self, program: &Program, run: Run) -> Outcome {
        let outcome = self.runtime.block_on(self.sandbox.run_inline(program, run));
        assert!(outcome.verdict.is_done(), "a guest that is measured must be done, not {:?}", outcome.verdict);
        outcome
    }
}

/// One run with the default limits.
pub fn run(params: &str, input: Option<&Body>, scratch: &Scratch) -> Run {
    let limits = Limits { fuel: LimitsConfig::default().ceiling.fuel, ..Limits::default() };
    Run {
        id: JobId::from_bytes([7; 16]),
        attempt: 1,
        params: params.to_owned(),
        limits,
        inputs: input.map(|body| BTreeMap::from([("input".to_owned(), body.clone())])).unwrap_or_default(),
        scratch: scratch.clone(),
        seed: 7,
        clock: jiff::Timestamp::UNIX_EPOCH,
        progress: None,
        live_log: None,
        stop: Arc::new(Stop::at(Instant::now() + limits.ttr.0)),
    }
}

/// A directory as a capability.
///
/// # Errors
/// The disk's.
pub fn open(directory: &Path) -> std::io::Result<Scratch> {
    Dir::open_ambient_dir(directory, ambient_authority()).map(Scratch::from)
}
