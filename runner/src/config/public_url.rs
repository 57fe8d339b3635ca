//! Where a node can be reached from elsewhere.

use crate::job::excerpt;
use serde::de::{Deserialize, Deserializer, Error};
use url::Url;

/// Why a text is no public URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no public URL: {reason}; it is an http or https URL to which /ID is added, such as \
     https://node1.example.org or https://example.org/results",
    excerpt(text)
)]
pub struct PublicUrlError {
    text: String,
    reason: String,
}

/// Reads the URL at which a node serves its results to others. A slash at its end makes no difference.
///
/// # Errors
/// [`PublicUrlError`] for what is no http or https URL, or has more than a host and a path.
pub fn parse_public_url(text: &str) -> Result<Url, PublicUrlError> {
    let refuse = |reason: &str| Err(PublicUrlError { text: text.to_owned(), reason: reason.to_owned() });
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(&error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("its scheme is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it holds credentials, and every reader is shown it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it has a query or a fragment");
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
    }
    Ok(url)
}

/// Reads it from a configuration.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| parse_public_url(&text).map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_place_and_nothing_more() {
        for (text, read) in [
            ("https://node1.example.org", "https://node1.example.org/"),
            ("http://10.0.0.1:7654/", "http://10.0.0.1:7654/"),
            ("https://example.org/results/", "https://example.org/results"),
            ("https://example.org/results", "https://example.org/results"),
        ] {
            assert_eq!(parse_public_url(text).unwrap().as_str(), read);
        }
        for (text, part) in [
            ("node1", "relative URL"),
            ("ftp://node1/", "neither http nor https"),
            ("http://me@node1/", "credentials"),
            ("http://:secret@node1/", "credentials"),
            ("http://node1/?a", "a query or a fragment"),
            ("http://node1/#a", "a query or a fragment"),
            ("", "no public URL"),
        ] {
            let message = parse_public_url(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("such as"), "{text}: {message}");
        }
    }
}
