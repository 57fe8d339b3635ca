//! What a beanstalkd server answers: a line, and after some lines a body of a length that the line tells.
//! Figures are bodies too: flat YAML mappings of plain words.

use crate::job::Tube;
use std::collections::HashMap;
use std::str::FromStr;

/// The longest line that is taken, in bytes and without its end; the longest that a server sends is `USING`
/// and a tube's name of 200 bytes.
pub(super) const MAX_LINE: usize = 224;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Inserted(u64),
    /// With the job's number if it answers a `put`.
    Buried(Option<u64>),
    Using,
    Watching,
    /// A job's number, and the length of the body that follows.
    Reserved(u64, usize),
    Found(u64, usize),
    /// The length of the data that follow.
    Ok(usize),
    TimedOut,
    DeadlineSoon,
    Deleted,
    Released,
    Touched,
    Kicked,
    NotFound,
    NotIgnored,
    Denied(Denial),
}

/// Why a server refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// `DRAINING`.
    #[error("it takes no more jobs, because it is about to stop; try another server, or this one once it is back")]
    Draining,
    /// `JOB_TOO_BIG`.
    #[error("the job is larger than it takes; start it with a larger -z, or make the job smaller")]
    JobTooBig,
    /// `OUT_OF_MEMORY`.
    #[error("it has no memory left; try again when some of its jobs are done")]
    OutOfMemory,
    /// `INTERNAL_ERROR`.
    #[error("it has an internal error; see its log, and whether its disk is full")]
    InternalError,
    /// `BAD_FORMAT`, `UNKNOWN_COMMAND` or `EXPECTED_CRLF`.
    #[error("it does not understand a command; is it beanstalkd, and not older than 1.9?")]
    NotUnderstood,
}

impl Reply {
    /// The reply that a line is, if it is one.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(line).ok()?.split(' ');
        let reply = match words.next()? {
            "INSERTED" => Reply::Inserted(number(words.next()?)?),
            "BURIED" => Reply::Buried(words.next().map_or(Some(None), |word| number(word).map(Some))?),
            "USING" => words.next().map(|_| Reply::Using)?,
            "WATCHING" => number(words.next()?).map(|_| Reply::Watching)?,
            "RESERVED" => Reply::Reserved(number(words.next()?)?, length(words.next()?)?),
            "FOUND" => Reply::Found(number(words.next()?)?, length(words.next()?)?),
            "OK" => Reply::Ok(length(words.next()?)?),
            "TIMED_OUT" => Reply::TimedOut,
            "DEADLINE_SOON" => Reply::DeadlineSoon,
            "DELETED" => Reply::Deleted,
            "RELEASED" => Reply::Released,
            "TOUCHED" => Reply::Touched,
            "KICKED" => Reply::Kicked,
            "NOT_FOUND" => Reply::NotFound,
            "NOT_IGNORED" => Reply::NotIgnored,
            "DRAINING" => Reply::Denied(Denial::Draining),
            "JOB_TOO_BIG" => Reply::Denied(Denial::JobTooBig),
            "OUT_OF_MEMORY" => Reply::Denied(Denial::OutOfMemory),
            "INTERNAL_ERROR" => Reply::Denied(Denial::InternalError),
            "BAD_FORMAT" | "UNKNOWN_COMMAND" | "EXPECTED_CRLF" => Reply::Denied(Denial::NotUnderstood),
            _ => return None,
        };
        words.next().is_none().then_some(reply)
    }

    /// The length of the body that follows the line, if there is one; its end is not counted.
    pub(super) fn body(self) -> Option<usize> {
        match self {
            Reply::Reserved(_, length) | Reply::Found(_, length) | Reply::Ok(length) => Some(length),
            _ => None,
        }
    }
}

/// A job's number. A server counts from 1, so it never comes near the end of a database's integers.
fn number(word: &str) -> Option<u64> {
    digits(word).filter(|number| i64::try_from(*number).is_ok())
}

fn length(word: &str) -> Option<usize> {
    digits(word).and_then(|length| usize::try_from(length).ok())
}

fn digits(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// How a job stands at its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It can be reserved.
    Ready,
    /// It becomes ready by itself.
    Delayed,
    /// Some connection has it.
    Reserved,
    /// It waits for a kick.
    Buried,
}

