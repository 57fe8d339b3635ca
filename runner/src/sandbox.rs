//! Runs one guest under its limits, and tells how it ended.
//!
//! This is the only place that knows wasmtime. It knows no queue and no network: what a guest reads has been
//! fetched before, and what it leaves is published after.

mod bulk;
mod compiler;
mod ending;
mod engine;
mod host;
mod limits;
mod log;
mod modules;
mod program;
mod scratch;
mod stop;
mod structure;
mod tree;
mod turns;

pub use host::Capabilities;
pub use log::LiveLog;
pub use modules::{MAX_MODULE, Prepared, prepare};
pub use program::Program;
pub use scratch::Scratch;
pub use stop::{Stop, StopReason};
pub use tree::Tree;

use crate::config::{EpochChecks, NanBits};
use crate::job::{Digest, JobId, Limits, Shape, Verdict};
use compiler::Compiler;
use ending::{Ending, MAX_ARGUMENTS};
use host::{AlgorithmJob, AlgorithmLimits, Host};
use modules::Wrapped;
use program::{CommandResults, Entry, RunParams, RunResults};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use turns::{TURN, Ticker};
use wasmtime::{Engine, Store, UpdateDeadline};

/// The version of wasmtime and its adapter; the manifest pins it, and a test compares the two.
const WASMTIME: &str = "48.0.8";
/// What the preview 1 adapter takes as params: it copies the environment into little room.
const MAX_WRAPPED_PARAMS: usize = 24 << 10;

/// Why a module cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadModule(pub String);

fn not_valid(error: impl std::fmt::Display) -> BadModule {
    BadModule(format!("it is not valid WebAssembly: {error}"))
}

impl From<BadModule> for Verdict {
    fn from(BadModule(message): BadModule) -> Self {
        Verdict::BadModule { message }
    }
}

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Guests that may run at once.
    pub slots: u32,
    /// Threads that run them.
    pub threads: usize,
    /// The largest linear memory that any guest may have, in bytes.
    pub max_memory: u64,
    /// Where compiled code is kept across restarts; only this program may write there.
    pub cache: Option<PathBuf>,
    /// What is counted inside of compiled code.
    pub metering: Metering,
    /// Which bits NaNs have.
    pub nan_bits: NanBits,
}

/// What is counted inside of compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// Count fuel. Without it a guest can use any amount, and clocks stand still.
    pub fuel: bool,
    /// Look at the epoch in every loop, for the deadline and so that guests share their threads.
    pub epoch: bool,
    /// Give the thread away after so many units of fuel; orders to stop and the deadline count there.
    pub slice: Option<u64>,
}

impl Metering {
    /// Fuel and epoch, both in the guest. The slices of fuel are there so that what a stopped guest has used
    /// is known but for the last of them.
    pub const IN_GUEST: Self = Self { fuel: true, epoch: true, slice: Some(1_000_000) };
    /// Fuel in the guest, and the deadline between slices of fuel.
    pub const AT_SLICES: Self = Self { fuel: true, epoch: false, slice: Some(100_000) };
}

impl From<EpochChecks> for Metering {
    fn from(checks: EpochChecks) -> Self {
        match checks {
            EpochChecks::InGuest => Self::IN_GUEST,
            EpochChecks::AtSlices => Self::AT_SLICES,
        }
    }
}

/// One run of a guest.
#[derive(Debug)]
pub struct Run {
    /// The job's id.
    pub id: JobId,
    /// Which attempt it is.
    pub attempt: u32,
    /// A JSON object.
    pub params: String,
    /// What the guest may use.
    pub limits: Limits,
    /// What it is given.
    pub inputs: std::collections::BTreeMap<String, crate::body::Body>,
    /// Where the contents of the guest's files go.
    pub scratch: Scratch,
    /// Where all random numbers come from.
    pub seed: u64,
    /// What the wall clock shows at the start.
    pub clock: jiff::Timestamp,
    /// Where the guest's words about its progress go.
    pub progress: Option<tokio::sync::watch::Sender<Option<crate::job::Progress>>>,
    /// Where its log goes as it is written, beside the one that is kept.
    pub live_log: Option<Arc<LiveLog>>,
    /// The deadline, and orders to stop.
    pub stop: Arc<Stop>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// The JSON text that the guest returned, if it is done.
    pub result: Option<String>,
    /// What it wrote to standard error.
    pub log: Vec<u8>,
    /// What it left in its result directory.
    pub tree: Option<Tree>,
    /// Units of fuel.
    pub fuel: u64,
    /// Whether more may have been used.
    pub fuel_is_lower_bound: bool,
    /// The most bytes of memory at any time.
    pub peak_memory: u64,
}

/// Runs guests on threads of its own.
pub struct Sandbox {
    engine: Engine,
    /// What provenance calls it.
    engine_name: String,
    metering: Metering,
    ticker: Ticker,
    compiler: Arc<Compiler>,
    guests: Option<Runtime>,
}

