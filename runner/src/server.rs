//! Results over HTTP, for browsers, scripts and other jobs.
//!
//! | route | answer |
//! |---|---|
//! | `GET /ID` | the result document; 202 while the job has not ended, 410 if it was cancelled |
//! | `GET /ID.log` | the log; it is not below `/ID/`, where the names are the algorithm's |
//! | `GET /ID/` | the list of its files, as JSON, or as HTML if `Accept` prefers that |
//! | `GET /ID/NAME` | one of them |
//! | `GET /healthz`, `GET /readyz` | whether the process is up, whether the queue answers |
//!
//! An ID is hyphenated or 32 hex digits. A result changes only if the job is kicked and runs again: caches
//! may keep everything but must ask each time, which the `ETag` makes cheap. Documents and logs are in the
//! queue's database, so every node has them. For a file that another node holds, the answer is a redirect
//! (307) to that node's public URL. All results come from algorithms that nobody trusts: browsers are told
//! to run nothing of them.

mod connections;
mod listing;
mod no_result;
mod representation;

pub use connections::serve;

use crate::job::{JobId, Record, State as JobState};
use crate::queue::{Jobs, Published};
use crate::results::Reader;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use no_result::{Asked, NoResult, Part};
use representation::{Content, Representation};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::cors::{Any, CorsLayer};
use url::Url;

/// A request has its first byte of answer by then, or an error.
const ANSWER: Duration = Duration::from_secs(30);
const READY: Duration = Duration::from_secs(5);
/// Documents and logs up to this size are sent without counting their memory.
const SMALL: usize = 64 << 10;
/// All larger ones together may take this many permits of 64 KiB: 256 MiB.
const PERMITS: usize = 4096;
/// A log comes in pieces. Before its size is known it takes permits for the default ceiling of a log.
const LOG: usize = 16 << 20;

#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    jobs: Arc<dyn Jobs>,
    results: Arc<Reader>,
    public_url: Option<Url>,
    /// Memory for documents and logs that are being sent.
    memory: Arc<Semaphore>,
}

/// The routes. They have a fallback, so a router that is merged with them must have none.
///
/// A request for what another node holds is redirected to that node, but never to `public_url`, which is
/// this node's.
pub fn router(jobs: Arc<dyn Jobs>, results: Reader, public_url: Option<Url>) -> Router {
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
    let memory = Arc::new(Semaphore::new(PERMITS));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/{id}", get(document_or_log))
        .route("/{id}/", get(listing))
        .route("/{id}/{*name}", get(file))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(limit_and_disarm))
        .layer(cors)
        .with_state(App(Arc::new(Shared { jobs, results: Arc::new(results), public_url, memory })))
}

type Answer = Result<Response, NoResult>;

async fn document_or_log(
    State(App(app)): State<App>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let name = path.map_err(|_| NoResult::NoSuchPage)?.0;
    let (bytes, published, media) = match name.strip_suffix(".log") {
        Some(id) => {
            let (log, ended) = app.log(parse(id)?, Asked::of(&request)).await?;
            (log, ended, representation::TEXT)
        }
        None => {
            let (document, published) = app.document(parse(&name)?, Part::Document, Asked::of(&request)).await?;
            (document, published, representation::JSON)
        }
    };
    Ok(Representation::new(bytes.into(), media, &published)?.respond(&request)?)
}

