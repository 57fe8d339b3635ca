//! Building with cargo.

use crate::workspace;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-wasip1";
/// The algorithms of this repository.
pub const ALGORITHMS: [&str; 4] = ["forecast", "power-flow", "storage", "drunken-sailor"];

/// The `longboat` program, built if it must be.
///
/// # Errors
/// The compiler's.
pub fn longboat() -> anyhow::Result<PathBuf> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    once(&PROGRAM, || {
        let artifacts = cargo(&["--package", "longboat", "--bin", "longboat"])?;
        artifacts.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == "longboat")).context("no program")
    })
}

/// The module of one of [`ALGORITHMS`]; all are built at the first call.
///
/// # Errors
/// The compiler's, or that its target is missing and cannot be added.
pub fn algorithm(name: &str) -> anyhow::Result<PathBuf> {
    static MODULES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let modules = once(&MODULES, || {
        ensure_target()?;
        let place = target_directory("guests")?;
        let packages = ALGORITHMS.iter().flat_map(|name| ["--package", name]);
        cargo(&["--target", TARGET, "--target-dir", &place].into_iter().chain(packages).collect::<Vec<_>>())
    })?;
    let file = format!("{}.wasm", name.replace('-', "_"));
    let module = modules.into_iter().find(|path| path.ends_with(&file));
    module.with_context(|| format!("cargo built no {file}"))
}

/// The program that makes random modules for the tests of hostile programs. It is a workspace of its own.
///
/// # Errors
/// The compiler's.
pub fn smith() -> anyhow::Result<PathBuf> {
    let manifest = workspace().join("tests/hostile/smith/Cargo.toml");
    let manifest = manifest.to_str().context("paths of the checkout are text")?;
    let place = target_directory("smith")?;
    cargo(&["--manifest-path", manifest, "--target-dir", &place])?.into_iter().next().context("no program")
}

/// A target directory in the one that this program was built into. `cargo demo` builds guests there as well,
/// while another cargo has the outer one.
fn target_directory(name: &str) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|directory| directory.join(".rustc_info.json").exists());
    let place = target.context("this program is not in a target directory")?.join(name);
    place.to_str().map(str::to_owned).context("paths of the target directory are text")
}

/// Adds the guests' target to the toolchain if it is missing.
///
/// # Errors
/// If there is no rustup to add it, or it cannot.
pub fn ensure_target() -> anyhow::Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace()).output()?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").exists() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(workspace()).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("`rustup target add {TARGET}` failed"),
        Err(_) => bail!(
            "the target {TARGET} is missing and there is no rustup to add it; install it for {}",
            sysroot.display()
        ),
    }
}

/// Builds with the profile that everything shares, and returns the programs and modules that come out.
fn cargo(arguments: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo failed")?;
    ensure!(output.status.success(), "`cargo build {}` failed", arguments.join(" "));
    let mut artifacts = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        artifacts.extend(files.filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
        artifacts.extend(message["executable"].as_str().map(PathBuf::from));
    }
    Ok(artifacts)
}

/// Does the work at the first call; later ones get a copy.
fn once<T: Clone>(cell: &OnceLock<T>, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    if let Some(done) = cell.get() {
        return Ok(done.clone());
    }
    // Two threads may come here at once; cargo's own lock lets the second find everything built.
    let done = work()?;
    Ok(cell.get_or_init(|| done).clone())
}
