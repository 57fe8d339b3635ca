//! Results over HTTP, for browsers, scripts and other jobs.
//!
//! | route | answer |
//! |---|---|
//! | `GET /ID` | the result document of a job that is done or dead; 202 while it is neither; 410 once it is cancelled |
//! | `GET /ID.log` | its log; beside the files, so that no file of the algorithm's can have its name |
//! | `GET /ID/` | its files, as JSON, or as HTML for whom `Accept` prefers that |
//! | `GET /ID/NAME` | one of them |
//! | `GET /healthz`, `GET /readyz` | whether the process is up, whether the queue answers |
//!
//! An ID is hyphenated or 32 hex digits. What is served is what the queue's record names, so it changes only with
//! that record. A kick may replace it, so caches may keep everything but must ask each time; the `ETag` makes that
//! cheap. What another node holds is answered by a redirect there (307), if that node has a public URL.
//! All files come from algorithms that nobody trusts: browsers are told to run nothing of them.

mod connections;
mod elsewhere;
mod instead;
mod listing;
mod media;
mod representation;
mod stall;

pub use connections::serve;

use crate::job::{JobId, State as JobState};
use crate::queue::Queue;
use crate::results::{Published, Reader};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use elsewhere::{Asked, Part};
use instead::Instead;
use jiff::Timestamp;
use representation::Representation;
use serde_json::json;
use std::fs::{File, Metadata};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use url::Url;

/// A request has its first byte of answer by then, or an error.
const ANSWER: Duration = Duration::from_secs(30);
const READY: Duration = Duration::from_secs(5);
/// No route takes a body.
const MAX_BODY: usize = 4 << 10;

#[derive(Clone)]
struct App {
    queue: Arc<dyn Queue>,
    results: Arc<Reader>,
    public_url: Option<Url>,
}

/// The routes. They have a fallback, so a router that is merged with them must have none.
///
/// Whoever asks for a result that another node holds is sent there, but never to `public_url`, which is this node's.
pub fn router(queue: Arc<dyn Queue>, results: Reader, public_url: Option<Url>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE])
        .expose_headers([
            header::ETAG,
            header::LAST_MODIFIED,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::ACCEPT_RANGES,
            header::RETRY_AFTER,
        ])
        .max_age(Duration::from_secs(3600));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/{id}", get(document_or_log))
        .route("/{id}/", get(listing))
        .route("/{id}/{*name}", get(file))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(limit_time))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(middleware::map_response(disarm))
        .layer(cors)
        .with_state(App { queue, results: Arc::new(results), public_url })
}

type Answer = Result<Response, Instead>;

async fn document_or_log(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let name = path.map_err(|_| Instead::NoSuchPage)?.0;
    let (id, part, media) = match name.strip_suffix(".log") {
        Some(id) => (id, Part::Log, media::TEXT),
        None => (name.as_str(), Part::Document, media::JSON),
    };
    let found = app.find(id, part, Asked::of(&request)).await?;
    let file = found.open().await?;
    Ok(Representation::of_file(file, found.attempt, media)?.respond(&request)?)
}

async fn listing(State(app): State<App>, path: Result<Path<String>, PathRejection>, request: Request) -> Answer {
    let id = path.map_err(|_| Instead::NoSuchPage)?.0;
    let found = app.find(&id, Part::Listing, Asked::of(&request)).await?;
    let has_files = found.published.has_files();
    let (document, metadata) = found.open().await?;
    let as_html = listing::prefers_html(request.headers());
    let (media, text) = blocking(move || listing::render(document, has_files, as_html)).await?;
    let mut response = Representation::of_text(text, &metadata, found.attempt, media)?.respond(&request)?;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn file(State(app): State<App>, path: Result<Path<(String, String)>, PathRejection>, request: Request) -> Answer {
    let (id, name) = path.map_err(|_| Instead::NoSuchPage)?.0;
    let media = media::of(&name);
    let found = app.find(&id, Part::File(name), Asked::of(&request)).await?;
    let file = found.open().await?;
    Ok(Representation::of_file(file, found.attempt, media)?.respond(&request)?)
}

/// A result that the queue's record names.
struct Found {
    id: JobId,
    attempt: u32,
    published: Published,
    part: Part,
    /// Where to ask for it, should it not be here.
    elsewhere: Option<Url>,
}

impl App {
    /// The attempt whose results are served for a job.
    async fn find(&self, id: &str, part: Part, asked: Asked<'_>) -> Result<Found, Instead> {
        let id: JobId = id.parse().map_err(|_| Instead::NoSuchPage)?;
        let found = self.queue.find(id).await.map_err(|error| Instead::of(id, error))?;
        let record = found.ok_or(Instead::NoSuchJob(id))?;
        match (record.state, record.published) {
            (JobState::Done | JobState::Dead, Some(attempt)) => {
                let at = |url| elsewhere::location(url, self.public_url.as_ref(), id, &part, asked);
                let elsewhere = record.public_url.as_ref().and_then(at);
                Ok(Found { id, attempt, published: self.results.published(id, attempt), part, elsewhere })
            }
            _ => Err(Instead::OnlyState(Box::new(record))),
        }
    }
}

impl Found {
    /// The file that holds the part, or makes it up.
    async fn open(&self) -> Result<(File, Metadata), Instead> {
        let (published, part) = (self.published.clone(), self.part.clone());
        let opened = blocking(move || {
            let opened = match part {
                Part::Document | Part::Listing => published.document(),
                Part::Log => published.log(),
                Part::File(name) => published.open_file(&name),
            };
            match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(published.is_here())),
                opened => opened.map(Ok),
            }
        });
        opened.await?.map_err(|is_here| match (is_here, &self.elsewhere) {
            (true, _) => Instead::NoSuchFile { id: self.id, what: self.part.to_string() },
            (false, Some(url)) => Instead::Elsewhere { id: self.id, url: url.clone() },
            (false, None) => Instead::NotHere(self.id),
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}

async fn healthz() -> Response {
    instead::uncached(StatusCode::OK, &json!({"status": "up", "timestamp": Timestamp::now()}))
}

/// Whether the queue answers.
async fn readyz(State(app): State<App>) -> Answer {
    match tokio::time::timeout(READY, app.queue.ping()).await {
        Ok(answered) => answered?,
        Err(_) => return Err(Instead::Late),
    }
    Ok(instead::uncached(StatusCode::OK, &json!({"status": "ready", "timestamp": Timestamp::now()})))
}

async fn unknown_route(uri: Uri) -> Instead {
    tracing::debug!(path = uri.path(), "no such page");
    Instead::NoSuchPage
}

async fn wrong_method() -> Instead {
    Instead::WrongMethod
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Instead::Late.into_response(),
    }
}

/// Keeps browsers from running what an algorithm has written, or from taking it for something else.
async fn disarm(mut response: Response) -> Response {
    const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests;
