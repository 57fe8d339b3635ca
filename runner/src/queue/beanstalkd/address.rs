//! Where a server is.

use std::fmt;
use std::str::FromStr;
use url::{Host, Url};

/// The port that beanstalkd listens on unless it is told otherwise.
const PORT: u16 = 11_300;

/// The address of a server, `beanstalkd://HOST:PORT`; port 11300 if none is named.
///
/// The files of a data directory know a server by its address, so a server should always be called the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a beanstalkd server is named as beanstalkd://HOST or beanstalkd://HOST:PORT, {0}")]
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
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "beanstalkd://[{host}]:{port}")
        } else {
            write!(f, "beanstalkd://{host}:{port}")
        }
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
            return refuse("without a user: beanstalkd knows none");
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return refuse("without anything after the port; tubes are named by jobs and workers");
        }
        match url.port() {
            Some(0) => refuse("and no server listens on port 0"),
            port => Ok(Self { host, port: port.unwrap_or(PORT) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_host_and_port() {
        for (text, told) in [
            ("beanstalkd://127.0.0.1:11301", "beanstalkd://127.0.0.1:11301"),
            ("beanstalkd://queue.example.org", "beanstalkd://queue.example.org:11300"),
            ("beanstalkd://localhost/", "beanstalkd://localhost:11300"),
            ("beanstalkd://[::1]:7", "beanstalkd://[::1]:7"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), told);
        }
    }

    #[test]
    fn what_names_no_server_is_refused_with_the_reason() {
        for (text, part) in [
            ("beanstalkd://", "no host"),
            ("beanstalkd:x", "no host"),
            ("beanstalkd://u@x", "without a user"),
            ("beanstalkd://x/default", "after the port"),
            ("beanstalkd://x?y", "after the port"),
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
