//! What is done to whom and when, as it follows from a seed.

use super::jobs::Job;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::time::Duration;

/// Jobs in one file of JSON lines, at most.
const BATCH: u32 = 8;

/// One thing that is done.
#[derive(Debug, PartialEq)]
pub enum Deed {
    /// Somebody submits jobs.
    Submit(Submission),
    /// A worker is killed.
    Kill(Victim),
    /// A worker is told to drain and at once to stop now.
    Interrupt(Victim),
    /// A worker is stopped for so long, and goes on then.
    Stop(Victim, Duration),
}

/// Which worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The one that was started last. Most victims are, so that the others live long enough to take over.
    Youngest,
    /// The one at this place, counted round.
    Any(usize),
}

/// Jobs, how they are submitted, and what happens to whoever does.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Whether they go as lines of JSON, or as the options of a single one.
    pub as_lines: bool,
    /// The submitter is killed when it is so old, and the next one tries the same.
    pub deaths: Vec<Duration>,
    /// Whether there is one more at the end, which nobody kills.
    pub insists: bool,
}

/// A deed and how long it takes to come.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// After the one before.
    pub after: Duration,
    /// What is done then.
    pub deed: Deed,
}

/// An endless list of deeds.
pub struct Schedule {
    random: Pcg64Mcg,
}

impl Schedule {
    /// The one of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed) }
    }

    /// The next deed.
    pub fn next_step(&mut self) -> Step {
        let after = self.millis(10, 150);
        let deed = match self.random.random_range(0..100) {
            0..62 => Deed::Submit(self.submission()),
            62..88 => Deed::Kill(self.victim()),
            88..91 => Deed::Interrupt(self.victim()),
            _ => {
                let victim = self.victim();
                Deed::Stop(victim, self.millis(200, 2400))
            }
        };
        Step { after, deed }
    }

    fn victim(&mut self) -> Victim {
        match self.random.random_ratio(6, 10) {
            true => Victim::Youngest,
            false => Victim::Any(self.random.random_range(0..1000)),
        }
    }

    fn submission(&mut self) -> Submission {
        let as_lines = self.random.random();
        let count = if as_lines { self.random.random_range(1..=BATCH) } else { 1 };
        let jobs = (0..count).map(|_| Job::draw(&mut self.random)).collect();
        let deaths = match self.random.random_range(0..10) {
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        // It takes some ten milliseconds from the start to the answer.
        let deaths: Vec<_> = (0..deaths).map(|_| self.millis(0, 25)).collect();
        let insists = deaths.is_empty() || self.random.random();
        Submission { jobs, as_lines, deaths, insists }
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.random.random_range(least * 1000..=most * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_gives_another() {
        let steps = |seed| {
            let mut schedule = Schedule::new(seed);
            (0..200).map(|_| schedule.next_step()).collect::<Vec<_>>()
        };
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }
}
