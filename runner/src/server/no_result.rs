//! What is answered where there is no result: JSON, always with a timestamp. For what another node holds,
//! that is a redirect to the node's public URL.

use crate::job::{JobId, Record, State, excerpt};
use crate::queue::QueueError;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{fmt, io};
use url::Url;

/// Why no result is served.
#[derive(Debug)]
pub(super) enum NoResult {
    /// Nothing has this address.
    NoSuchPage,
    /// Only GET and HEAD are answered.
    WrongMethod,
    /// The queue does not know the job.
    NoSuchJob(JobId),
    /// The job is known, but what is asked for is not there.
    NoSuchFile { id: JobId, what: String },
    /// Another node holds what is asked for.
    Elsewhere { id: JobId, url: Url },
    /// What the job left is not at this node, and no other node is known to have it.
    NotHere(JobId),
    /// The job has not ended, or has ended without a document of an attempt's.
    OnlyState(Box<Record>),
    /// The queue or the disk takes too long.
    Late,
    /// The queue or the disk fails; the log says how.
    Broken,
}

impl From<QueueError> for NoResult {
    fn from(error: QueueError) -> Self {
        tracing::error!(%error, "the queue could not be asked");
        NoResult::Broken
    }
}

impl From<io::Error> for NoResult {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "a result could not be read");
        NoResult::Broken
    }
}

impl IntoResponse for NoResult {
    fn into_response(self) -> Response {
        let now = Timestamp::now();
        let problem = |status, error: &str| uncached(status, &json!({"error": error, "timestamp": now}));
        match self {
            NoResult::NoSuchPage => problem(
                StatusCode::NOT_FOUND,
                "nothing is here; a result is at /ID, with the job's UUID, its files are below /ID/, its log is /ID.log",
            ),
            NoResult::WrongMethod => problem(StatusCode::METHOD_NOT_ALLOWED, "results are read with GET or HEAD"),
            NoResult::NoSuchJob(id) => {
                let error = "no job with this id is known; it was never submitted here, or is no longer kept";
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            NoResult::NoSuchFile { id, what } => {
                let error = format!("{what} of this job is not here; /{id}/ lists its files");
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            NoResult::Elsewhere { id, url } => {
                let document = json!({"location": url, "id": id, "timestamp": now});
                let location = [(header::LOCATION, String::from(url))];
                (location, uncached(StatusCode::TEMPORARY_REDIRECT, &document)).into_response()
            }
            NoResult::NotHere(id) => {
                let error = "the result of this job is not at this node: it was removed, or another node holds it and \
                             was not told its public URL";
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            NoResult::OnlyState(record) => state(&record, now),
            NoResult::Late => retry(problem(StatusCode::SERVICE_UNAVAILABLE, "no answer in time; try again"), 5),
            NoResult::Broken => retry(
                problem(StatusCode::SERVICE_UNAVAILABLE, "the queue or the results cannot be read now; try again"),
                5,
            ),
        }
    }
}

/// The job's state in place of a result: 202 while one may come, and the document that the record makes up
/// for a job that ended without one, with 410 if it was cancelled.
fn state(record: &Record, now: Timestamp) -> Response {
    if let Some(document) = record.document_without_result() {
        let status = if record.state == State::Cancelled { StatusCode::GONE } else { StatusCode::OK };
        return uncached_bytes(status, document);
    }
    let mut document = json!({
        "id": record.id, "algorithm": record.document.algorithm, "state": record.state, "attempts": record.attempts,
        "timestamp": now,
    });
    if let Some(progress) = &record.progress {
        document["progress"] = json!(progress);
    }
    if let Some(verdict) = &record.verdict {
        document["verdict"] = json!(verdict);
    }
    let wait = record.ready_at.duration_since(now).as_secs().clamp(1, 60);
    retry(uncached(StatusCode::ACCEPTED, &document), wait)
}

fn retry(mut response: Response, seconds: i64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// JSON that is true for this moment only.
pub(super) fn uncached(status: StatusCode, document: &Value) -> Response {
    uncached_bytes(status, document.to_string().into_bytes())
}

fn uncached_bytes(status: StatusCode, json: Vec<u8>) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// The part of a job's results that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Document,
    Log,
    Listing,
    File(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Document | Part::Listing => f.write_str("the result document"),
            Part::Log => f.write_str("the log"),
            Part::File(name) => write!(f, "the file {}", excerpt(name)),
        }
    }
}

/// How the request asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

impl<'a> Asked<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        Self { uri: request.uri(), headers: request.headers() }
    }

