//! The programs of `tests/guests`, compiled when they are needed.

use anyhow::{Context, ensure};
use longboat_tests::{build, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Every guest; the tidy test holds this list against the directory.
pub const ALL: [&str; 6] = ["greedy.rs", "plain.c", "plain.rs", "prisoner.rs", "sipper.rs", "smuggler.rs"];

/// The module of a Rust guest.
pub fn rust(name: &str) -> anyhow::Result<PathBuf> {
    build::ensure_target()?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    compile(&format!("{name}.rs"), |source, module| {
        let mut command = Command::new(rustc);
        command.args(["--edition", "2024", "--target", build::TARGET, "-O", "-o"]).args([module, source]);
        command
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
    compile(&format!("{name}.c"), |source, module| {
        let mut command = Command::new(compiler);
        command.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).args([module, source]);
        command
    })
    .map(Ok)
}

fn compile(file: &str, command: impl FnOnce(&Path, &Path) -> Command) -> anyhow::Result<PathBuf> {
    static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    ensure!(ALL.contains(&file), "{file} is not in the list of guests");
    let source = workspace().join("tests/guests").join(file);
    let (name, language) = file.split_once('.').context("a guest's name has an extension")?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests").join(language);
    let module = directory.join(name).with_extension("wasm");
    // The lock is held while compiling: whoever needs the same guest meanwhile waits for it.
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !done.iter().any(|name| name == file) {
        std::fs::create_dir_all(&directory)?;
        // Another process may be about the same; whoever renames last wins with the same bytes.
        let new = directory.join(format!("{name}.{}", std::process::id()));
        let output = command(&source, &new).output().with_context(|| format!("compiling {file} failed"))?;
        ensure!(output.status.success(), "compiling {file} failed: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&new, &module)?;
        done.push(file.to_owned());
    }
    Ok(module)
}
