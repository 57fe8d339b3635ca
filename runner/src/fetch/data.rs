//! `data:` URLs, which carry the input themselves.

use super::FetchError;
use crate::body::Body;
use crate::policy::display_url;
use data_url::DataUrl;
use data_url::forgiving_base64::DecodeError;
use url::Url;

/// What the URL carries.
pub(super) fn decode(url: &Url, at_most: u64) -> Result<Body, FetchError> {
    let refuse = |reason: &str| FetchError::Permanent { message: format!("{}: {reason}", display_url(url)) };
    let data = DataUrl::process(url.as_str()).map_err(|_| refuse("a data URL needs a comma before its data"))?;
    let mut bytes = Vec::new();
    let decoded = data.decode(|piece| {
        let observed = (bytes.len() + piece.len()) as u64;
        if observed > at_most {
            return Err(observed);
        }
        bytes.extend_from_slice(piece);
        Ok(())
    });
    match decoded {
        Ok(_) => Ok(Body::from_bytes(bytes)),
        Err(DecodeError::WriteError(observed)) => Err(FetchError::TooLarge { at_most, observed }),
        Err(DecodeError::InvalidBase64(_)) => Err(refuse("what follows the comma is not base64")),
    }
}