    /// Whether the host and port of this URL are those that the request came to, as it says itself.
    fn is_at(&self, url: &Url) -> bool {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let Some(host) = host.as_ref().or(self.uri.authority()) else { return false };
        let default = if url.scheme() == "https" { 443 } else { 80 };
        url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host.host()))
            && url.port_or_known_default() == Some(host.port_u16().unwrap_or(default))
    }
}

/// The part's URL at the node whose public URL is `public_url`. There is none if that is this node: its
/// public URL is `own`, or the request came to that host. So a node that has lost a result redirects nobody
/// to itself, even if its own URL is not configured.
pub(super) fn location(public_url: &Url, own: Option<&Url>, id: JobId, part: &Part, asked: Asked<'_>) -> Option<Url> {
    if own == Some(public_url) || (public_url.path() == "/" && asked.is_at(public_url)) {
        return None;
    }
    let mut url = public_url.clone();
    let mut path = url.path_segments_mut().ok()?;
    path.pop_if_empty();
    match part {
        Part::Document => path.push(&id.to_string()),
        Part::Log => path.push(&format!("{id}.log")),
        Part::Listing => path.push(&id.to_string()).push(""),
        Part::File(name) => path.push(&id.to_string()).extend(name.split('/')),
    };
    drop(path);
    url.set_query(asked.uri.query());
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const ID: &str = "bc3a0001-0203-0405-0607-08090a0b0c0d";

    fn at(public_url: &str, own: Option<&str>, part: &Part, host: &str) -> Option<String> {
        let url = |text: &str| crate::config::parse_public_url(text).unwrap();
        let request = Request::builder().uri("/x?a=b%20c&d").header("host", host).body(Body::empty()).unwrap();
        let own = own.map(url);
        location(&url(public_url), own.as_ref(), ID.parse().unwrap(), part, Asked::of(&request)).map(String::from)
    }

    #[test]
    fn part_has_the_same_path_below_the_public_url() {
        let parts = [
            (Part::Document, ID.to_owned()),
            (Part::Log, format!("{ID}.log")),
            (Part::Listing, format!("{ID}/")),
            (Part::File("a b/ü?#%2f.csv".to_owned()), format!("{ID}/a%20b/%C3%BC%3F%23%252f.csv")),
            (Part::File("../../admin".to_owned()), format!("{ID}/admin")),
        ];
        for (part, path) in parts {
            for public_url in ["http://node1:81", "https://example.org/deep/results/"] {
                let expected = format!("{}/{path}?a=b%20c&d", public_url.trim_end_matches('/'));
                assert_eq!(at(public_url, Some("http://node2"), &part, "node2"), Some(expected));
            }
        }
    }

    #[test]
    fn no_request_is_redirected_to_its_own_node() {
        let here = |public_url, own, host| at(public_url, own, &Part::Document, host).is_none();
        assert!(here("http://node1/a", Some("http://node1/a/"), "127.0.0.1:7654"));
        assert!(here("http://node1", None, "NODE1") && here("http://node1:81", None, "node1:81"));
        assert!(here("https://node1", None, "node1") && here("http://[::1]:81", None, "[::1]:81"));
        assert!(!here("http://node1", None, "node1:81") && !here("http://node1", Some("http://node2"), "node2"));
        assert!(!here("http://gate/node1", Some("http://gate/node2"), "gate"), "one host for many nodes");
        assert!(!here("http://node1", None, "a b"));
    }
}
