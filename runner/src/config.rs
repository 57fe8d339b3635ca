//! What an operator configures.
//!
//! Values come from a TOML file, and from environment variables such as `LONGBOAT__WORKER__SLOTS=8`, which
//! win. What is left out has the default that is written beside it here.

mod choice;
mod public_url;
mod retention;

pub use choice::{ConfinementMode, EpochChecks, NanBits};
pub use public_url::{PublicUrlError, parse_public_url};
pub use retention::{Keep, RetentionConfig};

use crate::job::{Limits, LimitsRequest, Span};
use crate::policy::Rules;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Jobs are kept for at least this long.
const SHORTEST_RETENTION: Duration = Duration::from_secs(1);

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
fn over_ceiling<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
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
    #[serde(deserialize_with = "choice::named")]
    pub epoch_checks: EpochChecks,
    /// Which bits a guest's NaNs have.
    #[serde(deserialize_with = "choice::named")]
    pub nan_bits: NanBits,
    /// Whether the process takes from itself what it does not need; `serve` obeys it too.
    #[serde(deserialize_with = "choice::named")]
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read as a configuration.
    #[error("{0}")]
    Unreadable(String),
    /// Two of its values do not go together.
    #[error("{0}")]
    Contradiction(String),
}

impl From<config::ConfigError> for ConfigError {
    /// What is wrong with a value, after the key that it has.
    fn from(error: config::ConfigError) -> Self {
        Self::Unreadable(match error {
            config::ConfigError::At { error, key: Some(key), origin: None } => format!("{key}: {error}"),
            error => error.to_string(),
        })
    }
}

impl Config {
    /// Reads `file`, if there is one, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let environment =
            config::Environment::with_prefix("LONGBOAT").prefix_separator("__").separator("__").try_parsing(true);
        let config: Self = builder.add_source(environment).build()?.try_deserialize()?;
        config.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let refuse = |message: String| Err(ConfigError::Contradiction(message));
        let (default, ceiling) = (self.limits.default.values(), self.limits.ceiling.values());
        for ((limit, default), (_, ceiling)) in default.into_iter().zip(ceiling) {
            if default > ceiling {
                return refuse(format!(
                    "limits.default.{limit} is {} and limits.ceiling.{limit} is {}: no job could be submitted; \
                     lower the default or raise the ceiling",
                    limit.display(default),
                    limit.display(ceiling)
                ));
            }
        }
        if self.worker.slots == Some(0) || self.worker.threads == Some(0) {
            return refuse("worker.slots and worker.threads: at least 1".to_owned());
        }
        if self.worker.slots.is_some_and(|slots| slots > 1024)
            || self.worker.threads.is_some_and(|threads| threads > 1024)
        {
            return refuse("worker.slots and worker.threads: at most 1024".to_owned());
        }
        if self.worker.lease.0 < self.worker.heartbeat.0 * 2 || self.worker.heartbeat.0.is_zero() {
            return refuse("worker.lease: at least twice worker.heartbeat, which is more than 0".to_owned());
        }
        for (name, keep) in self.retention.named() {
            if keep.duration().is_some_and(|kept| kept < SHORTEST_RETENTION) {
                return refuse(format!("retention.{name}: at least 1s, so that a result can be read, or \"forever\""));
            }
        }
        Ok(self)
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

    /// The registry.
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
