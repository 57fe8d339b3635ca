//! `longboat status`: counts, waiting times and workers of the queue.

use super::node::Node;
use crate::cli::Format;
use crate::output;
use jiff::Timestamp;
use longboat::job::{State, Tube};
use longboat::queue::{Attempts, COUNTED, Recent, Spread, Status};
use std::collections::{BTreeMap, BTreeSet};

/// How many tubes, and pairs of tube and algorithm, are shown to people, the busiest first.
const SHOWN: usize = 20;
/// The states of jobs that have not ended: the columns of the table of tubes.
const OPEN: [State; 4] = [State::Held, State::Delayed, State::Ready, State::Running];

pub async fn status(node: &Node, format: Format) -> anyhow::Result<bool> {
    output::print(format, &node.queue().await?.status().await?, |status| summary(status, Timestamp::now()))?;
    Ok(true)
}

fn summary(status: &Status, now: Timestamp) -> String {
    let parts =
        [states(status, now), facts(status, now), recent(status), tubes(status), attempts(status), workers(status)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn states(status: &Status, now: Timestamp) -> String {
    let ago = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| age(time, now));
    let rows = State::ALL.map(|state| {
        let ages = status.ages.get(&state);
        let jobs = status.states.get(&state).copied().unwrap_or(0);
        let (oldest, newest) = (ages.map(|ages| ages.0), ages.map(|ages| ages.1));
        vec![state.to_string(), output::number(jobs), ago(oldest), ago(newest)]
    });
    output::table(&["state", "jobs", "oldest submitted", "newest submitted"], rows)
}

fn facts(status: &Status, now: Timestamp) -> String {
    let mut lines = vec![format!("{} submitted since the queue was made", count(status.submitted, "job"))];
    lines.extend(status.oldest.as_ref().map(|oldest| {
        let age = age(oldest.submitted_at, now);
        format!("the oldest ready job is {} in tube {}, submitted {age}", oldest.id, oldest.tube)
    }));
    lines.join("\n")
}

fn recent(status: &Status) -> String {
    let number = |jobs: u64| {
        let is_capped = if jobs >= COUNTED { "at least " } else { "" };
        format!("{is_capped}{}", output::number(jobs))
    };
    let row = |recent: &Recent| {
        let ended = [State::Done, State::Dead, State::Cancelled];
        let jobs = ended.map(|state| number(recent.jobs.get(&state).copied().unwrap_or(0)));
        std::iter::once(count(recent.hours.into(), "hour")).chain(jobs).collect()
    };
    if status.recent.is_empty() {
        return String::new();
    }
    output::table(&["ended within", "done", "dead", "cancelled"], status.recent.iter().map(row))
}

fn tubes(status: &Status) -> String {
    let nothing = BTreeMap::new();
    let names: BTreeSet<&Tube> = status.tubes.keys().chain(status.paused.keys()).collect();
    let jobs = |tube: &Tube| status.tubes.get(tube).unwrap_or(&nothing);
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|tube| std::cmp::Reverse(jobs(tube).values().sum::<u64>()));
    let rows = names.iter().take(SHOWN).map(|tube| {
        let counts = OPEN.iter().map(|state| output::number(jobs(tube).get(state).copied().unwrap_or(0)));
        let paused = match status.paused.get(tube) {
            None => "-".to_owned(),
            Some(None) => "until it is resumed".to_owned(),
            Some(Some(until)) => format!("until {}", until.strftime("%F %T")),
        };
        std::iter::once(tube.to_string()).chain(counts).chain([paused]).collect()
    });
    if names.is_empty() {
        return String::new();
    }
    let table = output::table(&["tube", "held", "delayed", "ready", "running", "paused"], rows);
    table + &more(names.len(), "tube")
}

/// Durations and verdicts of attempts, in two tables, because one would be too wide.
fn attempts(status: &Status) -> String {
    if status.attempts.verdicts.is_empty() {
        return String::new();
    }
    let mut pairs: Vec<_> = status.timings.iter().collect();
    pairs.sort_by_key(|timing| std::cmp::Reverse(timing.attempts.ran.count));
    let mut rows: Vec<(String, String, &Attempts)> = pairs
        .iter()
        .take(SHOWN)
        .map(|timing| (timing.tube.to_string(), timing.algorithm.to_string(), &timing.attempts))
        .collect();
    if pairs.len() != 1 || pairs[0].attempts != status.attempts {
        rows.push(("all".to_owned(), "all".to_owned(), &status.attempts));
    }
    let durations = rows.iter().map(|(tube, algorithm, attempts)| {
        let spreads = [attempts.waited, attempts.ran].map(quantiles).concat();
        [tube.clone(), algorithm.clone(), output::number(attempts.ran.count)].into_iter().chain(spreads).collect()
    });
    let header = ["tube", "algorithm", "attempts", "wait p50", "p90", "p99", "max", "run p50", "p90", "p99", "max"];
    let durations = output::table(&header, durations);
    let verdicts = rows.iter().map(|(tube, algorithm, attempts)| {
        let kinds = attempts.verdicts.iter().map(|(kind, attempts)| format!("{} {kind}", output::number(*attempts)));
        vec![tube.clone(), algorithm.clone(), kinds.collect::<Vec<_>>().join(", ")]
    });
    let verdicts = output::table(&["tube", "algorithm", "verdicts"], verdicts);
    format!("{durations}{}\n\n{verdicts}", more(pairs.len(), "pair"))
}

