//! The storm: workers and submitters that are killed hundreds of times.

use crate::support::sailor;
use longboat_tests::torture::{self, Plan};
use std::time::Duration;

#[test]
fn hundreds_of_killed_workers_and_submitters_lose_double_and_tear_nothing() -> anyhow::Result<()> {
    let plan = Plan { seed: 1, kills: 300, time: Duration::from_secs(45) };
    println!("seed {}; more of it with `cargo torture -- --seed {}`", plan.seed, plan.seed);
    let tally = torture::run(&sailor()?, &plan)?;
    println!("{tally}");
    // A storm that was becalmed proves nothing.
    assert!(tally.workers_killed >= 20 && tally.submitters_killed >= 20, "{tally}");
    assert!(tally.jobs >= 100 && tally.lost >= 10, "{tally}");
    Ok(())
}
