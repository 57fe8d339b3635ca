//! How a job's record is shown: as a row of a list, and whole as JSON or YAML.

use crate::cli::Column;
use crate::output::{self, Field, Heading, Kind, Room};
use data_url::DataUrl;
use jiff::Timestamp;
use longboat::job::{Digest, Input, Record, Span, When};
use serde::Serialize;
use std::collections::BTreeMap;
use url::Url;

/// Stands in a column that has no value.
const NOTHING: &str = "-";
/// A `data:` URL of at most so many bytes is shown whole.
const SHORT_URL: usize = 100;
/// The longest media type that is shown of a `data:` URL.
const MAX_MEDIA_TYPE: usize = 60;

/// A record as `list` and `show` print it. Long inputs in `data:` URLs are shortened to size and digest.
#[derive(Serialize)]
pub struct Shown {
    /// The record, apart from its inputs.
    #[serde(flatten)]
    pub record: Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<ShownInput>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownInput {
    One(String),
    Named(BTreeMap<String, String>),
}

impl Shown {
    /// Takes the inputs out of a record, and shortens them unless `full` is set.
    pub fn new(mut record: Record, full: bool) -> Self {
        let shown = |url: &Url| if full { url.as_str().to_owned() } else { shortened(url) };
        let input = record.document.input.take().map(|input| match input {
            Input::One(url) => ShownInput::One(shown(&url)),
            Input::Named(inputs) => {
                ShownInput::Named(inputs.iter().map(|(name, url)| (name.clone(), shown(url))).collect())
            }
        });
        Self { record, input }
    }

    /// The inputs by name.
    pub fn inputs(&self) -> Vec<(&str, &str)> {
        match &self.input {
            None => Vec::new(),
            Some(ShownInput::One(url)) => vec![("input", url)],
            Some(ShownInput::Named(inputs)) => inputs.iter().map(|(name, url)| (&**name, &**url)).collect(),
        }
    }
}

/// The URL, or `data:MEDIA-TYPE;… (SIZE, DIGEST)` for a long `data:` URL. The digest is that of the decoded
/// bytes, as provenance has it.
fn shortened(url: &Url) -> String {
    let text = url.as_str();
    if url.scheme() != "data" || text.len() <= SHORT_URL {
        return text.to_owned();
    }
    let end = url.path().find([';', ',']).unwrap_or(0);
    let media_type = url.path().get(..end.min(MAX_MEDIA_TYPE)).unwrap_or_default();
    match DataUrl::process(text).ok().and_then(|data| data.decode_to_vec().ok()) {
        Some((bytes, _)) => {
            let size = output::size(bytes.len() as u64);
            format!("data:{media_type};… ({size}, {})", Digest::of(&bytes))
        }
        None => format!("data:{media_type};… ({} that cannot be decoded)", output::size(text.len() as u64)),
    }
}

/// The headings of these columns.
pub fn headings(columns: &[Column]) -> Vec<Heading> {
    columns.iter().map(|column| heading(*column)).collect()
}

/// The rows of these jobs.
pub fn rows(columns: &[Column], records: &[Record], room: Room) -> Vec<Vec<Field>> {
    records.iter().map(|record| columns.iter().map(|column| field(*column, record, room)).collect()).collect()
}

fn heading(column: Column) -> Heading {
    let (title, short, kind) = match column {
        Column::Id => ("id", "id", Kind::Word),
        Column::State => ("state", "state", Kind::Word),
        Column::Algorithm => ("algorithm", "algorithm", Kind::Text),
        Column::Tube => ("tube", "tube", Kind::Text),
        Column::Priority => ("priority", "prio", Kind::Number),
        Column::Attempts => ("attempts", "tries", Kind::Number),
        Column::Submitted => ("submitted", "submitted", Kind::Word),
        Column::Verdict => ("verdict", "verdict", Kind::Word),
        Column::Due => ("due", "due", Kind::Word),
        Column::Started => ("started", "started", Kind::Word),
        Column::Finished => ("finished", "finished", Kind::Word),
        Column::Expires => ("expires", "expires", Kind::Word),
        Column::Ttr => ("ttr", "ttr", Kind::Word),
        Column::Host => ("host", "host", Kind::Text),
        Column::Tags => ("tags", "tags", Kind::Text),
        Column::Unique => ("unique", "unique", Kind::Text),
        Column::Kicks => ("kicks", "kicks", Kind::Number),
        Column::Progress => ("progress", "progress", Kind::Text),
        Column::Message => ("message", "message", Kind::Text),
    };
    Heading { title, short, kind }
}

fn field(column: Column, record: &Record, room: Room) -> Field {
    let document = &record.document;
    let time = |time: Timestamp| Some(shown(time, room));
    let text = match column {
        Column::Id => Some(record.id.to_string()),
        Column::State => return record.state.into(),
        Column::Algorithm => Some(document.algorithm.name.to_string()),
        Column::Tube => Some(document.tube.to_string()),
        Column::Priority => Some(document.priority.to_string()),
        Column::Attempts => Some(record.attempts.to_string()),
        Column::Submitted => time(record.submitted_at),
        Column::Verdict => record.verdict.as_ref().map(|verdict| verdict.kind().to_owned()),
        Column::Due => time(record.ready_at),
        Column::Started => record.started_at.and_then(time),
        Column::Finished => record.finished_at.and_then(time),
        Column::Expires => document.expires.map(|expires| match expires {
            When::At(at) => shown(at, room),
            When::After(span) => format!("after {span}"),
        }),
        Column::Ttr => document.ttr.map(|ttr: Span| ttr.to_string()),
        Column::Host => document.host.clone(),
        Column::Tags => Some(document.tags.join(",")).filter(|tags| !tags.is_empty()),
        Column::Unique => document.unique.as_ref().map(|unique| unique.key.clone()),
        Column::Kicks => Some(record.kicks.to_string()),
        Column::Progress => record.progress.as_ref().map(output::progress),
        Column::Message => record.verdict.as_ref().and_then(|verdict| verdict.message()).map(str::to_owned),
    };
    // A line break in a submitter's text would break the row.
    text.map_or_else(|| NOTHING.into(), |text| output::plain(&text).replace(['\n', '\t'], " ").into())
}

/// A time in UTC. Where there is little room it has no year and no seconds.
fn shown(time: Timestamp, room: Room) -> String {
    match room {
        Room::Full => time.strftime("%F %T").to_string(),
        Room::Little => time.strftime("%m-%d %H:%M").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_data_url_is_shown_by_size_and_digest() {
        let data = "x".repeat(200);
        let digest = Digest::of(&data);
        let shown = |url: &str| shortened(&url.parse().unwrap());
        assert_eq!(shown(&format!("data:text/csv;charset=x,{data}")), format!("data:text/csv;… (200 B, {digest})"));
        assert_eq!(shown(&format!("data:,{data}")), format!("data:;… (200 B, {digest})"));
        assert!(shown(&format!("data:text/csv;base64,{}", "!".repeat(200))).ends_with("cannot be decoded)"));
        assert!(shown(&format!("data:{data};base64,")).len() < 200, "a media type is cut");
        for url in ["data:text/csv,1", &format!("https://host/{data}")] {
            assert_eq!(shown(url), url);
        }
    }
}
