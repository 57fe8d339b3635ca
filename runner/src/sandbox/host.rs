//! What a guest can call.
//!
//! Every interface is one of three things: a capability (the inputs, the result directory), a stand-in that
//! follows from the attempt's provenance (clocks, random numbers, environment), or nothing (sockets,
//! terminals). None of them waits for the world outside: inputs are there before the guest starts, and only
//! a sleep takes time.

mod attempt;
mod charge;
mod cli;
mod clocks;
mod filesystem;
mod io;
mod preview1;
mod random;
mod sockets;

pub use bindings::longboat::algorithm::attempt::{
    Error as AlgorithmError, Job as AlgorithmJob, Limits as AlgorithmLimits,
};
pub(super) use charge::install as charge;
pub use cli::Exit;
pub(super) use preview1::PREVIEW1;

use super::limits::Refusal;
use super::log::{LiveLog, Log};
use super::scratch::Scratch;
use super::stop::Stop;
use super::tree::{Quota, Tree};
use super::{Metering, limits};
use crate::body::Body;
use crate::job::{Limits, Progress};
use chacha20::ChaCha12Rng;
use chacha20::rand_core::SeedableRng;
use io::Outputs;
use jiff::Timestamp;
use preview1::Descriptors;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};

/// What `bindgen!` makes of the `host` world. It stands here because it names the types of all modules below, and they
/// name its traits.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "host",
        imports: {
            "wasi:io/poll.poll": async | trappable,
            "wasi:io/poll.[method]pollable.block": async | trappable,
            default: trappable,
        },
        trappable_error_type: {
            "wasi:io/streams.stream-error" => crate::sandbox::host::io::StreamError,
            "wasi:filesystem/types.error-code" => crate::sandbox::tree::TreeError,
        },
        with: {
            "wasi:io/error.error": crate::sandbox::host::io::IoError,
            "wasi:io/poll.pollable": crate::sandbox::host::io::Pollable,
            "wasi:io/streams.input-stream": crate::sandbox::host::io::InputStream,
            "wasi:io/streams.output-stream": crate::sandbox::host::io::OutputStream,
            "wasi:filesystem/types.descriptor": crate::sandbox::host::filesystem::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": crate::sandbox::host::filesystem::Listing,
            "wasi:cli/terminal-input.terminal-input": crate::sandbox::host::cli::Terminal,
            "wasi:cli/terminal-output.terminal-output": crate::sandbox::host::cli::Terminal,
            "longboat:algorithm/inputs.input": crate::sandbox::host::attempt::InputHandle,
        },
        require_store_data_send: true,
    });
}

/// How many handles a guest may hold at once.
pub(in crate::sandbox) const MAX_HANDLES: usize = 4096;
/// The only directory.
const RESULT: &str = "/result";
/// The arguments of every command: its name, which is everybody's.
const ARGUMENTS: [&str; 1] = ["algorithm"];

/// What an attempt hands to its guest.
#[derive(Debug)]
pub struct Capabilities {
    /// By name.
    pub inputs: BTreeMap<String, Body>,
    /// Where the contents of the guest's files go.
    pub scratch: Scratch,
    /// The environment that a command sees.
    pub environment: Vec<(String, String)>,
    /// Whether standard output is the result, as it is for a command, or part of the log.
    pub stdout_is_result: bool,
    /// Where all random numbers come from.
    pub seed: u64,
    /// What the wall clock shows at the start.
    pub clock: Timestamp,
    /// Where the guest's words about its progress go.
    pub progress: Option<watch::Sender<Option<Progress>>>,
    /// Where its log goes as it is written.
    pub live_log: Option<Arc<LiveLog>>,
}

/// The host's side of one attempt; it is dropped with the attempt.
pub struct Host {
    table: ResourceTable,
    inputs: Vec<(String, Body)>,
    environment: Vec<(String, String)>,
    tree: Tree,
    limiter: limits::Memory,
    outputs: Outputs,
    /// What a core module has open.
    descriptors: Descriptors,
    /// The memory of a core module, once it has called.
    memory: Option<wasmtime::Memory>,
    random: ChaCha12Rng,
    insecure: ChaCha12Rng,
    clock: Timestamp,
    /// What the guest had of fuel when it started.
    fuel: u64,
    is_metered: bool,
    /// What it had burnt when it called the host.
    burnt: u64,
    /// What it owes for this call, in fuel.
    owed: u64,
    /// How deep host and guest have called each other: 1 while the guest runs by itself.
    depth: u32,
    /// What it had burnt when it last gave its thread away in a call of the host.
    turn_began_at: u64,
    slept: u64,
    progress: Option<watch::Sender<Option<Progress>>>,
    stop: Arc<Stop>,
}

/// What is left of a host when its guest has ended.
pub struct Remains {
    /// The result directory.
    pub tree: Tree,
    /// What was used of the memory limit.
    pub memory: limits::Memory,
    /// Standard error.
    pub log: Log,
    /// Standard output, if it is the result.
    pub stdout: Option<Vec<u8>>,
    /// The first write to it that was refused.
    pub document_refused: Option<Refusal>,
}

impl Host {
    /// A host with these capabilities and limits.
    pub fn new(capabilities: Capabilities, limits: &Limits, metering: Metering, stop: Arc<Stop>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&capabilities.seed.to_le_bytes());
        let random = ChaCha12Rng::from_seed(seed);
        seed[31] = 1;
        Self {
            table,
            inputs: capabilities.inputs.into_iter().collect(),
            environment: capabilities.environment,
            tree: Tree::new(capabilities.scratch, Quota::new(limits.result_size, limits.result_files)),
            limiter: limits::Memory::new(limits.memory),
            outputs: Outputs {
                log: Log::new(limits.log_size),
                live_log: capabilities.live_log,
                stdout: capabilities.stdout_is_result.then(Vec::new),
                document_size: limits.document_size,
                document_refused: None,
            },
            descriptors: Descriptors::default(),
            memory: None,
            random,
            insecure: ChaCha12Rng::from_seed(seed),
            clock: capabilities.clock,
            fuel: limits.fuel,
            is_metered: metering.fuel,
            burnt: 0,
            owed: 0,
            depth: 0,
            turn_began_at: 0,
            slept: 0,
            progress: capabilities.progress,
            stop,
        }
    }

    /// The counter that the store asks before it lets a memory grow.
    pub fn limiter(&mut self) -> &mut limits::Memory {
        &mut self.limiter
    }

    /// Why the guest must stop, if it must.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends the host.
    pub fn into_remains(self) -> Remains {
        let Self { tree, limiter: memory, outputs, .. } = self;
        let Outputs { log, stdout, document_refused, .. } = outputs;
        Remains { tree, memory, log, stdout, document_refused }
    }
}

/// Puts everything that any component may call into a linker.
///
/// # Errors
/// Only if two of the interfaces collide, which tests would show.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    bindings::Host_::add_to_linker::<Host, HasSelf<Host>>(linker, Host::called)
}

/// Puts WASI preview 1 into a linker.
///
/// # Errors
/// Only if two of its functions have one name.
pub fn add_preview1(linker: &mut wasmtime::Linker<Host>) -> wasmtime::Result<()> {
    preview1::add(linker)
}

/// Answers what one component asks of sockets, whatever version of the interface it knows.
///
/// # Errors
/// If the component uses the interfaces' names for something else.
pub fn refuse_sockets(linker: &mut Linker<Host>, component: &Component) -> wasmtime::Result<()> {
    sockets::refuse(linker, component)
}

#[cfg(test)]
mod tests;
