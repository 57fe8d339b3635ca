//! One attempt, from a job to what came of it. It knows no queue.

mod library;

use crate::body::Body;
use crate::config::LimitsConfig;
use crate::fetch::{Allowance, Fetcher};
use crate::job::{Digest, Job, JobId, Limits, Progress, Provenance, ResultDocument, State, Usage, Verdict};
use crate::policy::display_url;
use crate::queue::Modules;
use crate::sandbox::{LiveLog, Outcome, Program, Run, Sandbox, Scratch, Stop, Tree};
use cap_std::fs::Dir;
use jiff::Timestamp;
use library::Library;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::watch;
use url::Url;

/// What every attempt on a node shares.
pub struct Executor {
    sandbox: Arc<Sandbox>,
    library: Library,
    fetcher: Fetcher,
    limits: LimitsConfig,
}

/// One attempt at a job.
#[derive(Debug)]
pub struct Attempt {
    /// What to run.
    pub job: Arc<Job>,
    /// Which attempt it is.
    pub number: u32,
    /// What the attempt may use.
    pub limits: Limits,
    /// When it started.
    pub started: Instant,
    /// Its deadline, and orders to stop.
    pub stop: Arc<Stop>,
    /// Where the guest's words about its progress go.
    pub progress: Option<watch::Sender<Option<Progress>>>,
    /// Where the guest's log goes as it is written.
    pub live_log: Option<Arc<LiveLog>>,
}

