//! What an operator configures.
//!
//! Values come from a TOML file, and from environment variables such as `LONGBOAT__WORKER__SLOTS=8`, which
//! win. What is left out has the default that is written beside it here.

mod load;
mod public_url;

pub use load::ConfigError;
pub use public_url::{PublicUrlError, parse_public_url};

use crate::job::{Limits, LimitsRequest, Span};
use crate::policy::Rules;
use serde::de::{Error as _, IntoDeserializer as _, value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Jobs are kept for at least this long.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);
const FOREVER: &str = "forever";

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What jobs may use.
    pub limits: LimitsConfig,
    /// Where inputs may be fetched from.
    pub input: Rules,
    /// Where results may be sent.
    pub result_url: Rules,
    /// How a worker runs jobs.
    pub worker: WorkerConfig,
    /// How long jobs are kept.
    pub retention: RetentionConfig,
    /// How results are served.
    pub http: HttpConfig,
    /// Where a worker takes jobs in from.
    pub intake: IntakeConfig,
}

/// Where a worker takes jobs in from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeConfig {
    /// Servers, as `beanstalkd://HOST:PORT[/TUBE…]`; `--intake` names others instead.
    pub servers: Vec<String>,
}

/// What jobs may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// What a job gets that asks for nothing.
    pub default: Limits,
    /// The most that a job may ask for.
    #[serde(deserialize_with = "over_ceiling")]
    pub ceiling: Limits,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { default: Limits::default(), ceiling: Limits::default_ceiling() }
    }
}

/// What is left out of a ceiling is the default ceiling, not the default limit.
fn over_ceiling<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ceiling {
        ttr: Option<Span>,
        #[serde(flatten)]
        others: LimitsRequest,
    }
    let given = Ceiling::deserialize(deserializer)?;
    Ok(given.others.over(given.ttr, &Limits::default_ceiling()))
}

/// How a worker runs jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Jobs that run at once; twice the cores if absent.
    pub slots: Option<u32>,
    /// Threads that run guests; the cores if absent.
    pub threads: Option<u32>,
    /// The name that pinned jobs use; the host's name if absent.
    pub name: Option<String>,
    /// Where deadlines are looked at.
    #[serde(deserialize_with = "load::named")]
    pub epoch_checks: EpochChecks,
    /// Which bits a guest's NaNs have.
    #[serde(deserialize_with = "load::named")]
    pub nan_bits: NanBits,
    /// Whether the process takes from itself what it does not need; `serve` obeys it too.
    #[serde(deserialize_with = "load::named")]
    pub confinement: ConfinementMode,
    /// How long a lease lasts without a heartbeat.
    pub lease: Span,
    /// How often heartbeats are sent.
    pub heartbeat: Span,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: None,
            threads: None,
            name: None,
            epoch_checks: EpochChecks::default(),
            nan_bits: NanBits::default(),
            confinement: ConfinementMode::default(),
            lease: Span(Duration::from_secs(15)),
            heartbeat: Span(Duration::from_secs(5)),
        }
    }
}

/// Where deadlines are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochChecks {
    /// In every loop of the guest.
    #[default]
    InGuest,
    /// Between slices of fuel: compute is somewhat faster (the bench `kernels`), and slices stay below a millisecond.
    AtSlices,
}

/// Which bits a NaN has that comes out of arithmetic; WebAssembly leaves that open.
///
/// They show only where a guest looks at a NaN's bits or writes them down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NanBits {
    /// Those of the processor's instructions: alike wherever the same machine code runs, which provenance names.
    #[default]
    Platform,
    /// The canonical ones: alike on every machine. Arithmetic takes about twice as long.
    Canonical,
}

/// Whether the process takes from itself what it does not need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfinementMode {
    /// As far as the kernel can.
    #[default]
    BestEffort,
    /// Wholly, or it does not start.
    Required,
    /// Not at all.
    Off,
}

