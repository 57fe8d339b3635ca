//! The files of a Linux system that a process reads whatever its work is.
//!
//! Each of the lists is as narrow as the distributions' different places allow: `/etc/ssl` also holds private keys,
//! so it is `/etc/ssl/certs` that is here. A list may name what a system does not have.

use std::path::{Path, PathBuf};

/// What the C library, SQLite, wasmtime and the queue read about themselves and the machine: the process's own memory
/// map, how many cores it may use, random bytes, and which run of the system this is.
const PROCESS: [&str; 6] = [
    "/proc/self",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/urandom",
];

/// What it takes to resolve a name. The C library loads the ways to do so as libraries, at the first name.
const RESOLVER: [&str; 13] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// Where systems keep the certificates that they trust, and where the links in these directories lead.
/// Source: the places in the crate openssl-probe, which looks for them.
const CERTIFICATES: [&str; 13] = [
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/pki",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
    "/opt/etc/ssl/certs",
];

/// What every process reads of itself and of the machine; its own program among it, for backtraces.
pub fn process() -> Vec<PathBuf> {
    PROCESS.map(PathBuf::from).into_iter().chain(std::env::current_exe().ok()).collect()
}

/// What it takes to resolve names.
///
/// Services that keep such a file up to date put a new one in its place, which a wall around the old one keeps out.
/// They do so below `/run`, with a link from `/etc`, so there the whole directory is let through.
pub fn resolver() -> Vec<PathBuf> {
    let kept = |path: &Path| path.canonicalize().ok().filter(|target| target.starts_with("/run"));
    let place = |path: &str| match kept(Path::new(path)).as_deref().and_then(Path::parent) {
        Some(directory) if directory != Path::new("/run") => directory.to_owned(),
        _ => PathBuf::from(path),
    };
    RESOLVER.map(place).into()
}

/// What it takes to trust servers.
pub fn certificates() -> Vec<PathBuf> {
    CERTIFICATES.map(PathBuf::from).into()
}
