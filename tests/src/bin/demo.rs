//! The demonstration: real algorithms go from the queue through the sandbox to a result URL.
//!
//! `cargo demo` builds what it needs and runs this. It serves the sample data over HTTP on a loopback port,
//! starts queue, worker and HTTP in one process, and drives it with the commands that a user would type.
//! With `--stay` it stays up until it is interrupted.

use anyhow::{Context, ensure};
use longboat_tests::build::ALGORITHMS;
use longboat_tests::data_server::DataServer;
use longboat_tests::program::{Longboat, Server};
use longboat_tests::{build, sample};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The chart in the terminal, in characters.
const CHART_WIDTH: u32 = 96;
const CHART_HEIGHT: u32 = 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stay = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--stay" => true,
        _ => anyhow::bail!("usage: cargo demo [-- --stay]"),
    };
    let data = sample("forecast", "demand.csv");
    let data_server = DataServer::start([data.clone(), sample("power-flow", "case14.json")]).await?;
    let node = Longboat::at(fresh_directory()?)?;
    node.allow_input(data_server.address())?;

    title("Registering the algorithms");
    for name in ALGORITHMS {
        let module = build::algorithm(name)?;
        let size = std::fs::metadata(&module)?.len() / 1024;
        shell(&format!("longboat algorithm add {name} {} # {size} KiB", file_name(&module)));
        println!("{}", node.ok([OsStr::new("algorithm"), "add".as_ref(), name.as_ref(), module.as_ref()])?);
    }

    title("Starting queue, worker and HTTP in one process");
    shell("longboat up");
    let server = node.start_with_output(["up"], Stdio::piped())?;
    println!("results at {}/<id>", server.url);

    title("Submitting four jobs");
    let jobs = submit_all(&node, &data_server)?;
    title("What the worker says");
    let server = follow(&node, server, &jobs)?;

    title("The verdicts");
    shell("longboat list");
    println!("{}", node.ok(["list"])?);
    let [forecast, power_flow, storage, sailor] = &jobs[..] else { anyhow::bail!("four jobs were submitted") };
    show_forecast(&node, forecast, &data)?;
    show_power_flow(&node, power_flow)?;
    show_storage(&node, storage)?;
    title("The drunken sailor: three attempts, and home");
    shell(&format!("longboat show {sailor}"));
    println!("{}", node.ok(["show", sailor])?);
    show_places(&node, &server, &jobs);
    for job in &jobs {
        ensure!(node.json(["show", job])?["state"] == "done", "job {job} is not done");
    }
    if stay {
        println!("\nStill up; end it with Ctrl-C.");
        tokio::signal::ctrl_c().await?;
    } else {
        println!(
            "\nAll four jobs are done. `cargo demo -- --stay` keeps the server up, so that you can open the URLs."
        );
    }
    Ok(())
}

/// A directory beside what cargo builds, emptied.
fn fresh_directory() -> anyhow::Result<PathBuf> {
    let program = build::longboat()?;
    let target = program.parent().and_then(Path::parent).context("the program is in a target directory")?;
    let directory = target.join("demo");
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("emptying {} failed", directory.display()))?;
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn submit_all(node: &Longboat, data: &DataServer) -> anyhow::Result<Vec<String>> {
    let (demand, case) = (data.url("demand.csv"), data.url("case14.json"));
    let plan = r#"{"mode": ["endless-loop", "exit", "normal"]}"#;
    let jobs: [&[&str]; 4] = [
        &["forecast", "--input", &demand, "--param", "horizon=48"],
        &["power-flow", "--input", &case],
        &["storage", "--param", "scenarios=200"],
        &["drunken-sailor", "--ttr", "2s", "--fuel", "1e12", "--params", plan],
    ];
    jobs.into_iter()
        .map(|job| {
            let quoted =
                job.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
            shell(&format!("longboat submit {}", quoted.collect::<Vec<_>>().join(" ")));
            let id = node.ok(["submit"].iter().chain(job))?;
            println!("{id}");
            Ok(id)
        })
        .collect()
}

