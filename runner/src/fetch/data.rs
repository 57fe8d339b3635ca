//! `data:` URLs, which carry the input themselves.

use super::{Allowance, FetchError};
use crate::body::{Body, Spool};
use crate::policy::display_url;
use data_url::DataUrl;
use data_url::forgiving_base64::DecodeError;
use std::io::Write;
use url::Url;

/// What the URL carries. It blocks.
pub(super) fn decode(url: &Url, mut spool: Spool, allowance: &Allowance) -> Result<Body, FetchError> {
    let refuse = |reason: &str| FetchError::Permanent { message: format!("{}: {reason}", display_url(url)) };
    let data = DataUrl::process(url.as_str()).map_err(|_| refuse("a data URL needs a comma before its data"))?;
    let mut bytes = Vec::new();
    let decoded = data.decode(|piece| {
        let observed = (bytes.len() + piece.len()) as u64;
        if observed > allowance.left() {
            return Err(observed);
        }
        bytes.extend_from_slice(piece);
        Ok(())
    });
    match decoded {
        Ok(_) => {
            let written = spool.write_all(&bytes).and_then(|()| spool.finish());
            written.map_err(|error| FetchError::from_disk(&error))
        }
        Err(DecodeError::WriteError(observed)) => Err(allowance.exceeded(observed)),
        Err(DecodeError::InvalidBase64(_)) => Err(refuse("what follows the comma is not base64")),
    }
}
