//! Which TCP ports a policy leaves, for walls that know ports and no addresses.

use super::Rules;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;

impl Rules {
    /// The only ports at which anything may be dialled; `None` where they are too many to be told one by one.
    ///
    /// A job may name any port of a public address, so that a policy leaves either all ports or, if it denies every
    /// address, none.
    pub fn ports(&self) -> Option<BTreeSet<u16>> {
        let everywhere = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let is_denied = |net: &IpNet| self.deny.iter().any(|rule| rule.covers_net(net));
        everywhere.iter().all(is_denied).then(BTreeSet::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(deny: &[&str]) -> Option<BTreeSet<u16>> {
        let deny = deny.iter().map(|rule| rule.parse().unwrap()).collect();
        Rules { deny, ..Rules::default() }.ports()
    }

    #[test]
    fn only_a_policy_that_denies_every_address_at_every_port_leaves_few_ports() {
        assert_eq!(ports(&["0.0.0.0/0", "::/0"]), Some(BTreeSet::new()));
        for deny in [&[][..], &["0.0.0.0/0"], &["0.0.0.0/0:80", "::/0"], &["10.0.0.0/8", "::/0"], &["*.example.org"]] {
            assert_eq!(ports(deny), None, "{deny:?}");
        }
    }
}
