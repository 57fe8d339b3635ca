//! How the engine is configured, and why.

use super::SandboxConfig;
use wasmtime::{Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Linear memories that one guest may have.
const MAX_MEMORIES: u32 = 8;
/// Tables that one guest may have; the adapter and its shims need some.
const MAX_TABLES: u32 = 16;
/// Elements of one table.
const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Core instances that one guest may have.
const MAX_INSTANCES: u32 = 32;
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
        // What a host may choose freely must not show in results.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(sandbox)));
    if let Some(directory) = &sandbox.cache {
        config.cache(Some(Cache::new(CacheConfig::new().with_directory(directory).clone())?));
    }
    Engine::new(&config)
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