/// How long jobs are kept after they have ended, with their history and results.
///
/// Dead jobs wait for somebody to look into them, so these do not go by themselves unless that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Those that are done.
    pub done: Keep,
    /// Those that are dead.
    pub dead: Keep,
    /// Those that were cancelled.
    pub cancelled: Keep,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let month = Keep::For(Span(Duration::from_secs(30 * 24 * 3600)));
        Self { done: month, dead: Keep::Forever, cancelled: month }
    }
}

impl RetentionConfig {
    /// All of them, with their names in the configuration.
    fn named(&self) -> [(&'static str, Keep); 3] {
        [("done", self.done), ("dead", self.dead), ("cancelled", self.cancelled)]
    }
}

/// How long something is kept: a duration, or `"forever"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until somebody deletes it.
    Forever,
    /// So long, and not much longer.
    For(Span),
}

impl Keep {
    /// The duration, if there is an end to it.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Keep::Forever => None,
            Keep::For(span) => Some(span.0),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Keep::Forever => serializer.serialize_str(FOREVER),
            Keep::For(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "\"forever\", or a duration such as \"30d\"")]
        enum Written {
            Seconds(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Text(text) if text == FOREVER => Ok(Keep::Forever),
            Written::Text(text) => text.parse().map(Keep::For).map_err(|why: String| format!("{why}; or {FOREVER:?}")),
            Written::Seconds(seconds) => {
                let seconds: value::F64Deserializer<value::Error> = seconds.into_deserializer();
                Span::deserialize(seconds).map(Keep::For).map_err(|why| why.to_string())
            }
        }
        .map_err(D::Error::custom)
    }
}

/// How results are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where this node's results can be reached from elsewhere; other nodes redirect there.
    #[serde(deserialize_with = "public_url::deserialize")]
    pub public_url: Option<Url>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7654)), public_url: None }
    }
}

impl Config {
    /// Reads `file`, if there is one, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key, where it stands, and what to do.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        load::load(file, std::env::vars_os())
    }

    /// The first key whose value does not go together with the others, and why.
    fn contradiction(&self) -> Option<(String, String)> {
        let (default, ceiling) = (self.limits.default.values(), self.limits.ceiling.values());
        for ((limit, default), (_, ceiling)) in default.into_iter().zip(ceiling) {
            if default > ceiling {
                let (default, ceiling) = (limit.display(default), limit.display(ceiling));
                let why = format!(
                    "it is {default}, and limits.ceiling.{limit} is {ceiling}: no job could be submitted; lower the \
                     default or raise the ceiling"
                );
                return Some((format!("limits.default.{limit}"), why));
            }
        }
        for (name, count) in [("slots", self.worker.slots), ("threads", self.worker.threads)] {
            if count.is_some_and(|count| !(1..=1024).contains(&count)) {
                return Some((format!("worker.{name}"), "at least 1 and at most 1024".to_owned()));
            }
        }
        if self.worker.heartbeat.0.is_zero() {
            return Some(("worker.heartbeat".to_owned(), "more than 0".to_owned()));
        }
        if self.worker.lease.0 < self.worker.heartbeat.0 * 2 {
            return Some(("worker.lease".to_owned(), "at least twice worker.heartbeat".to_owned()));
        }
        for (name, keep) in self.retention.named() {
            if keep.duration().is_some_and(|kept| kept < SHORTEST_RETENTION) {
                let why = "at least 1s, so that a result can be read, or \"forever\"";
                return Some((format!("retention.{name}"), why.to_owned()));
            }
        }
        None
    }
}

/// The directory that holds everything a node keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// At this path.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The SQLite queue, where no other one is named.
    pub fn queue(&self) -> PathBuf {
        self.0.join("queue.db")
    }

    /// Copies of modules, by their digests.
    pub fn algorithms(&self) -> PathBuf {
        self.0.join("algorithms")
    }

    /// Compiled code.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Results.
    pub fn results(&self) -> PathBuf {
        self.0.join("results")
    }

    /// Where large inputs are kept while they are used, in files without names.
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The configuration that is read if no other is named.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }
}

#[cfg(test)]
mod tests;