impl Sandbox {
    /// Starts the threads and reserves the pool.
    ///
    /// # Errors
    /// If the host cannot give what the configuration asks for.
    pub fn new(config: &SandboxConfig) -> anyhow::Result<Self> {
        Self::ticking(config, TURN)
    }

    fn ticking(config: &SandboxConfig, tick: Duration) -> anyhow::Result<Self> {
        let engine = engine::engine(config)?;
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("guest")
            // A turn may take a millisecond: timers and newcomers must not wait for dozens of them, as by
            // default.
            .event_interval(4)
            .global_queue_interval(4)
            .enable_time()
            .build()?;
        let ticker = Ticker::start(engine.weak(), tick)?;
        let &SandboxConfig { metering, nan_bits, .. } = config;
        let compiler = Arc::new(Compiler::new(engine.clone(), config.max_memory));
        let engine_name = engine_name(&engine, metering, nan_bits);
        Ok(Self { engine, engine_name, metering, ticker, compiler, guests: Some(guests) })
    }

    /// The versions, and the configuration, that decide about fuel and bytes.
    pub fn engine(&self) -> &str {
        &self.engine_name
    }

    /// The program of the module with this digest, compiled if it must be; `load` reads the module then.
    ///
    /// Compiling goes on when nobody waits for it any more, so that the next attempt finds its product.
    ///
    /// # Errors
    /// Those of `load`, and [`Verdict::BadModule`] for a module that nobody can run, which is remembered.
    pub async fn program<F>(&self, digest: Digest, load: F) -> Result<Arc<Program>, Verdict>
    where
        F: FnOnce() -> Result<Vec<u8>, Verdict> + Send + 'static,
    {
        Arc::clone(&self.compiler).program(digest, load).await
    }

    /// Compiles a module without keeping it.
    ///
    /// # Errors
    /// [`BadModule`], which says why nobody could run it.
    pub fn compile(&self, bytes: &[u8]) -> Result<Program, BadModule> {
        self.compiler.compile(bytes)
    }

    /// Looks at a module's structure, as [`Sandbox::compile`] does before it compiles.
    ///
    /// # Errors
    /// [`BadModule`] with the bound that it passes.
    pub fn check(&self, bytes: &[u8]) -> Result<(), BadModule> {
        self.compiler.check(bytes)
    }

    /// Runs a guest to its end, whatever that is.
    pub async fn run(&self, program: Arc<Program>, run: Run) -> Outcome {
        let Some(guests) = &self.guests else { return Outcome::host_error("the sandbox is being shut down") };
        let (engine, metering, ticking) = (self.engine.clone(), self.metering, self.ticker.keep());
        let guest = guests.spawn(async move {
            let _ticking = ticking;
            run_here(&engine, metering, &program, run).await
        });
        guest.await.unwrap_or_else(|panic| Outcome::host_error(&format!("the sandbox failed: {panic}")))
    }