fn quantiles(spread: Spread) -> [String; 4] {
    let shown = |millis| if spread.count == 0 { "-".to_owned() } else { brief(millis) };
    [spread.p50_ms, spread.p90_ms, spread.p99_ms, spread.max_ms].map(shown)
}

fn workers(status: &Status) -> String {
    let rows = status.workers.iter().map(|worker| {
        vec![
            output::plain(&worker.name),
            worker.started_at.strftime("%F %T").to_string(),
            output::number(worker.running),
        ]
    });
    if status.workers.is_empty() {
        return String::new();
    }
    output::table(&["worker", "started", "running"], rows)
}

fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", output::number(number), if number == 1 { "" } else { "s" })
}

/// The line for rows that were left out of a table.
fn more(all: usize, noun: &str) -> String {
    match u64::try_from(all.saturating_sub(SHOWN)) {
        Ok(0) | Err(_) => String::new(),
        Ok(hidden) => format!("\n… and {} more: -o json has them", count(hidden, noun)),
    }
}

fn age(time: Timestamp, now: Timestamp) -> String {
    // Another machine's clock may be ahead.
    format!("{} ago", brief(now.duration_since(time).as_millis_f64().max(0.0)))
}

/// A duration in milliseconds, in few characters.
fn brief(millis: f64) -> String {
    const UNITS: [(f64, &str); 5] =
        [(86_400_000.0, "d"), (3_600_000.0, "h"), (60_000.0, "min"), (1_000.0, "s"), (1.0, "ms")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| millis >= *unit).unwrap_or((1.0, "ms"));
    let value = millis / unit;
    let decimals = usize::from(value < 10.0 && unit > 1.0);
    format!("{value:.decimals$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use longboat::job::JobId;
    use longboat::queue::{Oldest, Timing, WorkerStatus};

    fn spread(millis: f64) -> Spread {
        let [p50_ms, p90_ms, p99_ms, max_ms] = [0.5, 0.9, 0.99, 1.0].map(|part| millis * part);
        Spread { count: 123_456, mean_ms: p50_ms, p50_ms, p90_ms, p99_ms, max_ms }
    }

    fn timing(algorithm: &str) -> Timing {
        let verdicts = [("done", 123_000), ("out-of-memory", 400), ("deadline", 56)];
        let verdicts = verdicts.map(|(kind, attempts)| (kind.to_owned(), attempts)).into();
        let attempts = Attempts { verdicts, waited: spread(7_200_000.0), ran: spread(59_999.0) };
        Timing { tube: "overnight".parse().unwrap(), algorithm: algorithm.parse().unwrap(), attempts }
    }

    fn busy(now: Timestamp) -> Status {
        let ago = |seconds| now - jiff::SignedDuration::from_secs(seconds);
        let tube: Tube = "overnight".parse().unwrap();
        Status {
            submitted: 5_000_000,
            states: State::ALL.map(|state| (state, 1_234_567)).into(),
            tubes: [(tube.clone(), [(State::Ready, 1_234_567)].into())].into(),
            paused: [(tube.clone(), Some(now)), ("idle".parse().unwrap(), None)].into(),
            ages: [(State::Ready, (ago(90_000), ago(3)))].into(),
            oldest: Some(Oldest { id: JobId::new(), tube, submitted_at: ago(90_000) }),
            recent: vec![Recent { hours: 1, jobs: [(State::Done, COUNTED)].into() }],
            attempts: timing("all").attempts,
            timings: vec![timing("drunken-sailor"), timing("power-flow")],
            workers: vec![WorkerStatus { name: "node1".to_owned(), started_at: ago(7_000), running: 4 }],
        }
    }

    #[test]
    fn busy_queue_fits_110_columns() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let text = summary(&busy(now), now);
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        for part in ["1.0 d ago", "3.0 s ago", "at least 1,000,000", "until it is resumed", "123,000 done", "1.0 h"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn empty_queue_takes_ten_lines() {
        let text = summary(&Status::default(), Timestamp::now());
        assert_eq!(text.lines().count(), 10, "{text}");
    }

    #[test]
    fn busiest_tubes_come_first_and_the_rest_is_counted() {
        let timings = (0..SHOWN as u64 + 3).map(|number| {
            let mut timing = timing(&format!("a{number}"));
            timing.attempts.ran.count = number;
            timing
        });
        let status = Status { timings: timings.collect(), attempts: timing("x").attempts, ..Status::default() };
        let text = attempts(&status);
        assert!(text.contains("… and 3 pairs more") && text.contains("a22 ") && !text.contains("a2 "), "{text}");
    }

    #[test]
    fn durations_are_short_at_every_scale() {
        let shown = [0.0, 15.0, 999.0, 1_500.0, 45_000.0, 150_000.0, 7_200_000.0, 8_640_000_000.0].map(brief);
        assert_eq!(shown, ["0 ms", "15 ms", "999 ms", "1.5 s", "45 s", "2.5 min", "2.0 h", "100 d"]);
    }
}
