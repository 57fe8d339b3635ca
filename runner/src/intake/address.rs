//! Where a server is, and which of its tubes are taken from.

use crate::job::Tube;
use std::fmt;
use std::str::FromStr;
use url::{Host, Url};

/// The port that beanstalkd listens on by default.
const PORT: u16 = 11_300;

/// A server and tubes of it: `beanstalkd://HOST`, `beanstalkd://HOST:PORT` or
/// `beanstalkd://HOST:PORT/TUBE/TUBE`.
///
/// A tube whose name has a `/` is written with `%2F`. Ids of jobs without an id follow from the server's
/// name, so nodes that share a database must all give a server the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    tubes: Vec<Tube>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an intake is named as beanstalkd://HOST:PORT, or beanstalkd://HOST:PORT/TUBE for one tube, {0}")]
pub struct AddressError(String);

impl Address {
    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The tubes that are named. If there are none, the tubes of the worker are meant.
    pub fn tubes(&self) -> &[Tube] {
        &self.tubes
    }

    /// The server alone, without tubes.
    pub fn server(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("beanstalkd://[{host}]:{port}") } else { format!("beanstalkd://{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server())?;
        self.tubes.iter().try_for_each(|tube| write!(f, "/{}", tube.as_str().replace('/', "%2F")))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: &str| Err(AddressError(why.to_owned()));
        let url = match Url::parse(text) {
            Ok(url) if url.scheme() == "beanstalkd" => url,
            Ok(url) => return Err(AddressError(format!("not {}:", url.scheme()))),
            Err(error) => return Err(AddressError(format!("and this is no URL: {error}"))),
        };
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return refuse("and this names no host"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("without a user: beanstalkd has none");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("without a query or a fragment");
        }
        let port = match url.port() {
            Some(0) => return refuse("and no server listens on port 0"),
            port => port.unwrap_or(PORT),
        };
        let mut tubes: Vec<Tube> = Vec::new();
        for name in url.path().split('/').filter(|name| !name.is_empty()) {
            let name = name.replace("%2F", "/").replace("%2f", "/");
            let tube = name.parse().map_err(|error| AddressError(format!("but {error}")))?;
            if !tubes.contains(&tube) {
                tubes.push(tube);
            }
        }
        Ok(Self { host, port, tubes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_tubes_are_read_and_printed() {
        for (text, printed, tubes) in [
            ("beanstalkd://127.0.0.1:11301", "beanstalkd://127.0.0.1:11301", &[][..]),
            ("beanstalkd://queue.example.org", "beanstalkd://queue.example.org:11300", &[]),
            ("beanstalkd://localhost/", "beanstalkd://localhost:11300", &[]),
            ("beanstalkd://[::1]:7", "beanstalkd://[::1]:7", &[]),
            ("beanstalkd://x/night/a%2fb/night", "beanstalkd://x:11300/night/a%2Fb", &["night", "a/b"]),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.tubes().iter().map(Tube::as_str).collect::<Vec<_>>(), tubes);
            assert_eq!(printed.parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn wrong_addresses_are_refused_with_the_reason() {
        for (text, part) in [
            ("beanstalkd://", "no host"),
            ("beanstalkd:x", "no host"),
            ("beanstalkd://u@x", "without a user"),
            ("beanstalkd://x/-a", "does not start with -"),
            ("beanstalkd://x/a%20b", "tube's name"),
            ("beanstalkd://x?y", "without a query"),
            ("beanstalkd://x:0", "port 0"),
            ("beanstalkd://x:99999", "no URL"),
            ("http://x", "not http:"),
            ("x", "no URL"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("beanstalkd://HOST"), "{text}: {error}");
        }
    }
}
