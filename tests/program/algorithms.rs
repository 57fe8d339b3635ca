//! The four algorithms on their sample data, as a user runs them.

use crate::support::{argument, file, run, text};
use anyhow::{Context, ensure};
use longboat_tests::program::Longboat;
use longboat_tests::{build, sample};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn module(name: &str) -> anyhow::Result<PathBuf> {
    build::algorithm(name)
}

#[test]
fn a_day_of_demand_that_was_held_back_is_forecast_within_one_per_cent() -> anyhow::Result<()> {
    const DAY: usize = 48;
    let node = Longboat::new()?;
    let csv = std::fs::read_to_string(sample("forecast", "demand.csv"))?;
    let lines: Vec<_> = csv.lines().collect();
    let (known, held_back) = lines.split_at(lines.len() - DAY);
    let input = file(&node, "known.csv", known.join("\n"))?;
    let files = node.data_dir().join("out");
    let output = node.run([
        "run".as_ref(),
        module("forecast")?.as_os_str(),
        "--input".as_ref(),
        input.as_os_str(),
        "--param".as_ref(),
        "horizon=48".as_ref(),
        "--result-dir".as_ref(),
        files.as_os_str(),
    ])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).context("without -o the result itself is printed")?;
    let forecast = result["forecast"].as_array().context("a forecast is a list")?;
    assert_eq!(forecast.len(), DAY);
    let mut error = 0.0;
    for (step, line) in forecast.iter().zip(held_back) {
        let (time, actual) = line.split_once(',').context("the sample has two columns")?;
        assert_eq!(step["timestamp"], time);
        let actual: f64 = actual.parse()?;
        error += (number(&step["mean"])? - actual).abs() / actual;
        assert!(number(&step["lower"])? <= number(&step["mean"])? && step["mean"].as_f64() <= step["upper"].as_f64());
    }
    let mape = 100.0 * error / DAY as f64;
    assert!(mape < 1.0, "off by {mape} %");
    let table = std::fs::read_to_string(files.join("forecast.csv"))?;
    assert_eq!(table.lines().count(), DAY + 1);
    assert!(std::fs::read_to_string(files.join("forecast.svg"))?.starts_with("<svg"));
    Ok(())
}

#[test]
fn load_flows_agree_with_their_published_solutions() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    for case in ["case14", "case30"] {
        let solution: Value =
            serde_json::from_slice(&std::fs::read(sample("power-flow", &format!("{case}.solution.json")))?)?;
        let input = sample("power-flow", &format!("{case}.json"));
        let (document, code) = run(&node, [module("power-flow")?.as_os_str(), "--input".as_ref(), input.as_os_str()])?;
        assert_eq!((&document["verdict"], code), (&json!({"kind": "done"}), Some(0)));
        let solved = by_id(&document["result"]["bus"])?;
        let published = by_id(&solution["bus"])?;
        assert_eq!(solved.keys().collect::<Vec<_>>(), published.keys().collect::<Vec<_>>(), "{case}");
        for (id, (magnitude, angle)) in published {
            let (own_magnitude, own_angle) = solved[&id];
            assert!((own_magnitude - magnitude).abs() < 1e-6, "{case}, bus {id}: {own_magnitude} p.u.");
            assert!((own_angle - angle).abs() < 1e-4, "{case}, bus {id}: {own_angle} degrees");
        }
    }
    Ok(())
}

#[test]
fn a_year_with_a_battery_adds_up() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let files = node.data_dir().join("out");
    let (document, code) = run(
        &node,
        [
            module("storage")?.as_os_str(),
            "--seed=7".as_ref(),
            "--param=scenarios=20".as_ref(),
            "--result-dir".as_ref(),
            files.as_os_str(),
        ],
    )?;
    assert_eq!(code, Some(0));
    let result = &document["result"];
    assert_eq!((&result["scenarios"], &result["seed"]), (&json!(20), &json!(7)));
    let mean = |figure: &str| number(&result["quantiles"][figure]["mean"]);
    let bought_and_made = mean("import_kwh")? + mean("pv_kwh")?;
    let used_and_sold = mean("load_kwh")? + mean("export_kwh")? + mean("battery_in_kwh")? - mean("battery_out_kwh")?;
    assert!((bought_and_made - used_and_sold).abs() < 1e-6 * bought_and_made, "{bought_and_made} {used_and_sold}");
    assert!((0.3..0.95).contains(&mean("self_sufficiency")?));
    assert_eq!(std::fs::read_to_string(files.join("scenarios.csv"))?.lines().count(), 21);
    assert!(files.join("storage.svg").is_file());
    Ok(())
}

