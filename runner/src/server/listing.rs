//! The list of a job's files, for programs and for people.

use super::representation::{HTML, JSON};
use crate::job::{FileEntry, JobId, State};
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io;
use url::Url;

/// What a listing takes from a result document. The result itself is skipped.
#[derive(Deserialize)]
struct Stored {
    id: JobId,
    state: State,
    attempt: u32,
    timestamp: Timestamp,
    #[serde(default)]
    files: Vec<FileEntry>,
}

#[derive(Serialize)]
struct Listing {
    id: JobId,
    state: State,
    attempt: u32,
    timestamp: Timestamp,
    document: String,
    log: String,
    files: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: FileEntry,
    url: String,
}

/// The listing and its media type. It reads the whole document, so it blocks.
pub(super) fn render(document: &[u8], has_files: bool, as_html: bool) -> io::Result<(&'static str, String)> {
    let stored: Stored = serde_json::from_slice(document)?;
    let id = stored.id;
    let files = if has_files { stored.files } else { Vec::new() };
    let listing = Listing {
        id,
        state: stored.state,
        attempt: stored.attempt,
        timestamp: stored.timestamp,
        document: format!("/{id}"),
        log: format!("/{id}.log"),
        files: files.into_iter().map(|entry| Listed { url: file_url(id, &entry.name), entry }).collect(),
    };
    Ok(if as_html { (HTML, html(&listing)) } else { (JSON, serde_json::to_string(&listing)?) })
}

/// The path of a file's URL, with its special characters escaped.
fn file_url(id: JobId, name: &str) -> String {
    let Ok(mut url) = Url::parse("http://localhost") else { return String::new() };
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(&id.to_string()).extend(name.split('/'));
    }
    url.path().to_owned()
}

fn html(listing: &Listing) -> String {
    let Listing { id, state, attempt, timestamp, document, log, files } = listing;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{id}</title>\
         <style>body{{font-family:system-ui;margin:2em}}td{{padding-right:2em}}code{{font-size:smaller}}</style>\
         <h1>{id}</h1><p>{state} with attempt {attempt} at {timestamp}: \
         <a href=\"{document}\">result document</a>, <a href=\"{log}\">log</a></p>\
         <table><tr><th>file<th>bytes<th>SHA-256"
    );
    for Listed { entry: FileEntry { name, size, sha256 }, url } in files {
        let (name, url, sha256) = (escape(name), escape(url), escape(sha256));
        // Writing to a String does not fail.
        let _ = write!(page, "<tr><td><a href=\"{url}\">{name}</a><td>{size}<td><code>{sha256}</code>");
    }
    page + "</table></html>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Whether `Accept` names HTML and rates it above JSON, as browsers do.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let accepts: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let quality = |wanted: &str| {
        accepts.iter().flat_map(|accept| accept.split(',')).find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            is_wanted.then_some(quality.unwrap_or(1.0_f32))
        })
    };
    let json = quality("application/json").or_else(|| quality("application/*")).or_else(|| quality("*/*"));
    quality("text/html").is_some_and(|html| html > json.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_html_and_programs_json() {
        let prefers = |accept: &str| prefers_html(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]));
        assert!(prefers("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(prefers("text/html"));
        for accept in
            ["*/*", "application/json", "application/json, text/html;q=0.5", "text/html;q=0", "nonsense;;q=x,"]
        {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn a_hostile_name_is_escaped_in_url_and_page() {
        let id: JobId = "bc3a0001-0203-0405-0607-08090a0b0c0d".parse().unwrap();
        let name = "a b/<script>\"&?#%2f.csv";
        let url = file_url(id, name);
        assert_eq!(url, "/bc3a0001-0203-0405-0607-08090a0b0c0d/a%20b/%3Cscript%3E%22&%3F%23%252f.csv");
        assert!(!escape(name).contains(['<', '>', '"']));
    }
}
