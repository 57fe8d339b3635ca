//! Bytes with their media type and validators: conditional requests and ranges (RFC 9110, chapters 13 and
//! 14).

use crate::queue::Published;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{
    ContentLength, ContentRange, ETag, HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange,
    IfUnmodifiedSince, LastModified,
};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// Files are read in pieces of this many bytes; a file of one piece is sent together with the head.
const PIECE: usize = 64 << 10;
/// The end of the year 9999 in milliseconds since 1970: the last time that HTTP can write.
const LAST_TIME: i64 = 253_402_300_799_000;

/// What a URL stands for at the moment.
pub(super) struct Representation {
    content: Content,
    media: &'static str,
    etag: ETag,
    modified: SystemTime,
}

/// The bytes, or where they are.
pub(super) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file of this size.
    File(File, u64),
}

impl Representation {
    /// Something that a settled attempt left, which never changes: attempt, time and size tell it from
    /// whatever else was, or will be, at the same URL.
    pub(super) fn new(content: Content, media: &'static str, published: &Published) -> io::Result<Self> {
        let millis = published.settled_at.clamp(0, LAST_TIME).unsigned_abs();
        let etag = format!("\"{}-{millis:x}-{:x}\"", published.attempt, content.size());
        let etag = etag.parse().map_err(io::Error::other)?;
        Ok(Self { content, media, etag, modified: UNIX_EPOCH + Duration::from_millis(millis) })
    }

    /// Answers a GET or HEAD of it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn respond(self, request: &Request) -> io::Result<Response> {
        let (asked, size) = (request.headers(), self.content.size());
        let range = if request.method() == Method::GET { self.range(asked) } else { None };
        let mut headers = HeaderMap::new();
        let (status, body) = match (self.precondition(asked), range) {
            (Some(status), _) => (status, Body::empty()),
            (None, Some(Err(Unsatisfiable))) => {
                headers.typed_insert(ContentRange::unsatisfied_bytes(size));
                (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty())
            }
            (None, range) => {
                let is_partial = range.is_some();
                let range = range.and_then(Result::ok).unwrap_or(0..size);
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
                headers.typed_insert(ContentLength(range.end - range.start));
                if is_partial {
                    let value = ContentRange::bytes(range.clone(), size).map_err(io::Error::other)?;
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

    /// The status that a condition of the request asks for in place of the bytes, in the order of RFC 9110,
    /// 13.2.2.
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

    /// The one range that is asked for. Several, other units and what is malformed are ignored, as is
    /// allowed.
    fn range(&self, headers: &HeaderMap) -> Option<Result<Range<u64>, Unsatisfiable>> {
        let modified = LastModified::from(self.modified);
        if headers.typed_get::<IfRange>().is_some_and(|known| known.is_modified(Some(&self.etag), Some(&modified))) {
            return None;
        }
        parse_range(headers.get(header::RANGE)?.to_str().ok()?, self.content.size())
    }
}

impl Content {
    /// An open file, read already if it is small. It blocks.
    pub(super) fn of_file((file, metadata): (File, Metadata)) -> io::Result<Self> {
        let size = metadata.len();
        match usize::try_from(size) {
            Ok(length) if length <= PIECE => {
                let mut bytes = Vec::with_capacity(length);
                (&file).take(size).read_to_end(&mut bytes)?;
                // The size is promised in the head.
                if bytes.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes.into()) }
            }
            _ => Ok(Content::File(file, size)),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, size) => *size,
        }
    }

    fn part(self, range: Range<u64>) -> io::Result<Body> {
        Ok(match self {
            Content::File(mut file, _) => {
                file.seek(SeekFrom::Start(range.start))?;
                let reader = tokio::fs::File::from_std(file).take(range.end - range.start);
                Body::from_stream(ReaderStream::with_capacity(reader, PIECE))
            }
            Content::Bytes(bytes) => {
                let place = |place| usize::try_from(place).map_err(io::Error::other);
                Body::from(bytes.slice(place(range.start)?..place(range.end)?))
            }
        })
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Content::Bytes(bytes.into())
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

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
const UNKNOWN: &str = "application/octet-stream";

/// What browsers may display, which is harmless since scripts are forbidden. Everything else is downloaded.
const KNOWN: [(&str, &str); 18] = [
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("geojson", "application/geo+json"),
    ("htm", HTML),
    ("html", HTML),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", JSON),
    ("jsonl", "application/jsonl"),
    ("log", TEXT),
    ("md", "text/markdown; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("txt", TEXT),
    ("webp", "image/webp"),
    ("xml", "text/xml; charset=utf-8"),
];

/// The media type of a file by its name's extension.
pub(super) fn media_of(name: &str) -> &'static str {
    let extension = name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    let known = KNOWN.iter().find(|(known, _)| extension.is_some_and(|own| own.eq_ignore_ascii_case(known)));
    known.map_or(UNKNOWN, |(_, media)| media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_type_follows_from_the_extension() {
        assert_eq!(media_of("a/b.CSV"), "text/csv; charset=utf-8");
        assert_eq!(media_of("a.tar.gz"), UNKNOWN);
        assert_eq!(
            (media_of("dir.html/data"), media_of(""), media_of("png"), media_of("x.")),
            (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
        );
    }

    #[test]
    fn range_is_read_as_in_rfc_9110() {
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
        fn range_is_never_outside_the_bytes(text in "(bytes=)?[0-9]{0,22}-[0-9]{0,22}", size in any::<u64>()) {
            if let Some(Ok(range)) = parse_range(&text, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
