//! Where a result is that this node does not hold: at the public URL of the node that does.

use crate::job::{JobId, excerpt};
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::fmt;
use url::Url;

/// What of a job is asked for.
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

/// How it is asked for.
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

/// Where to ask for the part instead of here, if the result is at `public_url`; nowhere if that is this node.
///
/// That it is this node may also be known from the request alone: it came to that very host. So a node that has lost a
/// result, and does not know its own URL any more, sends nobody in a circle.
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
    fn each_part_is_at_the_same_path_below_the_public_url() {
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
    fn nobody_is_sent_to_where_he_is() {
        let here = |public_url, own, host| at(public_url, own, &Part::Document, host).is_none();
        assert!(here("http://node1/a", Some("http://node1/a/"), "127.0.0.1:7654"));
        assert!(here("http://node1", None, "NODE1") && here("http://node1:81", None, "node1:81"));
        assert!(here("https://node1", None, "node1") && here("http://[::1]:81", None, "[::1]:81"));
        assert!(!here("http://node1", None, "node1:81") && !here("http://node1", Some("http://node2"), "node2"));
        assert!(!here("http://gate/node1", Some("http://gate/node2"), "gate"), "one host for many nodes");
        assert!(!here("http://node1", None, "a b"));
    }
}
