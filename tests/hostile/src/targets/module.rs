//! Modules, as strangers hand them in: any bytes.

use crate::Target;
use crate::guest::{compile, endure};
use crate::wasi::{ECHO, player};
use longboat::sandbox::prepare;

/// Modules.
pub const TARGET: Target = Target {
    name: "module",
    check,
    cases: 500,
    largest: 2_000,
    samples,
    words: &[
        "\0asm\u{1}\0\0\0",
        "\0asm\r\0\u{1}\0",
        "_start",
        "memory",
        "wasi_snapshot_preview1",
        "proc_exit",
        "longboat:algorithm/process@0.1.0",
        "cabi_realloc",
        "component-type",
        "wasi:cli/run@0.2.12",
        "\u{7f}",
        "\u{1}\u{60}\0\0",
    ],
    reached: &["done", "bad-result", "refused"],
};

fn samples() -> Vec<Vec<u8>> {
    let own = |text: &str| wat::parse_str(text).expect("own guests are well-formed");
    let modules = [own(ECHO), own(&player()), own(LOOP), own(GREEDY), own(PRINTER)];
    let components =
        modules.iter().map(|module| prepare(module).expect("own guests can be run").into_bytes()).collect::<Vec<_>>();
    modules.into_iter().chain(components.into_iter().take(1)).collect()
}

/// A start function that never returns.
const LOOP: &str =
    r#"(module (memory (export "memory") 1) (func $loop (loop (br 0))) (start $loop) (func (export "_start")))"#;

/// Memories, tables and recursion.
const GREEDY: &str = r#"(module
    (memory (export "memory") 1) (table $t 10 funcref) (global $g (mut i32) (i32.const 0))
    (elem (i32.const 0) $f) (data (i32.const 8) "data")
    (type $ty (func (param i32) (result i32)))
    (func $f (type $ty)
      (drop (memory.grow (i32.const 1))) (drop (table.grow $t (ref.null func) (i32.const 100)))
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536))
      (call_indirect (type $ty) (i32.add (local.get 0) (i32.const 1)) (i32.const 0)))
    (func (export "_start") (global.set $g (call $f (i32.const 0)))))"#;

/// The shortest program with a result.
const PRINTER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "null")
    (func (export "_start")
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (call $exit (i32.const 0))))"#;

/// A module is refused with a reason, or runs to a verdict of its own within its bounds.
pub fn check(bytes: &[u8]) -> &'static str {
    match compile(bytes) {
        Ok(program) => endure(&program, b"[1, 2, 3]".to_vec()).verdict.kind(),
        Err(ending) => ending,
    }
}
