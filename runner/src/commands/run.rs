//! `longboat run`: one attempt, here and now.

use super::node::Node;
use super::outcome::{self, CopyError};
use super::{Usage, algorithm, source};
use crate::cli::{Format, RunArgs};
use crate::output;
use anyhow::{Context, anyhow};
use async_trait::async_trait;
use indicatif::ProgressBar;
use jiff::Timestamp;
use longboat::body::Body;
use longboat::execute::{Attempt, Executed, Executor};
use longboat::fetch::Allowance;
use longboat::job::{AlgorithmName, AlgorithmRef, Digest, Document, Job, JobId, ResultDocument, Shape, State, Verdict};
use longboat::queue::{Algorithm, Modules, QueueError};
use longboat::results::{Results, Staging};
use longboat::sandbox::{Program, Sandbox, Scratch, StopReason};
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use url::Url;

/// How many files of a result are listed.
const MAX_SHOWN: usize = 20;

pub async fn run(node: &Node, args: RunArgs, format: Format) -> anyhow::Result<bool> {
    if let Some(directory) = &args.result_dir {
        outcome::check_empty(directory, "--result-dir")?;
    }
    let bar = output::working("compiling");
    let sandbox = Arc::new(node.sandbox(1)?);
    let (program, name, modules) = program(node, &sandbox, &args.algorithm).await?;
    let executor = node.executor(sandbox, modules)?;
    let job = job(&args, name, program.digest())?;
    let limits = executor.limits(&job).map_err(|verdict| anyhow!("{}", verdict.message().unwrap_or_default()))?;
    // Local inputs are read before the attempt starts, so that slow typing does not use up its time.
    let inputs = source::inputs(&args.job.inputs)?;
    let (spool, at_most) = (node.data.spool(), limits.input_size);
    let local = tokio::task::spawn_blocking(move || local_inputs(inputs, at_most, &spool)).await??;

    let mut attempt = Attempt::start(job.clone(), 1, limits, Instant::now());
    let kept = tempfile::tempdir().context("creating a directory for the result failed")?;
    let results = Results::open(kept.path())?;
    let staging = results.stage(job.id, 1)?;
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
    let document = finish(executed, &job, &results, &staging, args.result_dir.as_deref(), format)?;
    output::print(format, &document, |document| {
        document.result.as_ref().map_or_else(String::new, |result| output::shown(&pretty(result.get())).into_owned())
    })?;
    Ok(document.verdict.is_done())
}

/// The program in a file, or of a registered algorithm; its name, and the modules that it came from.
async fn program(
    node: &Node,
    sandbox: &Sandbox,
    text: &str,
) -> anyhow::Result<(Arc<Program>, AlgorithmName, Arc<dyn Modules>)> {
    let file = Path::new(text);
    let is_file = file.extension().is_some() || file.components().count() > 1 || file.is_file();
    if is_file {
        let bytes = algorithm::read_module(file)?;
        let program = sandbox.compile(&bytes).with_context(|| format!("{} cannot be run", file.display()))?;
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name = stem.parse().or_else(|_| "unnamed".parse()).context("a file has a name")?;
        return Ok((Arc::new(program), name, Arc::new(NoModules)));
    }
    let AlgorithmRef { name, digest } = text.parse().map_err(|error| Usage(format!("{error}")))?;
    let modules: Arc<dyn Modules> = node.queue().await?;
    let digest = match digest {
        Some(digest) => digest,
        None => modules.algorithm(&name).await?.with_context(|| algorithm::unknown(&name))?.current.module,
    };
    let bytes = modules.module(digest).await?;
    let bytes = bytes.with_context(|| format!("no module with the digest {digest} is registered"))?;
    anyhow::ensure!(
        Digest::of(&bytes) == digest,
        "the module {digest} is damaged in the queue's database; register it again"
    );
    let program = sandbox.compile(&bytes).with_context(|| format!("{text} cannot be run"))?;
    Ok((Arc::new(program), name, modules))
}

/// No registered algorithms: a file runs without a queue.
struct NoModules;

#[async_trait]
impl Modules for NoModules {
    async fn add(&self, _: &AlgorithmName, _: Shape, _: Vec<u8>) -> Result<Algorithm, QueueError> {
        Err(QueueError::Backend("a file runs without a queue, so nothing can be registered".to_owned()))
    }

    async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError> {
        Ok(Vec::new())
    }

    async fn algorithm(&self, _: &AlgorithmName) -> Result<Option<Algorithm>, QueueError> {
        Ok(None)
    }

    async fn remove(&self, _: &AlgorithmName) -> Result<bool, QueueError> {
        Ok(false)
    }

    async fn module(&self, _: Digest) -> Result<Option<Vec<u8>>, QueueError> {
        Ok(None)
    }
}

fn job(args: &RunArgs, name: AlgorithmName, module: Digest) -> anyhow::Result<Job> {
    let mut document = Document::new(AlgorithmRef { name, digest: None });
    document.params = source::params(args.job.params.as_deref(), &args.job.param)?;
    document.ttr = args.timeout;
    document.limits = args.job.limits.request();
    document.seed = args.job.seed;
    document.clock = args.job.clock;
    let document = document.checked().map_err(|error| Usage(error.to_string()))?;
    Ok(Job { id: JobId::new(), submitted_at: Timestamp::now(), module: Some(module), document })
}

/// An input that was read from this machine, or a URL to fetch.
enum Given {
    Here(Body),
    At(Url),
}

/// Reads the inputs on this machine, at most `at_most` bytes in all.
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

/// All inputs; or the verdict of the attempt, if an input cannot be fetched.
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

/// Puts the files into `result_dir`, and tells how the attempt ended.
fn finish(
    mut executed: Executed,
    job: &Job,
    results: &Results,
    staging: &Staging,
    result_dir: Option<&Path>,
    format: Format,
) -> anyhow::Result<ResultDocument> {
    let state = if executed.verdict.is_done() { State::Done } else { State::Dead };
    let published = executed.publish(job, 1, state, || staging.files());
    let document = published.context("keeping the files of the result failed")?;
    if let Some(directory) = result_dir.filter(|_| document.verdict.is_done()) {
        let copied = outcome::copy_files(&results.reader().files(job.id, 1), &document.files, directory);
        copied.map_err(|error| match error {
            CopyError::Read(name, error) => anyhow!("reading the result's file {name} failed: {error}"),
            CopyError::Write(error) => error,
        })?;
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

/// Turns the spinner into a bar once the guest reports progress.
async fn show_progress(bar: ProgressBar, mut receiver: watch::Receiver<Option<longboat::job::Progress>>) {
    while receiver.changed().await.is_ok() {
        let progress = receiver.borrow_and_update().clone();
        if let Some(progress) = progress {
            output::fraction(&bar, progress.fraction, progress.message);
        }
    }
}
