//! The job document: what a submitter writes.

use super::{AlgorithmRef, Digest, JobId, LimitsRequest, Span, Tube, When, check_label, excerpt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use url::Url;

/// The most params that a job may have, in bytes of JSON.
pub const MAX_PARAMS: usize = 1 << 20;
/// The largest job document in bytes of JSON; inputs as `data:` URLs are in it.
pub const MAX_DOCUMENT: usize = 4 << 20;
const MAX_INPUTS: usize = 64;
const MAX_URL: usize = 2 << 20;
/// A request line that servers take: RFC 9112, 3, recommends 8,000 bytes at least.
const MAX_RESULT_URL: usize = 8000;
const MAX_TAGS: usize = 32;
/// The longest message about a document, in characters.
const MAX_MESSAGE: usize = 1000;

/// A request to run an algorithm, checked, but with nothing filled in that depends on when it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The submitter's own id for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// What to run.
    pub algorithm: AlgorithmRef,
    /// Handed to the algorithm.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Where the inputs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// Where the result document is also sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_url: Option<Url>,
    /// The queue's name.
    #[serde(default)]
    pub tube: Tube,
    /// 0 is the most urgent.
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// Not before so long after submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Not after this time: a job not started by then is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<When>,
    /// The wall-clock time that one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttr: Option<Span>,
    /// How often the job may be tried.
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    /// What an attempt may use.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// Pins the algorithm's randomness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The wall clock that the algorithm sees at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Timestamp>,
    /// Refuses a second job with the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// For finding jobs.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The only worker that may take the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Submitted but not released.
    #[serde(default)]
    pub hold: bool,
}

/// One input, named `input`, or several by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a URL, or an object of names and URLs")]
pub enum Input {
    /// The input named `input`.
    One(Url),
    /// Inputs by name.
    Named(BTreeMap<String, Url>),
}

/// A key that only one job may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// The key.
    pub key: String,
    /// How long the job holds it.
    #[serde(default, rename = "for")]
    pub period: UniqueFor,
}

/// How long a job holds its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniqueFor {
    /// Until the job has ended.
    #[default]
    Done,
    /// For so long from submission.
    #[serde(untagged)]
    For(Span),
}

/// Why a text is not a job document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(String);

impl DocumentError {
    /// The message may quote what a stranger wrote: it is cut, and nothing in it moves a terminal's cursor.
    fn new(message: &str) -> Self {
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let mut short: String = message.chars().take(MAX_MESSAGE).map(printable).collect();
        if message.chars().nth(MAX_MESSAGE).is_some() {
            short.push('…');
        }
        Self(short)
    }
}

fn default_priority() -> u32 {
    1024
}

fn default_max_attempts() -> u32 {
    3
}

impl Document {
    /// A document that asks for `algorithm` and leaves everything else at its default.
    pub fn new(algorithm: AlgorithmRef) -> Self {
        Self {
            id: None,
            algorithm,
            params: Map::new(),
            input: None,
            result_url: None,
            tube: Tube::default(),
            priority: default_priority(),
            delay: None,
            run_at: None,
            expires: None,
            ttr: None,
            max_attempts: default_max_attempts(),
            limits: LimitsRequest::default(),
            seed: None,
            clock: None,
            unique: None,
            tags: Vec::new(),
            host: None,
            hold: false,
        }
    }

    /// Reads a job document, or msg-qworker's array `[{"uuid":…,"type":…},{…params…}]`.
    ///
    /// # Errors
    /// [`DocumentError`], which names the field and says what is wrong with it.
    pub fn read(json: &str) -> Result<Self, DocumentError> {
        if json.len() > MAX_DOCUMENT {
            return Err(DocumentError::new(&format!(
                "a job document is at most {MAX_DOCUMENT} bytes, and this one has {}; \
                 let `input` be a URL of large data",
                json.len()
            )));
        }
        let document = if json.trim_start().starts_with('[') {
            let QworkerJob(head, params) = read_json(json)?;
            Self { id: Some(head.uuid), params: params.into_map(), ..Self::new(head.algorithm) }
        } else {
            read_json(json)?
        };
        document.checked()
    }

    /// Checks what types alone do not say.
    ///
    /// # Errors
    /// [`DocumentError`] for the first field that is out of its bounds.
    pub fn checked(self) -> Result<Self, DocumentError> {
        let refuse = |message: String| Err(DocumentError::new(&message));
        let params = serde_json::to_vec(&self.params).map_or(usize::MAX, |json| json.len());
        if params > MAX_PARAMS {
            return refuse(format!("params: at most {MAX_PARAMS} bytes of JSON, not {params}; put data into an input"));
        }
        if self.delay.is_some() && self.run_at.is_some() {
            return refuse("delay and run_at: give one of them, not both".to_owned());
        }
        if self.max_attempts == 0 {
            return refuse("max_attempts: at least 1".to_owned());
        }
        if self.ttr.is_some_and(|ttr| ttr.0.is_zero()) {
            return refuse("ttr: longer than 0".to_owned());
        }
        if self.tags.len() > MAX_TAGS {
            return refuse(format!("tags: at most {MAX_TAGS}, not {}", self.tags.len()));
        }
        let texts = self.tags.iter().map(|tag| ("tags", tag));
        let texts = texts.chain(self.host.iter().map(|host| ("host", host)));
        for (field, text) in texts.chain(self.unique.iter().map(|unique| ("unique.key", &unique.key))) {
            if let Err(error) = check_label(text) {
                return refuse(format!("{field}: {error}"));
            }
        }
        self.check_urls()?;
        Ok(self)
    }

