//! `longboat run`: one attempt, here and now.

use super::{Node, Usage, algorithm, source};
use crate::cli::{Format, RunArgs};
use crate::output;
use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use longboat::body::Body;
use longboat::execute::{Attempt, Executed, Executor};
use longboat::job::{AlgorithmName, AlgorithmRef, Document, Job, JobId, ResultDocument, State, Verdict};
use longboat::results::{Results, Staging};
use longboat::sandbox::{Program, Sandbox, StopReason};
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many files of a result are named.
const MAX_SHOWN: usize = 20;

pub async fn run(node: &Node, args: RunArgs, format: Format) -> anyhow::Result<bool> {
    if let Some(directory) = &args.result_dir {
        check_empty(directory)?;
    }
    let sandbox = Arc::new(node.sandbox(1)?);
    let executor = node.executor(Arc::clone(&sandbox))?;
    let (program, name) = program(node, &sandbox, &args.algorithm).await?;
    let job = job(&args, name)?;
    let limits = executor.limits(&job).map_err(|verdict| anyhow!("{}", verdict.message().unwrap_or_default()))?;
    let mut attempt = Attempt::start(job.clone(), 1, limits);

    let kept = tempfile::tempdir().context("creating a directory for the result failed")?;
    let results = Results::open(kept.path())?;
    let staging = results.stage(job.id, 1)?;
    let executed = match inputs(&executor, &args, &attempt, &node.data.spool()).await? {
        Ok(inputs) => {
            let (sender, receiver) = watch::channel(None);
            attempt.progress = Some(sender);
            let stop = Arc::clone(&attempt.stop);
            let scratch = Arc::new(staging.scratch()?);
            let shown = tokio::spawn(show_progress(receiver));
            let interrupted = tokio::spawn(async move {
                let _ = tokio::signal::ctrl_c().await;
                stop.order(StopReason::Interrupted);
            });
            let executed = executor.execute_program(program, attempt, inputs, scratch).await;
            interrupted.abort();
            let _ = shown.await;
            executed
        }
        Err(verdict) => executor.refused(&attempt, verdict),
    };
    let document = finish(executed, &job, &staging, args.result_dir.as_deref(), format)?;
    output::print(format, &document, |document| {
        document.result.as_ref().map_or_else(String::new, |result| pretty(result.get()))
    })?;
    Ok(document.verdict.is_done())
}

/// The program in a file, or the registered one.
async fn program(node: &Node, sandbox: &Sandbox, text: &str) -> anyhow::Result<(Arc<Program>, AlgorithmName)> {
    let file = Path::new(text);
    let is_file = file.extension().is_some() || file.components().count() > 1 || file.is_file();
    if !is_file {
        let algorithm: AlgorithmRef = text.parse().map_err(|error| Usage(format!("{error}")))?;
        let registry = node.registry()?;
        let digest = registry.resolve(&algorithm)?;
        let bytes = registry.load(digest)?;
        let program = sandbox.compile(&bytes).with_context(|| format!("{text} cannot be run"))?;
        return Ok((Arc::new(program), algorithm.name));
    }
    let bytes = algorithm::read_module(file)?;
    let program = sandbox.compile(&bytes).with_context(|| format!("{} cannot be run", file.display()))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = stem.parse().or_else(|_| "unnamed".parse()).context("a file has a name")?;
    Ok((Arc::new(program), name))
}

fn job(args: &RunArgs, name: AlgorithmName) -> anyhow::Result<Job> {
    let mut document = Document::new(AlgorithmRef { name, digest: None });
    document.params = source::params(args.job.params.as_deref(), &args.job.param)?;
    document.ttr = args.timeout;
    document.limits = args.job.limits.request();
    document.seed = args.job.seed;
    document.clock = args.job.clock;
    let document = document.checked().map_err(|error| Usage(error.to_string()))?;
    Ok(Job { id: JobId::new(), submitted_at: Timestamp::now(), document })
}

