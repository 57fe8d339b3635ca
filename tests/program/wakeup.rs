//! How soon a worker hears of a job that another process has submitted.

use crate::support::{Worker, sailor, submit};
use anyhow::Context;
use serde_json::Value;

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

/// The milliseconds since midnight of a time of a record, such as `2026-11-21T18:00:00.000Z`.
fn time_of_day(time: &Value) -> anyhow::Result<i64> {
    let (_, time) = time.as_str().and_then(|text| text.split_once('T')).context("a time")?;
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let number = |from: usize, to: usize| {
        digits.get(from..to).context("hours to milliseconds")?.parse::<i64>().context("digits")
    };
    Ok(((number(0, 2)? * 60 + number(2, 4)?) * 60 + number(4, 6)?) * 1000 + number(6, 9)?)
}

/// From the submission of a job that two idle workers wait for to its start, in milliseconds, for twenty jobs.
fn delays(options: &[&str]) -> anyhow::Result<Vec<i64>> {
    let node = sailor()?;
    let mut workers = Vec::new();
    for name in ["--name=one", "--name=two"] {
        let mut worker = Worker::start(&node, &[&[name, "--slots=1"], options].concat())?;
        worker.await_line("serves")?;
        workers.push(worker);
    }
    let mut delays = Vec::new();
    for _ in 0..20 {
        let id = submit(&node, ["drunken-sailor", "--param=mode=normal"].iter().chain(options))?;
        node.ok(["wait", &id].iter().chain(options))?;
        let record = node.json(["show", &id].iter().chain(options))?;
        let started = time_of_day(&record["history"][0]["started_at"])?;
        delays.push((started - time_of_day(&record["submitted_at"])?).rem_euclid(DAY));
    }
    // The first one waits until the workers are ready.
    let mut delays = delays.split_off(1);
    delays.sort_unstable();
    println!("{options:?}: started {} ms after submission in the median, at most {} ms", delays[9], delays[18]);
    Ok(delays)
}

#[test]
fn an_idle_worker_starts_a_job_of_another_process_at_once() -> anyhow::Result<()> {
    let delays = delays(&[])?;
    // 50 ms are promised, of a machine that does nothing else.
    assert!(delays[9] < 100, "{delays:?}");
    Ok(())
}

#[test]
fn an_idle_worker_starts_a_job_of_a_shared_queue_soon() -> anyhow::Result<()> {
    let delays = delays(&["--shared"])?;
    assert!(delays[9] < 400, "{delays:?}");
    Ok(())
}
