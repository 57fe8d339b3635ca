//! `longboat show`: all that is known of a job.

use super::result::served_at;
use super::{Node, find, outbox, unreadable};
use crate::cli::{Format, Reference};
use crate::output::{self, Field};
use jiff::Timestamp;
use longboat::job::{AttemptRecord, Document, Record, State, UniqueFor, Verdict, When};
use longboat::policy::display_url;
use serde_json::Value;
use std::time::Duration;

/// How many characters of params are shown to people.
const MAX_PARAMS: usize = 1000;

pub async fn show(node: &Node, job: Reference, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let record = match job {
        Reference::Id(id) => find(&*queue, id).await?,
        Reference::Number(number) => match unreadable::look(&*queue, number, format).await? {
            Some(record) => record,
            None => return Ok(true),
        },
    };
    output::print(format, &record, human)?;
    Ok(true)
}

fn human(record: &Record) -> String {
    let mut text = output::pairs(&[life(record), request(&record.document)].concat());
    if let Some(history) = record.history.as_ref().filter(|history| !history.is_empty()) {
        text.push_str("\n\n");
        let header = ["attempt", "worker", "started", "took", "fuel", "memory", "verdict"];
        text.push_str(&output::table(&header, history.iter().map(row)));
    }
    text
}

/// Where the job is in its life.
fn life(record: &Record) -> Vec<(&'static str, Field)> {
    let document = &record.document;
    let mut pairs: Vec<(&str, Field)> = vec![("id", record.id.to_string().into())];
    pairs.extend(record.number.map(|number| ("number", number.to_string().into())));
    pairs.extend([
        ("state", record.state.into()),
        ("algorithm", document.algorithm.to_string().into()),
        ("tube", document.tube.to_string().into()),
        ("priority", document.priority.to_string().into()),
        ("attempts", attempts(record).into()),
        ("submitted", time(record.submitted_at)),
    ]);
    if matches!(record.state, State::Held | State::Delayed | State::Ready) {
        pairs.push(("due", time(record.ready_at)));
    }
    pairs.extend(record.started_at.map(|started| ("started", time(started))));
    pairs.extend(record.finished_at.map(|finished| ("finished", time(finished))));
    pairs.extend(record.progress.as_ref().map(|progress| ("progress", output::progress(progress).into())));
    pairs.extend(record.verdict.as_ref().map(|verdict| ("verdict", plain(&verdict.to_string()))));
    pairs.extend(record.published.map(|attempt| {
        let place = record.public_url.as_ref().map(|url| format!(", at {}", served_at(url, record.id)));
        ("result", format!("from attempt {attempt}{}", place.unwrap_or_default()).into())
    }));
    pairs.extend(record.delivery.as_ref().map(|delivery| ("sent", outbox::standing(delivery).into())));
    pairs
}

/// How many attempts were made, of how many; those that were interrupted do not count.
fn attempts(record: &Record) -> String {
    let history = record.history.as_deref().unwrap_or_default();
    let interrupted = history.iter().filter(|made| matches!(made.verdict, Some(Verdict::Interrupted { .. }))).count();
    let counted = history.len() - interrupted;
    // A server counts reservations of which no attempt came, and attempts of other nodes.
    let last = record.attempts;
    let last = if last as usize > history.len() { format!("; the last is number {last}") } else { String::new() };
    let most = record.document.max_attempts;
    let granted = most.saturating_mul(record.kicks.saturating_add(1));
    let kicked =
        if record.kicks > 0 { format!(" (max_attempts {most}, kicks {})", record.kicks) } else { String::new() };
    let interrupted = if interrupted > 0 { format!(", and {interrupted} interrupted") } else { String::new() };
    format!("{counted} of {granted}{kicked}{interrupted}{last}")
}

/// What else was asked for.
fn request(document: &Document) -> Vec<(&'static str, Field)> {
    let mut pairs: Vec<(&str, Field)> = Vec::new();
    if !document.tags.is_empty() {
        pairs.push(("tags", plain(&document.tags.join(", "))));
    }
    pairs.extend(document.host.as_ref().map(|host| ("host", plain(host))));
    pairs.extend(document.unique.as_ref().map(|unique| {
        let until = match unique.period {
            UniqueFor::Done => "until it has ended".to_owned(),
            UniqueFor::For(span) => format!("for {span}"),
        };
        ("unique", plain(&format!("{}, {until}", unique.key)))
    }));
    if !document.params.is_empty() {
        pairs.push(("params", plain(&cut(&Value::Object(document.params.clone()).to_string()))));
    }
    let inputs = document.inputs().into_iter();
    pairs.extend(inputs.map(|(name, url)| ("input", plain(&format!("{name} = {}", display_url(&url))))));
    pairs.extend(document.result_url.as_ref().map(|url| ("result_url", plain(&display_url(url)))));
    pairs.extend(document.expires.map(|expires| match expires {
        When::At(at) => ("expires", time(at)),
        When::After(span) => ("expires", format!("{span} after that was asked for").into()),
    }));
    pairs.extend(document.ttr.map(|ttr| ("ttr", ttr.to_string().into())));
    pairs.extend(limits(document).map(|limits| ("limits", limits.into())));
    pairs.extend(document.seed.map(|seed| ("seed", seed.to_string().into())));
    pairs.extend(document.clock.map(|clock| ("clock", clock.to_string().into())));
    pairs
}

/// The limits that the job asks for by name.
fn limits(document: &Document) -> Option<String> {
    let limits = &document.limits;
    let sizes = [
        ("memory", limits.memory),
        ("result_size", limits.result_size),
        ("document_size", limits.document_size),
        ("log_size", limits.log_size),
        ("input_size", limits.input_size),
    ];
    let counts = [("fuel", limits.fuel), ("result_files", limits.result_files.map(u64::from))];
    let counts = counts.into_iter().filter_map(|(name, count)| Some(format!("{name} {}", output::number(count?))));
    let sizes = sizes.into_iter().filter_map(|(name, size)| Some(format!("{name} {}", output::size(size?))));
    let all: Vec<_> = counts.chain(sizes).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn row(attempt: &AttemptRecord) -> Vec<String> {
    let usage = attempt.usage.as_ref();
    let none = || "-".to_owned();
    vec![
        attempt.attempt.to_string(),
        output::plain(&attempt.worker),
        attempt.started_at.strftime("%F %T").to_string(),
        took(attempt).map_or_else(none, output::duration),
        usage.map_or_else(none, |usage| {
            format!("{}{}", if usage.fuel_is_lower_bound { "≥ " } else { "" }, output::number(usage.fuel))
        }),
        usage.map_or_else(none, |usage| output::size(usage.peak_memory)),
        attempt.verdict.as_ref().map_or_else(|| "running".to_owned(), |verdict| output::plain(&verdict.to_string())),
    ]
}

/// How long an attempt took; until it was given up, if its worker was lost.
fn took(attempt: &AttemptRecord) -> Option<Duration> {
    let measured = attempt.usage.and_then(|usage| Duration::try_from_secs_f64(usage.wall_ms / 1000.0).ok());
    measured.or_else(|| attempt.finished_at?.duration_since(attempt.started_at).try_into().ok())
}

fn time(time: Timestamp) -> Field {
    time.strftime("%F %T UTC").to_string().into()
}

fn plain(text: &str) -> Field {
    output::plain(text).into()
}

fn cut(json: &str) -> String {
    match json.char_indices().nth(MAX_PARAMS) {
        Some((at, _)) => format!("{}… ({} in all; -o json shows them)", &json[..at], output::size(json.len() as u64)),
        None => json.to_owned(),
    }
}
