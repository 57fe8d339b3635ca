//! HTTP clients that dial only what the policy lets them.

use super::FetchError;
use crate::policy::{Refusal, UrlPolicy};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Name resolution and the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes clients. They share the TLS configuration and its sessions, but no connections: whether an address may
/// be dialled depends on the port, which a resolver is not told, so each client knows one port.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    policy: Arc<UrlPolicy>,
    tls: ClientConfig,
}

impl Clients {
    pub(super) fn new(policy: Arc<UrlPolicy>) -> Result<Self, FetchError> {
        Ok(Self { policy, tls: tls()? })
    }

    /// A client for one request to `url`.
    pub(super) fn get(&self, url: &Url) -> Result<Client, FetchError> {
        let port = url.port_or_known_default().unwrap_or_default();
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(CheckedResolver { policy: Arc::clone(&self.policy), port })
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("longboat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| FetchError::Host { message: format!("no HTTP client could be made: {error}") })
    }
}

/// Trusts what the platform trusts. Where it trusts nobody, for want of certificates, https fails and http works.
fn tls() -> Result<ClientConfig, FetchError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Host { message: format!("TLS could not be set up: {error}") })?;
    Ok(match Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no https server is trusted; install the platform's CA certificates");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    })
}

/// Resolves names to those of their addresses that may be dialled.
struct CheckedResolver {
    policy: Arc<UrlPolicy>,
    port: u16,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port) = (Arc::clone(&self.policy), self.port);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), port)).await?;
            let allowed = permitted(&policy, name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be dialled, or the first refusal if there are none.
fn permitted(
    policy: &UrlPolicy,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Refusal> {
    let mut refusal = None;
    let mut allowed = Vec::new();
    for address in found {
        match policy.check_resolved(host, address.ip(), address.port()) {
            Ok(()) => allowed.push(address),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    match refusal {
        Some(refusal) if allowed.is_empty() => Err(refusal),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Purpose, Rules};

    fn resolved(policy: &UrlPolicy, found: &[&str]) -> Result<Vec<SocketAddr>, Refusal> {
        permitted(policy, "mixed.example", found.iter().map(|address| address.parse().unwrap()))
    }

    #[test]
    fn of_a_names_addresses_only_the_permitted_ones_are_dialled() {
        let policy = UrlPolicy::new(Purpose::Input, Rules::default());
        let found = ["10.0.0.1:80", "93.184.216.34:80", "[::1]:80", "[2606:4700::1]:80", "[64:ff9b::a00:1]:80"];
        let allowed = resolved(&policy, &found).unwrap();
        assert_eq!(allowed, ["93.184.216.34:80", "[2606:4700::1]:80"].map(|address| address.parse().unwrap()));
        let refusal = resolved(&policy, &found[..1]).unwrap_err();
        assert_eq!(refusal.address(), "10.0.0.1".parse().ok());
        assert!(!refusal.to_string().contains("10.0.0.1"), "{refusal}");
    }

    #[test]
    fn a_name_without_addresses_is_no_refusal() {
        let policy = UrlPolicy::new(Purpose::Input, Rules::default());
        assert_eq!(resolved(&policy, &[]), Ok(Vec::new()));
    }
}
