//! How the engine is configured, and why.

use super::SandboxConfig;
use crate::config::NanBits;
use sha2::{Digest as _, Sha256};
use std::hash::{Hash, Hasher};
use wasmparser::WasmFeatures;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig,
    VariableOperatorCost,
};

/// Linear memories that one guest may have.
pub(super) const MAX_MEMORIES: u32 = 8;
/// Tables that one guest may have; the adapter and its shims need some.
pub(super) const MAX_TABLES: u32 = 16;
/// Elements of one table. Some instructions work through a whole table, and nothing can stop them: this is a
/// millisecond.
pub(super) const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Core instances that one guest may have.
pub(super) const MAX_INSTANCES: u32 = 32;
/// The parts of WebAssembly that modules may use; what is not here is refused before anything is compiled.
///
/// wasmtime has all of WebAssembly 3 on by default, as far as it was built with it. Left out are threads and
/// shared memory (results would depend on scheduling), garbage collection and exceptions (their heap is no
/// linear memory, and what it grows to would not be counted) and 64-bit memories (every access is checked by
/// code of its own, several times what the compiler's work is estimated at). Component-model async, stack
/// switching, custom page sizes and the other proposals that are not finished are off in wasmtime as well.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::THREADS)
    .difference(WasmFeatures::GC)
    .difference(WasmFeatures::GC_TYPES)
    .difference(WasmFeatures::EXCEPTIONS)
    .difference(WasmFeatures::MEMORY64);
/// The guest's stack; the host's frames on top of it must fit too.
const STACK: usize = 1 << 20;

/// An engine for guests that follow from their provenance.
pub(super) fn engine(sandbox: &SandboxConfig) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .consume_fuel(sandbox.metering.fuel)
        .epoch_interruption(sandbox.metering.epoch)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        // Component-model async is nothing that guests are granted, and its bookkeeping costs at every call.
        .concurrency_support(false)
        .operator_cost(cost())
        // What WebAssembly leaves open must not show in results; NaNs are an operator's choice, which
        // provenance names.
        .cranelift_nan_canonicalization(sandbox.nan_bits == NanBits::Canonical)
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        // Off as in FEATURES; threads and exceptions are not even built in.
        .wasm_memory64(false)
        .wasm_gc(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(sandbox)));
    if let Some(directory) = &sandbox.cache {
        config.cache(Some(Cache::new(CacheConfig::new().with_directory(directory).clone())?));
    }
    Engine::new(&config)
}

/// A unit an instruction, as is wasmtime's default, but for those that have the host change its address
/// space: without that, a guest that goes on asking for memory, which it is refused, would burn next to
/// nothing. A table's growth does not cost what was asked for, which may be refused: there are few elements
/// to be had.
fn cost() -> OperatorCost {
    let variable = VariableOperatorCost { table_grow_per_element: 0, ..VariableOperatorCost::new() };
    OperatorCost { MemoryGrow: u8::MAX, TableGrow: u8::MAX, variable, ..OperatorCost::new() }
}

/// Which machine code this engine makes: the processor's family, and a digest of all that the code depends
/// on, such as the instructions that this processor has. Equal machine code computes equal bits, those of
/// NaNs included.
pub(super) fn machine_code(engine: &Engine) -> String {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:08x}", std::env::consts::ARCH, hasher.finish() >> 32)
}

/// SHA-256 as a [`Hasher`]: the standard library's own may change with its version.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes"))
    }
}

/// Instances come from a pool, so that a warm attempt costs microseconds.
///
/// Keeping pages resident pays only with the pagemap scan, which resets just what the guest has touched.
fn pool(sandbox: &SandboxConfig) -> PoolingAllocationConfig {
    let slots = sandbox.slots.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(MAX_INSTANCES))
        .total_memories(slots.saturating_mul(MAX_MEMORIES))
        .total_tables(slots.saturating_mul(MAX_TABLES))
        .total_stacks(slots)
        .max_core_instances_per_component(MAX_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(sandbox.max_memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(slots);
    pool
}
