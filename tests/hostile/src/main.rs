//! `cargo hostile`: more cases than the tests have time for.

use anyhow::{Context, ensure};
use clap::Parser;
use longboat_hostile::campaign::Campaign;
use longboat_hostile::{TARGETS, Target};
use std::path::PathBuf;

/// Throws hostile bytes at Longboat's readers of foreign bytes.
///
/// The same seed makes the same cases. The first case that breaks a promise ends the run, with the command that runs
/// this case alone.
#[derive(Debug, Parser)]
#[command(name = "cargo hostile")]
struct Args {
    /// Which targets; all of them if none is named.
    targets: Vec<String>,
    /// How many cases each; as many as the tests run if absent.
    #[arg(long)]
    cases: Option<u64>,
    /// What the cases follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first case.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Files to start from, beside each target's own samples.
    #[arg(long, value_name = "FILE")]
    sample: Vec<PathBuf>,
    /// Prints the targets' names.
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.list {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {} failed", path.display()));
    let samples = args.sample.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    for target in chosen(&args.targets)? {
        let (seed, first) = (args.seed, args.first);
        let cases = args.cases.unwrap_or(target.cases);
        let report = Campaign { target, seed, first, cases, samples: samples.clone() }.run()?;
        println!("{report}");
        if cases >= target.cases && first == 0 {
            let missing: Vec<_> =
                target.reached.iter().filter(|ending| !report.endings.contains_key(*ending)).collect();
            ensure!(missing.is_empty(), "{}: no case came to {missing:?}: the cases have become too wild", target.name);
        }
    }
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Target>> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let find = |name: &String| TARGETS.into_iter().find(|target| target.name == name);
    names.iter().map(|name| find(name).with_context(|| format!("there is no target {name:?}; see --list"))).collect()
}
