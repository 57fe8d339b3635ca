//! Sends results: a PUT of one document, within the operator's policy for the places that results go to.

use super::client::Clients;
use super::error::retry_after;
use super::{FetchError, may_be_told, next_hop, refused, silence};
use crate::job::{Digest, JobId};
use crate::policy::{Refusal, UrlPolicy, display_url};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Response, StatusCode};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Fewer than for inputs, since the document travels each time.
const MAX_REDIRECTS: usize = 5;
/// A document is read and sent in pieces of so many bytes.
const PIECE: usize = 64 << 10;
/// What is read of the answer to a document that has arrived, and for how long, before the connection is closed.
const HEARD: usize = 64 << 10;
const HEARING: Duration = Duration::from_secs(1);

/// How long receivers may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From one piece that is taken to the next, and from the last one to the answer.
    pub(super) answer: Duration,
    /// All in all, redirects included.
    pub(super) total: Duration,
}

/// A result document on its way.
#[derive(Debug, Clone)]
pub struct Parcel {
    document: Arc<[u8]>,
    digest: Digest,
    key: String,
}

impl Parcel {
    /// The document that an attempt has left.
    pub fn new(document: Vec<u8>, job: JobId, attempt: u32) -> Self {
        let (digest, key) = (Digest::of(&document), format!("\"{job}-{attempt}\""));
        Self { document: document.into(), digest, key }
    }

    /// The document as a stream from its beginning, which counts the pieces that were taken of it.
    fn body(&self, taken: &Arc<AtomicU64>) -> Body {
        let (document, taken) = (Arc::clone(&self.document), Arc::clone(taken));
        let pieces = (0..document.len()).step_by(PIECE).map(move |at| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(document[at..document.len().min(at + PIECE)].to_vec())
        });
        Body::wrap_stream(stream::iter(pieces))
    }
}

/// Why a result did not arrive. The messages hold neither credentials nor query strings, and no address that the
/// job did not write.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The operator's policy forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Sending it again would not help.
    #[error("{message}")]
    Permanent {
        /// Where and why.
        message: String,
    },
    /// Sending it again may help.
    #[error("{message}")]
    Transient {
        /// Where and why.
        message: String,
        /// What the receiver asked to wait.
        retry_after: Option<Duration>,
        /// Whether nothing was heard of the receiver: it cannot be reached, hangs up, or keeps everybody waiting.
        is_silent: bool,
    },
}

impl SendError {
    /// The address that the policy refused, if it refused one: for the operator's log, not for messages.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            SendError::Refused(refusal) => refusal.address(),
            _ => None,
        }
    }

    /// What a status means that is neither a success nor a redirect that is followed.
    fn from_status(url: &Url, status: StatusCode, headers: &HeaderMap) -> Self {
        let message = format!("{}: the receiver answered {status}", display_url(url));
        match status.as_u16() {
            408 | 425 | 429 | 500..=599 => {
                let retry_after = retry_after(headers, Timestamp::now());
                SendError::Transient { message, retry_after, is_silent: false }
            }
            300..=399 => SendError::Permanent { message: format!("{message}; only 307 and 308 keep a PUT what it is") },
            _ => SendError::Permanent { message },
        }
    }
}

impl From<FetchError> for SendError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Refused(refusal) => SendError::Refused(refusal),
            FetchError::Transient { message, retry_after } => {
                SendError::Transient { message, retry_after, is_silent: true }
            }
            FetchError::Host { message } => SendError::Transient { message, retry_after: None, is_silent: false },
            error => SendError::Permanent { message: error.to_string() },
        }
    }
}

/// Sends results to where their jobs want them.
#[derive(Debug, Clone)]
pub struct Sender {
    policy: Arc<UrlPolicy>,
    clients: Clients,
    pub(super) patience: Patience,
}

impl Sender {
    /// No try takes longer than this.
    pub const LONGEST: Duration = Duration::from_secs(120);

    /// A sender that goes by this policy.
    ///
    /// # Errors
    /// [`FetchError::Host`] if TLS cannot be set up.
    pub fn new(policy: UrlPolicy) -> Result<Self, FetchError> {
        let policy = Arc::new(policy);
        let clients = Clients::new(Arc::clone(&policy))?;
        let patience = Patience { answer: Duration::from_secs(30), total: Self::LONGEST };
        Ok(Self { policy, clients, patience })
    }

    /// Puts the document at `url`, with its digest (RFC 9530) and with a key by which the receiver knows a repetition
    /// (draft-ietf-httpapi-idempotency-key-header): it may arrive more than once.
    ///
    /// A redirect is followed if it says that the method stays (307, 308), to where the policy lets it. Credentials in
    /// the URL go to the first host only. Dropping the future ends the transfer at any point.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, url: &Url, parcel: &Parcel) -> Result<(), SendError> {
        let sent = timeout(self.patience.total, self.follow(url, parcel)).await;
        sent.unwrap_or_else(|_| Err(silence(url, "not taken and answered", self.patience.total).into()))
    }

    async fn follow(&self, first: &Url, parcel: &Parcel) -> Result<(), SendError> {
        self.policy.check_url(first)?;
        let (mut url, mut shown) = (first.clone(), first.clone());
        for _ in 0..=MAX_REDIRECTS {
            let response = self.put(&url, &shown, parcel).await?;
            match response.status() {
                status if status.is_success() => {
                    hear_out(response).await;
                    return Ok(());
                }
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    url = next_hop(first, &url, &response).map_err(|what| refused(&shown, what))?;
                }
                status => return Err(SendError::from_status(&shown, status, response.headers())),
            }
            self.policy.check_redirect(&url)?;
            if may_be_told(first, &url) {
                shown = url.clone();
            }
        }
        Err(refused(first, format!("redirected more than {MAX_REDIRECTS} times")).into())
    }

    /// One request, for as long as the receiver goes on taking pieces of it.
    async fn put(&self, url: &Url, shown: &Url, parcel: &Parcel) -> Result<Response, FetchError> {
        let taken = Arc::new(AtomicU64::new(0));
        let request = self
            .clients
            .get(url)?
            .put(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, parcel.document.len())
            .header("content-digest", format!("sha-256=:{}:", STANDARD.encode(parcel.digest.as_bytes())))
            .header("idempotency-key", &parcel.key)
            .body(parcel.body(&taken));
        let mut response = pin!(request.send());
        let mut before = 0;
        loop {
            if let Ok(response) = timeout(self.patience.answer, &mut response).await {
                return response.map_err(|error| FetchError::from_client(shown, error));
            }
            match taken.load(Ordering::Relaxed) {
                now if now == before => return Err(silence(shown, "no answer", self.patience.answer)),
                now => before = now,
            }
        }
    }
}

/// Lets a receiver finish what it says: one that is hung up on may take its own answer for a failure.
async fn hear_out(mut response: Response) {
    let all = async {
        let mut heard = 0;
        while let Ok(Some(part)) = response.chunk().await {
            heard += part.len();
            if heard > HEARD {
                return;
            }
        }
    };
    let _ = timeout(HEARING, all).await;
}
