//! Settings that are one of a few names.

use crate::job::excerpt;
use serde::de::value::StringDeserializer;
use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

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

/// Reads an enum of names only, and refuses another name with all that there are.
///
/// The formats' own refusals speak of variants and constructors, which whoever wrote the file need not know.
pub(super) fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let name: StringDeserializer<Unknown> = String::deserialize(deserializer)?.into_deserializer();
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
