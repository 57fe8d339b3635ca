//! Media types by file name.

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
const UNKNOWN: &str = "application/octet-stream";

/// What browsers may display, and it is harmless since scripts are forbidden; all else is downloaded.
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
pub(super) fn of(name: &str) -> &'static str {
    let extension = name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    let known = KNOWN.iter().find(|(known, _)| extension.is_some_and(|own| own.eq_ignore_ascii_case(known)));
    known.map_or(UNKNOWN, |(_, media)| media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_extension_says_or_unknown() {
        assert_eq!(of("a/b.CSV"), "text/csv; charset=utf-8");
        assert_eq!(of("a.tar.gz"), UNKNOWN);
        assert_eq!((of("dir.html/data"), of(""), of("png"), of("x.")), (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN));
    }
}
