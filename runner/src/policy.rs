//! Which URLs jobs may name, as inputs or as places for their results: pure rules, with no look at the network.
//!
//! A worker dials what jobs name from inside the operator's network. So only public addresses are allowed unless a
//! rule says otherwise, and the address is judged that is really dialled: a name is checked again with every address
//! that it resolves to.

mod address;
mod ports;
mod refusal;
mod rule;
mod shown;

pub use refusal::Refusal;
pub use rule::{Rule, RuleError};
pub use shown::display_url;

use refusal::Target;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use url::{Host, Url};

/// What an operator allows and denies beyond the default, which is every public address and no other.
///
/// `deny` beats `allow`. A rule in `allow` that names a host lets that name resolve to any address that is not
/// denied; one that names addresses lets these be dialled under any name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Hosts and addresses that are let through although they are not public.
    pub allow: Vec<Rule>,
    /// Hosts and addresses that are refused although they are public or allowed.
    pub deny: Vec<Rule>,
}

/// What URLs are used for. Each use has a section of the configuration, and so rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Inputs are fetched from them.
    Input,
    /// Results are sent to them.
    Result,
}

impl Purpose {
    /// The section of the configuration that holds the rules.
    fn section(self) -> &'static str {
        match self {
            Purpose::Input => "input",
            Purpose::Result => "result_url",
        }
    }

    /// What is done at public addresses only.
    fn only(self) -> &'static str {
        match self {
            Purpose::Input => "inputs are fetched from",
            Purpose::Result => "results are sent to",
        }
    }

    fn schemes(self) -> &'static str {
        match self {
            Purpose::Input => "inputs come by http, https or data URL",
            Purpose::Result => "results are sent by http or https",
        }
    }
}

/// Judges the URLs and addresses of one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPolicy {
    purpose: Purpose,
    rules: Rules,
}

impl UrlPolicy {
    /// The policy that an operator's rules make for this purpose.
    pub fn new(purpose: Purpose, rules: Rules) -> Self {
        Self { purpose, rules }
    }

    /// Judges what can be judged of a job's URL before a name is resolved: the scheme, denied names and literal
    /// addresses.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        self.check_named(url, Target::Written)
    }

    /// Judges a URL that a server redirects to. The job did not write it, so a refusal keeps its address to itself.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_redirect(&self, url: &Url) -> Result<(), Refusal> {
        self.check_named(url, |_| Target::Redirected)
    }

    /// Judges an address that a name resolved to, and that is about to be dialled.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_resolved(&self, name: &str, address: IpAddr, port: u16) -> Result<(), Refusal> {
        self.check_address(Target::Name(name), address, port)
    }

    fn check_named(&self, url: &Url, literal: fn(IpAddr) -> Target<'static>) -> Result<(), Refusal> {
        let port = match (url.scheme(), url.port_or_known_default()) {
            ("data", _) if self.purpose == Purpose::Input => return Ok(()),
            ("http" | "https", Some(port)) => port,
            (scheme, _) => return Err(Refusal::scheme(self.purpose, scheme)),
        };
        match url.host() {
            Some(Host::Domain(name)) => self.check_denied(Target::Name(name), &[], port),
            Some(Host::Ipv4(address)) => self.check_address(literal(address.into()), address.into(), port),
            Some(Host::Ipv6(address)) => self.check_address(literal(address.into()), address.into(), port),
            None => Err(Refusal::no_host(url)),
        }
    }

    fn check_address(&self, target: Target<'_>, address: IpAddr, port: u16) -> Result<(), Refusal> {
        let faces = address::faces(address);
        self.check_denied(target, &faces, port)?;
        if let Target::Name(name) = target
            && self.rules.allow.iter().any(|rule| rule.covers_host(name, port))
        {
            return Ok(());
        }
        for face in faces {
            let Some(kind) = address::kind(face) else { continue };
            if !self.rules.allow.iter().any(|rule| rule.covers_address(face, port)) {
                return Err(Refusal::not_public(self.purpose, target, address, port, kind));
            }
        }
        Ok(())
    }

    fn check_denied(&self, target: Target<'_>, faces: &[IpAddr], port: u16) -> Result<(), Refusal> {
        for (place, rule) in self.rules.deny.iter().enumerate() {
            let by_name = matches!(target, Target::Name(name) if rule.covers_host(name, port));
            if by_name || faces.iter().any(|face| rule.covers_address(*face, port)) {
                let address = faces.first().copied();
                // A rule about addresses tells what a name resolved to, so it is named by its place alone.
                let rule = (by_name || matches!(target, Target::Written(_))).then_some(rule);
                return Err(Refusal::denied(self.purpose, target, address, port, (place, rule)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
