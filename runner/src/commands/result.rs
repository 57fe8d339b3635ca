//! `longboat result`: prints a job's result document, and saves document, log and files.

use super::node::{Node, find};
use super::outcome::{self, CopyError};
use crate::cli::{Format, ResultArgs};
use crate::output;
use anyhow::Context;
use jiff::Timestamp;
use longboat::job::{AlgorithmName, FileEntry, JobId, ResultDocument, State, Verdict};
use longboat::queue::Queue;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

pub async fn result(node: &Node, args: ResultArgs, format: Format) -> anyhow::Result<bool> {
    if let Some(directory) = &args.save {
        outcome::check_empty(directory, "--save")?;
    }
    let queue = node.queue().await?;
    let (attempt, json) = match queue.result(args.id, args.attempt).await? {
        Some(published) => {
            let attempt = published.attempt;
            (attempt, outcome::document(node, &*queue, args.id, published).await?)
        }
        None => document_without_result(&*queue, &args).await?,
    };
    let document = Document::read(&json).with_context(|| {
        format!("the result document of job {} is damaged; submit the job again under a new id", args.id)
    })?;
    if let Some(directory) = &args.save {
        save(node, &*queue, args.id, attempt, &json, &document, directory).await?;
    }
    output::print(format, &document, |document| output::json(document).unwrap_or_default())?;
    Ok(document.is_done())
}

/// A result document, as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    /// The document of an attempt. What the algorithm returned is printed to the byte.
    Attempt(Box<ResultDocument>),
    /// The document of a job that ended without an attempt's document.
    WithoutResult(WithoutResult),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WithoutResult {
    id: JobId,
    algorithm: AlgorithmName,
    attempt: u32,
    state: State,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    files: Vec<FileEntry>,
}

impl Document {
    fn read(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
            .map(Self::Attempt)
            .or_else(|_| serde_json::from_slice(json).map(Self::WithoutResult))
    }

    fn is_done(&self) -> bool {
        matches!(self, Self::Attempt(document) if document.verdict.is_done())
    }

    fn files(&self) -> &[FileEntry] {
        match self {
            Self::Attempt(document) => &document.files,
            Self::WithoutResult(document) => &document.files,
        }
    }
}

/// The document of a job that ended, but not with an attempt that made one; and its last attempt.
async fn document_without_result(queue: &dyn Queue, args: &ResultArgs) -> anyhow::Result<(u32, Vec<u8>)> {
    let record = find(queue, args.id).await?;
    if let Some(attempt) = args.attempt.filter(|attempt| *attempt != record.attempts) {
        anyhow::bail!("attempt {attempt} of job {} has no result document", args.id);
    }
    let document = record.document_without_result().with_context(|| {
        let verdict = record.verdict.as_ref().map_or_else(String::new, |verdict| format!("; last verdict: {verdict}"));
        format!("job {} is {}, so it has no result{}", args.id, record.state, output::plain(&verdict))
    });
    Ok((record.attempts, document?))
}

/// Writes document, log and files into a new or empty directory.
async fn save(
    node: &Node,
    queue: &dyn Queue,
    id: JobId,
    attempt: u32,
    json: &[u8],
    document: &Document,
    directory: &Path,
) -> anyhow::Result<()> {
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {} failed", path.display()))
    };
    fs::create_dir_all(directory).with_context(|| format!("creating {} failed", directory.display()))?;
    write("result.json", json)?;
    let record = find(queue, id).await?;
    if attempt > 0 {
        match outcome::kept_log(node, queue, &record, attempt).await {
            Ok(Some(log)) => write("log.txt", &log)?,
            Ok(None) => {}
            Err(error) => return Err(error.context(format!("{} has the document only", directory.display()))),
        }
    }
    let files = node.reader().files(id, attempt);
    outcome::copy_files(&files, document.files(), &directory.join("files")).map_err(|error| match error {
        CopyError::Read(name, error) => outcome::elsewhere(&record, attempt, &files.path().join(name), "/", &error)
            .context(format!("{} has document and log, but not all files", directory.display())),
        CopyError::Write(error) => error,
    })
}
