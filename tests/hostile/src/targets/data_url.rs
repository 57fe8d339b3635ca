//! `data:` URLs, which carry an input themselves.

use crate::guest::RUNTIME;
use crate::{Target, lossy, texts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longboat::fetch::{Allowance, FetchError, Fetcher};
use longboat::job::Digest;
use longboat::policy::{Purpose, Rules, UrlPolicy};
use std::sync::LazyLock;
use url::Url;

const AT_MOST: u64 = 300;

static FETCHER: LazyLock<Fetcher> = LazyLock::new(|| {
    let policy = UrlPolicy::new(Purpose::Input, Rules::default());
    Fetcher::new(policy, std::env::temp_dir()).expect("a fetcher can be made")
});

/// `data:` URLs.
pub const TARGET: Target = Target {
    name: "data_url",
    check,
    cases: 10_000,
    largest: 500,
    samples: || texts(["data:,a%20b", "data:text/csv;charset=utf-8;base64,aGk=", "data:;base64,", "data:x/y,1\n2"]),
    words: &[",", ";base64", "=", "%", "%0", "%00", "#", "data:", "\t", "\n", "é", ";", "A", "+/"],
    reached: &["a body", "too large", "refused", "not a URL"],
};

/// A body within the bound comes out, or a permanent refusal; and what is encoded comes out as it was.
pub fn check(bytes: &[u8]) -> &'static str {
    let encoded = format!("data:application/octet-stream;base64,{}", STANDARD.encode(bytes));
    match fetch(&Url::parse(&encoded).expect("base64 may stand in a URL")) {
        Ok(digest) => assert!(bytes.len() as u64 <= AT_MOST && digest == Digest::of(bytes)),
        Err(ending) => assert!(ending == "too large" && bytes.len() as u64 > AT_MOST, "{ending}"),
    }
    match Url::parse(&lossy(bytes)).or_else(|_| Url::parse(&format!("data:{}", lossy(bytes)))) {
        Ok(url) if url.scheme() == "data" => fetch(&url).map_or_else(|ending| ending, |_| "a body"),
        _ => "not a URL",
    }
}

fn fetch(url: &Url) -> Result<Digest, &'static str> {
    match RUNTIME.block_on(FETCHER.fetch(url, &mut Allowance::of(AT_MOST))) {
        Ok(body) => {
            assert!(body.size() <= AT_MOST, "{} bytes", body.size());
            Ok(body.digest())
        }
        Err(FetchError::TooLarge { at_most, observed, .. }) => {
            assert!(at_most == AT_MOST && observed > at_most, "{observed}");
            Err("too large")
        }
        Err(FetchError::Permanent { message }) => {
            assert!(message.chars().count() < 400 && !message.contains(char::is_control), "{message:?}");
            Err("refused")
        }
        Err(error) => panic!("that depends on the URL alone: {error:?}"),
    }
}
