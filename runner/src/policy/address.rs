//! What kind of address an address is: the special-purpose registries of IANA, as prefixes.
//!
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and its IPv6 sibling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const METADATA: &str = "the metadata service of a cloud";
const NAT64: Prefix<u128> = (0x0064_ff9b_u128 << 96, 96, "");
const LOCAL_NAT64: Prefix<u128> = (0x0064_ff9b_0001_u128 << 80, 48, "of a local NAT64");
const COMPATIBLE: Prefix<u128> = (0, 96, "an IPv4-compatible address");
const TEREDO: Prefix<u128> = (0x2001_0000_u128 << 96, 32, "a Teredo address");
const SIX_TO_FOUR: Prefix<u128> = (0x2002_u128 << 112, 16, "a 6to4 address");
/// RFC 5214, 6.1: what an interface that tunnels through IPv4 puts before its address, in the network of anyone.
/// The bit for "universal" is left out of it.
const ISATAP: u32 = 0x0000_5efe;
const GLOBAL_UNICAST: Prefix<u128> = (0x2000_u128 << 112, 3, "");

/// The first address, the prefix's length, and what is in it.
type Prefix<T> = (T, u32, &'static str);

/// The first entry that holds an address says what it is.
const V4: [Prefix<[u8; 4]>; 18] = [
    ([169, 254, 169, 254], 32, METADATA),
    ([168, 63, 129, 16], 32, METADATA),
    ([0, 0, 0, 0], 32, "the unspecified address"),
    ([0, 0, 0, 0], 8, "an address of this network"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "a carrier's shared address"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "a documentation address"),
    ([192, 88, 99, 0], 24, "a 6to4 relay"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "a benchmarking address"),
    ([198, 51, 100, 0], 24, "a documentation address"),
    ([203, 0, 113, 0], 24, "a documentation address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
];

/// What is not named here is public in 2000::/3 only.
const V6: [Prefix<u128>; 16] = [
    (0, 128, "the unspecified address"),
    (1, 128, "a loopback address"),
    COMPATIBLE,
    LOCAL_NAT64,
    TEREDO,
    (0x2001_0002_0000_u128 << 80, 48, "a benchmarking address"),
    (0x2001_u128 << 112, 23, "reserved for protocols"),
    (0x2001_0db8_u128 << 96, 32, "a documentation address"),
    SIX_TO_FOUR,
    (0x3fff_u128 << 112, 20, "a documentation address"),
    (0xfd00_0ec2_u128 << 96 | 0x254, 128, METADATA),
    (0xfd20_00ce_u128 << 96 | 0x254, 128, METADATA),
    (0xfc00_u128 << 112, 7, "a unique-local address"),
    (0xfe80_u128 << 112, 10, "a link-local address"),
    (0xfec0_u128 << 112, 10, "a site-local address"),
    (0xff00_u128 << 112, 8, "a multicast address"),
];

/// What an address is, if it is not public.
pub(super) fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let holds = |base: [u8; 4], length: u32| shared(u32::from(address) ^ u32::from_be_bytes(base), length);
            let kind = V4.iter().find(|(base, length, _)| holds(*base, *length)).map(|(_, _, kind)| *kind);
            kind.or_else(|| (address.octets()[0] >= 240).then_some("a reserved address"))
        }
        IpAddr::V6(address) => {
            let address = u128::from(address);
            if holds(NAT64, address) {
                return None;
            }
            let kind = V6.iter().find(|prefix| holds(**prefix, address)).map(|(_, _, kind)| *kind);
            kind.or_else(|| (!holds(GLOBAL_UNICAST, address)).then_some("a reserved address"))
        }
    }
}

fn shared(difference: u32, length: u32) -> bool {
    difference.leading_zeros() >= length
}

fn holds((base, length, _): Prefix<u128>, address: u128) -> bool {
    (address ^ base).leading_zeros() >= length
}

/// The address as it is dialled, and the IPv4 addresses that a translator or tunnel would make of it.
pub(super) fn faces(address: IpAddr) -> Vec<IpAddr> {
    let address = address.to_canonical();
    let mut faces = vec![address];
    if let IpAddr::V6(v6) = address {
        faces.extend(embedded(v6).into_iter().flatten().map(IpAddr::V4));
    }
    faces
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = u128::from(address);
    let v4_at = |shift: u32| {
        let [.., a, b, c, d] = (bits >> shift).to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d))
    };
    let interface = (bits >> 32 & u128::from(u32::MAX)) as u32;
    let is_compatible = holds(COMPATIBLE, bits) && bits > 1;
    if holds(NAT64, bits) || holds(LOCAL_NAT64, bits) || is_compatible {
        [v4_at(0), None]
    } else if holds(SIX_TO_FOUR, bits) {
        [v4_at(80), None]
    } else if holds(TEREDO, bits) {
        // RFC 4380: the server's address, and the client's with all bits inverted.
        let client = v4_at(0).map(|inverted| Ipv4Addr::from(!u32::from(inverted)));
        [v4_at(64), client]
    } else if interface & !0x0200_0000 == ISATAP {
        [v4_at(0), None]
    } else {
        [None, None]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> Option<&'static str> {
        kind(text.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_known_by_their_first_and_last() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
            ("::", "::ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
            ("::ffff:0:0:0", "::ffff:0:ffff:ffff"),
            ("100::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(kind_of(first).is_some() && kind_of(last).is_some(), "{first} {last}");
        }
    }

    #[test]
    fn the_metadata_services_of_clouds_are_known() {
        for address in ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"] {
            assert_eq!(kind_of(address), Some(METADATA), "{address}");
        }
        for address in ["169.254.170.2", "100.100.100.200", "192.0.0.192", "fe80::a9fe:a9fe"] {
            assert!(kind_of(address).is_some(), "{address}");
        }
    }

    #[test]
    fn their_neighbours_are_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "2001:200::",
            "2620:4f:8000::1",
            "2001:db9::",
            "2003::",
            "3fff:1000::",
            "64:ff9b::808:808",
        ] {
            assert_eq!(kind_of(address), None, "{address}");
        }
    }

    #[test]
    fn the_ipv4_address_inside_is_found() {
        let inside = |text: &str| faces(text.parse().unwrap())[1..].to_vec();
        for text in ["64:ff9b::a00:1", "64:ff9b:1::a00:1", "::a00:1", "2002:a00:1::"] {
            assert_eq!(inside(text), ["10.0.0.1".parse::<IpAddr>().unwrap()], "{text}");
        }
        let teredo = inside("2001:0:a00:1::f5ff:fffd");
        assert_eq!(teredo, ["10.0.0.1".parse::<IpAddr>().unwrap(), "10.0.0.2".parse().unwrap()]);
        for text in ["2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1"] {
            assert_eq!(inside(text), ["10.0.0.1".parse::<IpAddr>().unwrap()], "{text}");
        }
        assert_eq!(faces("::ffff:10.0.0.1".parse().unwrap()), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(inside("::1").is_empty() && inside("2606:4700::1").is_empty());
    }
}
