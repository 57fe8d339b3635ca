//! Which URLs inputs may be fetched from: pure rules, with no look at the network.
//!
//! A job names its inputs, and the worker fetches them from inside the operator's network. So only public
//! addresses are allowed unless a rule says otherwise, and the address is judged that is really dialled: a name
//! is checked again with every address that it resolves to.

mod address;
mod rule;

pub use rule::{Rule, RuleError};

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use url::{Host, Position, Url};

/// What an operator allows and denies beyond the default, which is every public address and no other.
///
/// `deny` beats `allow`. A rule in `allow` that names a host lets that name resolve to any address that is not
/// denied; one that names addresses lets these be dialled under any name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputPolicy {
    /// Hosts and addresses that are let through although they are not public.
    pub allow: Vec<Rule>,
    /// Hosts and addresses that are refused although they are public or allowed.
    pub deny: Vec<Rule>,
}

/// Why a URL or an address is refused, and how an operator can allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl InputPolicy {
    /// Judges what can be judged before a name is resolved: the scheme, denied names and literal addresses.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if url.scheme() == "data" {
            return Ok(());
        }
        let shown = display_url(url);
        let port = match (url.scheme(), url.port_or_known_default()) {
            ("http" | "https", Some(port)) => port,
            (scheme, _) => {
                return Err(Refusal(format!(
                    "{shown} is refused: inputs come by http, https or data URL, not {scheme}:"
                )));
            }
        };
        match url.host() {
            Some(Host::Domain(name)) => self.check_denied(name, &[], port),
            Some(Host::Ipv4(address)) => self.check_address(&address.to_string(), address.into(), port),
            Some(Host::Ipv6(address)) => self.check_address(&address.to_string(), address.into(), port),
            None => Err(Refusal(format!("{shown} is refused: it names no host"))),
        }
    }

    /// Judges the address that is about to be dialled for `host`, which is a name or the address itself.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_address(&self, host: &str, address: IpAddr, port: u16) -> Result<(), Refusal> {
        let faces = address::faces(address);
        self.check_denied(host, &faces, port)?;
        if self.allow.iter().any(|rule| rule.covers_host(host, port)) {
            return Ok(());
        }
        for face in faces {
            let Some(kind) = address::kind(face) else { continue };
            if !self.allow.iter().any(|rule| rule.covers_address(face, port)) {
                let rule = Rule::at(address.to_canonical(), port);
                return Err(Refusal(format!(
                    "{} is refused: it is {kind}, and inputs are fetched from public addresses only; an operator can \
                     allow it in the configuration: [input] allow = [\"{rule}\"]",
                    target(host, address, port)
                )));
            }
        }
        Ok(())
    }

    fn check_denied(&self, host: &str, faces: &[IpAddr], port: u16) -> Result<(), Refusal> {
        let covers =
            |rule: &&Rule| rule.covers_host(host, port) || faces.iter().any(|face| rule.covers_address(*face, port));
        let Some(rule) = self.deny.iter().find(covers) else { return Ok(()) };
        let what = faces.first().map_or_else(|| format!("{host:.200}, port {port},"), |face| target(host, *face, port));
        Err(Refusal(format!(
            "{what} is refused by the rule \"{rule}\" in the configuration ([input] deny), which comes before any \
             [input] allow"
        )))
    }
}

fn target(host: &str, address: IpAddr, port: u16) -> String {
    if host.parse() == Ok(address) {
        format!("{address}, port {port},")
    } else {
        format!("{host:.200}, which is at {address}, port {port},")
    }
}

