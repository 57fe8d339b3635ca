//! `longboat list`, `show`, `wait` and `result`.

use super::{Node, Usage, run};
use crate::cli::{Format, ListArgs};
use crate::output;
use anyhow::Context;
use longboat::job::{AttemptRecord, JobId, Record, ResultDocument, Span, State};
use longboat::queue::{Filter, Interest, Queue};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many jobs are read at once.
const PAGE: usize = 500;

pub async fn list(node: &Node, args: ListArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let filter = Filter {
        states: args.states,
        tubes: args.tube.into_iter().collect(),
        algorithm: args.algorithm,
        tags: args.tag.into_iter().collect(),
        ..Filter::default()
    };
    let most = args.limit.unwrap_or(usize::MAX);
    let (mut records, mut after) = (Vec::new(), None);
    while records.len() < most {
        let (page, next) = queue.list(&filter, after, PAGE.min(most - records.len())).await?;
        records.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    output::print(format, &records, |records| table(records))?;
    Ok(true)
}

fn table(records: &[Record]) -> String {
    output::table(
        &["id", "state", "algorithm", "tube", "priority", "attempts", "submitted", "verdict"],
        records.iter().map(|record| {
            vec![
                record.id.to_string(),
                record.state.to_string(),
                record.document.algorithm.name.to_string(),
                record.document.tube.to_string(),
                record.document.priority.to_string(),
                record.attempts.to_string(),
                record.submitted_at.strftime("%F %T").to_string(),
                record.verdict.as_ref().map_or("-", |verdict| verdict.kind()).to_owned(),
            ]
        }),
    )
}

pub async fn show(node: &Node, id: JobId, format: Format) -> anyhow::Result<bool> {
    let record = find(&*node.queue()?, id).await?;
    output::print(format, &record, human)?;
    Ok(true)
}

async fn find(queue: &dyn Queue, id: JobId) -> anyhow::Result<Record> {
    queue.find(id).await?.with_context(|| format!("no job has the id {id}"))
}

fn human(record: &Record) -> String {
    let document = &record.document;
    let mut pairs = vec![
        ("id", record.id.to_string()),
        ("state", record.state.to_string()),
        ("algorithm", document.algorithm.to_string()),
        ("tube", document.tube.to_string()),
        ("priority", document.priority.to_string()),
        ("attempts", format!("{} (max_attempts {})", record.attempts, document.max_attempts)),
        ("submitted", record.submitted_at.to_string()),
    ];
    if !record.state.is_final() {
        pairs.push(("due", record.ready_at.to_string()));
    }
    pairs.extend(record.started_at.map(|time| ("started", time.to_string())));
    pairs.extend(record.finished_at.map(|time| ("finished", time.to_string())));
    pairs.extend(record.progress.as_ref().map(|progress| {
        ("progress", format!("{:.0} % {}", progress.fraction * 100.0, output::plain(&progress.message)))
    }));
    pairs.extend(record.verdict.as_ref().map(|verdict| ("verdict", output::plain(&verdict.to_string()))));
    if !document.params.is_empty() {
        pairs.push(("params", serde_json::Value::Object(document.params.clone()).to_string()));
    }
    for (name, url) in document.inputs() {
        pairs.push(("input", format!("{name} = {}", longboat::policy::display_url(&url))));
    }
    let mut text = output::pairs(&pairs);
    if let Some(history) = record.history.as_ref().filter(|history| !history.is_empty()) {
        text.push_str("\n\n");
        text.push_str(&output::table(
            &["attempt", "worker", "started", "took", "fuel", "verdict"],
            history.iter().map(row),
        ));
    }
    text
}

fn row(attempt: &AttemptRecord) -> Vec<String> {
    let usage = attempt.usage.as_ref();
    vec![
        attempt.attempt.to_string(),
        output::plain(&attempt.worker),
        attempt.started_at.strftime("%F %T").to_string(),
        usage.map_or_else(|| "-".to_owned(), |usage| format!("{:.1} ms", usage.wall_ms)),
        usage.map_or_else(
            || "-".to_owned(),
            |usage| format!("{}{}", if usage.fuel_is_lower_bound { "≥ " } else { "" }, output::number(usage.fuel)),
        ),
        attempt.verdict.as_ref().map_or_else(|| "running".to_owned(), |verdict| output::plain(&verdict.to_string())),
    ]
}

/// How jobs ended that were waited for.
#[derive(serde::Serialize)]
struct Ended {
    id: JobId,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<longboat::job::Verdict>,
}

pub async fn wait(node: &Node, ids: &[JobId], timeout: Option<Span>, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let mut changes = queue.watch(Interest::Anything);
    let give_up = timeout.map(|timeout| Instant::now() + timeout.0);
    let bar = output::counting(ids.len());
    let mut ended = Vec::new();
    for id in ids {
        let record = loop {
            let record = find(&*queue, *id).await?;
            if record.state.is_final() {
                break record;
            }
            if let Some(progress) = &record.progress {
                bar.set_message(format!("{:.0} % {}", progress.fraction * 100.0, output::plain(&progress.message)));
            }
            if give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                bar.finish_and_clear();
                anyhow::bail!("job {id} is still {} after {}", record.state, timeout.unwrap_or_default());
            }
            changes.changed(Duration::from_millis(500)).await;
        };
        bar.inc(1);
        ended.push(Ended { id: *id, state: record.state, verdict: record.verdict });
    }
    bar.finish_and_clear();
    output::print(format, &ended, |ended| {
        output::table(
            &["id", "state", "verdict"],
            ended.iter().map(|job| {
                let verdict =
                    job.verdict.as_ref().map_or_else(|| "-".to_owned(), |verdict| output::plain(&verdict.to_string()));
                vec![job.id.to_string(), job.state.to_string(), verdict]
            }),
        )
    })?;
    Ok(ended.iter().all(|job| job.state == State::Done))
}

pub async fn result(node: &Node, id: JobId, files: Option<&Path>, format: Format) -> anyhow::Result<bool> {
    let record = find(&*node.queue()?, id).await?;
    let Some(attempt) = record.published else {
        let verdict = record.verdict.map_or_else(String::new, |verdict| format!("; last verdict: {verdict}"));
        anyhow::bail!("job {id} is {}, so it has no result{verdict}", record.state);
    };
    let published = node.reader().published(id, attempt);
    let (mut file, _) = published.document().with_context(|| {
        format!("reading {} failed; another worker may hold it, or it was removed", published.path().display())
    })?;
    let mut json = String::new();
    file.read_to_string(&mut json).context("reading the result document failed")?;
    let document: ResultDocument = serde_json::from_str(&json).with_context(|| {
        format!("the result document in {} is damaged; run the job again under a new id", published.path().display())
    })?;
    if let Some(target) = files {
        if target.exists() {
            return Err(Usage(format!("--files: {} exists already", target.display())).into());
        }
        if document.files.is_empty() {
            std::fs::create_dir_all(target)?;
        } else {
            run::copy(&published.files(), target)?;
        }
    }
    output::print(format, &document, |document| serde_json::to_string_pretty(document).unwrap_or_default())?;
    Ok(document.verdict.is_done())
}
