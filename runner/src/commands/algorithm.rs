//! `longboat algorithm`: the registry.

use super::Node;
use crate::cli::{AlgorithmCommand, Format};
use crate::output;
use anyhow::Context;
use longboat::job::{AlgorithmName, Shape};
use longboat::registry::{Entry, MAX_MODULE};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub fn run(node: &Node, command: AlgorithmCommand, format: Format) -> anyhow::Result<bool> {
    let registry = node.registry()?;
    match command {
        AlgorithmCommand::Add { name, file } => {
            let entry = add(node, name, &file)?;
            output::print(format, &entry, |entry| {
                format!("{} is {} ({}, {})", entry.name, entry.module, shape(entry.shape), output::size(entry.size))
            })?;
        }
        AlgorithmCommand::List => output::print(format, &registry.list()?, |entries| table(entries))?,
        AlgorithmCommand::Show { name } => output::print(format, &registry.find(&name)?, show)?,
        AlgorithmCommand::Remove { name } => {
            registry.remove(&name)?;
            output::tell(format_args!("{name} is no longer registered; its modules stay reachable by digest"));
        }
    }
    Ok(true)
}

/// Compiles a module, so that what nobody could run is refused now and the first job need not wait.
fn add(node: &Node, name: AlgorithmName, file: &Path) -> anyhow::Result<Entry> {
    let bytes = read_module(file)?;
    let bar = output::working("compiling");
    let program =
        node.sandbox(1)?.compile(&bytes).with_context(|| format!("{} cannot be an algorithm", file.display()))?;
    bar.finish_and_clear();
    Ok(node.registry()?.add(name, &bytes, program.shape())?)
}

/// Reads a module's file.
///
/// # Errors
/// The disk's, or that the file is too large.
pub fn read_module(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let open = File::open(file).with_context(|| format!("opening {} failed", file.display()))?;
    open.take(MAX_MODULE + 1).read_to_end(&mut bytes).with_context(|| format!("reading {} failed", file.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_MODULE,
        "{} has more than {MAX_MODULE} bytes, the most that a module may have",
        file.display()
    );
    Ok(bytes)
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Algorithm => "algorithm",
        Shape::Command => "command",
    }
}

fn table(entries: &[Entry]) -> String {
    output::table(
        &["name", "shape", "size", "added", "module"],
        entries.iter().map(|entry| {
            vec![
                entry.name.to_string(),
                shape(entry.shape).to_owned(),
                output::size(entry.size),
                entry.added_at.strftime("%F %T").to_string(),
                entry.module.to_string(),
            ]
        }),
    )
}

fn show(entry: &Entry) -> String {
    let mut lines = vec![output::pairs(&[
        ("name", entry.name.to_string()),
        ("module", entry.module.to_string()),
        ("shape", shape(entry.shape).to_owned()),
        ("size", output::size(entry.size)),
        ("added", entry.added_at.to_string()),
    ])];
    for earlier in &entry.earlier {
        lines.push(format!("earlier {}  added {}", earlier.module, earlier.added_at));
    }
    lines.join("\n")
}
