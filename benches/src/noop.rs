//! A program that does nothing, as a guest and as a process of its own.

use anyhow::{Context, ensure};
use longboat_tests::{build, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The same source for both worlds, compiled with the same options.
#[derive(Debug)]
pub struct Noop {
    /// The WebAssembly module.
    pub module: PathBuf,
    /// The native program.
    pub program: PathBuf,
}

impl Noop {
    /// Compiles `guests/noop.rs` into a directory.
    ///
    /// # Errors
    /// The compiler's.
    pub fn build(directory: &Path) -> anyhow::Result<Self> {
        build::ensure_target()?;
        let noop = Self { module: directory.join("noop.wasm"), program: directory.join("noop") };
        rustc("noop", &noop.module, &["--target", build::TARGET])?;
        rustc("noop", &noop.program, &[])?;
        Ok(noop)
    }
}

/// Compiles one of `guests/`.
///
/// # Errors
/// The compiler's.
pub fn rustc(guest: &str, output: &Path, options: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("rustc")
        .args(["-O", "--edition", "2024", "-o"])
        .arg(output)
        .args(options)
        .arg(format!("benches/guests/{guest}.rs"))
        .current_dir(workspace())
        .status()
        .context("running rustc failed")?;
    ensure!(status.success(), "rustc could not make {}", output.display());
    Ok(())
}
