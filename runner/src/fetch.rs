//! Fetches inputs: `http`, `https` and `data` URLs, within the operator's policy and a bound in bytes.
//!
//! Every hop of a redirect is checked anew, and so is every address, at the moment when it is dialled: nothing
//! lies between the check and the connection. Total time is the caller's to bound, by dropping the future.

mod client;
mod data;
mod error;

pub use error::FetchError;

use crate::body::{Body, Spool};
use crate::policy::{InputPolicy, display_url};
use client::Clients;
use reqwest::{Response, StatusCode, header};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use url::Url;

/// A server must have sent its status and headers by then, connecting included.
const FIRST_BYTE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
/// So many bytes are gathered before they are handed to a thread that hashes and writes them.
const PIECE: usize = 256 << 10;

/// Fetches inputs on behalf of algorithms.
#[derive(Debug, Clone)]
pub struct Fetcher {
    policy: Arc<InputPolicy>,
    spool_directory: PathBuf,
    clients: Clients,
}

impl Fetcher {
    /// A fetcher that puts large bodies into unlinked files of `spool_directory`.
    ///
    /// # Errors
    /// [`FetchError::Host`] if TLS cannot be set up.
    pub fn new(policy: InputPolicy, spool_directory: PathBuf) -> Result<Self, FetchError> {
        let policy = Arc::new(policy);
        let clients = Clients::new(Arc::clone(&policy))?;
        Ok(Self { policy, spool_directory, clients })
    }

    /// Fetches what is at `url`, if it is not more than `at_most` bytes.
    ///
    /// The bytes are what the server sends; a content coding is not undone. Credentials in the URL are sent as
    /// basic authentication, to the first host only. Dropping the future ends the transfer at any point.
    ///
    /// # Errors
    /// [`FetchError`], whose messages hold neither credentials nor query strings.
    pub async fn fetch(&self, url: &Url, at_most: u64) -> Result<Body, FetchError> {
        self.policy.check_url(url)?;
        if url.scheme() == "data" {
            return data::decode(url, at_most);
        }
        let (url, response) = self.follow(url).await?;
        if let Some(observed) = response.content_length().filter(|length| *length > at_most) {
            return Err(FetchError::TooLarge { at_most, observed });
        }
        self.receive(&url, response, at_most).await
    }

    /// The response that is not a redirect, and where it came from.
    async fn follow(&self, first: &Url) -> Result<(Url, Response), FetchError> {
        let mut url = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.policy.check_url(&url)?;
            let request = self.clients.get(&url)?.get(url.clone()).header(header::ACCEPT_ENCODING, "identity").send();
            let response = match tokio::time::timeout(FIRST_BYTE, request).await {
                Ok(response) => response.map_err(|error| FetchError::from_client(&url, error))?,
                Err(_) => {
                    let message = format!("{}: no answer within {} s", display_url(&url), FIRST_BYTE.as_secs());
                    return Err(FetchError::Transient { message, retry_after: None });
                }
            };
            let status = response.status();
            match status {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => return Ok((url, response)),
                _ if is_redirect(status) => url = next_hop(first, &url, &response)?,
                _ => return Err(FetchError::from_status(&url, status, response.headers())),
            }
        }
        let message = format!("{}: redirected more than {MAX_REDIRECTS} times", display_url(first));
        Err(FetchError::Permanent { message })
    }

    async fn receive(&self, url: &Url, mut response: Response, at_most: u64) -> Result<Body, FetchError> {
        let mut spool = Spool::new(&self.spool_directory);
        let mut piece = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::from_client(url, error))? {
            let observed = spool.size() + (piece.len() + chunk.len()) as u64;
            if observed > at_most {
                return Err(FetchError::TooLarge { at_most, observed });
            }
            piece.extend_from_slice(&chunk);
            if piece.len() >= PIECE {
                spool = write(spool, std::mem::take(&mut piece)).await?;
            }
        }
        let spool = write(spool, piece).await?;
        spool.finish().map_err(|error| FetchError::from_disk(&error))
    }
}

/// Hashing and writing block: they happen on a thread that may.
async fn write(mut spool: Spool, piece: Vec<u8>) -> Result<Spool, FetchError> {
    use std::io::Write as _;
    let written = spawn_blocking(move || spool.write_all(&piece).map(|()| spool)).await;
    written.map_err(std::io::Error::other).flatten().map_err(|error| FetchError::from_disk(&error))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads; the credentials of `first` go along only if that is the same server again.
fn next_hop(first: &Url, url: &Url, response: &Response) -> Result<Url, FetchError> {
    let refuse = |what: &str| FetchError::Permanent { message: format!("{}: {what}", display_url(url)) };
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let mut next = location
        .and_then(|location| url.join(location).ok())
        .ok_or_else(|| refuse("the server redirects, but not to a URL"))?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(refuse(&format!("the server redirects to {}, which is not http or https", display_url(&next))));
    }
    if url.scheme() == "https" && next.scheme() == "http" {
        return Err(refuse(&format!("the server redirects from https to {}", display_url(&next))));
    }
    let (username, password) =
        if next.origin() == first.origin() { (first.username(), first.password()) } else { ("", None) };
    let has_host = next.set_username(username).and_then(|()| next.set_password(password));
    has_host.map_err(|()| refuse("the server redirects to a URL without a host"))?;
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests;