#[test]
fn a_measured_load_takes_the_place_of_the_made_up_one() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let load = file(&node, "load.csv", "0.5\n".repeat(8760))?;
    let input = format!("load={}", argument(&load)?);
    let (document, _) = run(
        &node,
        [module("storage")?.as_os_str(), "--input".as_ref(), input.as_ref(), "--param=scenarios=2".as_ref()],
    )?;
    assert_eq!(document["result"]["load"], "measured");
    let load = number(&document["result"]["quantiles"]["load_kwh"]["mean"])?;
    assert!((load - 4380.0).abs() < 1e-6, "{load}");
    Ok(())
}

#[test]
fn the_sailor_behaves_as_he_is_told() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let sail = |arguments: &[&str]| {
        let module = module("drunken-sailor")?;
        run(&node, [module.as_os_str()].into_iter().chain(arguments.iter().map(AsRef::as_ref)))
    };
    let (document, code) = sail(&["--param=mode=normal"])?;
    assert_eq!((&document["result"], code), (&json!({"mode": "normal", "attempt": 1}), Some(0)));
    let (document, code) = sail(&["--param=mode=slow", "--param=seconds=0.1"])?;
    assert_eq!((&document["result"]["mode"], code), (&json!("slow"), Some(0)));
    let (document, code) = sail(&["--param=mode=exit"])?;
    assert_eq!((&document["verdict"]["kind"], &document["verdict"]["exit_code"]), (&json!("failed"), &json!(10)));
    assert_eq!((&document["state"], code), (&json!("dead"), Some(1)));
    let (document, _) = sail(&["--param=mode=endless-loop", "--fuel=1e7"])?;
    assert_eq!(document["verdict"]["kind"], "out-of-fuel");
    let (document, _) = sail(&["--param=mode=endless-loop", "--fuel=1e12", "--timeout=100ms"])?;
    assert_eq!(document["verdict"]["kind"], "deadline");
    let (document, _) = sail(&["--param=mode=slow", "--param=seconds=3600", "--timeout=100ms"])?;
    assert_eq!(document["verdict"]["kind"], "deadline", "a sleep ends no later than anything else");
    let (document, _) = sail(&["--seed=0"])?;
    assert_eq!(document["result"]["mode"], "normal", "without a mode the seed decides");
    Ok(())
}

#[test]
fn an_algorithm_says_what_is_wrong_with_its_params_and_its_input() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let broken = file(&node, "broken", "timestamp,value\n2000-01-01,1\n2000-01-02,n/a\n")?;
    let case = sample("power-flow", "case14.json");
    for (algorithm, input, params, part) in [
        ("forecast", Some(&broken), "", "n/a"),
        ("forecast", None, "", "input"),
        ("forecast", Some(&broken), "horizont=3", "horizont"),
        ("power-flow", Some(&broken), "", "not a case"),
        ("power-flow", None, "", "needs an input"),
        ("power-flow", Some(&case), "tolerance=5", "tolerance"),
        ("storage", Some(&broken), "", "row"),
        ("storage", None, "scenarios=many", "scenarios"),
        ("drunken-sailor", None, "mode=sober", "endless-loop"),
        ("drunken-sailor", None, "mode=7", "mode"),
    ] {
        let mut arguments = vec![module(algorithm)?.into_os_string()];
        arguments.extend(input.into_iter().flat_map(|path| ["--input".into(), path.clone().into_os_string()]));
        arguments
            .extend(Some(params).filter(|params| !params.is_empty()).map(|params| format!("--param={params}").into()));
        let (document, code) = run(&node, &arguments)?;
        let verdict = &document["verdict"];
        assert_eq!((&verdict["kind"], code), (&json!("failed"), Some(1)), "{algorithm} {params}: {verdict}");
        assert_eq!(verdict["permanent"], true, "{algorithm} {params}: {verdict}");
        let message = verdict["message"].as_str().context("a failure has a message")?;
        ensure!(message.contains(part), "{algorithm} {params}: {message}");
    }
    Ok(())
}

fn number(value: &Value) -> anyhow::Result<f64> {
    value.as_f64().with_context(|| format!("{value} is not a number"))
}

fn by_id(buses: &Value) -> anyhow::Result<BTreeMap<i64, (f64, f64)>> {
    let bus = |bus: &Value| {
        Ok((bus["id"].as_i64().context("these ids are numbers")?, (number(&bus["vm_pu"])?, number(&bus["va_deg"])?)))
    };
    buses.as_array().context("there is a list of buses")?.iter().map(bus).collect()
}
