//! The same provenance gives the same bytes for the same fuel, in another process too.

use crate::guests;
use crate::support::{argument, run};
use longboat_tests::program::Longboat;
use longboat_tests::{build, sample};
use serde_json::Value;
use std::path::Path;

const PINNED: [&str; 4] = ["--seed", "7", "--clock", "2026-11-21T18:00:00Z"];

/// What must be alike between two runs. The id of a run is a new one each time, so it is left out.
fn alike(module: &Path, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    // A node of its own each time, so that nothing is shared through the disk either.
    let node = Longboat::new()?;
    let (mut document, code) = run(&node, [argument(module)?].iter().chain(&PINNED).chain(arguments))?;
    assert_eq!(code, Some(0), "{document}");
    let parts = ["result", "files", "provenance"].map(|part| document[part].take());
    let usage = ["fuel", "peak_memory", "input_bytes", "result_bytes"].map(|figure| document["usage"][figure].take());
    Ok(parts.into_iter().chain(usage).collect())
}

#[test]
fn two_runs_of_an_algorithm_differ_in_nothing() -> anyhow::Result<()> {
    let (demand, case) = (sample("forecast", "demand.csv"), sample("power-flow", "case30.json"));
    for (algorithm, arguments) in [
        ("forecast", &["--input", argument(&demand)?, "--param=horizon=4"][..]),
        ("power-flow", &["--input", argument(&case)?]),
        ("storage", &["--param=scenarios=20"]),
    ] {
        let module = build::algorithm(algorithm)?;
        assert_eq!(alike(&module, arguments)?, alike(&module, arguments)?, "{algorithm}");
    }
    Ok(())
}

#[test]
fn clocks_dice_addresses_and_directories_are_alike_in_two_runs() -> anyhow::Result<()> {
    let module = guests::rust("greedy")?;
    let arguments = ["--param=want=dice", "--input=data:,same"];
    let first = alike(&module, &arguments)?;
    assert_eq!(first, alike(&module, &arguments)?);
    assert_eq!(first[0]["names"], serde_json::json!(["a", "b"]), "names are in order, whatever was made first");
    Ok(())
}

#[test]
fn another_seed_throws_other_dice_and_another_clock_shows_another_time() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("greedy")?;
    let throw = |seed: &str, clock: &str| {
        let arguments = [argument(&module)?, "--param=want=dice", "--seed", seed, "--clock", clock];
        run(&node, arguments).map(|(document, _)| document["result"].clone())
    };
    let (first, second) = (throw("1", "2000-01-01T00:00:00Z")?, throw("2", "2000-01-01T00:00:01Z")?);
    assert_ne!(first["hashed"], second["hashed"]);
    let time = |result: &Value| result["now"].as_str().and_then(|now| now.parse::<u64>().ok()).unwrap_or(0);
    // 2000-01-01 is 946,684,800 seconds after 1970; a second of fuel is more than the guest burns.
    assert_eq!([time(&first), time(&second)].map(|time| time / 1_000_000_000), [946_684_800, 946_684_801]);
    Ok(())
}
