//! Params and inputs as the command line gives them.

use super::Usage;
use anyhow::Context;
use longboat::body::{Body, Spool};
use longboat::job::Input;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use url::Url;

/// The largest local input that becomes part of the job.
const MAX_INLINE: u64 = 1 << 20;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Fetched under the operator's policy.
    Url(Url),
    /// A file on this machine.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Url(url) => f.write_str(&longboat::policy::display_url(url)),
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Stdin => f.write_str("standard input"),
        }
    }
}

/// Reads `[NAME=]SOURCE` arguments.
///
/// Names are made of letters, digits, `-` and `_`. So `a=b.csv` is a name and a path, and `http://host/?a=b`
/// is a URL.
///
/// # Errors
/// [`Usage`] if two inputs have the same name, or one is a URL of another kind.
pub fn inputs(arguments: &[String]) -> anyhow::Result<Vec<(String, Source)>> {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let mut inputs: Vec<(String, Source)> = Vec::new();
    for argument in arguments {
        let (name, source) = match argument.split_once('=') {
            Some((name, source)) if is_name(name) => (name, source),
            _ => ("input", argument.as_str()),
        };
        if inputs.iter().any(|(other, _)| other == name) {
            return Err(Usage(format!("--input: two inputs are named {name:?}; write NAME=SOURCE")).into());
        }
        inputs.push((name.to_owned(), source_of(source)?));
    }
    Ok(inputs)
}

fn source_of(text: &str) -> Result<Source, Usage> {
    let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_meant_as_url = text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme));
    // The refusals do not repeat the URL, because it may hold credentials.
    match Url::parse(text) {
        _ if text == "-" => Ok(Source::Stdin),
        Ok(url) if matches!(url.scheme(), "http" | "https" | "data") => Ok(Source::Url(url)),
        Ok(url) if is_meant_as_url => {
            let scheme = url.scheme();
            Err(Usage(format!("--input: inputs come by http, https or data URL, or from a file, not by {scheme}")))
        }
        Err(error) if is_meant_as_url => Err(Usage(format!("--input: this is not a URL: {error}"))),
        _ => Ok(Source::Path(PathBuf::from(text))),
    }
}

/// The params that `--params` and `--param` give together.
///
/// # Errors
/// [`Usage`] if `all` is no JSON object, or one of `each` is not `NAME=VALUE`; else the disk's.
pub fn params(all: Option<&str>, each: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut params = match all {
        None => Map::new(),
        Some(text) => {
            let json = match text.strip_prefix('@') {
                Some(file) => {
                    std::fs::read_to_string(file).with_context(|| format!("reading params from {file} failed"))?
                }
                None => text.to_owned(),
            };
            serde_json::from_str(&json).map_err(|error| Usage(format!("--params: a JSON object is needed: {error}")))?
        }
    };
    for pair in each {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Usage(format!("--param: NAME=VALUE is needed, not {pair:?}")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        params.insert(name.to_owned(), value);
    }
    Ok(params)
}

/// Reads a local input of at most `at_most` bytes. `advice` says what to do if it is larger.
///
/// # Errors
/// The disk's, or that the input is larger.
pub fn read(source: &Source, at_most: u64, spool: &Path, advice: &str) -> anyhow::Result<Body> {
    let reader: Box<dyn Read> = match source {
        Source::Stdin => Box::new(io::stdin().lock()),
        Source::Path(path) => {
            let file = File::open(path).with_context(|| format!("opening the input {} failed", path.display()))?;
            Box::new(file)
        }
        Source::Url(url) => anyhow::bail!("{url} is not a local input"),
    };
    let mut body = Spool::new(spool);
    let copied = io::copy(&mut reader.take(at_most.saturating_add(1)), &mut body)
        .with_context(|| format!("reading {source} failed"))?;
    anyhow::ensure!(copied <= at_most, "the input {source} has more than {at_most} bytes; {advice}");
    Ok(body.finish()?)
}

/// The `input` field of a job document that `[NAME=]SOURCE` arguments make.
///
/// # Errors
/// As [`inputs`] and [`read`]; a local input is at most 1 MiB.
pub fn urls(arguments: &[String]) -> anyhow::Result<Option<Input>> {
    let mut urls = BTreeMap::new();
    for (name, source) in inputs(arguments)? {
        let url = match source {
            Source::Url(url) => url,
            local => inline(&local)?,
        };
        urls.insert(name, url);
    }
    Ok(match urls.len() {
        0 => None,
        1 if urls.contains_key("input") => urls.remove("input").map(Input::One),
        _ => Some(Input::Named(urls)),
    })
}

/// A local input as a `data:` URL. The worker may run on another machine, which cannot read this machine's
/// files.
fn inline(source: &Source) -> anyhow::Result<Url> {
    use base64::Engine as _;
    let advice = "a job cannot carry that: serve the file over HTTP and give its URL";
    let body = read(source, MAX_INLINE, &std::env::temp_dir(), advice)?;
    let mut bytes = vec![0; usize::try_from(body.size())?];
    body.read_at(&mut bytes, 0)?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(Url::parse(&format!("data:application/octet-stream;base64,{encoded}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_a_url_a_path_or_standard_input() {
        let arguments = ["http://host/?a=b", "load=./a=b.csv", "x=-"].map(str::to_owned);
        let expected = [
            ("input".to_owned(), Source::Url("http://host/?a=b".parse().unwrap())),
            ("load".to_owned(), Source::Path("./a=b.csv".into())),
            ("x".to_owned(), Source::Stdin),
        ];
        assert_eq!(inputs(&arguments).unwrap(), expected);
        assert!(inputs(&["a".to_owned(), "b".to_owned()]).unwrap_err().is::<Usage>());
    }

    #[test]
    fn url_of_another_scheme_is_refused() {
        let refusal = |argument: &str| inputs(&[argument.to_owned()]).unwrap_err().downcast::<Usage>().unwrap().0;
        for argument in ["ftp://me:secret@host/", "load=ftp://host/"] {
            let expected = "--input: inputs come by http, https or data URL, or from a file, not by ftp";
            assert_eq!(refusal(argument), expected, "{argument}");
        }
        assert!(refusal("http://host:99999/").contains("not a URL"));
        assert_eq!(inputs(&["./a://b".to_owned()]).unwrap(), [("input".to_owned(), Source::Path("./a://b".into()))]);
    }

    #[test]
    fn param_is_json_or_else_text() {
        let each = ["a=1", "b=[2]", "c=x=y", "d="].map(str::to_owned);
        let params = params(Some(r#"{"a": 0, "z": true}"#), &each).unwrap();
        assert_eq!(Value::Object(params), serde_json::json!({"a": 1, "b": [2], "c": "x=y", "d": "", "z": true}));
    }
}
