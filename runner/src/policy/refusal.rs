//! Why a URL or an address is refused, told so that no job learns the addresses of the operator's network.

use super::{Purpose, Rule, display_url};
use std::fmt;
use std::net::IpAddr;
use url::Url;

/// Why a URL or an address is refused, and how an operator can allow it.
///
/// The message becomes part of a verdict, which is public: of addresses it holds only what the job itself wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    message: String,
    address: Option<IpAddr>,
}

/// What is about to be dialled, as messages name it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A host's name; where it is has been found out on the job's behalf.
    Name(&'a str),
    /// An address that the job wrote.
    Written(IpAddr),
    /// An address that a server redirects to.
    Redirected,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Name(name) => write!(f, "{name:.200}"),
            Target::Written(address) => write!(f, "{address}"),
            Target::Redirected => f.write_str("the address that the server redirects to"),
        }
    }
}

impl Refusal {
    /// The address that was judged, if one was: for the operator's log, not for messages.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(super) fn scheme(purpose: Purpose, scheme: &str) -> Self {
        let message = format!("it is refused: {}, not {scheme:.50}:", purpose.schemes());
        Self { message, address: None }
    }

    pub(super) fn no_host(url: &Url) -> Self {
        Self { message: format!("{} is refused: it names no host", display_url(url)), address: None }
    }

    /// The address is special, and no rule allows it.
    pub(super) fn not_public(purpose: Purpose, target: Target<'_>, address: IpAddr, port: u16, kind: &str) -> Self {
        let (section, only) = (purpose.section(), purpose.only());
        let is = if matches!(target, Target::Name(_)) { "it resolves to" } else { "it is" };
        let rule = match target {
            Target::Name(name) => Rule::named(name, port),
            Target::Written(address) => Some(Rule::at(address.to_canonical(), port)),
            Target::Redirected => None,
        };
        let advice = match rule {
            Some(rule) => format!("an operator can allow it in the configuration: [{section}] allow = [\"{rule}\"]"),
            None => format!("an operator finds it in the worker's log and can allow it in [{section}] allow"),
        };
        let message =
            format!("{target}, port {port}, is refused: {is} {kind}, and {only} public addresses only; {advice}");
        Self { message, address: Some(address) }
    }

    /// A rule denies it: the rule's place in its list, and its text if that may be told.
    pub(super) fn denied(
        purpose: Purpose,
        target: Target<'_>,
        address: Option<IpAddr>,
        port: u16,
        (place, rule): (usize, Option<&Rule>),
    ) -> Self {
        let section = purpose.section();
        let rule = match rule {
            Some(rule) => format!("the rule \"{rule}\""),
            None => format!("rule {}, which is about addresses,", place + 1),
        };
        let message = format!(
            "{target}, port {port}, is refused by {rule} in the configuration ([{section}] deny), which comes before \
             any [{section}] allow"
        );
        Self { message, address }
    }
}
