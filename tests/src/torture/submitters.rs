//! Those who submit, some of whom are killed while they do.

use super::crew::LOCKED;
use super::schedule::Submission;
use crate::program::Longboat;
use anyhow::{Context, bail, ensure};
use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// Submissions that go on at once; whoever sends another waits.
const AT_ONCE: usize = 4;

/// What came of a submission.
pub struct Outcome {
    /// What it was.
    pub submission: Submission,
    /// The ids that were printed, which are promises.
    pub answered: Vec<String>,
    /// How many submitters were killed over it.
    pub killed: u32,
}

/// Submissions that go on, and those that are over.
pub struct Submitters<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    node: &'env Longboat,
    running: VecDeque<ScopedJoinHandle<'scope, anyhow::Result<Outcome>>>,
    over: Vec<Outcome>,
    killed: Arc<AtomicU32>,
}

impl<'scope, 'env> Submitters<'scope, 'env> {
    /// None so far.
    pub fn new(scope: &'scope Scope<'scope, 'env>, node: &'env Longboat) -> Self {
        Self { scope, node, running: VecDeque::new(), over: Vec::new(), killed: Arc::default() }
    }

    /// How many submitters were killed so far.
    pub fn killed(&self) -> u32 {
        self.killed.load(Ordering::Relaxed)
    }

    /// Begins a submission.
    pub fn send(&mut self, submission: Submission) -> anyhow::Result<()> {
        if self.running.len() == AT_ONCE {
            self.join_one()?;
        }
        let (node, killed) = (self.node, Arc::clone(&self.killed));
        self.running.push_back(self.scope.spawn(move || {
            let outcome = submit(node, submission, &killed);
            outcome.context("submitting failed")
        }));
        Ok(())
    }

    fn join_one(&mut self) -> anyhow::Result<()> {
        if let Some(oldest) = self.running.pop_front() {
            self.over.push(oldest.join().expect("submitting does not panic")?);
        }
        Ok(())
    }

    /// Waits for all of them.
    pub fn join(mut self) -> anyhow::Result<Vec<Outcome>> {
        while !self.running.is_empty() {
            self.join_one()?;
        }
        Ok(self.over)
    }
}

fn submit(node: &Longboat, submission: Submission, killed: &AtomicU32) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome { submission, answered: Vec::new(), killed: 0 };
    let submission = &outcome.submission;
    let lives = submission.deaths.iter().copied().map(Some).chain(submission.insists.then_some(None));
    for death in lives {
        let output = process(node, submission, submission.as_lines, death)?;
        let said = String::from_utf8(output.stdout)?;
        // A line without its end is not said.
        let ids = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned);
        outcome.answered.extend(ids);
        if output.status.signal().is_some() {
            outcome.killed += 1;
            killed.fetch_add(1, Ordering::Relaxed);
        } else if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(errors.contains(LOCKED), "a submitter ended with {}: {errors}", output.status);
        }
    }
    Ok(outcome)
}

/// Submits the jobs without anybody's interference, in the other way than before.
pub fn submit_at_last(node: &Longboat, submission: &Submission) -> anyhow::Result<()> {
    let as_lines = !submission.as_lines || submission.jobs.len() > 1;
    let output = process(node, submission, as_lines, None)?;
    ensure!(output.status.success(), "submitting again failed: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let ids = submission.jobs.iter().map(|job| job.id.as_str());
    ensure!(ids.eq(said.lines()), "other ids than those of the jobs were printed: {said}");
    Ok(())
}

/// Runs one submitter to its end, or kills it when it is so old.
fn process(
    node: &Longboat,
    submission: &Submission,
    as_lines: bool,
    death: Option<Duration>,
) -> anyhow::Result<Output> {
    let mut command = node.command(["submit"]);
    if as_lines {
        command.args(["--file", "-"]).stdin(Stdio::piped());
    } else {
        let [job] = &submission.jobs[..] else { bail!("options are for one job") };
        command.args(job.options());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Few enough for the pipe to hold them, whether anybody reads or not.
        for job in &submission.jobs {
            writeln!(stdin, "{}", job.document())?;
        }
    }
    if let Some(death) = death {
        std::thread::sleep(death);
        // One that has ended by itself meanwhile is none the worse for it.
        child.kill()?;
    }
    Ok(child.wait_with_output()?)
}
