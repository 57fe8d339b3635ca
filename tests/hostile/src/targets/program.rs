//! Programs that are valid and make no sense: random code that calls the host with random arguments.

use crate::guest::{compile, endure};
use crate::wasi::imports;
use crate::{Target, no_samples};
use arbitrary::{Arbitrary as _, Unstructured};
use std::sync::LazyLock;
use wasm_smith::{Config, Module};

/// Random programs.
pub const TARGET: Target = Target {
    name: "program",
    check,
    cases: 80,
    largest: 3_000,
    samples: no_samples,
    words: &[],
    reached: &["trapped", "bad-result", "out-of-fuel"],
};

/// Imports of all functions, so that random code finds some with the arguments that it has, and what an entry needs.
static SHAPE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = format!(r#"(module {} (memory (export "memory") 1 20) (func (export "_start")))"#, imports());
    wat::parse_str(text).expect("own guests are well-formed")
});

/// What grows from these bytes is refused with a reason, or runs to a verdict of its own within its bounds.
pub fn check(bytes: &[u8]) -> &'static str {
    let mut bytes = Unstructured::new(bytes);
    let Ok(config) = config(&mut bytes) else { return "too few bytes" };
    let Ok(module) = Module::new(config, &mut bytes) else { return "too few bytes" };
    match compile(&module.to_bytes()) {
        Ok(program) => endure(&program, b"[1, 2, 3]".to_vec()).verdict.kind(),
        Err(ending) => ending,
    }
}

/// Any features in one case of four; else those that a guest may use, so that most cases get past the compiler.
fn config(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    let shape = if bytes.ratio(1, 4)? {
        Config::arbitrary(bytes)?
    } else {
        Config {
            gc_enabled: false,
            exceptions_enabled: false,
            threads_enabled: false,
            // An externref is garbage-collected, which guests are not granted.
            reference_types_enabled: bytes.ratio(1, 8)?,
            memory64_enabled: bytes.ratio(1, 8)?,
            allow_start_export: bytes.ratio(1, 8)?,
            disallow_traps: bytes.ratio(1, 2)?,
            max_memories: bytes.int_in_range(1..=3)?,
            max_tables: 4,
            max_memory32_bytes: 64 << 16,
            max_table_elements: 10_000,
            max_funcs: 20,
            ..Config::default()
        }
    };
    Ok(Config { module_shape: Some(SHAPE.clone()), ..shape })
}
