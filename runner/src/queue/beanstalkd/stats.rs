//! The figures that a server gives: a flat YAML mapping of plain words, and nothing else of YAML.

use crate::job::Tube;
use std::collections::HashMap;
use std::str::FromStr;

/// Where the server has a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It can be reserved.
    Ready,
    /// It becomes ready by itself.
    Delayed,
    /// Somebody has it.
    Reserved,
    /// It waits for a kick.
    Buried,
}

/// What a server tells of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStats {
    /// Where it waits.
    pub tube: Tube,
    /// How.
    pub state: JobState,
    /// 0 is the most urgent.
    pub priority: u32,
    /// Seconds since it was put.
    pub age: u64,
    /// Seconds that a reservation lasts.
    pub ttr: u64,
    /// How often it was reserved.
    pub reserves: u32,
    /// How often a reservation lasted too long.
    pub timeouts: u32,
    /// How often it was given back.
    pub releases: u32,
    /// How often it was put aside.
    pub buries: u32,
    /// How often it was kicked.
    pub kicks: u32,
}

/// What a server tells of a tube.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TubeStats {
    /// Its jobs.
    pub jobs: Jobs,
    /// Seconds until its pause is over; 0 if it is not paused.
    pub pause_left: u64,
}

/// What a server tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStats {
    /// Which process it is: each start has another number. 0 if it does not say.
    pub instance: u64,
    /// The largest body in bytes.
    pub max_job_size: usize,
    /// Whether jobs outlive the server: only with a binlog are its files counted, from 1.
    pub has_binlog: bool,
    /// Whether it takes no more jobs.
    pub is_draining: bool,
    /// Its jobs, whatever their tube.
    pub jobs: Jobs,
}

/// How many jobs are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs that can be reserved.
    pub ready: u64,
    /// Jobs that become ready by themselves.
    pub delayed: u64,
    /// Jobs that somebody has.
    pub reserved: u64,
    /// Jobs that wait for a kick.
    pub buried: u64,
}

/// The values of a mapping, by key.
struct Mapping<'a>(HashMap<&'a str, &'a str>);

impl<'a> Mapping<'a> {
    fn read(yaml: &'a str) -> Option<Self> {
        let pairs = yaml.strip_prefix("---\n")?.lines().map(|line| line.split_once(": "));
        Some(Self(pairs.collect::<Option<_>>()?))
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        let value = *self.0.get(key)?;
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    fn get<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }
}

impl JobStats {
    /// How many reservations before the present one have ended without a word: their connections ended, or their time
    /// was over. Whoever lives and works releases, buries or deletes.
    pub(super) fn deaths(&self) -> u32 {
        self.reserves.saturating_sub(1).saturating_sub(self.releases).saturating_sub(self.buries)
    }

    pub(super) fn read(yaml: &str) -> Option<Self> {
        let mapping = Mapping::read(yaml)?;
        let state = match mapping.text("state")? {
            "ready" => JobState::Ready,
            "delayed" => JobState::Delayed,
            "reserved" => JobState::Reserved,
            "buried" => JobState::Buried,
            _ => return None,
        };
        Some(Self {
            tube: mapping.get("tube")?,
            state,
            priority: mapping.get("pri")?,
            // A server whose clock was set back gives a negative one.
            age: mapping.get::<i64>("age")?.max(0).unsigned_abs(),
            ttr: mapping.get("ttr")?,
            reserves: mapping.get("reserves")?,
            timeouts: mapping.get("timeouts")?,
            releases: mapping.get("releases")?,
            buries: mapping.get("buries")?,
            kicks: mapping.get("kicks")?,
        })
    }
}

impl TubeStats {
    pub(super) fn read(yaml: &str) -> Option<Self> {
        let mapping = Mapping::read(yaml)?;
        Some(Self {
            jobs: Jobs::read(&mapping)?,
            // What is left of a pause that is just over may be negative.
            pause_left: mapping.get::<i64>("pause-time-left")?.max(0).unsigned_abs(),
        })
    }
}

impl ServerStats {
    pub(super) fn read(yaml: &str) -> Option<Self> {
        let mapping = Mapping::read(yaml)?;
        let instance = mapping.text("id").and_then(|id| u64::from_str_radix(id, 16).ok());
        Some(Self {
            instance: instance.unwrap_or(0),
            max_job_size: mapping.get("max-job-size")?,
            has_binlog: mapping.get::<u64>("binlog-current-index")? > 0,
            // Servers before 1.12 do not say.
            is_draining: mapping.text("draining") == Some("true"),
            jobs: Jobs::read(&mapping)?,
        })
    }
}

impl Jobs {
    fn read(mapping: &Mapping<'_>) -> Option<Self> {
        Some(Self {
            ready: mapping.get("current-jobs-ready")?,
            delayed: mapping.get("current-jobs-delayed")?,
            reserved: mapping.get("current-jobs-reserved")?,
            buried: mapping.get("current-jobs-buried")?,
        })
    }
}

/// The tubes of a list.
pub(super) fn tubes(yaml: &str) -> Option<Vec<Tube>> {
    let items = yaml.strip_prefix("---\n")?.lines().map(|line| {
        let name = line.strip_prefix("- ")?;
        name.trim_matches('"').parse().ok()
    });
    items.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "---\nid: 1\ntube: night\nstate: reserved\npri: 1337\nage: 2\ndelay: 0\nttr: 3\ntime-left: 2\n\
                       file: 1\nreserves: 3\ntimeouts: 1\nreleases: 0\nburies: 1\nkicks: 2\n";

    #[test]
    fn the_figures_of_a_job_are_read_by_their_names() {
        let stats = JobStats::read(JOB).unwrap();
        assert_eq!((stats.tube.as_str(), stats.state, stats.priority), ("night", JobState::Reserved, 1337));
        assert_eq!((stats.age, stats.ttr), (2, 3));
        assert_eq!((stats.reserves, stats.timeouts, stats.releases), (3, 1, 0));
        assert_eq!((stats.buries, stats.kicks), (1, 2));
        assert_eq!(JobStats::read(&JOB.replace("buries: 1", "buries: 0")).map(|stats| stats.deaths()), Some(2));
        assert_eq!(stats.deaths(), 1, "one of the two reservations before ended in a burial");
        let newer = JOB.replace("night", "\"night\"").replace("age: 2", "age: -1") + "new: thing\n";
        assert_eq!(JobStats::read(&newer), Some(JobStats { age: 0, ..stats }));
    }

    #[test]
    fn figures_that_are_missing_or_no_figures_are_refused() {
        for (from, to) in [
            ("---", "--"),
            ("pri: 1337\n", ""),
            ("pri: 1337", "pri"),
            ("1337", "-1"),
            ("reserved", "gone"),
            ("night", "a b"),
        ] {
            assert_eq!(JobStats::read(&JOB.replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn tubes_are_read_with_and_without_quotes() {
        let read = tubes("---\n- default\n- \"a;b\"\n").unwrap();
        assert_eq!(read.iter().map(Tube::as_str).collect::<Vec<_>>(), ["default", "a;b"]);
        assert_eq!(tubes("---\n- a b\n"), None);
        assert_eq!(tubes("---\ndefault\n"), None);
    }
}
