//! The arguments that choose jobs.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use longboat::job::{AlgorithmName, JobId, Span, State, Tube, Verdict};
use longboat::queue::{Filter, Times};
use std::str::FromStr;

/// Jobs by their ids, or by what they have in common.
#[derive(Debug, Args)]
pub struct ChosenArgs {
    /// The jobs' ids
    #[arg(value_name = "ID")]
    pub ids: Vec<JobId>,
    /// What they have in common.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// All jobs
    #[arg(long, help_heading = "Which jobs")]
    pub all: bool,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", help_heading = "Which jobs", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// What jobs have in common. A job must fit every option that is given.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which jobs")]
pub struct FilterArgs {
    /// In this state, or in one of several
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state())]
    pub states: Vec<State>,
    /// In this tube, or in one of several
    #[arg(long = "tube", value_name = "TUBE", value_delimiter = ',')]
    pub tubes: Vec<Tube>,
    /// Of this algorithm, whatever its module
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<AlgorithmName>,
    /// With this tag; with all of them if there are several
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Pinned to the worker of this name
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Tried by a worker of this name
    #[arg(long, value_name = "NAME")]
    pub worker: Option<String>,
    /// With a last verdict of this kind, or of one of several
    #[arg(long = "verdict", value_name = "KIND", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(Verdict::KINDS))]
    pub verdicts: Vec<String>,
    /// Submitted at this time or later; 2h means two hours ago
    #[arg(long, value_name = "TIME|DURATION")]
    pub since: Option<Moment>,
    /// Submitted before
    #[arg(long, value_name = "TIME|DURATION")]
    pub before: Option<Moment>,
    /// Ended at this time or later
    #[arg(long, value_name = "TIME|DURATION")]
    pub finished_since: Option<Moment>,
    /// Ended before
    #[arg(long, value_name = "TIME|DURATION")]
    pub finished_before: Option<Moment>,
}

fn state() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str)).try_map(|name| name.parse::<State>())
}

impl FilterArgs {
    /// The filter. Durations count back from `now`.
    pub fn at(self, now: Timestamp) -> Filter {
        let time = |moment: Option<Moment>| moment.map(|moment| moment.at(now));
        Filter {
            states: self.states,
            tubes: self.tubes,
            algorithm: self.algorithm,
            tags: self.tags,
            host: self.host,
            worker: self.worker,
            verdicts: self.verdicts,
            submitted: Times { since: time(self.since), before: time(self.before) },
            finished: Times { since: time(self.finished_since), before: time(self.finished_before) },
        }
    }
}

/// A point in time, or a duration before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This time.
    At(Timestamp),
    /// This much time before now.
    Ago(Span),
}

impl Moment {
    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(time) => time,
            Moment::Ago(span) => now.checked_sub(span.0).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// Reads RFC 3339 times, and times in UTC as lists print them.
    fn from_str(text: &str) -> Result<Self, String> {
        let as_listed = || Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Moment::At(time));
        }
        match text.parse::<Span>() {
            Ok(span) => Ok(Moment::Ago(span)),
            Err(_) => as_listed().map(Moment::At).ok_or_else(|| {
                "write a time, like 2026-11-21T18:00:00Z or 2026-11-21, or how long ago, like 90s, 2h or 36h".to_owned()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_a_time_or_a_duration_before_now() {
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-21T19:00:00+02:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21 17:00:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("2h", "2026-11-21T16:00:00Z"),
            ("90", "2026-11-21T17:58:30Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().at(now).to_string(), time, "{text}");
        }
        for text in ["", "yesterday", "-2h", "2026-13-01", "2h ago but not quite"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
