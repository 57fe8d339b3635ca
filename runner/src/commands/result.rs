//! `longboat result`.

use super::{Node, Usage, find, run};
use crate::cli::{Format, ResultArgs};
use crate::output;
use anyhow::Context;
use longboat::job::{JobId, Record, ResultDocument};
use longboat::policy::display_url;
use std::io::{self, Read};
use std::path::Path;
use url::Url;

pub async fn result(node: &Node, args: ResultArgs, format: Format) -> anyhow::Result<bool> {
    let id = args.id;
    let record = find(&*node.queue()?, id).await?;
    let Some(attempt) = record.published else {
        let verdict = record.verdict.map_or_else(String::new, |verdict| format!("; last verdict: {verdict}"));
        anyhow::bail!("job {id} is {}, so it has no result{}", record.state, output::plain(&verdict));
    };
    let published = node.reader().published(id, attempt);
    let (mut file, _) =
        published.document().map_err(|error| elsewhere(&record, attempt, published.path(), "", error))?;
    let mut json = String::new();
    file.read_to_string(&mut json).context("reading the result document failed")?;
    let document: ResultDocument = serde_json::from_str(&json).with_context(|| {
        format!("the result document in {} is damaged; run the job again under a new id", published.path().display())
    })?;
    if let Some(target) = &args.files {
        if target.exists() {
            return Err(Usage(format!("--files: {} exists already", target.display())).into());
        }
        if document.files.is_empty() {
            std::fs::create_dir_all(target)?;
        } else {
            run::copy(&published.files(), target)?;
        }
    }
    output::print(format, &document, |document| output::json(document).unwrap_or_default())?;
    Ok(document.verdict.is_done())
}

/// Where a worker serves the result of a job.
pub fn served_at(public_url: &Url, id: JobId) -> String {
    format!("{}/{id}", display_url(public_url).trim_end_matches('/'))
}

/// Why something that an attempt left cannot be read here, and where it may be; `suffix` follows the job's URL.
pub fn elsewhere(record: &Record, attempt: u32, path: &Path, suffix: &str, error: io::Error) -> anyhow::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return anyhow::Error::new(error).context(format!("reading {} failed", path.display()));
    }
    let history = record.history.iter().flatten();
    let worker = history.filter(|made| made.attempt == attempt).map(|made| output::plain(&made.worker)).next();
    let worker = worker.map_or_else(|| "another worker".to_owned(), |worker| format!("worker {worker}"));
    // The record knows where its published attempt is, and of no other.
    match record.public_url.as_ref().filter(|_| record.published == Some(attempt)) {
        Some(url) => anyhow::anyhow!(
            "{} is not there: {worker} made attempt {attempt}, and serves it at {}{suffix}",
            path.display(),
            served_at(url, record.id)
        ),
        None => anyhow::anyhow!(
            "{} is not there: {worker} made attempt {attempt}; \
             look in its data directory (--data-dir), or at its HTTP address",
            path.display()
        ),
    }
}
