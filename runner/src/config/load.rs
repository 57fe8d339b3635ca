//! Reads the configuration from a file and the environment.

use super::Config;
use crate::job::excerpt;
use serde::de::value::StringDeserializer;
use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use toml::de::DeTable;
use toml::{Table, Value};

/// What a variable of the environment begins with that holds a key of the configuration.
const PREFIX: &str = "LONGBOAT__";

/// Why there is no configuration: where, which key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A value of the environment.
struct Variable {
    name: String,
    path: Vec<String>,
    text: String,
}

/// Reads a file, if there is one, and lets the environment's variables win.
pub(super) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigError> {
    let shown = file.map(|file| file.display().to_string()).unwrap_or_default();
    let text = file.map(std::fs::read_to_string).transpose().map_err(|error| {
        ConfigError(format!("failed to read {shown}: {error}; correct the file, or name another one with --config"))
    })?;
    let text = text.unwrap_or_default();
    let mut table: Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let number = error.span().map_or(1, |span| line(&text, span.start));
        let found = excerpt(text.lines().nth(number - 1).unwrap_or_default());
        ConfigError(format!("{shown}, line {number}, {found}: {}; the file must be TOML", error.message()))
    })?;
    let variables = variables(environment)?;
    for variable in &variables {
        put(&mut table, &variable.path, variable.text.parse().unwrap_or_else(|_| Value::from(&*variable.text)));
    }
    // A text such as `8` or `true` may be meant as a text: that is tried where its value is refused.
    let mut before: Option<(String, String)> = None;
    let (key, why) = loop {
        let now = match read(&table) {
            Ok(config) => return Ok(config),
            Err(now) => now,
        };
        if let Some(before) = before.take().filter(|(key, _)| *key == now.0) {
            break before;
        }
        match variables.iter().find(|variable| variable.path.join(".") == now.0) {
            Some(variable) if put(&mut table, &variable.path, Value::from(&*variable.text)) => before = Some(now),
            _ => break now,
        }
    };
    let from = variables.iter().find(|variable| {
        let path = variable.path.join(".");
        key.strip_prefix(&*path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    let place = match (from, place(&text, &key)) {
        (Some(variable), _) => format!("{}, ", variable.name),
        (None, Some(line)) => format!("{shown}, line {line}, "),
        (None, None) => String::new(),
    };
    Err(ConfigError(format!("{place}{key}: {why}")))
}

/// The configuration in a table, or the key that is wrong and why.
fn read(table: &Table) -> Result<Config, (String, String)> {
    let config: Config = serde_path_to_error::deserialize(table.clone()).map_err(|error| {
        let key = error.path().to_string();
        (key, format!("{}; correct it, or leave it out to have the default", error.into_inner().message()))
    })?;
    config.contradiction().map_or(Ok(config), Err)
}

/// The variables that hold keys, in the order of their names.
fn variables(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Variable>, ConfigError> {
    let mut variables = Vec::new();
    for (name, text) in environment {
        let Ok(name) = name.into_string() else { continue };
        let Some(key) = name.to_uppercase().strip_prefix(PREFIX).map(str::to_lowercase) else { continue };
        let Ok(text) = text.into_string() else {
            return Err(ConfigError(format!("{name} is not UTF-8; correct the variable, or unset it")));
        };
        variables.push(Variable { path: key.split("__").map(str::to_owned).collect(), name, text });
    }
    variables.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(variables)
}

/// Puts a value at a path; whether that changed anything.
fn put(table: &mut Table, path: &[String], value: Value) -> bool {
    match path {
        [] => false,
        [last] => table.insert(last.clone(), value.clone()) != Some(value),
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Table::new().into());
            match inner {
                Value::Table(inner) => put(inner, rest, value),
                other => {
                    *other = Table::new().into();
                    put(table, path, value)
                }
            }
        }
    }
}

/// The line of a key in the file, or of the longest part of the key that stands there.
fn place(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = Some(document.get_ref());
    let mut found = None;
    for part in key.split(['.', '[']) {
        let Some((name, value)) = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == part)) else {
            break;
        };
        found = Some(line(text, name.span().start));
        table = value.get_ref().as_table();
    }
    found
}

fn line(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Reads an enum of names only, and refuses another name with all that there are.
///
/// The formats' own refusals speak of variants and constructors, which whoever wrote the file need not know.
pub(super) fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let name: StringDeserializer<Unknown> = text.into_deserializer();
    T::deserialize(name).map_err(D::Error::custom)
}

/// Why a name names nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unknown(String);

impl Error for Unknown {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn unknown_variant(name: &str, names: &'static [&'static str]) -> Self {
        Self(format!("one of {}, not {}", names.join(", "), excerpt(name)))
    }
}
