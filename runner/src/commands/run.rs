//! `longboat run`: one attempt, here and now.

use super::{Node, Usage, algorithm, source};
use crate::cli::{Format, RunArgs};
use crate::output;
use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use jiff::Timestamp;
use longboat::body::Body;
use longboat::execute::{Attempt, Executed, Executor};
use longboat::fetch::Allowance;
use longboat::job::{AlgorithmName, AlgorithmRef, Document, Job, JobId, ResultDocument, State, Verdict};
use longboat::results::{Results, Staging};
use longboat::sandbox::{Program, Sandbox, Scratch, StopReason};
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use url::Url;

/// How many files of a result are named.
const MAX_SHOWN: usize = 20;

pub async fn run(node: &Node, args: RunArgs, format: Format) -> anyhow::Result<bool> {
    if let Some(directory) = &args.result_dir {
        check_empty(directory)?;
    }
    let bar = output::working("compiling");
    let sandbox = Arc::new(node.sandbox(1)?);
    let executor = node.executor(Arc::clone(&sandbox))?;
    let (program, name) = program(node, &sandbox, &args.algorithm).await?;
    let job = job(&args, name)?;
    let limits = executor.limits(&job).map_err(|verdict| anyhow!("{}", verdict.message().unwrap_or_default()))?;
    // What comes from this machine is here before the attempt and its time begin, however slowly it is typed.
    let inputs = source::inputs(&args.job.inputs)?;
    let (spool, at_most) = (node.data.spool(), limits.input_size);
    let local = tokio::task::spawn_blocking(move || local_inputs(inputs, at_most, &spool)).await??;

    let mut attempt = Attempt::start(job.clone(), 1, limits, Instant::now());
    let kept = tempfile::tempdir().context("creating a directory for the result failed")?;
    let results = Results::open(kept.path())?;
    let staging = results.stage(job.id, 1);
    bar.set_message("fetching inputs");
    let executed = match fetch(&executor, local, &attempt).await {
        Ok(inputs) => {
            let (sender, receiver) = watch::channel(None);
            attempt.progress = Some(sender);
            let stop = Arc::clone(&attempt.stop);
            let scratch = Scratch::when_needed(staging.scratch());
            bar.set_message("running");
            let shown = tokio::spawn(show_progress(bar.clone(), receiver));
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
    bar.finish_and_clear();
    let document = finish(executed, &job, &staging, args.result_dir.as_deref(), format)?;
    output::print(format, &document, |document| {
        document.result.as_ref().map_or_else(String::new, |result| output::shown(&pretty(result.get())).into_owned())
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

/// An input that is here, or is still to be fetched.
enum Given {
    Here(Body),
    At(Url),
}

/// Reads what is on this machine, at most so many bytes in all.
fn local_inputs(inputs: Vec<(String, Source)>, at_most: u64, spool: &Path) -> anyhow::Result<BTreeMap<String, Given>> {
    let mut left = at_most;
    let mut given = BTreeMap::new();
    for (name, source) in inputs {
        let input = match source {
            Source::Url(url) => Given::At(url),
            local => {
                let body = source::read(&local, left, spool, "raise the limit with --input-size, or give less")?;
                left -= body.size();
                Given::Here(body)
            }
        };
        given.insert(name, input);
    }
    Ok(given)
}

/// All inputs, or the verdict that a job would get that names these URLs.
async fn fetch(
    executor: &Executor,
    given: BTreeMap<String, Given>,
    attempt: &Attempt,
) -> Result<BTreeMap<String, Body>, Verdict> {
    let here = given.values().map(|input| if let Given::Here(body) = input { body.size() } else { 0 });
    let mut allowance = Allowance::of(attempt.limits.input_size);
    allowance.take(here.sum());
    let mut bodies = BTreeMap::new();
    for (name, input) in given {
        let body = match input {
            Given::Here(body) => body,
            Given::At(url) => {
                tokio::select! {
                    fetched = executor.fetch_one(attempt.job.id, &name, &url, &mut allowance) => fetched?,
                    reason = attempt.stop.wait() => return Err(attempt.stop.verdict(reason, &attempt.limits)),
                }
            }
        };
        bodies.insert(name, body);
    }
    Ok(bodies)
}

/// Puts the files where they were asked for, and tells how the attempt ended.
fn finish(
    mut executed: Executed,
    job: &Job,
    staging: &Staging,
    result_dir: Option<&Path>,
    format: Format,
) -> anyhow::Result<ResultDocument> {
    let state = if executed.verdict.is_done() { State::Done } else { State::Dead };
    let published = executed.report().publish(job, 1, state, || staging.files());
    let document = published.context("keeping the files of the result failed")?;
    if let Some(directory) = result_dir.filter(|_| document.verdict.is_done()) {
        staging.files().context("creating the directory of the result's files failed")?;
        copy(staging.files_dir(), directory)?;
    }
    if format == Format::Human || !document.verdict.is_done() {
        summarise(&document, &executed.log, result_dir);
    }
    Ok(document)
}

fn summarise(document: &ResultDocument, log: &[u8], result_dir: Option<&Path>) {
    let log = output::plain(&String::from_utf8_lossy(log));
    if !log.is_empty() {
        output::tell(log.strip_suffix('\n').unwrap_or(&log));
    }
    let usage = &document.usage;
    output::tell(output::plain(&document.verdict.to_string()));
    output::tell(format_args!(
        "  {:.1} ms, {}{} units of fuel, {} of memory, {} of input",
        usage.wall_ms,
        if usage.fuel_is_lower_bound { "at least " } else { "" },
        output::number(usage.fuel),
        output::size(usage.peak_memory),
        output::size(usage.input_bytes),
    ));
    for file in document.files.iter().take(MAX_SHOWN) {
        let place = result_dir.map_or_else(|| file.name.clone(), |dir| dir.join(&file.name).display().to_string());
        let hint = if result_dir.is_none() { ", not kept without --result-dir" } else { "" };
        output::tell(format_args!("  {place} ({}{hint})", output::size(file.size)));
    }
    if let Some(more) = document.files.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        output::tell(format_args!("  and {more} more"));
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

/// Turns the spinner into a bar once the guest reports how far it is.
async fn show_progress(bar: ProgressBar, mut receiver: watch::Receiver<Option<longboat::job::Progress>>) {
    while receiver.changed().await.is_ok() {
        let progress = receiver.borrow_and_update().clone();
        if let Some(progress) = progress {
            output::fraction(&bar, progress.fraction, progress.message);
        }
    }
}
