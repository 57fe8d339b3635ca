//! The walls around `worker`, `serve` and `up`: what each of them goes on needing.
//!
//! `run` has none: it reads and writes wherever its command line says, at the word of whoever typed it.

use super::{Node, Usage};
use crate::cli::WallArgs;
use crate::output;
use anyhow::Context;
use longboat::config::ConfinementMode;
use longboat::confinement::{self, Needs, system};
use std::path::{Path, PathBuf};

/// The port of name servers, which are asked over TCP when an answer is long.
const DNS: u16 = 53;

/// Confines a process that runs jobs, and perhaps serves results too.
///
/// # Errors
/// If it cannot be confined as it has to be.
pub fn worker(node: &Node, walls: &WallArgs) -> anyhow::Result<()> {
    let mode = mode(node, walls)?;
    let mut write = vec![queue_directory(node)?];
    for directory in [
        // By their own names as well, for whoever keeps one of them elsewhere, behind a link.
        node.data.path().to_owned(),
        node.data.algorithms(),
        node.data.cache(),
        node.data.results(),
        node.data.spool(),
    ] {
        write.push(node.create(directory)?.canonicalize()?);
    }
    let mut read = [system::process(), system::resolver(), system::certificates()].concat();
    read.extend(configured_certificates());
    read.extend(node.config_file.clone());
    let named = node.config.input.ports().zip(node.config.result_url.ports());
    let dial = named
        .map(|(inputs, results)| inputs.into_iter().chain(results).chain([DNS]).chain(server_ports(node)).collect());
    confine(mode, &Needs { write: outermost(write), read, dial })
}

/// Confines a process that only serves results.
///
/// # Errors
/// If it cannot be confined as it has to be.
pub fn server(node: &Node, walls: &WallArgs) -> anyhow::Result<()> {
    let mode = mode(node, walls)?;
    let mut read = system::process();
    read.push(node.create(node.data.results())?.canonicalize()?);
    if node.server.is_some() {
        read.extend(system::resolver());
    }
    // SQLite makes files beside a queue even for readers.
    confine(mode, &Needs { write: vec![queue_directory(node)?], read, dial: Some(server_ports(node).collect()) })
}

/// Where the queue's server listens, to whom a connection may be needed at any time, and who knows where it is.
fn server_ports(node: &Node) -> impl Iterator<Item = u16> {
    node.server.iter().flat_map(|address| [address.port(), DNS])
}

fn mode(node: &Node, walls: &WallArgs) -> anyhow::Result<ConfinementMode> {
    match node.config.worker.confinement {
        ConfinementMode::Off if walls.require_confinement => Err(Usage(
            "--require-confinement: the configuration says worker.confinement = \"off\"; take one of them away"
                .to_owned(),
        )
        .into()),
        _ if walls.require_confinement => Ok(ConfinementMode::Required),
        configured => Ok(configured),
    }
}

fn confine(mode: ConfinementMode, needs: &Needs) -> anyhow::Result<()> {
    if mode == ConfinementMode::Off {
        output::tell("not confined: the configuration says worker.confinement = \"off\"");
        return Ok(());
    }
    let confinement = confinement::confine(needs).context(
        "confining this process failed; worker.confinement = \"off\" in the configuration lets it go on without",
    )?;
    anyhow::ensure!(
        mode != ConfinementMode::Required || confinement.missing().is_empty(),
        "this process is to be confined wholly or not to start, and it cannot be:\n{confinement}"
    );
    output::tell(confinement);
    Ok(())
}

/// Where the queue's file is, and SQLite's beside it; behind a link, if the file is one.
fn queue_directory(node: &Node) -> anyhow::Result<PathBuf> {
    let file = node.queue.canonicalize().unwrap_or_else(|_| node.queue.clone());
    let directory = match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    Ok(node.create(directory.to_owned())?.canonicalize()?)
}

/// The certificates that the environment names instead of the system's.
fn configured_certificates() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).into_iter().collect();
    if let Some(directories) = std::env::var_os("SSL_CERT_DIR") {
        paths.extend(std::env::split_paths(&directories));
    }
    paths
}

/// Those of the directories that lie in no other of them.
fn outermost(mut directories: Vec<PathBuf>) -> Vec<PathBuf> {
    directories.sort();
    directories.dedup_by(|later, earlier| later.starts_with(earlier));
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_directories_in_each_other_the_outermost_is_named() {
        let paths = ["/srv/a/results", "/srv/ab", "/srv/a", "/mnt", "/srv/a", "/srv/a-b"].map(PathBuf::from);
        let expected = ["/mnt", "/srv/a", "/srv/a-b", "/srv/ab"].map(PathBuf::from);
        assert_eq!(outermost(paths.into()), expected);
    }
}