/// The inputs, or the verdict that a job would get that names these URLs.
async fn inputs(
    executor: &Executor,
    args: &RunArgs,
    attempt: &Attempt,
    spool: &Path,
) -> anyhow::Result<Result<BTreeMap<String, Body>, Verdict>> {
    let mut bodies = BTreeMap::new();
    let mut left = attempt.limits.input_size;
    for (name, source) in source::inputs(&args.job.inputs)? {
        let body = match &source {
            Source::Url(url) => {
                let fetched = tokio::select! {
                    fetched = executor.fetch_one(&name, url, left) => fetched,
                    reason = attempt.stop.wait() => Err(reason.verdict(&attempt.limits)),
                };
                match fetched {
                    Ok(body) => body,
                    Err(verdict) => return Ok(Err(verdict)),
                }
            }
            local => source::read(local, left, spool).context("raise the limit with --input-size, or give less")?,
        };
        left -= body.size();
        bodies.insert(name, body);
    }
    Ok(Ok(bodies))
}

/// Puts the files where they were asked for, and tells how the attempt ended.
fn finish(
    mut executed: Executed,
    job: &Job,
    staging: &Staging,
    result_dir: Option<&Path>,
    format: Format,
) -> anyhow::Result<ResultDocument> {
    let mut files = Vec::new();
    if let Some(tree) = executed.tree.take().filter(|_| executed.verdict.is_done()) {
        tree.publish(staging.files()).context("keeping the files of the result failed")?;
        let max_entries = executed.provenance.limits.map_or(0, |limits| limits.result_files as usize);
        files = staging.inventory(max_entries)?.files;
        if let Some(directory) = result_dir {
            copy(staging.files_dir(), directory)?;
        }
    }
    let state = if executed.verdict.is_done() { State::Done } else { State::Dead };
    let document = executed.report().document(job, 1, state, files);
    if format == Format::Human || !document.verdict.is_done() {
        summarise(&document, &executed.log, result_dir);
    }
    Ok(document)
}

fn summarise(document: &ResultDocument, log: &[u8], result_dir: Option<&Path>) {
    let log = output::plain(&String::from_utf8_lossy(log));
    if !log.is_empty() {
        eprint!("{log}{}", if log.ends_with('\n') { "" } else { "\n" });
    }
    let usage = &document.usage;
    eprintln!("{}", output::plain(&document.verdict.to_string()));
    eprintln!(
        "  {:.1} ms, {}{} units of fuel, {} of memory, {} of input",
        usage.wall_ms,
        if usage.fuel_is_lower_bound { "at least " } else { "" },
        output::number(usage.fuel),
        output::size(usage.peak_memory),
        output::size(usage.input_bytes),
    );
    for file in document.files.iter().take(MAX_SHOWN) {
        let place = result_dir.map_or_else(|| file.name.clone(), |dir| dir.join(&file.name).display().to_string());
        let hint = if result_dir.is_none() { ", not kept without --result-dir" } else { "" };
        eprintln!("  {place} ({}{hint})", output::size(file.size));
    }
    if let Some(more) = document.files.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        eprintln!("  and {more} more");
    }
}

/// The same JSON, indented; its fields stay in the algorithm's own order.
fn pretty(json: &str) -> String {
    let mut pretty = Vec::new();
    let mut to = serde_json::Serializer::pretty(&mut pretty);
    match serde_transcode::transcode(&mut serde_json::Deserializer::from_str(json), &mut to) {
        Ok(()) => String::from_utf8_lossy(&pretty).into_owned(),
        Err(_) => json.to_owned(),
    }
}

fn check_empty(directory: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Usage(format!("--result-dir: {} is not empty", directory.display())).into()),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("reading {} failed", directory.display())),
    }
}

/// Copies a directory of plain files, as the sandbox publishes them.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        std::fs::create_dir_all(&to).with_context(|| format!("creating {} failed", to.display()))?;
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push((entry.path(), target));
            } else {
                std::fs::copy(entry.path(), &target).with_context(|| format!("writing {} failed", target.display()))?;
            }
        }
    }
    Ok(())
}

/// Draws a bar on a terminal for as long as the guest may report; in a pipe nothing is drawn.
async fn show_progress(mut receiver: watch::Receiver<Option<longboat::job::Progress>>) {
    let bar = ProgressBar::new(1000);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let begun = Instant::now();
    while receiver.changed().await.is_ok() {
        let progress = receiver.borrow_and_update().clone();
        // What is over at once needs no bar.
        if let Some(progress) = progress.filter(|_| begun.elapsed() > Duration::from_millis(200)) {
            bar.set_message(progress.message);
            bar.set_position((progress.fraction * 1000.0) as u64);
        }
    }
    bar.finish_and_clear();
}
