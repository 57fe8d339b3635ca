//! Bytes with their validators: conditional requests and ranges (RFC 9110, chapters 13 and 14).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{
    ContentLength, ContentRange, ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange,
    IfUnmodifiedSince, LastModified,
};
use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// Files are read in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// What a URL stands for at the moment.
pub(super) struct Representation {
    content: Content,
    size: u64,
    media: &'static str,
    etag: ETag,
    modified: SystemTime,
}

enum Content {
    File(File),
    Text(String),
}

impl Representation {
    /// A file of a sealed attempt, which never changes: attempt, time and size tell it from any other.
    pub(super) fn of_file((file, metadata): (File, Metadata), attempt: u32, media: &'static str) -> io::Result<Self> {
        let size = metadata.len();
        Self::new(Content::File(file), size, &metadata, attempt, media)
    }

    /// A text made from a file of a sealed attempt.
    pub(super) fn of_text(text: String, source: &Metadata, attempt: u32, media: &'static str) -> io::Result<Self> {
        let size = text.len() as u64;
        Self::new(Content::Text(text), size, source, attempt, media)
    }

    fn new(content: Content, size: u64, metadata: &Metadata, attempt: u32, media: &'static str) -> io::Result<Self> {
        let modified = metadata.modified()?;
        let nanoseconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let etag = format!("\"{attempt}-{nanoseconds:x}-{size:x}\"").parse().map_err(io::Error::other)?;
        Ok(Self { content, size, media, etag, modified })
    }

    /// Answers a GET or HEAD of it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn respond(self, request: &Request) -> io::Result<Response> {
        let asked = request.headers();
        let range = if request.method() == Method::GET { self.range(asked) } else { None };
        let mut headers = HeaderMap::new();
        let (status, body) = match (self.precondition(asked), range) {
            (Some(status), _) => (status, Body::empty()),
            (None, Some(Err(Unsatisfiable))) => {
                headers.typed_insert(ContentRange::unsatisfied_bytes(self.size));
                (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty())
            }
            (None, range) => {
                let is_partial = range.is_some();
                let range = range.and_then(Result::ok).unwrap_or(0..self.size);
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
                headers.typed_insert(ContentLength(range.end - range.start));
                if is_partial {
                    let value = ContentRange::bytes(range.clone(), self.size).map_err(io::Error::other)?;
                    headers.typed_insert(value);
                }
                let status = if is_partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
                (status, self.content.part(range)?)
            }
        };
        headers.typed_insert(self.etag);
        headers.typed_insert(LastModified::from(self.modified));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok((status, headers, body).into_response())
    }

    /// The status that a condition of the request asks for in place of the bytes, in the order of RFC 9110, 13.2.2.
    fn precondition(&self, headers: &HeaderMap) -> Option<StatusCode> {
        let is_changed = match headers.typed_get::<IfMatch>() {
            Some(condition) => !condition.precondition_passes(&self.etag),
            None => headers
                .typed_get::<IfUnmodifiedSince>()
                .is_some_and(|condition| !condition.precondition_passes(self.modified)),
        };
        if is_changed {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
        let is_known = match headers.typed_get::<IfNoneMatch>() {
            Some(condition) => !condition.precondition_passes(&self.etag),
            None => headers.typed_get::<IfModifiedSince>().is_some_and(|since| !since.is_modified(self.modified)),
        };
        is_known.then_some(StatusCode::NOT_MODIFIED)
    }

    /// The one range that is asked for. Several, other units and what is malformed are ignored, as is allowed.
    fn range(&self, headers: &HeaderMap) -> Option<Result<Range<u64>, Unsatisfiable>> {
        let modified = LastModified::from(self.modified);
        if headers.typed_get::<IfRange>().is_some_and(|known| known.is_modified(Some(&self.etag), Some(&modified))) {
            return None;
        }
        parse_range(headers.get(header::RANGE)?.to_str().ok()?, self.size)
    }
}

impl Content {
    fn part(self, range: Range<u64>) -> io::Result<Body> {
        Ok(match self {
            Content::File(mut file) => {
                file.seek(SeekFrom::Start(range.start))?;
                let reader = tokio::fs::File::from_std(file).take(range.end - range.start);
                Body::from_stream(ReaderStream::with_capacity(reader, PIECE))
            }
            Content::Text(text) => {
                let place = |place| usize::try_from(place).map_err(io::Error::other);
                Body::from(text.into_bytes()[place(range.start)?..place(range.end)?].to_vec())
            }
        })
    }
}

/// The range begins behind the end.
#[derive(Debug, PartialEq)]
struct Unsatisfiable;

fn parse_range(text: &str, size: u64) -> Option<Result<Range<u64>, Unsatisfiable>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        (Some(first), None) if last.is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        _ => return None,
    };
    Some(if range.is_empty() { Err(Unsatisfiable) } else { Ok(range) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_read_as_rfc_9110_has_it() {
        let range = |text| parse_range(text, 10);
        for (text, first, after) in [
            ("bytes=0-0", 0, 1),
            ("bytes=2-5", 2, 6),
            ("bytes=9-", 9, 10),
            ("bytes=-3", 7, 10),
            ("bytes=-99", 0, 10),
            ("Bytes= 5-99999999999999999999999", 5, 10),
        ] {
            assert_eq!(range(text), Some(Ok(first..after)), "{text}");
        }
        for text in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(range(text), Some(Err(Unsatisfiable)), "{text}");
        }
        for text in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2"]
        {
            assert_eq!(range(text), None, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Some(Err(Unsatisfiable)));
    }

    proptest! {
        #[test]
        fn a_range_is_never_outside(text in "(bytes=)?[0-9]{0,22}-[0-9]{0,22}", size in any::<u64>()) {
            if let Some(Ok(range)) = parse_range(&text, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
