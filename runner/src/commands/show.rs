//! `longboat show`: a job with its history.

use super::node::{Node, find};
use super::outcome::served_at;
use super::record::Shown;
use crate::cli::{Format, ShowArgs};
use crate::output::{self, Field};
use jiff::Timestamp;
use longboat::job::{AttemptRecord, DeliveryRecord, DeliveryState, Document, Record, State, UniqueFor, Verdict, When};
use longboat::policy::display_url;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// How many characters of params are shown to people without --full.
const MAX_PARAMS: usize = 1000;

pub async fn show(node: &Node, args: ShowArgs, format: Format) -> anyhow::Result<bool> {
    let shown = Shown::new(find(&*node.queue().await?, args.id).await?, args.full);
    output::print(format, &shown, |shown| human(shown, args.full))?;
    Ok(true)
}

fn human(shown: &Shown, full: bool) -> String {
    let record = &shown.record;
    let mut text = output::pairs(&[life(record), request(shown, full)].concat());
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
    pairs.extend(record.delivery.as_ref().map(|delivery| ("sent", delivery_text(delivery).into())));
    pairs
}

/// How many attempts were made, and how many are granted. Interrupted attempts do not count.
fn attempts(record: &Record) -> String {
    let history = record.history.as_deref().unwrap_or_default();
    let interrupted = history.iter().filter(|made| matches!(made.verdict, Some(Verdict::Interrupted { .. }))).count();
    let counted = history.len() - interrupted;
    // The history of a job that came from another version may lack attempts.
    let last = record.attempts;
    let last = if last as usize > history.len() { format!("; the last is number {last}") } else { String::new() };
    let most = record.document.max_attempts;
    let granted = most.saturating_mul(record.kicks.saturating_add(1));
    let kicked =
        if record.kicks > 0 { format!(" (max_attempts {most}, kicks {})", record.kicks) } else { String::new() };
    let interrupted = if interrupted > 0 { format!(", and {interrupted} interrupted") } else { String::new() };
    format!("{counted} of {granted}{kicked}{interrupted}{last}")
}

/// The other fields of the job document.
fn request(shown: &Shown, full: bool) -> Vec<(&'static str, Field)> {
    let document = &shown.record.document;
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
        let params = Value::Object(document.params.clone()).to_string();
        pairs.push(("params", plain(&if full { params } else { cut(&params) })));
    }
    let inputs = shown.inputs().into_iter();
    pairs.extend(inputs.map(|(name, url)| ("input", plain(&format!("{name} = {}", input(url, full))))));
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

/// An input's URL. Credentials in it, and short data, are shown with --full only.
fn input(url: &str, full: bool) -> String {
    match Url::parse(url) {
        // A URL that was shortened is none.
        Ok(parsed) if !full && !url.contains('…') => display_url(&parsed),
        _ => url.to_owned(),
    }
}

/// The limits that the job names.
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

/// How long an attempt took. That of a lost worker ends when its lease does.
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
        Some((at, _)) => format!("{}… ({} in all; --full shows them)", &json[..at], output::size(json.len() as u64)),
        None => json.to_owned(),
    }
}

/// How sending the result to `result_url` stands.
fn delivery_text(delivery: &DeliveryRecord) -> String {
    let times = if delivery.tries == 1 { "try" } else { "tries" };
    let (attempt, tries) = (delivery.attempt, format!("{} {times}", delivery.tries));
    let reason = delivery.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", output::plain(reason)));
    let at = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!(" {time}"));
    match delivery.state {
        DeliveryState::Delivered => format!("attempt {attempt}{}, with {tries}", at(delivery.finished_at)),
        DeliveryState::GivenUp => {
            format!("given up{} with attempt {attempt}, after {tries}{reason}", at(delivery.finished_at))
        }
        DeliveryState::Pending => {
            format!("not yet with attempt {attempt}, after {tries}; next{}{reason}", at(delivery.next_at))
        }
    }
}
