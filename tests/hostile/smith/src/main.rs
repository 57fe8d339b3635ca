//! Makes random WebAssembly modules: see [`main`].

use arbitrary::{Arbitrary as _, Unstructured};
use std::io::{self, Read, Write};
use wasm_smith::{Config, Module};

/// Reads texts of bytes from standard input, and writes a module for each to standard output, empty if there
/// are too few bytes for one. Each text and each module comes after its length, in four bytes with the
/// lowest first.
///
/// The first text is the module whose imports and exports every module gets.
fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let Some(shape) = read(&mut input)? else { return Ok(()) };
    while let Some(bytes) = read(&mut input)? {
        let module = module(&bytes, &shape).unwrap_or_default();
        output.write_all(&(module.len() as u32).to_le_bytes())?;
        output.write_all(&module)?;
        output.flush()?;
    }
    Ok(())
}

/// The next text, unless the input has ended.
fn read(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn module(bytes: &[u8], shape: &[u8]) -> arbitrary::Result<Vec<u8>> {
    let mut bytes = Unstructured::new(bytes);
    let config = Config { module_shape: Some(shape.to_vec()), ..config(&mut bytes)? };
    Ok(Module::new(config, &mut bytes)?.to_bytes())
}

/// Any features in one case of four; else those that a guest may use, so that most cases get past the
/// compiler.
fn config(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    if bytes.ratio(1, 4)? {
        return Config::arbitrary(bytes);
    }
    Ok(Config {
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
    })
}
