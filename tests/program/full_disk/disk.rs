//! Small disks, for those who may mount them, and a limit on files for all others.

use anyhow::{Context, ensure};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk in memory, which is unmounted when it is dropped.
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one, or says why that is not possible here.
    pub fn mount(path: PathBuf, size: &str) -> anyhow::Result<Option<Self>> {
        fs::create_dir_all(&path)?;
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Some(Self { path })),
            Ok(output) => {
                println!("skipped: no disk can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
                Ok(None)
            }
            Err(error) => {
                println!("skipped: no disk can be mounted here: mount: {error}");
                Ok(None)
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another size.
    pub fn resize(&self, size: &str) -> anyhow::Result<()> {
        let options = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.path).status()?;
        ensure!(status.success(), "the disk could not be made larger");
        Ok(())
    }

    /// Fills it to the last byte, and returns the file that does.
    pub fn fill(&self) -> anyhow::Result<PathBuf> {
        let path = self.path.join("ballast");
        let mut file = File::create(&path)?;
        for size in [64 << 10, 1 << 10, 1] {
            loop {
                match file.write_all(&vec![0; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling the disk failed"),
                }
            }
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is not gone yet must not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// The same command in a process that can write no file beyond so many bytes: the kernel refuses, as a full disk does,
/// instead of ending the process.
pub fn limited(command: &Command, bytes: u64) -> Command {
    let mut shell = Command::new("sh");
    // In units of 512 bytes, as POSIX has it.
    let script = format!("trap '' XFSZ && ulimit -f {} && exec \"$0\" \"$@\"", bytes / 512);
    shell.args(["-c", &script]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}
