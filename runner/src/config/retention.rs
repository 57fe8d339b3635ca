//! How long jobs are kept.

use crate::job::Span;
use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

const FOREVER: &str = "forever";

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
    pub(super) fn named(&self) -> [(&'static str, Keep); 3] {
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
                let seconds: serde::de::value::F64Deserializer<serde::de::value::Error> = seconds.into_deserializer();
                Span::deserialize(seconds).map(Keep::For).map_err(|why| why.to_string())
            }
        }
        .map_err(D::Error::custom)
    }
}
