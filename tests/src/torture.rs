//! Real workers and submitters on one queue, killed and stopped at random moments; then the proof, from what the queue
//! and the results tree say afterwards, that nothing was lost, doubled or torn.
//!
//! What is done to whom, and when, follows from a seed. What comes of it does not: that is the system's own business.
//! A process that is killed takes nothing along that the kernel already has, so power loss is not among what is tried.

mod crew;
mod jobs;
mod proof;
mod schedule;
mod submitters;

use crate::program::Longboat;
use anyhow::{Context, ensure};
use crew::Crew;
use jobs::Job;
use schedule::{Deed, Schedule};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};
use submitters::{Outcome, Submitters};

/// What the storm is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What the schedule follows from.
    pub seed: u64,
    /// Processes to kill; the storm is over then.
    pub kills: u32,
    /// How long it lasts at most.
    pub time: Duration,
}

/// What was done, and what it came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Workers that were killed while they ran.
    pub workers_killed: u32,
    /// Submitters that were killed while they ran.
    pub submitters_killed: u32,
    /// Workers that were held past their lease, or nearly so.
    pub stopped: u32,
    /// Workers that were told to give everything back at once.
    pub interrupted: u32,
    /// Jobs that were accepted, all of which have ended.
    pub jobs: usize,
    /// Those that are dead by the rules.
    pub dead: usize,
    /// Attempts at all of them.
    pub attempts: usize,
    /// Attempts that ended in `lost`.
    pub lost: usize,
    /// Attempts that ended in `interrupted`.
    pub given_back: usize,
    /// Files of results whose bytes were compared with their digests.
    pub files: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} workers and {} submitters were killed, {} workers stopped for a while, {} told to stop now",
            self.workers_killed, self.submitters_killed, self.stopped, self.interrupted
        )?;
        write!(
            f,
            "all {} accepted jobs have ended, {} of them dead by the rules, after {} attempts: {} lost, {} given back; \
             {} files have the bytes that their documents say",
            self.jobs, self.dead, self.attempts, self.lost, self.given_back, self.files
        )
    }
}

/// Lets the storm loose on a node with the sailor registered, and proves what is left of it.
///
/// # Errors
/// The first promise that was found broken.
pub fn run(node: &Longboat, plan: &Plan) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let logs = node.data_dir().join("logs");
    std::fs::create_dir_all(&logs)?;
    let outcomes = storm(node, plan, &logs, &mut tally)?;
    proof::accepted(node, &outcomes).context("after the storm")?;
    // Submitting once more accepts what was not, and changes nothing about the rest.
    for outcome in &outcomes {
        submitters::submit_at_last(node, &outcome.submission)?;
    }
    crew::drain(node, &logs)?;
    let jobs: Vec<&Job> = outcomes.iter().flat_map(|outcome| &outcome.submission.jobs).collect();
    proof::ended(node, &jobs, &logs, &mut tally)?;
    Ok(tally)
}

fn storm(node: &Longboat, plan: &Plan, logs: &Path, tally: &mut Tally) -> anyhow::Result<Vec<Outcome>> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let mut crew = Crew::muster(node, logs)?;
        let mut submitters = Submitters::new(scope, node);
        let mut schedule = Schedule::new(plan.seed);
        while crew.killed() + submitters.killed() < plan.kills && start.elapsed() < plan.time {
            let step = schedule.next_step();
            std::thread::sleep(step.after);
            match step.deed {
                Deed::Submit(submission) => submitters.send(submission)?,
                Deed::Kill(victim) => crew.kill(victim)?,
                Deed::Stop(victim, time) => crew.stop(victim, time)?,
                Deed::Interrupt(victim) => crew.interrupt(victim)?,
            }
            crew.tend()?;
        }
        crew.report(tally);
        // Whoever waits for a queue that a stopped worker has locked waits no longer than until now.
        drop(crew);
        let outcomes = submitters.join()?;
        tally.submitters_killed = outcomes.iter().map(|outcome| outcome.killed).sum();
        ensure!(!outcomes.is_empty(), "nothing was submitted");
        Ok(outcomes)
    })
}
