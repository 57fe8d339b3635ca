//! Confines `worker`, `serve` and `up` to the files and ports that they need.
//!
//! `run` is not confined: it reads and writes the files that its user names.

use super::Usage;
use super::node::Node;
use crate::cli::WallArgs;
use crate::output;
use anyhow::Context;
use longboat::config::ConfinementMode;
use longboat::confinement::{self, Needs, system};
use longboat::intake::Address;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The port of name servers: a long answer comes over TCP.
const DNS: u16 = 53;

/// Confines a process that runs jobs, takes jobs from `intakes`, and perhaps serves results too.
///
/// # Errors
/// If the configuration demands more than the kernel can do.
pub fn worker(node: &Node, intakes: &[Address], walls: &WallArgs) -> anyhow::Result<()> {
    let mode = mode(node, walls)?;
    let mut write = vec![queue_directory(node)?];
    for directory in [
        // Any of these may be a link to another place.
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
    let servers = intakes.iter().map(Address::port);
    let dial = named.map(|(inputs, results)| inputs.into_iter().chain(results).chain([DNS]).chain(servers).collect());
    confine(mode, &Needs { write: outermost(write), read, dial })
}

/// Confines a process that only serves results.
///
/// # Errors
/// If the configuration demands more than the kernel can do.
pub fn server(node: &Node, walls: &WallArgs) -> anyhow::Result<()> {
    let mode = mode(node, walls)?;
    let mut read = system::process();
    read.push(node.create(node.data.results())?.canonicalize()?);
    // SQLite makes files beside a queue even for readers.
    let mut write = vec![queue_directory(node)?];
    // The registry of an older version is copied into the queue when the queue is opened.
    write.extend(node.data.algorithms().canonicalize().ok().filter(|root| root.join("names").exists()));
    confine(mode, &Needs { write: outermost(write), read, dial: Some(BTreeSet::new()) })
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
        "confining this process failed; worker.confinement = \"off\" in the configuration lets it run unconfined",
    )?;
    anyhow::ensure!(
        mode != ConfinementMode::Required || confinement.missing().is_empty(),
        "this process is to be confined wholly or not to start, and it cannot be:\n{confinement}"
    );
    output::tell(confinement);
    Ok(())
}

/// The directory of the queue's file and of SQLite's files beside it. If the file is a link, its target's
/// directory.
fn queue_directory(node: &Node) -> anyhow::Result<PathBuf> {
    let file = node.queue_path.canonicalize().unwrap_or_else(|_| node.queue_path.clone());
    let directory = match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    Ok(node.create(directory.to_owned())?.canonicalize()?)
}

/// Certificates that the environment names in place of the system's.
fn configured_certificates() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).into_iter().collect();
    if let Some(directories) = std::env::var_os("SSL_CERT_DIR") {
        paths.extend(std::env::split_paths(&directories));
    }
    paths
}

/// The directories without those that lie inside another one.
fn outermost(mut directories: Vec<PathBuf>) -> Vec<PathBuf> {
    directories.sort();
    directories.dedup_by(|later, earlier| later.starts_with(earlier));
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_directories_are_named_by_the_outermost() {
        let paths = ["/srv/a/results", "/srv/ab", "/srv/a", "/mnt", "/srv/a", "/srv/a-b"].map(PathBuf::from);
        let expected = ["/mnt", "/srv/a", "/srv/a-b", "/srv/ab"].map(PathBuf::from);
        assert_eq!(outermost(paths.into()), expected);
    }
}
