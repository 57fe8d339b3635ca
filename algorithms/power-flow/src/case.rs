//! The case document: what the input looks like, and reading it within bounds.

use crate::Error;
use longboat_sdk::Failure;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;

/// The most buses in a case.
pub const MAX_BUSES: usize = 20_000;
/// The most generators in a case.
pub const MAX_GENERATORS: usize = 20_000;
/// The most branches in a case.
pub const MAX_BRANCHES: usize = 60_000;
/// The longest document in bytes; the largest case takes about a third of it.
pub const MAX_BYTES: u64 = 48 << 20;

/// A network with its loads and generation; fields that are not named here are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// The power in MVA that per-unit values refer to.
    pub base_mva: f64,
    /// The nodes; exactly one is the slack bus.
    #[serde(rename = "bus", deserialize_with = "at_most::<_, _, MAX_BUSES>")]
    pub buses: Vec<Bus>,
    /// The generators.
    #[serde(rename = "gen", default, deserialize_with = "at_most::<_, _, MAX_GENERATORS>")]
    pub generators: Vec<Generator>,
    /// Lines and transformers.
    #[serde(rename = "branch", default, deserialize_with = "at_most::<_, _, MAX_BRANCHES>")]
    pub branches: Vec<Branch>,
}

/// A bus as JSON names it: an integer or a text, and the same in the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum BusId {
    /// An integer.
    Number(i64),
    /// A text; `"1"` is not `1`.
    Text(String),
}

/// What is given at a bus, and what is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusType {
    /// Voltage and angle given: the reference, which makes up for the losses.
    Slack,
    /// Active power and voltage given.
    Pv,
    /// Active and reactive power given.
    Pq,
}

/// A node with its load and shunt.
#[derive(Debug, Clone, Deserialize)]
pub struct Bus {
    /// The bus's name.
    pub id: BusId,
    /// What is given at it.
    #[serde(rename = "type")]
    pub kind: BusType,
    /// Active load in MW.
    #[serde(default)]
    pub pd_mw: f64,
    /// Reactive load in Mvar.
    #[serde(default)]
    pub qd_mvar: f64,
    /// Active power in MW that the shunt takes at 1 p.u.
    #[serde(default)]
    pub gs_mw: f64,
    /// Reactive power in Mvar that the shunt feeds in at 1 p.u.
    #[serde(default)]
    pub bs_mvar: f64,
}

/// A generator; at a `pq` bus a fixed injection.
#[derive(Debug, Clone, Deserialize)]
pub struct Generator {
    /// Where it stands.
    pub bus: BusId,
    /// Active power in MW; without effect at the slack bus.
    #[serde(default)]
    pub pg_mw: f64,
    /// Reactive power in Mvar; used at a `pq` bus alone.
    #[serde(default)]
    pub qg_mvar: f64,
    /// The voltage that it holds, in p.u.; needed unless it stands at a `pq` bus.
    #[serde(default)]
    pub vm_pu: Option<f64>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub in_service: bool,
}

/// A line or transformer as a π model with an ideal transformer at `from`.
#[derive(Debug, Clone, Deserialize)]
pub struct Branch {
    /// The end with the tap changer.
    pub from: BusId,
    /// The other end.
    pub to: BusId,
    /// Series resistance in p.u.
    pub r_pu: f64,
    /// Series reactance in p.u.
    pub x_pu: f64,
    /// Total charging susceptance in p.u., half of it at either end.
    #[serde(default)]
    pub b_pu: f64,
    /// Off-nominal ratio |V from| / |V to| of the ideal transformer; 0 stands for 1.
    #[serde(default)]
    pub tap: f64,
    /// Phase shift in degrees; positive delays the angle at `to`.
    #[serde(default)]
    pub shift_deg: f64,
    /// Rating in MVA for the loading; absent, `null` or 0 for none.
    #[serde(default, alias = "rate_a")]
    pub rate_a_mva: Option<f64>,
    /// Whether it is switched in.
    #[serde(default = "yes")]
    pub in_service: bool,
}

/// Reads a case of `size` bytes.
///
/// # Errors
/// A permanent failure if the document is too long or has another shape, with the place in it; a transient one
/// if reading fails.
pub fn read(input: impl Read, size: u64) -> Result<Case, Failure> {
    let too_large = || Failure::permanent(Error::TooLarge { what: "bytes", limit: MAX_BYTES });
    if size > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| too_large())?);
    input.take(MAX_BYTES).read_to_end(&mut bytes)?;
    parse(&bytes).map_err(Failure::permanent)
}

/// Reads a case from JSON text.
///
/// # Errors
/// [`Error::Shape`] with the place in the document, such as `branch[3].x_pu`.
pub fn parse(bytes: &[u8]) -> Result<Case, Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let case = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| shape(&error.path().to_string(), &error.inner().to_string()))?;
    json.end().map_err(|error| shape(".", &error.to_string()))?;
    Ok(case)
}

/// A parser's message may quote the document, and is cut.
fn shape(path: &str, reason: &str) -> Error {
    Error::Shape { path: path.chars().take(100).collect(), reason: reason.chars().take(300).collect() }
}

fn yes() -> bool {
    true
}

/// Reads a sequence and stops as soon as it is longer than `MAX`, so that a document cannot take more memory
/// than the largest case.
fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct AtMost<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MAX {
                    return Err(de::Error::custom(format_args!("more than {MAX} elements")));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(AtMost::<T, MAX>(PhantomData))
}

impl<'de> Deserialize<'de> for BusId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;

        impl Visitor<'_> for Id {
            type Value = BusId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bus id, an integer or a text")
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<BusId, E> {
                Ok(BusId::Number(id))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<BusId, E> {
                i64::try_from(id).map(BusId::Number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(id), &self))
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<BusId, E> {
                Ok(BusId::Text(id.to_owned()))
            }
        }

        deserializer.deserialize_any(Id)
    }
}

impl BusId {
    /// The longest text in bytes that may name a bus.
    pub const LONGEST: usize = 100;

    /// The id for a message: a text that is too long to name a bus may still stand in a branch, and is cut.
    pub(crate) fn shortened(&self) -> Self {
        match self {
            Self::Text(text) if text.len() > Self::LONGEST => Self::Text(text.chars().take(40).chain(['…']).collect()),
            short => short.clone(),
        }
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Text(id) => write!(f, "{id:?}"),
        }
    }
}

impl From<i64> for BusId {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}
