//! Params and inputs as the command line gives them.

use super::Usage;
use anyhow::Context;
use longboat::body::{Body, Spool};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use url::Url;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Fetched by the operator's policy.
    Url(Url),
    /// A file of whoever runs the command.
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
/// A name has none of the characters that URLs and paths usually have, so `a=b.csv` is a name and a path, and
/// `http://host/?a=b` a URL.
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
    // Neither refusal repeats the URL, which may have credentials in it.
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
/// [`Usage`] for what is not an object or not `NAME=VALUE`, or the disk's.
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

/// Reads a local input, at most so many bytes of it; `advice` says what to do if there is more.
///
/// # Errors
/// The disk's, or that there is more.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_url_a_path_or_standard_input_and_may_have_a_name() {
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
    fn a_url_of_another_kind_is_no_path() {
        let refusal = |argument: &str| inputs(&[argument.to_owned()]).unwrap_err().downcast::<Usage>().unwrap().0;
        for argument in ["ftp://me:secret@host/", "load=ftp://host/"] {
            let expected = "--input: inputs come by http, https or data URL, or from a file, not by ftp";
            assert_eq!(refusal(argument), expected, "{argument}");
        }
        assert!(refusal("http://host:99999/").contains("not a URL"));
        assert_eq!(inputs(&["./a://b".to_owned()]).unwrap(), [("input".to_owned(), Source::Path("./a://b".into()))]);
    }

    #[test]
    fn a_param_is_json_where_it_can_be() {
        let each = ["a=1", "b=[2]", "c=x=y", "d="].map(str::to_owned);
        let params = params(Some(r#"{"a": 0, "z": true}"#), &each).unwrap();
        assert_eq!(Value::Object(params), serde_json::json!({"a": 1, "b": [2], "c": "x=y", "d": "", "z": true}));
    }
}
