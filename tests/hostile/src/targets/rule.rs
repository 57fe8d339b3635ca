//! The operator's rules about inputs, and the URLs of strangers that they judge.

use crate::{Target, text, texts};
use longboat::policy::{Purpose, Rule, Rules, UrlPolicy, display_url};
use std::net::IpAddr;
use url::Url;

/// Put where credentials and queries stand, to find it again where it must not be.
const SECRET: &str = "s3cr3t-word";

/// Rules and URLs.
pub const TARGET: Target = Target {
    name: "rule",
    check,
    cases: 20_000,
    largest: 80,
    samples: || {
        texts([
            "data.example.org",
            "*.example.org:443",
            "10.1.0.0/16:443",
            "[fd00::7]:80",
            "fd00::/8",
            "http://user:pass@127.0.0.1:8099/a?b=c#d",
            "http://[::ffff:169.254.169.254]/latest/meta-data",
            "http://0x7f.1/",
            "data:text/csv;base64,aGk=",
            "https://exämple.org./%2e%2e/",
        ])
    },
    words: &[
        "*", ".", ":", "[", "]", "/", "@", "//", "\\", "0x", "::", "%", "xn--", "①", "。", "http:", "?", "#", "\t",
        "\0",
    ],
    reached: &["a rule", "a URL", "refused"],
};

/// A rule prints as itself and lets through what it names; no message about a URL holds its credentials or its query;
/// no URL that names a private address is let through by the default policy.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some(text) = text(bytes) else { return "not text" };
    let rule = text.parse::<Rule>();
    match &rule {
        Ok(rule) => {
            assert_eq!(rule.to_string().parse().as_ref(), Ok(rule));
            allows_what_it_names(rule);
        }
        Err(error) => assert!(error.to_string().len() < 2000, "{error}"),
    }
    match (Url::parse(text), rule) {
        (Ok(url), _) => {
            judge(url);
            "a URL"
        }
        (Err(_), Ok(_)) => "a rule",
        (Err(_), Err(_)) => "refused",
    }
}

fn allows_what_it_names(rule: &Rule) {
    let denying = inputs(Rules { deny: vec![rule.clone()], ..Rules::default() });
    let allowing = inputs(Rules { allow: vec![rule.clone()], ..Rules::default() });
    for address in ["127.0.0.1", "10.1.2.3", "93.184.216.34", "::1", "fd00::7", "64:ff9b::a00:1"] {
        let address: IpAddr = address.parse().expect("an address");
        let (denied, allowed) = (
            denying.check_resolved("a.example.org", address, 443),
            allowing.check_resolved("a.example.org", address, 443),
        );
        let is_public = inputs(Rules::default()).check_resolved("a.example.org", address, 443).is_ok();
        assert!(!is_public || allowed.is_ok(), "allowing one thing refuses no other: {rule} {address}");
        assert!(denied.is_err() || is_public || allowed.is_err(), "a rule denies what it allows: {rule} {address}");
    }
}

fn inputs(rules: Rules) -> UrlPolicy {
    UrlPolicy::new(Purpose::Input, rules)
}

fn judge(mut url: Url) {
    let verdict = inputs(Rules::default()).check_url(&url);
    if let (Some(url::Host::Ipv4(address)), Ok(())) = (url.host(), &verdict) {
        let is_inner = address.is_loopback() || address.is_private() || address.is_link_local();
        assert!(!is_inner && !address.is_unspecified() && !address.is_multicast(), "{address} was let through");
    }
    let has_credentials = url.set_username(SECRET).is_ok() && url.set_password(Some(SECRET)).is_ok();
    if !url.cannot_be_a_base() {
        url.set_query(Some(SECRET));
        url.set_fragment(Some(SECRET));
        let refusal = inputs(Rules::default()).check_url(&url).err().map(|refusal| refusal.to_string());
        for message in refusal.into_iter().chain([display_url(&url)]) {
            assert!(!message.contains(SECRET), "{has_credentials}: {message}");
        }
    }
    assert!(display_url(&url).chars().count() < 400, "a shown URL is short");
}
