//! One rule of a policy: a host or a range of addresses, and perhaps one port.

use crate::job::excerpt;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use url::Host;

/// A host name (`data.example.org`, `*.example.org`), an address or a range of them (`10.0.0.0/8`, `127.0.0.1`,
/// `fd00::/8`, `[::1]`), each with an optional port (`127.0.0.1:8099`, `[::1]:80`, `10.0.0.0/8:443`).
///
/// `*.example.org` covers every name below `example.org`, but not that name itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    target: Target,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Name(String),
    /// Kept with its leading dot.
    Below(String),
    Net(IpNet),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a rule: {reason}; a rule is a host (`data.example.org`, `*.example.org`) or an address or \
     range (`10.0.0.0/8`, `127.0.0.1`, `[::1]`), with a port if need be (`127.0.0.1:8099`, `[fd00::]/8:443`)",
    excerpt(text)
)]
pub struct RuleError {
    text: String,
    reason: &'static str,
}

impl Rule {
    /// The rule for just this address and port.
    pub(super) fn at(address: IpAddr, port: u16) -> Self {
        Self { target: Target::Net(address.into()), port: Some(port) }
    }

    /// The rule for just this name and port, if the name is one that a rule can have.
    pub(super) fn named(name: &str, port: u16) -> Option<Self> {
        let rule = Self { target: parse_target(name).ok()?, port: Some(port) };
        rule.covers_host(name, port).then_some(rule)
    }

    /// Whether the rule is about this name, whatever it resolves to.
    pub(super) fn covers_host(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.port.is_none_or(|own| own == port)
            && match &self.target {
                Target::Name(name) => *name == host,
                Target::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
                Target::Net(_) => false,
            }
    }

    /// Whether the rule is about this address, whatever name led there.
    pub(super) fn covers_address(&self, address: IpAddr, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
            && matches!(&self.target, Target::Net(net) if net.contains(&address.to_canonical()))
    }

    /// Whether the rule is about every port of every address of this range.
    pub(super) fn covers_net(&self, net: &IpNet) -> bool {
        self.port.is_none() && matches!(&self.target, Target::Net(own) if own.contains(net))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let refuse = |reason| RuleError { text: text.to_owned(), reason };
        let (target, port) = split_port(text).ok_or_else(|| refuse("brackets go around an IPv6 address"))?;
        let port = match port {
            Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(port.parse().map_err(|_| refuse("the port is not from 1 to 65535"))?)
            }
            Some(_) => return Err(refuse("the port is not a number")),
            None => None,
        };
        if port == Some(0) {
            return Err(refuse("the port is not from 1 to 65535"));
        }
        parse_target(&target).map(|target| Self { target, port }).map_err(refuse)
    }
}

/// Splits `[::1]:80`, `[fd00::]/8:443`, `10.0.0.0/8:443` and `example.org:80`; the target comes without brackets.
fn split_port(text: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        let (length, port) = after.split_once(':').map_or((after, None), |(length, port)| (length, Some(port)));
        let is_well_formed = inside.contains(':') && (length.is_empty() || length.starts_with('/'));
        return is_well_formed.then(|| (format!("{inside}{length}"), port));
    }
    match text.split_once(':') {
        Some((target, port)) if !port.contains(':') => Some((target.to_owned(), Some(port))),
        _ => Some((text.to_owned(), None)),
    }
}

fn parse_target(text: &str) -> Result<Target, &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Target::Net(address.to_canonical().into()));
    }
    if text.contains('/') {
        let net =
            text.parse::<IpNet>().map_err(|_| "what is before the / is no address, or what is after no length")?;
        return Ok(Target::Net(canonical(net.trunc())));
    }
    let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let Ok(Host::Domain(name)) = Host::parse(name) else {
        return Err("it is neither a host name nor an address in its usual form");
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(fits) || name.split('.').any(str::is_empty) {
        return Err("a host name has only letters, digits, - and _ between its dots, and * only in front");
    }
    Ok(if is_below { Target::Below(format!(".{name}")) } else { Target::Name(name.to_owned()) })
}

/// A range of IPv4-mapped addresses is the range of the IPv4 addresses, which is what addresses are compared as.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(net, IpNet::V4),
        _ => net,
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Name(name) => f.write_str(name)?,
            Target::Below(suffix) => write!(f, "*{suffix}")?,
            Target::Net(net) => {
                let is_single = net.prefix_len() == net.max_prefix_len();
                match net.addr() {
                    IpAddr::V6(address) => write!(f, "[{address}]")?,
                    IpAddr::V4(address) => write!(f, "{address}")?,
                }
                if !is_single {
                    write!(f, "/{}", net.prefix_len())?;
                }
            }
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rule_reads_back_what_it_prints() {
        for (text, printed) in [
            ("data.example.org", "data.example.org"),
            ("DATA.Example.org.", "data.example.org"),
            ("*.example.org:8080", "*.example.org:8080"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.0.0.0/8:443", "10.0.0.0/8:443"),
            ("127.0.0.1:8099", "127.0.0.1:8099"),
            ("::1", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("fd00::/8", "[fd00::]/8"),
            ("[fd00::/8]:443", "[fd00::]/8:443"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("localhost", "localhost"),
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(rule.to_string(), printed);
            assert_eq!(printed.parse(), Ok(rule));
        }
    }

    #[test]
    fn what_is_not_a_rule_is_refused_with_what_would_be() {
        for text in [
            "",
            "*",
            "*.",
            "a.*.org",
            "10.0.0.0/33",
            "127.1",
            "2130706433",
            "x:y",
            "x:0",
            "x:+80",
            "x:65536",
            "[::1",
            "http://a",
            "a b",
            "a..b",
            "/8",
            "[::1]80",
            "exam/ple",
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains("is not a rule") && error.contains("10.0.0.0/8"), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_rule_covers_the_name_in_every_spelling_and_nothing_beside_it() {
        let below: Rule = "*.example.org".parse().unwrap();
        assert!(below.covers_host("a.b.EXAMPLE.org.", 1) && !below.covers_host("example.org", 1));
        assert!(!below.covers_host("badexample.org", 1) && !below.covers_host(".example.org", 1));
        let name: Rule = "example.org:80".parse().unwrap();
        assert!(name.covers_host("example.org", 80) && !name.covers_host("example.org", 81));
        assert!(!name.covers_host("a.example.org", 80) && !name.covers_address("127.0.0.1".parse().unwrap(), 80));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_every_rule_prints_as_itself(text in r"[\[\]*.:/0-9a-fx-]{0,20}|.{0,20}") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }
    }
}