async fn listing(State(App(app)): State<App>, path: Result<Path<String>, PathRejection>, request: Request) -> Answer {
    let id = parse(&path.map_err(|_| NoResult::NoSuchPage)?.0)?;
    let (document, published) = app.document(id, Part::Listing, Asked::of(&request)).await?;
    let (has_files, as_html) = (published.files, listing::prefers_html(request.headers()));
    let (media, text) = blocking(move || listing::render(&document, has_files, as_html)).await?;
    let mut response = Representation::new(text.into(), media, &published)?.respond(&request)?;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn file(
    State(App(app)): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let (id, name) = path.map_err(|_| NoResult::NoSuchPage)?.0;
    let (id, media) = (parse(&id)?, representation::media_of(&name));
    let mut published = app.published(id).await?;
    let document = std::mem::take(&mut published.document);
    // The version before did not record whether an attempt left files; its documents are not in the queue.
    published.files |= document.is_empty();
    drop(document);
    let file = app.file(id, &published, name, Asked::of(&request)).await?;
    Ok(Representation::new(file, media, &published)?.respond(&request)?)
}

fn parse(id: &str) -> Result<JobId, NoResult> {
    id.parse().map_err(|_| NoResult::NoSuchPage)
}

impl Shared {
    /// What the attempt that counts left, without reading the job itself if there is such an attempt.
    async fn published(&self, id: JobId) -> Result<Published, NoResult> {
        if let Some(published) = self.jobs.result(id, None).await? {
            return Ok(published);
        }
        let record = self.jobs.find(id).await?.ok_or(NoResult::NoSuchJob(id))?;
        // The attempt may have been settled between the two questions.
        let has_ended = record.state.is_final() && record.published.is_some();
        let published = if has_ended { self.jobs.result(id, None).await? } else { None };
        published.ok_or_else(|| NoResult::OnlyState(Box::new(record)))
    }

    /// The result document. What came with it has the document's place empty, and says whether there are
    /// files.
    async fn document(&self, id: JobId, part: Part, asked: Asked<'_>) -> Result<(Bytes, Published), NoResult> {
        let mut published = self.published(id).await?;
        let mut permit = None;
        if published.document.len() > SMALL {
            let size = published.document.len();
            permit = self.memory.clone().try_acquire_many_owned(permits(size)).ok();
            if permit.is_none() {
                // It must not wait for its permits in memory.
                drop(published);
                permit = Some(self.permit(size).await?);
                published = self.published(id).await?;
            }
        }
        if published.document.is_empty() {
            let (document, has_files) = self.old_document(id, &published, part, asked).await?;
            published.files |= has_files;
            return Ok((document.into(), published));
        }
        Ok((held(std::mem::take(&mut published.document), permit), published))
    }

    /// The document of a job that the version before ran, which is a file, and whether the job left files
    /// here.
    async fn old_document(
        &self,
        id: JobId,
        published: &Published,
        part: Part,
        asked: Asked<'_>,
    ) -> Result<(Vec<u8>, bool), NoResult> {
        let (results, attempt) = (Arc::clone(&self.results), published.attempt);
        let read = blocking(move || {
            let document = results.old_document(id, attempt);
            not_found_as_none(document).map(|document| document.map(|it| (it, results.files(id, attempt).are_here())))
        });
        if let Some(found) = read.await? {
            return Ok(found);
        }
        match self.elsewhere(id, published, &part, asked) {
            NoResult::NotHere(_) => match self.jobs.find(id).await? {
                // Its attempt could not make a document, if it was not removed.
                Some(record) if record.state == JobState::Dead => Err(NoResult::OnlyState(Box::new(record))),
                _ => Err(NoResult::NotHere(id)),
            },
            elsewhere => Err(elsewhere),
        }
    }

    /// The log of the attempt that counts, or of the last one if the job ended without a result.
    async fn log(&self, id: JobId, asked: Asked<'_>) -> Result<(Bytes, Published), NoResult> {
        let (ended, only_state) = match self.published(id).await {
            Err(NoResult::OnlyState(record)) => match last_attempt(&record) {
                Some(ended) => (ended, Some(NoResult::OnlyState(record))),
                None => return Err(NoResult::OnlyState(record)),
            },
            published => (Published { document: Vec::new(), ..published? }, None),
        };
        let Some(mut piece) = self.jobs.log(id, ended.attempt, 0).await? else {
            let log = match only_state {
                Some(only_state) => return Err(only_state),
                None => self.old_log(id, &ended, asked).await?,
            };
            return Ok((log.into(), ended));
        };
        let mut log = std::mem::take(&mut piece.bytes);
        let mut permit = None;
        while !piece.is_last {
            if permit.is_none() {
                permit = Some(self.permit(LOG).await?);
            }
            let next = self.jobs.log(id, ended.attempt, log.len() as u64).await?;
            piece = next.ok_or(NoResult::NoSuchFile { id, what: Part::Log.to_string() })?;
            if piece.bytes.is_empty() {
                break;
            }
            log.append(&mut piece.bytes);
        }
        Ok((held(log, permit), ended))
    }

    async fn old_log(&self, id: JobId, ended: &Published, asked: Asked<'_>) -> Result<Vec<u8>, NoResult> {
        let (results, attempt) = (Arc::clone(&self.results), ended.attempt);
        let log = blocking(move || not_found_as_none(results.old_log(id, attempt))).await?;
        log.ok_or_else(|| self.elsewhere(id, ended, &Part::Log, asked))
    }

    async fn file(
        &self,
        id: JobId,
        published: &Published,
        name: String,
        asked: Asked<'_>,
    ) -> Result<Content, NoResult> {
        let part = Part::File(name.clone());
        let missing = || NoResult::NoSuchFile { id, what: part.to_string() };
        if !published.files {
            return Err(missing());
        }
        let (results, attempt) = (Arc::clone(&self.results), published.attempt);
        let opened = blocking(move || {
            let files = results.files(id, attempt);
            match not_found_as_none(files.open(&name))? {
                Some(opened) => Content::of_file(opened).map(Ok),
                None => Ok(Err(files.are_here())),
            }
        });
        opened.await?.map_err(|are_here| if are_here { missing() } else { self.elsewhere(id, published, &part, asked) })
    }

    /// The answer for a part that is not at this node.
    fn elsewhere(&self, id: JobId, published: &Published, part: &Part, asked: Asked<'_>) -> NoResult {
        let public_url = published.public_url.as_ref();
        match public_url.and_then(|url| no_result::location(url, self.public_url.as_ref(), id, part, asked)) {
            Some(url) => NoResult::Elsewhere { id, url },
            None => NoResult::NotHere(id),
        }
    }

    /// Waits until so many bytes may be held in memory.
    async fn permit(&self, size: usize) -> Result<OwnedSemaphorePermit, NoResult> {
        self.memory.clone().acquire_many_owned(permits(size)).await.map_err(|_| NoResult::Broken)
    }
}

/// The permits for so many bytes; something larger than all of them takes all.
fn permits(size: usize) -> u32 {
    u32::try_from(size.div_ceil(SMALL).min(PERMITS)).unwrap_or(u32::MAX)
}

/// Bytes whose permit is given back once they are sent.
fn held(bytes: Vec<u8>, permit: Option<OwnedSemaphorePermit>) -> Bytes {
    struct Held(Vec<u8>, #[expect(dead_code, reason = "it is held until the bytes are sent")] OwnedSemaphorePermit);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    match permit {
        Some(permit) => Bytes::from_owner(Held(bytes, permit)),
        None => bytes.into(),
    }
}

/// The last attempt at a job that ended without a result: its log can still be read.
fn last_attempt(record: &Record) -> Option<Published> {
    let last = record.history.as_ref()?.last()?;
    record.state.is_final().then(|| Published {
        attempt: last.attempt,
        document: Vec::new(),
        settled_at: record.finished_at.or(last.finished_at).unwrap_or(last.started_at).as_millisecond(),
        files: false,
        public_url: None,
    })
}

fn not_found_as_none<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}

async fn healthz() -> Response {
    no_result::uncached(StatusCode::OK, &json!({"status": "up", "timestamp": Timestamp::now()}))
}

/// Whether the queue answers.
async fn readyz(State(App(app)): State<App>) -> Answer {
    match tokio::time::timeout(READY, app.jobs.ping()).await {
        Ok(answered) => answered?,
        Err(_) => return Err(NoResult::Late),
    }
    Ok(no_result::uncached(StatusCode::OK, &json!({"status": "ready", "timestamp": Timestamp::now()})))
}

async fn unknown_route(uri: Uri) -> NoResult {
    tracing::debug!(path = uri.path(), "no such page");
    NoResult::NoSuchPage
}

async fn wrong_method() -> NoResult {
    NoResult::WrongMethod
}

/// Bounds the time until an answer begins, and keeps browsers from running what an algorithm has written,
/// or from taking it for something else. A request's body is never read, as no route takes one.
async fn limit_and_disarm(request: Request, next: Next) -> Response {
    const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    let mut response = match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => NoResult::Late.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests;