/// What a server tells of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStats {
    /// Where it waits.
    pub tube: Tube,
    /// How it stands.
    pub state: JobState,
    /// 0 is the most urgent.
    pub priority: u32,
    /// Seconds since it was put.
    pub age: u64,
    /// Seconds that a reservation lasts.
    pub ttr: u64,
    /// How often it was released.
    pub releases: u32,
    /// How often it was buried.
    pub buries: u32,
    /// How often it was kicked.
    pub kicks: u32,
}

/// What a server tells of a tube: how many jobs are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TubeStats {
    /// Jobs that can be reserved.
    pub ready: u64,
    /// Jobs that become ready by themselves.
    pub delayed: u64,
    /// Jobs that some connection has.
    pub reserved: u64,
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
            ready: mapping.get("current-jobs-ready")?,
            delayed: mapping.get("current-jobs-delayed")?,
            reserved: mapping.get("current-jobs-reserved")?,
        })
    }
}

/// The name of the server's host, from the server's own figures. Servers before 1.11 do not tell it.
pub(super) fn hostname(yaml: &str) -> Option<String> {
    let mapping = Mapping::read(yaml)?;
    mapping.get::<u64>("current-jobs-ready")?;
    Some(mapping.text("hostname").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JOB: &str = "---\nid: 1\ntube: night\nstate: reserved\npri: 1337\nage: 2\ndelay: 0\nttr: 3\ntime-left: 2\n\
                       file: 1\nreserves: 3\ntimeouts: 1\nreleases: 0\nburies: 1\nkicks: 2\n";

    #[test]
    fn figures_of_a_job_are_read_by_their_names() {
        let stats = JobStats::read(JOB).unwrap();
        assert_eq!((stats.tube.as_str(), stats.state, stats.priority), ("night", JobState::Reserved, 1337));
        assert_eq!((stats.age, stats.ttr, stats.releases, stats.buries, stats.kicks), (2, 3, 0, 1, 2));
        let newer = JOB.replace("night", "\"night\"").replace("age: 2", "age: -1") + "new: thing\n";
        assert_eq!(JobStats::read(&newer), Some(JobStats { age: 0, ..stats }));
    }

    #[test]
    fn missing_or_wrong_figures_are_refused() {
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
    fn the_host_is_named_by_servers_that_name_it() {
        let old = "---\ncurrent-jobs-ready: 0\n";
        assert_eq!(hostname(old).as_deref(), Some(""));
        assert_eq!(hostname(&format!("{old}hostname: \"ship\"\n")).as_deref(), Some("ship"));
        assert_eq!(hostname("---\nhostname: ship\n"), None, "those are not the figures of a server");
    }

    #[test]
    fn answers_of_servers_are_read() {
        for (line, reply) in [
            ("INSERTED 7", Reply::Inserted(7)),
            ("BURIED", Reply::Buried(None)),
            ("BURIED 7", Reply::Buried(Some(7))),
            ("RESERVED 7 65535", Reply::Reserved(7, 65_535)),
            ("OK 0", Reply::Ok(0)),
            ("WATCHING 2", Reply::Watching),
            ("USING a-b", Reply::Using),
            ("DRAINING", Reply::Denied(Denial::Draining)),
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), Some(reply), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_answers() {
        for line in [
            "",
            " ",
            "INSERTED",
            "INSERTED x",
            "INSERTED +7",
            "INSERTED -7",
            "INSERTED 7 ",
            "INSERTED  7",
            "INSERTED 9223372036854775808",
            "INSERTED 99999999999999999999",
            "RESERVED 7",
            "RESERVED 7 8 9",
            "OK -1",
            "deleted",
            "DELETED 7",
            "HTTP/1.1 400 Bad Request",
            "BURIED é",
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Reply::parse(b"USING \xff"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(line in proptest::collection::vec(any::<u8>(), 0..MAX_LINE)) {
            let _ = Reply::parse(&line);
        }

        #[test]
        fn any_text_is_figures_or_none(yaml in "(---\n)?([a-z-]{1,8}: [a-z0-9\"-]{0,9}\n|.{0,9}\n?){0,20}") {
            let _ = (JobStats::read(&yaml), TubeStats::read(&yaml), hostname(&yaml));
        }
    }
}
