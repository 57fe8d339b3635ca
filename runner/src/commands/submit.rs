//! `longboat submit`.

use super::node::Node;
use super::{Usage, source};
use crate::cli::{Format, SubmitArgs};
use crate::output;
use anyhow::Context;
use longboat::job::{Document, JobId, Unique, UniqueFor, read_jobs};
use longboat::queue::Submission;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// The largest file of jobs.
const MAX_FILE: u64 = 256 << 20;

pub async fn submit(node: &Node, args: SubmitArgs, format: Format) -> anyhow::Result<bool> {
    let documents = match &args.file {
        Some(file) => read_file(file)?,
        None => vec![document(args)?],
    };
    let mut jobs = Vec::with_capacity(documents.len());
    for (place, document) in documents.into_iter().enumerate() {
        let limits = &node.config.limits;
        document
            .limits
            .resolve(document.ttr, &limits.default, &limits.ceiling)
            .with_context(|| format!("job {} is refused", place + 1))?;
        if let Some(url) = &document.result_url {
            let refused = || format!("job {} is refused: result_url", place + 1);
            node.result_policy().check_url(url).with_context(refused)?;
        }
        jobs.push(Submission { id: document.id.unwrap_or_else(JobId::new), document });
    }
    check_ids(&jobs)?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    node.queue().await?.submit(jobs).await?;
    output::print(format, &ids, |ids| ids.iter().map(JobId::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(true)
}

/// Refuses an id that two jobs of the file have with different documents, and names both places in the file.
fn check_ids(jobs: &[Submission]) -> anyhow::Result<()> {
    let mut places = HashMap::with_capacity(jobs.len());
    for (place, Submission { id, document }) in jobs.iter().enumerate() {
        let earlier = *places.entry(*id).or_insert(place);
        anyhow::ensure!(
            jobs[earlier].document == *document,
            "nothing was submitted: job {} has the id {id} of job {}, and another document",
            place + 1,
            earlier + 1
        );
    }
    Ok(())
}

fn document(args: SubmitArgs) -> anyhow::Result<Document> {
    let algorithm =
        args.algorithm.ok_or_else(|| Usage("name an algorithm, or a file of jobs with --file".to_owned()))?;
    let mut document = Document::new(algorithm);
    document.id = args.id;
    document.params = source::params(args.job.params.as_deref(), &args.job.param)?;
    document.input = source::urls(&args.job.inputs)?;
    document.result_url = args.result_url;
    document.tube = args.tube.unwrap_or(document.tube);
    document.priority = args.priority.unwrap_or(document.priority);
    document.delay = args.delay;
    document.run_at = args.run_at;
    document.expires = args.expires;
    document.ttr = args.ttr;
    document.max_attempts = args.max_attempts.unwrap_or(document.max_attempts);
    document.limits = args.job.limits.request();
    document.seed = args.job.seed;
    document.clock = args.job.clock;
    document.unique =
        args.unique.map(|key| Unique { key, period: args.unique_for.map_or(UniqueFor::Done, UniqueFor::For) });
    document.tags = args.tags;
    document.host = args.host;
    document.hold = args.hold;
    Ok(document.checked().map_err(|error| Usage(error.to_string()))?)
}

/// Reads a file of job documents: JSON lines, one JSON document, or a JSON array of documents.
fn read_file(file: &Path) -> anyhow::Result<Vec<Document>> {
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("opening {} failed", file.display()))?)
    };
    let read = reader.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("reading {} failed", file.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_FILE,
        "{} has more than {MAX_FILE} bytes; submit it in parts",
        file.display()
    );
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{}: nothing was submitted: line {line} is not UTF-8", file.display())
    })?;
    let documents = read_jobs(&text).with_context(|| format!("{}: nothing was submitted", file.display()))?;
    anyhow::ensure!(!documents.is_empty(), "{} holds no job", file.display());
    Ok(documents)
}
