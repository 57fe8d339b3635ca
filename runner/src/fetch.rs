//! Fetches inputs, from `http`, `https` and `data` URLs, and sends results, within the operator's policies and bounds.
//!
//! Every hop of a redirect is checked anew, and so is every address, at the moment when it is dialled: nothing
//! lies between the check and the connection. The total time of a fetch is the caller's to bound, by dropping the
//! future.

mod allowance;
mod client;
mod coding;
mod data;
mod error;
mod send;

pub use allowance::Allowance;
pub use error::FetchError;
pub use send::{Parcel, SendError, Sender};

use crate::body::{Body, Spool};
use crate::policy::{UrlPolicy, display_url};
use client::Clients;
use coding::{Coding, Decoder};
use reqwest::{Response, StatusCode, header};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

const MAX_REDIRECTS: usize = 10;

/// How long servers may take, whatever time the caller has.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// From the first dialling to the status and headers of what is no redirect.
    answer: Duration,
    /// From one part of a body to the next.
    idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(30), idle: Duration::from_secs(30) }
    }
}

/// Fetches inputs on behalf of algorithms.
#[derive(Debug, Clone)]
pub struct Fetcher {
    policy: Arc<UrlPolicy>,
    spool_directory: PathBuf,
    clients: Clients,
    patience: Patience,
}

impl Fetcher {
    /// A fetcher that puts large bodies into unlinked files of `spool_directory`.
    ///
    /// # Errors
    /// [`FetchError::Host`] if TLS cannot be set up.
    pub fn new(policy: UrlPolicy, spool_directory: PathBuf) -> Result<Self, FetchError> {
        let policy = Arc::new(policy);
        let clients = Clients::new(Arc::clone(&policy))?;
        Ok(Self { policy, spool_directory, clients, patience: Patience::default() })
    }

    /// Fetches what is at `url`, if the allowance is enough for it.
    ///
    /// The bytes are what the server was asked to send: a content coding, which is the server's choice, is undone; a
    /// file that is itself compressed is not touched. Credentials in the URL are sent as basic authentication, to the
    /// first host only. Dropping the future ends the transfer at any point.
    ///
    /// # Errors
    /// [`FetchError`], whose messages hold neither credentials nor query strings.
    pub async fn fetch(&self, url: &Url, allowance: &mut Allowance) -> Result<Body, FetchError> {
        self.policy.check_url(url)?;
        if url.scheme() == "data" {
            let (url, spool, left) = (url.clone(), self.spool(allowance), *allowance);
            let body = blocking(move || data::decode(&url, spool, &left)).await??;
            allowance.take(body.size());
            return Ok(body);
        }
        let (url, response) = self.follow(url).await?;
        self.receive(&url, response, allowance).await
    }

    fn spool(&self, allowance: &Allowance) -> Spool {
        Spool::beside(allowance.read(), &self.spool_directory)
    }

    /// The response that is not a redirect, and the URL that messages name as its place.
    async fn follow(&self, first: &Url) -> Result<(Url, Response), FetchError> {
        let deadline = Instant::now() + self.patience.answer;
        let (mut url, mut shown) = (first.clone(), first.clone());
        for _ in 0..=MAX_REDIRECTS {
            let request = self.clients.get(&url)?.get(url.clone()).header(header::ACCEPT_ENCODING, coding::ACCEPTED);
            let response = timeout_at(deadline, request.send()).await;
            let response = response.map_err(|_| silence(&shown, "no answer", self.patience.answer))?;
            let response = response.map_err(|error| FetchError::from_client(&shown, error))?;
            let status = response.status();
            match status {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => return Ok((shown, response)),
                _ if is_redirect(status) => {
                    url = next_hop(first, &url, &response).map_err(|what| refused(&shown, what))?;
                }
                _ => return Err(FetchError::from_status(&shown, status, response.headers())),
            }
            self.policy.check_redirect(&url)?;
            if may_be_told(first, &url) {
                shown = url.clone();
            }
        }
        Err(refused(first, format!("redirected more than {MAX_REDIRECTS} times")))
    }

    /// The body, gathered into pieces that are decoded, hashed and written by threads that may block.
    async fn receive(&self, url: &Url, mut response: Response, allowance: &mut Allowance) -> Result<Body, FetchError> {
        let coding = Coding::of(response.headers()).map_err(|error| refused(url, error))?;
        // Refused before it is sent, if it says how large it will be.
        let mut announced = *allowance;
        announced.take_sent(response.content_length().unwrap_or_default())?;
        let mut decoder = Decoder::new(coding, self.spool(allowance), allowance.left());
        let mut piece = Vec::new();
        loop {
            let chunk = timeout(self.patience.idle, response.chunk()).await;
            let chunk = chunk.map_err(|_| silence(url, "nothing more came", self.patience.idle))?;
            let Some(mut chunk) = chunk.map_err(|error| FetchError::from_client(url, error))? else { break };
            allowance.take_sent(chunk.len() as u64)?;
            while !chunk.is_empty() {
                let room = coding.piece() - piece.len();
                piece.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
                if piece.len() == coding.piece() {
                    let full = std::mem::take(&mut piece);
                    let taken = blocking(move || decoder.take(&full)).await?;
                    decoder =
                        taken.map_err(|fault| FetchError::from_fault(url, fault, |size| allowance.exceeded(size)))?;
                }
            }
        }
        let body = blocking(move || decoder.take(&piece)?.finish()).await?;
        let body = body.map_err(|fault| FetchError::from_fault(url, fault, |size| allowance.exceeded(size)))?;
        allowance.take_read(body.size());
        Ok(body)
    }
}

/// Does what takes the processor or the disk some time on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    let failed = |error| FetchError::Host { message: format!("taking the input failed on this host: {error}") };
    spawn_blocking(work).await.map_err(failed)
}

fn silence(url: &Url, what: &str, after: Duration) -> FetchError {
    let message = format!("{}: {what} within {} s", display_url(url), after.as_secs_f64());
    FetchError::Transient { message, retry_after: None }
}

fn refused(url: &Url, what: impl fmt::Display) -> FetchError {
    FetchError::Permanent { message: format!("{}: {what}", display_url(url)) }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether messages may hold the URL that a server redirects to: an address that the job did not write is told to
/// nobody, even if it may be dialled.
fn may_be_told(first: &Url, url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(_))) || url.host() == first.host()
}

/// Where a redirect leads, or what is wrong with it; the credentials of `first` go along only if that is the same
/// server again.
fn next_hop(first: &Url, url: &Url, response: &Response) -> Result<Url, String> {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    let mut next = next.ok_or("the server redirects, but not to a URL")?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(format!("the server redirects to a {:.50}: URL, not to http or https", next.scheme()));
    }
    if url.scheme() == "https" && next.scheme() == "http" {
        return Err("the server redirects from https to http".to_owned());
    }
    let (username, password) =
        if next.origin() == first.origin() { (first.username(), first.password()) } else { ("", None) };
    let has_host = next.set_username(username).and_then(|()| next.set_password(password));
    has_host.map_err(|()| "the server redirects to a URL without a host")?;
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests;
