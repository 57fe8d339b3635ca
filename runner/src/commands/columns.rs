//! What the columns of a listing tell of a job.

use crate::cli::Column;
use crate::output::{self, Field, Heading, Kind, Room};
use jiff::Timestamp;
use longboat::job::{Record, Span, When};

/// What people read where there is nothing to tell.
const NOTHING: &str = "-";

/// The headings of these columns.
pub fn headings(columns: &[Column]) -> Vec<Heading> {
    columns.iter().map(|column| heading(*column)).collect()
}

/// What these columns tell of these jobs.
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
        Column::Number => ("number", "number", Kind::Number),
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
        Column::Number => record.number.map(|number| number.to_string()),
        Column::Progress => record.progress.as_ref().map(output::progress),
        Column::Message => record.verdict.as_ref().and_then(|verdict| verdict.message()).map(str::to_owned),
    };
    // A line break in a stranger's words would be a line of its own.
    text.map_or_else(|| NOTHING.into(), |text| output::plain(&text).replace(['\n', '\t'], " ").into())
}

/// A time in UTC; to the minute, and without its year, where there is little room.
fn shown(time: Timestamp, room: Room) -> String {
    match room {
        Room::Full => time.strftime("%F %T").to_string(),
        Room::Little => time.strftime("%m-%d %H:%M").to_string(),
    }
}
