//! URLs as messages and logs show them.

use url::{Position, Url};

/// The URL as messages show it: without credentials, which a query may hold as well, and cut if it is long.
pub fn display_url(url: &Url) -> String {
    const LONGEST: usize = 200;
    if url.cannot_be_a_base() {
        // A data URL: its media type says what it is, the data does not.
        let head = url.path().split(',').next().unwrap_or_default();
        let more = if url.path().contains(',') { ",…" } else { "" };
        return format!("{}:{}{more}", cut(url.scheme(), 60), cut(head, 60));
    }
    let plain = format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath]);
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{}{query}", cut(&plain, LONGEST))
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_secret_and_is_short() {
        let shown = |text: &str| display_url(&text.parse().unwrap());
        assert_eq!(shown("https://me:secret@example.org:81/a/b?token=secret#secret"), "https://example.org:81/a/b?…");
        assert_eq!(shown("data:text/csv;base64,c2VjcmV0"), "data:text/csv;base64,…");
        assert_eq!(shown("mailto:a@example.org"), "mailto:a@example.org");
        assert!(shown(&format!("http://example.org/{}", "ä".repeat(9000))).chars().count() < 210);
        assert!(shown(&format!("data:{}", "x".repeat(9000))).len() < 80);
    }
}
