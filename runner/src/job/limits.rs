//! What an attempt may use, and what it used.

use super::Span;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// The limits of one attempt; sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Units of fuel; roughly one a WebAssembly instruction. Calls of the host cost more: 500 each, and 2 a byte moved.
    #[serde(deserialize_with = "fuel")]
    pub fuel: u64,
    /// All linear memories and tables together.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    /// Everything in the result directory.
    #[serde(deserialize_with = "size")]
    pub result_size: u64,
    /// Entries in the result directory, directories included.
    pub result_files: u32,
    /// The JSON text that the algorithm returns.
    #[serde(deserialize_with = "size")]
    pub document_size: u64,
    /// What is kept of the log.
    #[serde(deserialize_with = "size")]
    pub log_size: u64,
    /// All inputs together.
    #[serde(deserialize_with = "size")]
    pub input_size: u64,
    /// Wall-clock time of one attempt, the fetching of inputs included.
    pub ttr: Span,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// Whether more fuel may have been used: after a trap or a deadline the last units are not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fuel_is_lower_bound: bool,
    /// The most bytes of memory at any time.
    pub peak_memory: u64,
    /// Milliseconds of wall-clock time, the fetching of inputs included.
    pub wall_ms: f64,
    /// Bytes of all inputs.
    pub input_bytes: u64,
    /// Bytes of all files and of the returned JSON.
    pub result_bytes: u64,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 10_000_000_000,
            memory: 256 * MIB,
            result_size: 64 * MIB,
            result_files: 1_000,
            document_size: 8 * MIB,
            log_size: MIB,
            input_size: 256 * MIB,
            ttr: Span(Duration::from_secs(60)),
        }
    }
}

impl Limits {
    /// The ceilings of an operator who has configured none.
    pub fn default_ceiling() -> Self {
        Self {
            fuel: 1_000_000_000_000,
            memory: GIB,
            result_size: GIB,
            result_files: 10_000,
            document_size: 64 * MIB,
            log_size: 16 * MIB,
            input_size: 4 * GIB,
            ttr: Span(Duration::from_secs(24 * 3600)),
        }
    }

    /// Each limit's value, in the unit in which verdicts report it.
    pub fn values(&self) -> [(LimitName, u64); 8] {
        [
            (LimitName::Fuel, self.fuel),
            (LimitName::Memory, self.memory),
            (LimitName::ResultSize, self.result_size),
            (LimitName::ResultFiles, u64::from(self.result_files)),
            (LimitName::DocumentSize, self.document_size),
            (LimitName::LogSize, self.log_size),
            (LimitName::InputSize, self.input_size),
            (LimitName::Ttr, self.ttr.millis()),
        ]
    }
}

/// A limit's name, as jobs, verdicts and options spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// Units of fuel.
    Fuel,
    /// Bytes of memory.
    Memory,
    /// Bytes in the result directory.
    ResultSize,
    /// Entries in the result directory.
    ResultFiles,
    /// Bytes of the returned JSON.
    DocumentSize,
    /// Bytes of log.
    LogSize,
    /// Bytes of input.
    InputSize,
    /// Milliseconds of wall-clock time.
    Ttr,
}

impl LimitName {
    /// A value of this limit with its unit, for people.
    pub fn display(self, value: u64) -> String {
        match self {
            LimitName::Fuel => format!("{value} units of fuel"),
            LimitName::ResultFiles => format!("{value} entries"),
            LimitName::Ttr => Span(Duration::from_millis(value)).to_string(),
            _ if value >= KIB => format!("{:.1} ({value} bytes)", bytesize::ByteSize(value).display().iec()),
            _ => format!("{value} bytes"),
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitName::Fuel => "fuel",
            LimitName::Memory => "memory",
            LimitName::ResultSize => "result_size",
            LimitName::ResultFiles => "result_files",
            LimitName::DocumentSize => "document_size",
            LimitName::LogSize => "log_size",
            LimitName::InputSize => "input_size",
            LimitName::Ttr => "ttr",
        })
    }
}

/// The limits that a job asks for by name; the rest are the operator's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsRequest {
    /// Units of fuel.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_fuel")]
    pub fuel: Option<u64>,
    /// Bytes in all linear memories and tables together.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_size")]
    pub memory: Option<u64>,
    /// Bytes in the result directory.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_size")]
    pub result_size: Option<u64>,
    /// Entries in the result directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_files: Option<u32>,
    /// Bytes of the returned JSON.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_size")]
    pub document_size: Option<u64>,
    /// Bytes of log that are kept.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_size")]
    pub log_size: Option<u64>,
    /// Bytes of all inputs together.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_size")]
    pub input_size: Option<u64>,
}

