//! `cargo torture`: the storm of the tests, for as long as you like.

use anyhow::{Context, bail};
use longboat_tests::program::Longboat;
use longboat_tests::torture::{self, Plan};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: cargo torture [--kills N] [--minutes N] [--seed N]\n\
    kills workers and submitters until so many are dead or the time is over, and proves that nothing was lost";

fn main() -> anyhow::Result<()> {
    let plan = plan(std::env::args().skip(1).filter(|argument| argument != "--"))?;
    println!("seed {}: up to {} kills within {:.0} minutes", plan.seed, plan.kills, plan.time.as_secs_f64() / 60.0);
    let node = Longboat::with_algorithms(&["drunken-sailor"])?;
    let start = Instant::now();
    let again = || format!("seed {} broke a promise; the data directory is gone with this process", plan.seed);
    println!("{}", torture::run(&node, &plan).with_context(again)?);
    println!("in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Plan> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut plan = Plan { seed: since.as_secs(), kills: 1000, time: Duration::from_secs(600) };
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value\n{USAGE}"))?;
        let number: u64 = value.parse().with_context(|| format!("{option}: {value:?} is no whole number\n{USAGE}"))?;
        match option.as_str() {
            "--seed" => plan.seed = number,
            "--kills" => plan.kills = u32::try_from(number).context(USAGE)?,
            "--minutes" => plan.time = Duration::from_secs(number.saturating_mul(60)),
            _ => bail!("there is no option {option}\n{USAGE}"),
        }
    }
    Ok(plan)
}