/// The URL as messages show it: without credentials, which a query may hold as well, and cut if it is long.
pub fn display_url(url: &Url) -> String {
    const LONGEST: usize = 200;
    if url.cannot_be_a_base() {
        // A data URL: its media type says what it is, the data does not.
        let head = url.path().split(',').next().unwrap_or_default();
        return format!("{}:{}", url.scheme(), cut(head, 60)) + if url.path().contains(',') { ",…" } else { "" };
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
    use proptest::prelude::*;

    fn policy(allow: &[&str], deny: &[&str]) -> InputPolicy {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        InputPolicy { allow: rules(allow), deny: rules(deny) }
    }

    fn url(policy: &InputPolicy, text: &str) -> Result<(), Refusal> {
        policy.check_url(&text.parse().unwrap())
    }

    fn dial(policy: &InputPolicy, host: &str, address: &str) -> Result<(), Refusal> {
        policy.check_address(host, address.parse().unwrap(), 443)
    }

    #[test]
    fn public_http_and_data_are_allowed_and_other_schemes_are_not() {
        let policy = InputPolicy::default();
        for text in ["https://example.org/a", "http://93.184.216.34:8099/", "data:,x", "http://[2606:4700::1]/"] {
            url(&policy, text).unwrap();
        }
        for text in ["file:///etc/passwd", "ftp://example.org/", "gopher://127.0.0.1:70/", "mailto:a@example.org"] {
            assert!(url(&policy, text).unwrap_err().to_string().contains("http, https or data"), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://①②⑦.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00:ec2::254]/latest/meta-data",
            "http://169.254.169.254/latest/meta-data",
            "http://0/",
        ] {
            assert!(url(&InputPolicy::default(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_judged_by_the_address_that_it_resolves_to() {
        let policy = InputPolicy::default();
        url(&policy, "http://localhost/").unwrap();
        let refusal = dial(&policy, "localhost", "127.0.0.1").unwrap_err().to_string();
        assert!(refusal.contains("localhost, which is at 127.0.0.1, port 443"), "{refusal}");
        assert!(
            refusal.contains("a loopback address") && refusal.contains(r#"allow = ["127.0.0.1:443"]"#),
            "{refusal}"
        );
        dial(&policy, "example.org", "93.184.216.34").unwrap();
    }

    #[test]
    fn what_a_refusal_suggests_lets_the_address_through() {
        for address in ["127.0.0.1", "::1", "::ffff:10.1.2.3", "fd00::7"] {
            let refusal = dial(&InputPolicy::default(), "intern.example", address).unwrap_err().to_string();
            let rule = refusal.split('"').nth(1).unwrap();
            dial(&policy(&[rule], &[]), "intern.example", address).unwrap();
        }
    }

    #[test]
    fn deny_beats_allow_and_names_its_rule() {
        let policy = policy(&["10.0.0.0/8", "data.example.org"], &["10.66.0.0/16", "*.evil.example", "8.8.8.8"]);
        dial(&policy, "a.example", "10.1.1.1").unwrap();
        dial(&policy, "data.example.org", "192.168.1.1").unwrap();
        for (host, address) in
            [("a.example", "10.66.1.1"), ("data.example.org", "10.66.1.1"), ("x.evil.example", "93.184.216.34")]
        {
            assert!(dial(&policy, host, address).unwrap_err().to_string().contains("[input] deny"), "{host} {address}");
        }
        assert!(url(&policy, "http://x.EVIL.example./").is_err());
        assert!(url(&policy, "http://8.8.8.8/").unwrap_err().to_string().contains("\"8.8.8.8\""));
        assert!(dial(&policy, "nat64.example", "64:ff9b::8.8.8.8").is_err(), "what is wrapped is judged too");
    }

    #[test]
    fn an_allowed_port_allows_no_other() {
        let policy = policy(&["127.0.0.1:8099"], &[]);
        url(&policy, "http://127.0.0.1:8099/").unwrap();
        assert!(url(&policy, "http://127.0.0.1:8098/").is_err());
        assert!(url(&policy, "http://127.0.0.1/").is_err());
    }

    #[test]
    fn an_outer_address_that_is_allowed_does_not_let_an_inner_one_through() {
        let policy = policy(&["2002::/16"], &[]);
        dial(&policy, "a.example", "2002:808:808::").unwrap();
        assert!(dial(&policy, "a.example", "2002:a00:1::").is_err());
    }

    #[test]
    fn a_policy_is_read_from_its_configuration_and_unknown_keys_are_refused() {
        let read: InputPolicy =
            serde_json::from_str(r#"{"allow": ["10.0.0.0/8:443"], "deny": ["*.example.org"]}"#).unwrap();
        assert_eq!(read, policy(&["10.0.0.0/8:443"], &["*.example.org"]));
        assert!(serde_json::from_str::<InputPolicy>(r#"{"alow": []}"#).is_err());
        let wrong = serde_json::from_str::<InputPolicy>(r#"{"allow": ["10.0.0.0/99"]}"#).unwrap_err().to_string();
        assert!(wrong.contains("10.0.0.0/99"), "{wrong}");
    }

    #[test]
    fn a_shown_url_holds_no_secret_and_is_short() {
        let shown = |text: &str| display_url(&text.parse().unwrap());
        assert_eq!(shown("https://me:secret@example.org:81/a/b?token=secret#secret"), "https://example.org:81/a/b?…");
        assert_eq!(shown("data:text/csv;base64,c2VjcmV0"), "data:text/csv;base64,…");
        assert_eq!(shown("mailto:a@example.org"), "mailto:a@example.org");
        assert!(shown(&format!("http://example.org/{}", "ä".repeat(9000))).chars().count() < 210);
        assert!(shown(&format!("data:{}", "x".repeat(9000))).len() < 80);
    }

    proptest! {
        #[test]
        fn no_private_ipv4_address_gets_through_in_any_wrapping(low in any::<u32>(), net in 0usize..3) {
            let (base, length) = [(0x7f00_0000_u32, 8), (0x0a00_0000, 8), (0xc0a8_0000, 16)][net];
            let v4 = u128::from(base | (low & (u32::MAX >> length)));
            for wrapped in [v4, 0xffff_u128 << 32 | v4, 0x64_ff9b_u128 << 96 | v4, 0x2002_u128 << 112 | v4 << 80] {
                let address = IpAddr::V6(wrapped.into());
                prop_assert!(InputPolicy::default().check_address("a.example", address, 80).is_err(), "{address}");
            }
        }
    }
}