    fn check_urls(&self) -> Result<(), DocumentError> {
        let inputs = self.inputs();
        if inputs.len() > MAX_INPUTS {
            return Err(DocumentError::new(&format!("input: at most {MAX_INPUTS}, not {}", inputs.len())));
        }
        for (name, url) in &inputs {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fits) {
                return Err(DocumentError::new(&format!(
                    "input: a name is made of at most 64 letters, digits and -_. and does not start with a dot; \
                     {} is not",
                    excerpt(name)
                )));
            }
            if url.as_str().len() > MAX_URL {
                return Err(DocumentError::new(&format!("input.{name}: a URL of at most {MAX_URL} bytes")));
            }
            if !matches!(url.scheme(), "http" | "https" | "data") {
                return Err(DocumentError::new(&format!(
                    "input.{name}: an http, https or data URL is needed, not {}:",
                    url.scheme()
                )));
            }
        }
        match &self.result_url {
            Some(url) if !matches!(url.scheme(), "http" | "https") => {
                Err(DocumentError::new(&format!("result_url: an http or https URL is needed, not {}:", url.scheme())))
            }
            Some(url) if url.as_str().len() > MAX_RESULT_URL => {
                Err(DocumentError::new(&format!("result_url: a URL of at most {MAX_RESULT_URL} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// All inputs by name.
    pub fn inputs(&self) -> BTreeMap<String, Url> {
        match &self.input {
            None => BTreeMap::new(),
            Some(Input::One(url)) => BTreeMap::from([("input".to_owned(), url.clone())]),
            Some(Input::Named(inputs)) => inputs.clone(),
        }
    }

    /// The document as JSON with sorted keys: alike documents, however they were spelled, have the same text.
    pub fn canonical(&self) -> String {
        serde_json::to_value(self).map_or_else(|_| String::new(), |value| value.to_string())
    }

    /// When the job becomes ready, if it is submitted `now`.
    pub fn ready_at(&self, now: Timestamp) -> Timestamp {
        self.run_at.or_else(|| self.delay.map(|delay| When::After(delay).from(now))).unwrap_or(now)
    }
}

/// What a worker is given: a document with the id and the time of submission that the queue keeps beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job's id.
    pub id: JobId,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// The module that it was pinned to at its submission; absent if its algorithm was not registered then.
    pub module: Option<Digest>,
    /// What was asked for.
    pub document: Document,
}

impl Job {
    /// The seed of one of the job's attempts: the pinned one, or 53 bits of a digest of id and attempt, which
    /// JavaScript reads without loss.
    pub fn seed(&self, attempt: u32) -> u64 {
        self.document.seed.unwrap_or_else(|| {
            let digest = Digest::of(format!("longboat seed {} {attempt}", self.id));
            let mut first = [0; 8];
            first.copy_from_slice(&digest.as_bytes()[..8]);
            u64::from_be_bytes(first) >> 11
        })
    }

    /// The wall clock that an attempt sees at its start.
    pub fn clock(&self) -> Timestamp {
        self.document.clock.unwrap_or(self.submitted_at)
    }
}

#[derive(Deserialize)]
struct QworkerJob(QworkerHead, QworkerParams);

#[derive(Deserialize)]
struct QworkerHead {
    uuid: JobId,
    #[serde(rename = "type")]
    algorithm: AlgorithmRef,
}

/// msg-qworker's producers send an object, or nothing at all.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an object of params")]
enum QworkerParams {
    Params(Map<String, Value>),
    None(()),
}

impl QworkerParams {
    fn into_map(self) -> Map<String, Value> {
        match self {
            QworkerParams::Params(params) => params,
            QworkerParams::None(()) => Map::new(),
        }
    }
}

fn read_json<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, DocumentError> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let reason = match error.into_inner() {
            error if json.trim_ascii().is_empty() => format!("it is empty: {error}"),
            error if error.is_syntax() || error.is_eof() => format!("it is not JSON: {error}"),
            error => error.to_string(),
        };
        DocumentError::new(&if path == "." { reason } else { format!("{path}: {reason}") })
    })?;
    reader.end().map_err(|error| DocumentError::new(&format!("after the job: {error}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_algorithm_alone_is_a_job() {
        let document = Document::read(r#"{"algorithm": "forecast"}"#).unwrap();
        assert_eq!((document.priority, document.max_attempts, document.tube.as_str()), (1024, 3, "default"));
    }

    #[test]
    fn what_is_not_json_at_all_is_told_so() {
        for (text, part) in [
            ("hello world", "it is not JSON: expected value at line 1 column 1"),
            ("[", "it is not JSON: EOF"),
            (r#"{"algorithm": "x", "params": {"#, "it is not JSON: EOF"),
            (" \n", "it is empty: EOF"),
            ("17", "invalid type: integer `17`"),
        ] {
            let told = Document::read(text).unwrap_err().to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn msg_qworkers_array_is_a_job() {
        let json = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42","foo":"bar"}]"#;
        let document = Document::read(json).unwrap();
        assert_eq!(document.id.map(|id| id.hex()).as_deref(), Some("bc3a925099b9012e0f06549a20077664"));
        assert_eq!(document.algorithm.to_string(), "drunken-sailor");
        assert_eq!(document.params["foo"], "bar");
    }

    #[test]
    fn alike_documents_have_the_same_canonical_text() {
        let one = Document::read(r#"{"algorithm":"a_b","params":{"y":1,"x":2},"priority":1024}"#).unwrap();
        let two = Document::read(r#"{"params":{"x":2,"y":1},"algorithm":"a-b"}"#).unwrap();
        assert_eq!(one.canonical(), two.canonical());
    }

    #[test]
    fn a_refusal_names_the_field() {
        let long = format!(r#"{{"algorithm":"x","result_url":"http://a/{}"}}"#, "x".repeat(8000));
        for (json, part) in [
            (r#"{"algorithm":"x","prority":1}"#, "prority: unknown field"),
            (r#"{"algorithm":"x","priority":"high"}"#, "priority: invalid type"),
            (r#"{"algorithm":"x","priority":-1}"#, "priority: invalid value"),
            (r#"{"algorithm":"X"}"#, "algorithm: an algorithm's name"),
            (r#"{"params":{}}"#, "missing field `algorithm`"),
            (r#"{"algorithm":"x","params":[]}"#, "params: invalid type"),
            (r#"{"algorithm":"x","input":"file:///etc/passwd"}"#, "input.input: an http, https or data URL"),
            (r#"{"algorithm":"x","input":{"../x":"http://a/"}}"#, "input: a name is made of"),
            (r#"{"algorithm":"x","result_url":"data:,x"}"#, "result_url: an http or https URL"),
            (&long, "result_url: a URL of at most 8000 bytes"),
            (r#"{"algorithm":"x","delay":1,"run_at":"2026-11-21T18:00:00Z"}"#, "delay and run_at"),
            (r#"{"algorithm":"x","max_attempts":0}"#, "max_attempts: at least 1"),
            (r#"{"algorithm":"x","ttr":0}"#, "ttr: longer than 0"),
            (r#"{"algorithm":"x","tags":[""]}"#, "tags: from 1 to"),
            (r#"{"algorithm":"x","limits":{"fule":1}}"#, "limits.fule: unknown field"),
            (r#"{"algorithm":"x"} {"#, "after the job"),
            (r#"[{"uuid":"1","type":"x"},{}]"#, "[0].uuid: a job id is a UUID"),
            ("", "EOF"),
        ] {
            let message = Document::read(json).unwrap_err().to_string();
            assert!(message.contains(part), "{json}: {message}");
        }
    }

    #[test]
    fn a_refusal_that_quotes_a_stranger_is_short_and_moves_no_cursor() {
        let json = format!(r#"{{"algorithm":"x","{}":1}}"#, "\\u001b[2J".repeat(10_000));
        let message = Document::read(&json).unwrap_err().to_string();
        assert!(message.chars().count() <= MAX_MESSAGE + 1 && !message.contains('\u{1b}'), "{message}");
        let json = format!(r#"{{"algorithm":"x","tags":["{}"]}}"#, "y".repeat(10_000));
        assert!(Document::read(&json).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn numbers_in_params_stay_what_they_are() {
        let document = Document::read(r#"{"algorithm":"x","params":{"x":118446744073709551615.5}}"#).unwrap();
        assert_eq!(document.params["x"], 118_446_744_073_709_551_615.5);
        assert_eq!(Document::read(&document.canonical()), Ok(document));
    }

    #[test]
    fn a_seed_that_is_not_pinned_differs_between_attempts_and_fits_a_double() {
        let document = Document::new("x".parse().unwrap());
        let job = Job { id: JobId::from_bytes([7; 16]), submitted_at: Timestamp::UNIX_EPOCH, module: None, document };
        assert_ne!(job.seed(1), job.seed(2));
        assert!((1..100).all(|attempt| job.seed(attempt) < 1 << 53));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = Document::read(&text);
        }

        #[test]
        fn a_canonical_document_reads_back_as_itself(
            priority in any::<u32>(), seed in any::<Option<u64>>(), delay in 0u64..1_000_000, hold in any::<bool>(),
            tag in "[a-z]{1,9}", key in "[a-z]{1,9}",
        ) {
            let document = Document {
                priority, seed, hold,
                delay: Some(Span(std::time::Duration::from_millis(delay))),
                tags: vec![tag],
                unique: Some(Unique { key, period: UniqueFor::default() }),
                ..Document::new("x".parse().unwrap())
            };
            prop_assert_eq!(Document::read(&document.canonical()), Ok(document));
        }
    }
}
