//! The programs of `tests/guests`, compiled when they are needed.

use anyhow::{Context, ensure};
use longboat_tests::{build, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Every guest; the tidy test holds this list against the directory.
pub const ALL: [&str; 36] = [
    "allocator.c",
    "branches.wat",
    "double-drop.wat",
    "false-list.wat",
    "false-result.wat",
    "greedy.rs",
    "handle-churn.wat",
    "handles.wat",
    "huge-memory.wat",
    "huge-table.wat",
    "indirect-recursion.wat",
    "large-memory.wat",
    "many-memories.wat",
    "many-tables.wat",
    "memories-together.wat",
    "memory-init.wat",
    "no-entry.wat",
    "no-memory.wat",
    "painter.wat",
    "plain.c",
    "plain.rs",
    "pointers.rs",
    "prisoner.rs",
    "rogue.c",
    "sipper.rs",
    "smuggler.rs",
    "start-calls.wat",
    "start-exits.wat",
    "start-grows.wat",
    "start-never-returns.wat",
    "start-traps.wat",
    "table-bomb.wat",
    "table-nibble.wat",
    "tail-calls.wat",
    "witness.rs",
    "wrong-entry.wat",
];

/// The module of a Rust guest.
pub fn rust(name: &str) -> anyhow::Result<PathBuf> {
    build::ensure_target()?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    make(&format!("{name}.rs"), |source, module| {
        let mut command = Command::new(rustc);
        command.args(["--edition", "2024", "--target", build::TARGET, "-O", "-o"]).args([module, source]);
        compile(command)
    })
}

/// The module of a C guest, or why there is none on this machine.
pub fn c(name: &str) -> anyhow::Result<Result<PathBuf, &'static str>> {
    let compilers = ["clang", "clang-14", "clang-15", "clang-16", "clang-17", "clang-18", "clang-19"];
    let links = |compiler: &&str| {
        let mut probe = Command::new(compiler);
        probe.args(["--target=wasm32-wasi", "-x", "c", "-o", "/dev/null", "-"]);
        let program = b"#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n";
        crate::support::with_input(probe, program).is_ok_and(|output| output.status.success())
    };
    let Some(compiler) = compilers.into_iter().find(|compiler| links(compiler)) else {
        let reason = "no clang here compiles for wasm32-wasi; on Debian 12: \
                      apt-get install clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32";
        // Where everything is installed on purpose, a test that does nothing would go unnoticed.
        ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
        return Ok(Err(reason));
    };
    make(&format!("{name}.c"), |source, module| {
        let mut command = Command::new(compiler);
        command.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).args([module, source]);
        compile(command)
    })
    .map(Ok)
}

/// The component that somebody else makes of a command, with the preview 1 adapter.
pub fn wrapped(module: &Path) -> anyhow::Result<PathBuf> {
    use wasi_preview1_component_adapter_provider::{
        WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as ADAPTER,
    };
    let encoder = wit_component::ComponentEncoder::default().module(&std::fs::read(module)?)?;
    let component = encoder.adapter(NAME, ADAPTER)?.encode()?;
    let path = module.with_extension("component.wasm");
    // Others may do the same meanwhile: whoever renames last wins with the same bytes.
    let own = module.with_extension(std::process::id().to_string());
    std::fs::write(&own, component)?;
    std::fs::rename(own, &path)?;
    Ok(path)
}

/// The module, or the component, of a guest that is written as text.
pub fn wat(name: &str) -> anyhow::Result<PathBuf> {
    make(&format!("{name}.wat"), |source, module| Ok(std::fs::write(module, wat::parse_file(source)?)?))
}

fn compile(mut command: Command) -> anyhow::Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The module of a guest; the work from its source to it is done once.
fn make(file: &str, work: impl FnOnce(&Path, &Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    ensure!(ALL.contains(&file), "{file} is not in the list of guests");
    let source = workspace().join("tests/guests").join(file);
    let (name, language) = file.split_once('.').context("a guest's name has an extension")?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests").join(language);
    let module = directory.join(name).with_extension("wasm");
    // The lock is held while compiling: whoever needs the same guest meanwhile waits for it.
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !done.iter().any(|name| name == file) {
        // Another process may be about the same; whoever renames last wins with the same bytes. A directory of its own,
        // since compilers leave more there for a while than what they are asked for.
        let own = directory.join(std::process::id().to_string());
        std::fs::create_dir_all(&own)?;
        let new = own.join(name);
        work(&source, &new).with_context(|| format!("compiling {file} failed"))?;
        std::fs::rename(&new, &module)?;
        std::fs::remove_dir(own)?;
        done.push(file.to_owned());
    }
    Ok(module)
}