/// Prints what the worker says until all jobs have ended.
fn follow(node: &Longboat, mut server: Server, jobs: &[String]) -> anyhow::Result<Server> {
    let output = server.child.stdout.take().context("standard output is piped")?;
    let mut lines = BufReader::new(output).lines();
    let mut ended = 0;
    while ended < jobs.len() {
        let line = lines.next().context("the worker has ended")??;
        println!("{line}");
        ended += usize::from(line.starts_with(" + job completed") || line.starts_with(" + job is dead"));
    }
    std::thread::spawn(move || lines.for_each(drop));
    let arguments = ["wait"].into_iter().chain(jobs.iter().map(String::as_str));
    node.ok(arguments)?;
    Ok(server)
}

fn result(node: &Longboat, id: &str) -> anyhow::Result<Value> {
    Ok(node.json(["result", id])?["result"].take())
}

fn show_forecast(node: &Longboat, id: &str, data: &Path) -> anyhow::Result<()> {
    title("The forecast: the last three days of demand, and the next one");
    let result = result(node, id)?;
    let csv = std::fs::read_to_string(data)?;
    let known: Vec<f64> = csv.lines().skip(1).filter_map(|row| row.split(',').nth(1)?.parse().ok()).collect();
    let recent = &known[known.len().saturating_sub(144)..];
    let steps = result["forecast"].as_array().context("the result has a forecast")?;
    // Each line is the known days and one of the three ways on from there.
    let lines = ["lower", "upper", "mean"].map(|field| {
        let next = steps.iter().filter_map(|step| step[field].as_f64());
        recent.iter().copied().chain(next).map(|mw| mw / 1000.0).collect::<Vec<_>>()
    });
    let config = rasciigraph::Config::default().with_height(CHART_HEIGHT).with_width(CHART_WIDTH);
    let caption = "GW; the last day is the forecast, with its 95 % interval".to_owned();
    println!("{}", rasciigraph::plot_many(lines.to_vec(), config.with_caption(caption)));
    let backtest = &result["backtest"];
    println!(
        "method {}: better than {} by {:.0} % in {} backtests",
        result["method"].as_str().unwrap_or("?"),
        backtest["runner_up"].as_str().unwrap_or("?"),
        backtest["margin_percent"].as_f64().unwrap_or(0.0),
        backtest["folds"],
    );
    Ok(())
}

fn show_power_flow(node: &Longboat, id: &str) -> anyhow::Result<()> {
    title("The power flow: IEEE 14 buses");
    let result = result(node, id)?;
    let losses = result["losses_mw"].as_f64().context("the result has losses")?;
    println!("losses {losses:.3} MW (published: 13.393 MW), after {} iterations", result["iterations"]);
    Ok(())
}

fn show_storage(node: &Longboat, id: &str) -> anyhow::Result<()> {
    title("The storage simulation: a house with panels and a battery");
    let quantiles = &result(node, id)?["quantiles"];
    for (name, values) in quantiles.as_object().context("the result has quantiles")? {
        let value = |level: &str| values[level].as_f64().unwrap_or(f64::NAN);
        println!("{name:28} {:9.1}   (5 to 95 %: {:.1} to {:.1})", value("p50"), value("p05"), value("p95"));
    }
    Ok(())
}

fn show_places(node: &Longboat, server: &Server, jobs: &[String]) {
    title("Where to read the results");
    for (name, job) in ALGORITHMS.iter().zip(jobs) {
        let hex = job.replace('-', "");
        let directory = node.data_dir().join("results").join(&hex[..2]).join(&hex);
        println!("{name:15} {}/{job}", server.url);
        println!("{:15} {}", "", directory.display());
        for picture in ["forecast.svg", "storage.svg"] {
            let picture = directory.join("files").join(picture);
            if picture.exists() {
                println!("{:15} {} (a picture to open)", "", picture.display());
            }
        }
    }
}

fn title(text: &str) {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("\n{bold}{text}{plain}");
}

fn shell(command: &str) {
    println!("$ {command}");
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