impl Attempt {
    /// An attempt whose time began at `started`.
    pub fn start(job: impl Into<Arc<Job>>, number: u32, limits: Limits, started: Instant) -> Self {
        let job = job.into();
        let stop = Arc::new(Stop::at(started + limits.ttr.0));
        Self { job, number, limits, started, stop, progress: None, live_log: None }
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Executed {
    /// How it ended.
    pub verdict: Verdict,
    /// What the algorithm returned, if it is done.
    pub result: Option<Box<RawValue>>,
    /// What it wrote to standard error.
    pub log: Vec<u8>,
    /// What it left in its result directory.
    pub tree: Option<Tree>,
    /// What it used.
    pub usage: Usage,
    /// All that is needed to run it again.
    pub provenance: Provenance,
}

impl Executor {
    /// An executor of these parts, which keeps copies of `modules` in the directory `cache`.
    pub fn new(
        sandbox: Arc<Sandbox>,
        modules: Arc<dyn Modules>,
        cache: PathBuf,
        fetcher: Fetcher,
        limits: LimitsConfig,
    ) -> Self {
        Self { sandbox, library: Library::new(modules, cache), fetcher, limits }
    }

    /// The limits that a job runs under.
    ///
    /// # Errors
    /// A permanent verdict if it asks for more than the operator allows.
    pub fn limits(&self, job: &Job) -> Result<Limits, Verdict> {
        let document = &job.document;
        document
            .limits
            .resolve(document.ttr, &self.limits.default, &self.limits.ceiling)
            .map_err(|error| Verdict::Failed { message: error.to_string(), permanent: true, exit_code: None })
    }

    /// Runs a registered algorithm: fetches the inputs, finds the program, and runs it in the sandbox.
    pub async fn execute(&self, attempt: Attempt, scratch: Scratch) -> Executed {
        let mut executed = self.begin(&attempt);
        let stop = Arc::clone(&attempt.stop);
        let prepare = async {
            let program = self.program(&attempt.job, &mut executed.provenance).await?;
            let inputs = self.fetch(&attempt, &mut executed.provenance).await?;
            Ok((program, inputs))
        };
        let prepared = tokio::select! {
            prepared = prepare => prepared,
            reason = stop.wait() => Err(stop.verdict(reason, &attempt.limits)),
        };
        match prepared {
            Ok((program, inputs)) => {
                executed.provenance.shape = Some(program.shape());
                self.run(executed, program, attempt, inputs, scratch).await
            }
            Err(verdict) => executed.end(verdict, attempt.started),
        }
    }

    /// Runs a program that is compiled already on inputs that are here already.
    pub async fn execute_program(
        &self,
        program: Arc<Program>,
        attempt: Attempt,
        inputs: BTreeMap<String, Body>,
        scratch: Scratch,
    ) -> Executed {
        let mut executed = self.begin(&attempt);
        executed.provenance.module = Some(program.digest());
        executed.provenance.shape = Some(program.shape());
        executed.provenance.inputs = inputs.iter().map(|(name, body)| (name.clone(), body.digest())).collect();
        self.run(executed, program, attempt, inputs, scratch).await
    }

    /// Fetches one input of a job by the operator's policy.
    ///
    /// # Errors
    /// The verdict that the job gets. What the policy refused to dial is in the log, and not in the verdict.
    pub async fn fetch_one(
        &self,
        job: JobId,
        name: &str,
        url: &Url,
        allowance: &mut Allowance,
    ) -> Result<Body, Verdict> {
        self.fetcher.fetch(url, allowance).await.map_err(|error| {
            let (url, address) = (display_url(url), error.address().map(tracing::field::display));
            tracing::info!(%job, input = name, url, address, %error, "an input is unavailable");
            error.verdict(name)
        })
    }

    /// An attempt that ended before it began.
    pub fn refused(&self, attempt: &Attempt, verdict: Verdict) -> Executed {
        self.begin(attempt).end(verdict, attempt.started)
    }

    fn begin(&self, attempt: &Attempt) -> Executed {
        let provenance = Provenance {
            module: None,
            shape: None,
            params: Digest::of(params(&attempt.job)),
            inputs: BTreeMap::new(),
            seed: attempt.job.seed(attempt.number),
            clock: attempt.job.clock(),
            limits: Some(attempt.limits),
            engine: self.sandbox.engine().to_owned(),
        };
        let verdict = Verdict::HostError { message: "the attempt was not finished".to_owned() };
        Executed { verdict, result: None, log: Vec::new(), tree: None, usage: Usage::default(), provenance }
    }

    async fn program(&self, job: &Job, provenance: &mut Provenance) -> Result<Arc<Program>, Verdict> {
        let digest = self.library.digest(job).await?;
        provenance.module = Some(digest);
        let (library, runtime) = (self.library.clone(), Handle::current());
        // It runs on a thread that compiles, and only if the program is not in memory.
        self.sandbox.program(digest, move || runtime.block_on(library.load(digest))).await
    }

    async fn fetch(&self, attempt: &Attempt, provenance: &mut Provenance) -> Result<BTreeMap<String, Body>, Verdict> {
        let mut inputs = BTreeMap::new();
        let mut allowance = Allowance::of(attempt.limits.input_size);
        for (name, url) in attempt.job.document.inputs() {
            let body = self.fetch_one(attempt.job.id, &name, &url, &mut allowance).await?;
            provenance.inputs.insert(name.clone(), body.digest());
            inputs.insert(name, body);
        }
        Ok(inputs)
    }

    async fn run(
        &self,
        mut executed: Executed,
        program: Arc<Program>,
        attempt: Attempt,
        inputs: BTreeMap<String, Body>,
        scratch: Scratch,
    ) -> Executed {
        executed.usage.input_bytes = inputs.values().map(Body::size).sum();
        let run = Run {
            id: attempt.job.id,
            attempt: attempt.number,
            params: params(&attempt.job),
            limits: attempt.limits,
            inputs,
            scratch,
            seed: executed.provenance.seed,
            clock: executed.provenance.clock,
            progress: attempt.progress,
            live_log: attempt.live_log,
            stop: attempt.stop,
        };
        let outcome = self.sandbox.run(program, run).await;
        executed.take(outcome, attempt.started)
    }
}

fn params(job: &Job) -> String {
    serde_json::Value::Object(job.document.params.clone()).to_string()
}

impl Executed {
    fn end(mut self, verdict: Verdict, started: Instant) -> Self {
        self.verdict = verdict.clipped();
        // Microseconds are as much as means anything.
        self.usage.wall_ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        self
    }

    fn take(mut self, outcome: Outcome, started: Instant) -> Self {
        self.usage.fuel = outcome.fuel;
        self.usage.fuel_is_lower_bound = outcome.fuel_is_lower_bound;
        self.usage.peak_memory = outcome.peak_memory;
        self.log = outcome.log;
        self.tree = outcome.tree;
        let verdict = match outcome.result.map(RawValue::from_string).transpose() {
            Ok(result) => {
                self.result = result;
                outcome.verdict
            }
            Err(error) => Verdict::BadResult { message: error.to_string() },
        };
        self.end(verdict, started)
    }

    /// The bytes that it holds in memory, more or less.
    pub fn size(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.get().len()) + self.log.len()
    }

    /// Whether it has left files that are published.
    pub fn has_files(&self) -> bool {
        self.verdict.is_done() && self.tree.as_ref().is_some_and(|tree| !tree.is_empty())
    }

    /// The end of an attempt that left nothing to publish but this verdict.
    pub fn failed(mut self, verdict: Verdict) -> Self {
        (self.result, self.tree) = (None, None);
        Self { verdict, ..self }
    }

    /// Puts the files of an attempt that is done, if there are any, under their names into an empty directory that
    /// `target` opens, and makes the result document of an attempt after which the job is in `state`. It blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish<'a>(
        &mut self,
        job: &Job,
        attempt: u32,
        state: State,
        target: impl FnOnce() -> io::Result<&'a Dir>,
    ) -> io::Result<ResultDocument> {
        let has_files = self.has_files();
        let files = match self.tree.take() {
            Some(tree) if has_files => tree.publish(target()?)?,
            _ => Vec::new(),
        };
        let returned = self.result.as_ref().map_or(0, |result| result.get().len() as u64);
        self.usage.result_bytes = returned + files.iter().map(|file| file.size).sum::<u64>();
        Ok(ResultDocument {
            id: job.id,
            algorithm: job.document.algorithm.name.clone(),
            attempt,
            state,
            timestamp: Timestamp::now(),
            verdict: self.verdict.clone(),
            result: self.result.take(),
            files,
            usage: self.usage,
            provenance: self.provenance.clone(),
        })
    }
}
