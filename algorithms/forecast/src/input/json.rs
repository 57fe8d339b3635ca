//! JSON: a list of observations, or a list of timestamps beside a list of values.
//!
//! The text is read into rows as it comes: a document of millions of empty objects or lists ends at the row
//! limit, and a cell that is no scalar is skipped without being kept.

use super::columns::{TIMESTAMP_NAMES, VALUE_NAMES};
use super::{MAX_ROWS, Row, Rows, Wanted, check_value, parse_time, parse_value, too_many};
use crate::refusal::{Refusal, refusal};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

mod cell;
use cell::Cell;

const UNIT: &str = "element";

/// Reads `[{"timestamp": …, "value": …}, …]` or `{"timestamps": […], "values": […]}`.
pub(super) fn parse(text: &str, wanted: Wanted) -> Result<Rows, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let document = Document { wanted }.deserialize(&mut json).and_then(|document| json.end().map(|()| document));
    let cells = document.map_err(|error| refusal!("the JSON input cannot be read: {error}"))?;
    let mut rows = Vec::with_capacity(cells.len());
    for (place, (timestamp, value)) in (1..).zip(cells) {
        rows.push(row(place, timestamp, value)?);
    }
    Ok(Rows { rows, unit: UNIT, name: wanted.value.unwrap_or("value").to_owned() })
}

fn row(place: u64, timestamp: Cell, value: Cell) -> Result<Row, Refusal> {
    let time = match timestamp {
        Cell::Text(text) => parse_time(&text, UNIT, place)?,
        Cell::Absent => return Err(refusal!("{UNIT} {place}: there is no timestamp")),
        other => return Err(refusal!("{UNIT} {place}: the timestamp is {other}, not a string in RFC 3339")),
    };
    let value = match value {
        Cell::Number(number) => check_value(number, UNIT, place)?,
        Cell::Text(text) => parse_value(&text, UNIT, place)?,
        Cell::Absent => return Err(refusal!("{UNIT} {place}: there is no value")),
        other => return Err(refusal!("{UNIT} {place}: the value is {other}, not a number")),
    };
    Ok(Row { place, time, value })
}

/// The document, read into pairs of timestamp and value.
struct Document<'a> {
    wanted: Wanted<'a>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<(Cell, Cell)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<(Cell, Cell)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of {timestamp, value} or an object with the lists `timestamps` and `values`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element_seed(Observation { wanted: self.wanted })? {
            if rows.len() == MAX_ROWS {
                return Err(serde::de::Error::custom(too_many(UNIT, MAX_ROWS as u64 + 1)));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut timestamps, mut values) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "timestamps" => timestamps = Some(map.next_value::<cell::Cells>()?.0),
                "values" => values = Some(map.next_value::<cell::Cells>()?.0),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let (Some(timestamps), Some(values)) = (timestamps, values) else {
            return Err(serde::de::Error::custom("the object needs the two lists `timestamps` and `values`"));
        };
        if timestamps.len() != values.len() {
            let (t, v) = (timestamps.len(), values.len());
            return Err(serde::de::Error::custom(format!("there are {t} timestamps but {v} values")));
        }
        Ok(timestamps.into_iter().zip(values).collect())
    }
}

/// One object of the list.
struct Observation<'a> {
    wanted: Wanted<'a>,
}

impl<'de> DeserializeSeed<'de> for Observation<'_> {
    type Value = (Cell, Cell);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Observation<'_> {
    type Value = (Cell, Cell);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a timestamp and a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut timestamp, mut value) = (Cell::Absent, Cell::Absent);
        while let Some(key) = map.next_key::<String>()? {
            if is(&key, self.wanted.timestamp, &TIMESTAMP_NAMES) {
                timestamp = map.next_value()?;
            } else if is(&key, self.wanted.value, &VALUE_NAMES) {
                value = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((timestamp, value))
    }
}

fn is(key: &str, wanted: Option<&str>, known: &[&str]) -> bool {
    wanted.map_or_else(|| known.iter().any(|name| key.eq_ignore_ascii_case(name)), |name| key == name)
}
