//! Names: of jobs, algorithms and tubes.

use super::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

/// A job's id: any 128 bits, printed in UUID form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

impl JobId {
    /// A random id (UUID v4).
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The 32 hex digits without hyphens, as result directories are named.
    pub fn hex(&self) -> String {
        self.0.simple().to_string()
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_id = matches!(text.len(), 32 | 36);
        is_id.then(|| Uuid::try_parse(text).ok()).flatten().map(Self).ok_or_else(|| {
            NameError(format!("a job id is a UUID, hyphenated or as 32 hex digits, which {} is not", excerpt(text)))
        })
    }
}

/// The name under which an algorithm is registered: `[a-z0-9][a-z0-9_-]*`, at most 64 characters.
///
/// `_` and `-` are alike; the form with `-` is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlgorithmName(String);

impl AlgorithmName {
    /// The name with `-`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AlgorithmName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rest_fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.len() > 64
            || !text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            || !text.chars().all(rest_fits)
        {
            return Err(NameError(format!(
                "an algorithm's name is made of at most 64 of a-z, 0-9, _ and -, and starts with a letter or digit; \
                 {} is not",
                excerpt(text)
            )));
        }
        Ok(Self(text.replace('_', "-")))
    }
}

/// An algorithm as a job names it: `name`, or `name@sha256:…` for one certain module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlgorithmRef {
    /// The registered name.
    pub name: AlgorithmName,
    /// The module that the job is pinned to.
    pub digest: Option<Digest>,
}

impl fmt::Display for AlgorithmRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl FromStr for AlgorithmRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let digest = digest.map(str::parse).transpose().map_err(|error| NameError(format!("after the @: {error}")))?;
        Ok(Self { name: name.parse()?, digest })
    }
}

/// A named queue: at most 200 of `A-Za-z0-9` and `-+/;.$_()`, as beanstalkd has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tube(String);

impl Tube {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tube {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Tube {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tube {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-+/;.$_()".contains(c);
        if text.is_empty() || text.len() > 200 || text.starts_with('-') || !text.chars().all(fits) {
            return Err(NameError(format!(
                "a tube's name is made of at most 200 letters, digits and -+/;.$_() and does not start with -; \
                 {} is not",
                excerpt(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    )*};
}
serde_as_text!(JobId, AlgorithmName, AlgorithmRef, Tube);

/// The longest tag, unique key or worker's name in bytes.
const MAX_LABEL: usize = 200;

/// Checks a name of which only little is asked: a tag, a unique key, or what a worker is called.
///
/// # Errors
/// [`NameError`], in words that go on from what it is the name of.
pub fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_LABEL || text.chars().any(char::is_control) {
        let given = excerpt(text);
        return Err(NameError(format!("from 1 to {MAX_LABEL} bytes without control characters, not {given}")));
    }
    Ok(())
}

/// `text` in quotes and escaped, cut short so that a hostile one does not fill the terminal.
///
/// A precision, as in `{text:.80?}`, would not cut it: the standard library quotes all of a text.
pub(crate) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// Whether a character shows nothing of its own, or changes how others are shown: controls, and the marks of Unicode that
/// turn the direction of a text or take no room. Strangers' names and messages must not have them where people read.
pub fn is_unshowable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_with_and_without_hyphens() {
        let long: JobId = "bc3a9250-99b9-012e-0f06-549a20077664".parse().unwrap();
        let short: JobId = "bc3a925099b9012e0f06549a20077664".parse().unwrap();
        assert_eq!(long, short);
        assert_eq!(long.hex(), "bc3a925099b9012e0f06549a20077664");
        assert!("{bc3a9250-99b9-012e-0f06-549a20077664}".parse::<JobId>().is_err());
        assert!("urn:uuid:bc3a9250-99b9-012e-0f06-549a20077664".parse::<JobId>().is_err());
    }

    #[test]
    fn underscore_and_hyphen_name_the_same_algorithm() {
        assert_eq!("drunken_sailor".parse::<AlgorithmName>(), "drunken-sailor".parse::<AlgorithmName>());
    }

    #[test]
    fn names_that_could_be_paths_or_options_are_refused() {
        for name in ["", "-x", "_x", "a/b", "..", "A", "a b", "ä", &"a".repeat(65)] {
            assert!(name.parse::<AlgorithmName>().is_err(), "{name}");
        }
        for tube in ["", "-x", "a b", &"a".repeat(201)] {
            assert!(tube.parse::<Tube>().is_err(), "{tube}");
        }
    }

    #[test]
    fn a_label_has_no_control_characters_and_stands_for_no_server() {
        for label in ["a", "node 1", "ä", &"a".repeat(200)] {
            check_label(label).unwrap();
        }
        for label in ["", "\u{1}beanstalkd://127.0.0.1:11300", "a\n", &"a".repeat(201)] {
            let refusal = check_label(label).unwrap_err().to_string();
            assert!(refusal.starts_with("from 1 to 200 bytes without control characters, not \""), "{refusal}");
            assert!(!refusal.contains(char::is_control));
        }
    }

    #[test]
    fn an_algorithm_can_be_pinned_to_a_module() {
        let text = format!("forecast@{}", Digest::of("x"));
        let pinned: AlgorithmRef = text.parse().unwrap();
        assert_eq!(pinned.digest, Some(Digest::of("x")));
        assert_eq!(pinned.to_string(), text);
        assert!("forecast@sha256:12".parse::<AlgorithmRef>().is_err());
    }
}