/// A job asks for more than the operator lets any job have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit `{limit}` asks for {}, which is {} above this operator's ceiling of {}; \
     ask for less, or have the ceiling raised in the configuration (`[limits.ceiling]`)",
    limit.display(*.asked), limit.display(.asked - .ceiling), limit.display(*.ceiling)
)]
pub struct AboveCeiling {
    /// Which limit.
    pub limit: LimitName,
    /// What the job asks for.
    pub asked: u64,
    /// The most that it may ask for.
    pub ceiling: u64,
}

impl LimitsRequest {
    /// These limits, and where none is named those of `default`.
    pub fn over(&self, ttr: Option<Span>, default: &Limits) -> Limits {
        Limits {
            fuel: self.fuel.unwrap_or(default.fuel),
            memory: self.memory.unwrap_or(default.memory),
            result_size: self.result_size.unwrap_or(default.result_size),
            result_files: self.result_files.unwrap_or(default.result_files),
            document_size: self.document_size.unwrap_or(default.document_size),
            log_size: self.log_size.unwrap_or(default.log_size),
            input_size: self.input_size.unwrap_or(default.input_size),
            ttr: ttr.unwrap_or(default.ttr),
        }
    }

    /// The limits that a job with this request and `ttr` runs under.
    ///
    /// # Errors
    /// [`AboveCeiling`], for the first limit that asks for too much. Nothing is clamped.
    pub fn resolve(&self, ttr: Option<Span>, default: &Limits, ceiling: &Limits) -> Result<Limits, AboveCeiling> {
        let limits = self.over(ttr, default);
        for ((limit, asked), (_, ceiling)) in limits.values().into_iter().zip(ceiling.values()) {
            if asked > ceiling {
                return Err(AboveCeiling { limit, asked, ceiling });
            }
        }
        Ok(limits)
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number, or a text such as \"64MiB\"")]
enum SizeText {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number such as 1000000 or 1e10")]
enum FuelText {
    Number(u64),
    Float(f64),
    Text(String),
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match SizeText::deserialize(deserializer)? {
        SizeText::Number(bytes) => Ok(bytes),
        SizeText::Text(text) => super::parse_size(&text).map_err(serde::de::Error::custom),
    }
}

fn fuel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match FuelText::deserialize(deserializer)? {
        FuelText::Number(units) => Ok(units),
        FuelText::Float(units) => super::parse_fuel(&format!("{units:e}")).map_err(serde::de::Error::custom),
        FuelText::Text(text) => super::parse_fuel(&text).map_err(serde::de::Error::custom),
    }
}

fn some_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

fn some_fuel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    fuel(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_does_not_ask_for_is_the_default() {
        let asked = LimitsRequest { fuel: Some(7), ..LimitsRequest::default() };
        let limits = asked.resolve(None, &Limits::default(), &Limits::default_ceiling()).unwrap();
        assert_eq!(limits, Limits { fuel: 7, ..Limits::default() });
    }

    #[test]
    fn a_job_above_a_ceiling_is_refused_with_how_much_it_is_above() {
        let asked = LimitsRequest { memory: Some(3 * GIB), ..LimitsRequest::default() };
        let refusal = asked.resolve(None, &Limits::default(), &Limits::default_ceiling()).unwrap_err();
        assert_eq!(refusal.limit, LimitName::Memory);
        let message = refusal.to_string();
        assert!(message.contains("3.0 GiB") && message.contains("is 2.0 GiB"), "{message}");
        let long = Some(Span(Duration::from_secs(90_000)));
        assert!(LimitsRequest::default().resolve(long, &Limits::default(), &Limits::default_ceiling()).is_err());
    }

    #[test]
    fn sizes_may_have_units_and_unknown_limits_are_refused() {
        let asked: LimitsRequest = serde_json::from_str(r#"{"memory": "64MiB", "fuel": "1e6"}"#).unwrap();
        assert_eq!((asked.memory, asked.fuel), (Some(64 * MIB), Some(1_000_000)));
        assert_eq!(serde_json::from_str::<LimitsRequest>(r#"{"fuel": 1e10}"#).unwrap().fuel, Some(10_000_000_000));
        for json in [r#"{"memmory": 1}"#, r#"{"fuel": 1.5}"#, r#"{"fuel": -1}"#, r#"{"memory": 1.5}"#] {
            assert!(serde_json::from_str::<LimitsRequest>(json).is_err(), "{json}");
        }
    }
}
