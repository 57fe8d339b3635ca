//! The jobs of the storm, and how each of their attempts ends if nobody disturbs it.

use rand::{Rng, RngExt};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

/// What the sailor does in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Returns at once.
    Sober,
    /// Sleeps for a while, so that it is caught at work.
    Slow,
    /// Writes and renames a file many times.
    Renames,
    /// Writes files with names that are easily misread.
    Names,
    /// Fails at its first attempt.
    FailsOnce,
    /// Runs into its deadline at its first attempt.
    LoopsOnce,
    /// Fails at every attempt.
    Fails,
    /// Fails, and says that it always would.
    Gives,
    /// Traps in the same way at every attempt, since its seed is pinned.
    Traps,
}

const KINDS: [(Kind, u32); 9] = [
    (Kind::Sober, 40),
    (Kind::Slow, 15),
    (Kind::Renames, 10),
    (Kind::Names, 10),
    (Kind::FailsOnce, 8),
    (Kind::LoopsOnce, 4),
    (Kind::Fails, 4),
    (Kind::Gives, 5),
    (Kind::Traps, 4),
];

/// A job as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its own id, hyphenated, so that it can be submitted again.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// How often it may be tried.
    pub max_attempts: u32,
}

impl Job {
    /// Draws one.
    pub fn draw(random: &mut Pcg64Mcg) -> Self {
        let kind = kind(random.random_range(0..100));
        let max_attempts = match kind {
            // Each failure doubles the wait for the next attempt, lost ones before it included.
            Kind::FailsOnce | Kind::LoopsOnce | Kind::Fails => random.random_range(2..=4),
            _ if random.random_ratio(1, 4) => random.random_range(1..=3),
            _ => 50,
        };
        Self { id: id(random), kind, max_attempts }
    }

    /// The job document.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "id": self.id, "algorithm": "drunken-sailor", "params": self.params(), "max_attempts": self.max_attempts,
        });
        if let Some(ttr) = self.ttr() {
            document["ttr"] = json!(ttr);
        }
        if let Some(seed) = self.seed() {
            document["seed"] = json!(seed);
        }
        document
    }

    /// The same job as options of `submit`.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec![
            "drunken-sailor".to_owned(),
            format!("--id={}", self.id),
            format!("--params={}", self.params()),
            format!("--max-attempts={}", self.max_attempts),
        ];
        options.extend(self.ttr().map(|ttr| format!("--ttr={ttr}")));
        options.extend(self.seed().map(|seed| format!("--seed={seed}")));
        options
    }

    fn params(&self) -> Value {
        match self.kind {
            Kind::Sober => json!({"mode": "normal"}),
            Kind::Slow => json!({"mode": "slow", "seconds": 0.4}),
            Kind::Renames => json!({"mode": "rename", "count": 50}),
            Kind::Names => json!({"mode": "odd-names"}),
            Kind::FailsOnce => json!({"mode": ["exit", "normal"]}),
            Kind::LoopsOnce => json!({"mode": ["endless-loop", "normal"]}),
            Kind::Fails => json!({"mode": "exit"}),
            Kind::Gives => json!({"mode": "fail", "permanent": true}),
            Kind::Traps => json!({"mode": "panic"}),
        }
    }

    /// Short enough to wait for, and long enough for an attempt that behaves, in a crowd and by a worker that has just
    /// started.
    fn ttr(&self) -> Option<&'static str> {
        (self.kind == Kind::LoopsOnce).then_some("1s")
    }

    fn seed(&self) -> Option<u64> {
        (self.kind == Kind::Traps).then_some(7)
    }

    /// The verdict of an attempt whose worker lives through it.
    pub fn verdict(&self, attempt: u64) -> &'static str {
        match self.kind {
            Kind::Sober | Kind::Slow | Kind::Renames | Kind::Names => "done",
            Kind::FailsOnce if attempt == 1 => "failed",
            Kind::LoopsOnce if attempt == 1 => "deadline",
            Kind::FailsOnce | Kind::LoopsOnce => "done",
            Kind::Fails | Kind::Gives => "failed",
            Kind::Traps => "trapped",
        }
    }

    /// Whether that verdict ends the job, however many attempts are left.
    pub fn ends_with(&self, verdict: &str) -> bool {
        verdict == "done" || (matches!(self.kind, Kind::Gives | Kind::Traps) && verdict == self.verdict(1))
    }
}

fn kind(mut percent: u32) -> Kind {
    for (kind, share) in KINDS {
        match percent.checked_sub(share) {
            None => return kind,
            Some(rest) => percent = rest,
        }
    }
    Kind::Sober
}

fn id(random: &mut Pcg64Mcg) -> String {
    let hex = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
