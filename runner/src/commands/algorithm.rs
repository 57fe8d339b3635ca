//! `longboat algorithm`: the registered algorithms.

use super::node::Node;
use crate::cli::{AlgorithmCommand, Format};
use crate::output;
use anyhow::Context;
use longboat::job::{AlgorithmName, Shape};
use longboat::queue::{Algorithm, MAX_MODULE};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub async fn run(node: &Node, command: AlgorithmCommand, format: Format) -> anyhow::Result<bool> {
    match command {
        AlgorithmCommand::Add { name, file } => {
            output::print(format, &add(node, &name, &file).await?, |Algorithm { name, current, .. }| {
                format!("{name} is {} ({}, {})", current.module, shape(current.shape), output::size(current.size))
            })?;
        }
        AlgorithmCommand::List => {
            output::print(format, &node.queue().await?.algorithms().await?, |algorithms| table(algorithms))?;
        }
        AlgorithmCommand::Show { name } => {
            let found = node.queue().await?.algorithm(&name).await?;
            output::print(format, &found.with_context(|| unknown(&name))?, show)?;
        }
        AlgorithmCommand::Remove { name } => {
            anyhow::ensure!(node.queue().await?.remove(&name).await?, unknown(&name));
            output::tell(format_args!("{name} is no longer registered; its modules stay reachable by digest"));
        }
    }
    Ok(true)
}

/// The message for a name that no algorithm has.
pub fn unknown(name: &AlgorithmName) -> String {
    format!(
        "no algorithm is registered as `{name}`; `longboat algorithm list` shows all of them, and \
         `longboat algorithm add {name} FILE` registers one"
    )
}

/// Registers a module. It is compiled first: a module that cannot run is refused now, and the first job does
/// not wait for the compiler.
async fn add(node: &Node, name: &AlgorithmName, file: &Path) -> anyhow::Result<Algorithm> {
    let bytes = read_module(file)?;
    let bar = output::working("compiling");
    let program =
        node.sandbox(1)?.compile(&bytes).with_context(|| format!("{} cannot be an algorithm", file.display()))?;
    bar.finish_and_clear();
    Ok(node.queue().await?.add(name, program.shape(), bytes).await?)
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

fn table(algorithms: &[Algorithm]) -> String {
    output::table(
        &["name", "shape", "size", "added", "module"],
        algorithms.iter().map(|Algorithm { name, current, .. }| {
            vec![
                name.to_string(),
                shape(current.shape).to_owned(),
                output::size(current.size),
                current.added_at.strftime("%F %T").to_string(),
                current.module.to_string(),
            ]
        }),
    )
}

fn show(algorithm: &Algorithm) -> String {
    let current = &algorithm.current;
    let mut lines = vec![output::pairs(&[
        ("name", algorithm.name.to_string()),
        ("module", current.module.to_string()),
        ("shape", shape(current.shape).to_owned()),
        ("size", output::size(current.size)),
        ("added", current.added_at.to_string()),
    ])];
    for earlier in &algorithm.earlier {
        lines.push(format!("earlier {}  added {}", earlier.module, earlier.added_at));
    }
    lines.join("\n")
}
