//! The workers of the storm.

use super::Tally;
use super::schedule::Victim;
use crate::program::Longboat;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Workers that run at once.
const WORKERS: usize = 3;
/// Short, so that attempts are taken over while the storm lasts; what is lost too soon is lost by the rules as well.
const LEASE: &str = "800ms";
const HEARTBEAT: &str = "200ms";
/// How long what is left may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a process says that ends because another one, a stopped worker, kept the queue's file to itself.
pub const LOCKED: &str = "another process has kept the file locked";

/// Workers that are replaced when they are killed; those that are left at the end are killed as well.
pub struct Crew<'a> {
    node: &'a Longboat,
    logs: &'a Path,
    hands: Vec<Hand>,
    killed: u32,
    stopped: u32,
    interrupted: u32,
}

struct Hand {
    place: usize,
    child: Child,
    started: Instant,
    /// When it is to go on, if it was stopped.
    wakes: Option<Instant>,
}

impl<'a> Crew<'a> {
    /// Starts all of them. What they say goes to files in `logs`.
    pub fn muster(node: &'a Longboat, logs: &'a Path) -> anyhow::Result<Self> {
        let mut crew = Self { node, logs, hands: Vec::new(), killed: 0, stopped: 0, interrupted: 0 };
        for place in 0..WORKERS {
            crew.hands.push(Hand::start(node, logs, place, &[])?);
        }
        Ok(crew)
    }

    /// How many were killed so far.
    pub fn killed(&self) -> u32 {
        self.killed
    }

    /// Writes down what was done to them.
    pub fn report(&self, tally: &mut Tally) {
        tally.workers_killed = self.killed;
        tally.stopped = self.stopped;
        tally.interrupted = self.interrupted;
    }

    /// Kills one as a power cut would, and starts another under the same name.
    pub fn kill(&mut self, victim: Victim) -> anyhow::Result<()> {
        let hand = self.victim(victim);
        if hand.child.try_wait()?.is_none() {
            hand.child.kill()?;
            let place = hand.place;
            hand.child.wait()?;
            self.killed += 1;
            self.hands[place] = Hand::start(self.node, self.logs, place, &[])?;
        }
        Ok(())
    }

    /// Has one give everything back at once, and end.
    pub fn interrupt(&mut self, victim: Victim) -> anyhow::Result<()> {
        let hand = self.victim(victim);
        // Two signals of one kind may arrive as one.
        if hand.signal("TERM")? && hand.signal("INT")? {
            self.interrupted += 1;
        }
        Ok(())
    }

    /// Stops one for so long.
    pub fn stop(&mut self, victim: Victim, time: Duration) -> anyhow::Result<()> {
        let hand = self.victim(victim);
        if hand.wakes.is_none() && hand.signal("STOP")? {
            hand.wakes = Some(Instant::now() + time);
            self.stopped += 1;
        }
        Ok(())
    }

    /// Lets those go on whose time has come, and replaces those that have ended.
    pub fn tend(&mut self) -> anyhow::Result<()> {
        for hand in &mut self.hands {
            if hand.wakes.is_some_and(|wakes| wakes <= Instant::now()) {
                hand.signal("CONT")?;
                hand.wakes = None;
            }
            if let Some(status) = hand.child.try_wait()? {
                may_end(status, &hand.errors(self.logs))?;
                *hand = Hand::start(self.node, self.logs, hand.place, &[])?;
            }
        }
        Ok(())
    }

    fn victim(&mut self, victim: Victim) -> &mut Hand {
        let place = match victim {
            Victim::Any(place) => place % self.hands.len(),
            Victim::Youngest => {
                let youngest = self.hands.iter().max_by_key(|hand| hand.started);
                youngest.map_or(0, |hand| hand.place)
            }
        };
        &mut self.hands[place]
    }
}

impl Hand {
    fn start(node: &Longboat, logs: &Path, place: usize, options: &[&str]) -> anyhow::Result<Self> {
        let append = |path: PathBuf| File::options().create(true).append(true).open(path);
        let mut command = node.command(["worker", "--slots=3"]);
        command.arg(format!("--name=worker-{place}")).args(options);
        command.env("LONGBOAT__WORKER__LEASE", LEASE).env("LONGBOAT__WORKER__HEARTBEAT", HEARTBEAT);
        command.stdout(append(logs.join(format!("{place}.out")))?).stderr(append(errors(logs, place))?);
        Ok(Self { place, child: command.spawn()?, started: Instant::now(), wakes: None })
    }

    /// Sends a signal by name; whether the process was there to get it.
    fn signal(&mut self, name: &str) -> anyhow::Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "the signal {name} could not be sent");
        Ok(true)
    }

    fn errors(&self, logs: &Path) -> PathBuf {
        errors(logs, self.place)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(logs: &Path, place: usize) -> PathBuf {
    logs.join(format!("{place}.err"))
}

/// The number of the signal that asks a process to end, on every Unix.
const SIGTERM: i32 = 15;

/// A worker ends by itself in good order, or because it was kept from the queue for too long.
fn may_end(status: ExitStatus, errors: &Path) -> anyhow::Result<()> {
    let said = std::fs::read_to_string(errors)?;
    let last = said.lines().rev().take(3).collect::<Vec<_>>();
    // A signal that comes before anybody listens for it ends the process, as it would any other.
    let was_early = status.signal() == Some(SIGTERM) && !last.first().is_some_and(|line| line.starts_with("worker "));
    if status.success() || was_early || last.iter().any(|line| line.contains(LOCKED)) {
        return Ok(());
    }
    bail!("a worker ended with {status}:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
}

/// Has new workers do all that is left, and a last one find that nothing is.
pub fn drain(node: &Longboat, logs: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut hands = Vec::new();
    for place in 0..WORKERS {
        hands.push(Hand::start(node, logs, place, &["--until-empty"])?);
    }
    while let Some(hand) = hands.last_mut() {
        match hand.child.try_wait()? {
            Some(status) => {
                may_end(status, &hand.errors(logs))?;
                hands.pop();
            }
            None => {
                ensure!(start.elapsed() < PATIENCE, "not drained after {PATIENCE:?}: {}", node.ok(["status"])?);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    let mut last = Hand::start(node, logs, 0, &["--until-empty"])?;
    let status = last.child.wait().context("waiting for the last worker failed")?;
    may_end(status, &last.errors(logs))
}
