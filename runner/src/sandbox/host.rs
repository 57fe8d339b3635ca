//! What a guest can call.
//!
//! Every interface is one of three things: a capability (the inputs, the result directory), a stand-in that
//! follows from the attempt's provenance (clocks, random numbers, environment), or nothing (sockets,
//! terminals). None of them waits for the world outside: inputs are there before the guest starts, and only a
//! sleep takes time.

mod attempt;
mod bindings;
mod charge;
mod cli;
mod clocks;
mod filesystem;
mod interfaces;
mod io;
mod random;
mod sockets;

pub use bindings::longboat::algorithm::attempt::{
    Error as AlgorithmError, Job as AlgorithmJob, Limits as AlgorithmLimits,
};
pub use cli::Exit;

use super::Metering;
use super::limits::{Memory, Quota, Refusal};
use super::log::{LiveLog, Log};
use super::scratch::Scratch;
use super::stop::Stop;
use super::tree::Tree;
use crate::body::Body;
use crate::job::{Limits, Progress};
use jiff::Timestamp;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use wasmtime::component::{Component, Linker, ResourceTable};

/// How many handles a guest may hold at once.
pub(in crate::sandbox) const MAX_HANDLES: usize = 4096;

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
    memory: Memory,
    log: Log,
    live_log: Option<Arc<LiveLog>>,
    stdout: Option<Vec<u8>>,
    document_size: u64,
    document_refused: Option<Refusal>,
    random: ChaCha12Rng,
    insecure: ChaCha12Rng,
    clock: Timestamp,
    /// What the guest had of fuel when it started.
    fuel: u64,
    is_metered: bool,
    /// How much fuel a guest may burn before it takes turns with others.
    slice: Option<u64>,
    /// What was left of the fuel when the guest took its last turn in a call of the host.
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
    pub memory: Memory,
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
            memory: Memory::new(limits.memory),
            log: Log::new(limits.log_size),
            live_log: capabilities.live_log,
            stdout: capabilities.stdout_is_result.then(Vec::new),
            document_size: limits.document_size,
            document_refused: None,
            random,
            insecure: ChaCha12Rng::from_seed(seed),
            clock: capabilities.clock,
            fuel: limits.fuel,
            is_metered: metering.fuel,
            slice: metering.slice.filter(|_| metering.fuel),
            turn_began_at: limits.fuel,
            slept: 0,
            progress: capabilities.progress,
            stop,
        }
    }

    /// The counter that the store asks before it lets a memory grow.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Why the guest must stop, if it must.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends the host.
    pub fn into_remains(self) -> Remains {
        let Self { tree, memory, log, stdout, document_refused, .. } = self;
        Remains { tree, memory, log, stdout, document_refused }
    }
}

/// Puts everything that any guest may call into a linker; with `yields` the functions take turns with other guests,
/// as the guest's own loops do where they look at the epoch.
///
/// # Errors
/// Only if two of the interfaces collide, which tests would show.
pub fn add_to_linker(linker: &mut Linker<Host>, yields: bool) -> wasmtime::Result<()> {
    interfaces::add(linker, yields)
}

/// Answers what one component asks of sockets, whatever version of the interface it knows.
///
/// # Errors
/// If the component uses the interfaces' names for something else.
pub fn refuse_sockets(linker: &mut Linker<Host>, component: &Component, yields: bool) -> wasmtime::Result<()> {
    sockets::refuse(linker, component, yields)
}

#[cfg(test)]
mod tests;
