//! What is answered where there is no result: JSON, always with a timestamp.

use crate::job::{JobId, Record, State};
use crate::queue::QueueError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use url::Url;

/// Why no result is served.
#[derive(Debug)]
pub(super) enum Instead {
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
    /// What the job has left should be at this node, or at one that nobody knows.
    NotHere(JobId),
    /// The queue cannot tell what became of the job, now or later, and says why.
    Untold { id: JobId, why: String },
    /// The job has no result document, or not yet.
    OnlyState(Box<Record>),
    /// The queue or the disk takes too long.
    Late,
    /// The queue or the disk fails; the log says how.
    Broken,
}

impl Instead {
    /// What is answered if the queue does not tell of a job.
    pub(super) fn of(id: JobId, error: QueueError) -> Self {
        match error {
            QueueError::Unsupported { .. } => Instead::Untold { id, why: error.to_string() },
            error => error.into(),
        }
    }
}

impl From<QueueError> for Instead {
    fn from(error: QueueError) -> Self {
        tracing::error!(%error, "the queue could not be asked");
        Instead::Broken
    }
}

impl From<io::Error> for Instead {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "a result could not be read");
        Instead::Broken
    }
}

impl IntoResponse for Instead {
    fn into_response(self) -> Response {
        let now = Timestamp::now();
        let problem = |status, error: &str| uncached(status, &json!({"error": error, "timestamp": now}));
        match self {
            Instead::NoSuchPage => problem(
                StatusCode::NOT_FOUND,
                "nothing is here; a result is at /ID, with the job's UUID, its files are below /ID/, its log is /ID.log",
            ),
            Instead::WrongMethod => problem(StatusCode::METHOD_NOT_ALLOWED, "results are read with GET or HEAD"),
            Instead::NoSuchJob(id) => {
                let error = "no job with this id is known; it was never submitted here, or is no longer kept";
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            Instead::NoSuchFile { id, what } => {
                let error = format!("{what} of this job is not here; /{id}/ lists its files");
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            Instead::Elsewhere { id, url } => {
                let document = json!({"location": url, "id": id, "timestamp": now});
                let location = [(header::LOCATION, String::from(url))];
                (location, uncached(StatusCode::TEMPORARY_REDIRECT, &document)).into_response()
            }
            Instead::NotHere(id) => {
                let error = "the result of this job is not at this node: it was removed, or another node holds it and \
                             was not told its public URL";
                uncached(StatusCode::NOT_FOUND, &json!({"error": error, "id": id, "timestamp": now}))
            }
            Instead::Untold { id, why } => {
                uncached(StatusCode::NOT_FOUND, &json!({"error": why, "id": id, "timestamp": now}))
            }
            Instead::OnlyState(record) => state(&record, now),
            Instead::Late => retry(problem(StatusCode::SERVICE_UNAVAILABLE, "no answer in time; try again"), 5),
            Instead::Broken => retry(
                problem(StatusCode::SERVICE_UNAVAILABLE, "the queue or the results cannot be read now; try again"),
                5,
            ),
        }
    }
}

/// The job's state in place of its result document: 202 while one may come, 410 if none will, and 200 for a dead
/// job whose every attempt was lost, which has no document of its own.
fn state(record: &Record, now: Timestamp) -> Response {
    let mut document = json!({
        "id": record.id, "algorithm": record.document.algorithm, "state": record.state, "attempts": record.attempts,
        "timestamp": now,
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document[name] = value;
        }
    };
    add("progress", record.progress.as_ref().map(|progress| json!(progress)));
    add("verdict", record.verdict.as_ref().map(|verdict| json!(verdict)));
    match record.state {
        State::Cancelled => uncached(StatusCode::GONE, &document),
        State::Done | State::Dead => uncached(StatusCode::OK, &document),
        State::Held | State::Delayed | State::Ready | State::Running => {
            let wait = record.ready_at.duration_since(now).as_secs().clamp(1, 60);
            retry(uncached(StatusCode::ACCEPTED, &document), wait)
        }
    }
}

fn retry(mut response: Response, seconds: i64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// JSON that is true for this moment only.
pub(super) fn uncached(status: StatusCode, document: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(document)).into_response()
}