    /// Runs a guest on the caller's own thread; for measuring what an attempt costs.
    pub async fn run_inline(&self, program: &Program, run: Run) -> Outcome {
        let _ticking = self.ticker.keep();
        run_here(&self.engine, self.metering, program, run).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Blocking here would be a panic on an asynchronous caller's thread.
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

impl Outcome {
    fn host_error(message: &str) -> Self {
        Self {
            verdict: Verdict::HostError { message: message.to_owned() },
            result: None,
            log: Vec::new(),
            tree: None,
            fuel: 0,
            fuel_is_lower_bound: true,
            peak_memory: 0,
        }
    }
}

fn engine_name(engine: &Engine, Metering { fuel, epoch, slice }: Metering, nan_bits: NanBits) -> String {
    let checks = match (fuel, epoch, slice) {
        (true, true, _) => "in-guest",
        (true, false, Some(_)) => "at-slices",
        _ => "not metered",
    };
    let nans = match nan_bits {
        NanBits::Canonical => "canonical NaNs".to_owned(),
        NanBits::Platform => format!("NaNs of {}", engine::machine_code(engine)),
    };
    let version = env!("CARGO_PKG_VERSION");
    format!("longboat {version}, wasmtime {WASMTIME}, preview 1 adapter {WASMTIME}, {checks}, {nans}")
}

async fn run_here(engine: &Engine, metering: Metering, program: &Program, run: Run) -> Outcome {
    let limits = run.limits;
    let is_wrapped =
        |what: fn(&Wrapped) -> bool| program.shape() == Shape::Command && program.wrapped.as_ref().is_some_and(what);
    if run.params.len() > MAX_WRAPPED_PARAMS && is_wrapped(|wrapped| wrapped.reads_environment) {
        let message = format!(
            "the preview 1 adapter in this component takes at most {MAX_WRAPPED_PARAMS} bytes of params, not {}; register \
             the core module that was wrapped with it, or put data into an input",
            run.params.len()
        );
        let verdict = Verdict::Failed { message, permanent: true, exit_code: None };
        return Outcome { verdict, fuel_is_lower_bound: false, ..Outcome::host_error("") };
    }
    let stop = Arc::clone(&run.stop);
    let job = algorithm_job(&run);
    let mut store = match store(engine, metering, program, run) {
        Ok(store) => store,
        Err(error) => return Outcome::host_error(&format!("no room for a guest: {error:#}")),
    };
    let ending = tokio::select! {
        biased;
        called = turns::run(call(&mut store, program, job), &stop) => match called {
            Ok(Ok(ending)) => ending,
            Ok(Err(error)) => Ending::from_error(&error, &limits, &stop),
            Err(reason) => Ending::Stopped(stop.verdict(reason, &limits)),
        },
        reason = stop.wait() => Ending::Stopped(stop.verdict(reason, &limits)),
    };
    let left = store.get_fuel().unwrap_or(0);
    let fuel = if metering.fuel { limits.fuel.saturating_sub(left) } else { 0 };
    let remains = store.into_data().into_remains();
    let fuel_is_lower_bound = !ending.is_orderly();
    let peak_memory = remains.memory.peak();
    let (mut verdict, result) = ending.judge(&remains, &limits);
    if let Verdict::Failed { message, exit_code: Some(1), .. } = &mut verdict
        && is_wrapped(|wrapped| wrapped.loses_exit_codes)
    {
        message.push_str("; the preview 1 adapter in this component tells no other code, the core module alone does");
    }
    Outcome {
        verdict,
        result,
        log: remains.log.into_bytes(),
        tree: Some(remains.tree),
        fuel,
        fuel_is_lower_bound,
        peak_memory,
    }
}

fn store(engine: &Engine, metering: Metering, program: &Program, run: Run) -> wasmtime::Result<Store<Host>> {
    let is_command = program.shape() == Shape::Command;
    let environment = if is_command { environment(&run) } else { Vec::new() };
    let capabilities = Capabilities {
        inputs: run.inputs,
        scratch: run.scratch,
        environment,
        stdout_is_result: is_command,
        seed: run.seed,
        clock: run.clock,
        progress: run.progress,
        live_log: run.live_log,
    };
    let mut store = Store::new(engine, Host::new(capabilities, &run.limits, metering, run.stop));
    store.limiter(|host| host.limiter());
    // What a guest may have copied to the host in one call: its whole document, or a chunk of a file.
    store.set_hostcall_fuel(usize::try_from(run.limits.document_size.saturating_add(MAX_ARGUMENTS))?);
    store.set_max_component_handles(2 * host::MAX_HANDLES);
    host::charge(&mut store, metering);
    if metering.fuel {
        store.set_fuel(run.limits.fuel)?;
        store.fuel_async_yield_interval(metering.slice)?;
    }
    if metering.epoch {
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| match store.data().stop().reason() {
            Some(reason) => Err(wasmtime::Error::from(reason)),
            None => Ok(UpdateDeadline::Yield(1)),
        });
    }
    Ok(store)
}

async fn call(store: &mut Store<Host>, program: &Program, job: AlgorithmJob) -> wasmtime::Result<Ending> {
    Ok(match &program.entry {
        Entry::Algorithm(instance, entry) => {
            let instance = instance.instantiate_async(&mut *store).await?;
            let run = instance.get_typed_func::<RunParams, RunResults>(&mut *store, entry)?;
            Ending::Returned(run.call_async(&mut *store, (job,)).await?.0)
        }
        Entry::Command(instance, entry) => {
            let instance = instance.instantiate_async(&mut *store).await?;
            let run = instance.get_typed_func::<(), CommandResults>(&mut *store, entry)?;
            Ending::Exited(u32::from(run.call_async(&mut *store, ()).await?.0.is_err()))
        }
        Entry::Core(instance) => {
            store.data_mut().open_standard();
            let instance = instance.instantiate_async(&mut *store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(&mut *store, ()).await?;
            Ending::Exited(0)
        }
    })
}

fn environment(run: &Run) -> Vec<(String, String)> {
    vec![
        ("LONGBOAT_JOB_ID".to_owned(), run.id.to_string()),
        ("LONGBOAT_ATTEMPT".to_owned(), run.attempt.to_string()),
        ("LONGBOAT_PARAMS".to_owned(), run.params.clone()),
        ("LONGBOAT_SEED".to_owned(), run.seed.to_string()),
    ]
}

fn algorithm_job(run: &Run) -> AlgorithmJob {
    let limits = &run.limits;
    AlgorithmJob {
        id: run.id.to_string(),
        attempt: run.attempt,
        params: run.params.clone(),
        seed: run.seed,
        limits: AlgorithmLimits {
            fuel: limits.fuel,
            memory: limits.memory,
            result_size: limits.result_size,
            result_files: limits.result_files,
            document_size: limits.document_size,
            log_size: limits.log_size,
            input_size: limits.input_size,
            ttr_ms: limits.ttr.millis(),
        },
    }
}

#[cfg(test)]
mod tests;
