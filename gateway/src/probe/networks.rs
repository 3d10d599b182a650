//! Which addresses a probe may call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Loopback and the private ranges.
const DEFAULT: [&str; 6] = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Where clouds serve credentials and settings of a machine, as far as it is not link-local.
const METADATA: [IpAddr; 8] = [
    v4([100, 100, 100, 200]),
    v4([168, 63, 129, 16]),
    v4([192, 0, 0, 192]),
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254]),
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023]),
    v6([0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042]),
    v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254]),
];

/// The networks that probes may call.
#[derive(Clone, Debug)]
pub struct Networks(Vec<IpNet>);

/// An address that may be called. Only [`Networks::vet`] makes one, and only to one can be connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Vetted(IpAddr);

impl Networks {
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self(allow.into_iter().map(unmapped).collect())
    }

    /// What is allowed unless something else is said: loopback and private ranges.
    pub fn default_allow() -> Vec<IpNet> {
        DEFAULT.iter().map(|net| net.parse().expect("networks, as the tests show")).collect()
    }

    /// The address to call for `address`; or why it may not be called.
    pub(super) fn vet(&self, address: IpAddr) -> Result<Vetted, String> {
        let address = address.to_canonical();
        if let Some(what) = never(address) {
            return Err(format!("{address} is never probed: {what}"));
        }
        if !self.0.iter().any(|net| net.contains(&address)) {
            return Err(format!("{address} is outside the networks that may be probed (--check-allow)"));
        }
        Ok(Vetted(address))
    }
}

impl Vetted {
    pub(super) fn address(self) -> IpAddr {
        self.0
    }
}

/// Why nobody may ask for a probe of this address, whatever is allowed.
fn never(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a metadata service");
    }
    match address {
        IpAddr::V4(address) => never_v4(address),
        IpAddr::V6(address) => never_v6(address),
    }
}

fn never_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an unspecified address"),
        [169, 254, ..] => Some("a link-local address"),
        [224..=239, ..] => Some("a multicast address"),
        [255, 255, 255, 255] => Some("the broadcast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn never_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    match address.segments() {
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Translators behind which another address hides that can't be told.
        [0x0064, 0xff9b, 0x0001, ..] | [0x2001, 0x0000, ..] => Some("a translated address"),
        _ => embedded_v4(address).and_then(|inner| never(IpAddr::V4(inner))),
    }
}

/// The IPv4 address that a router on the way may make of this one.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let pair = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match segments {
        _ if address.is_loopback() => None,
        // IPv4-compatible, IPv4-translated, and the well-known prefix of NAT64.
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => pair(high, low),
        // 6to4.
        [0x2002, high, low, ..] => pair(high, low),
        _ => None,
    }
}

/// Addresses are compared in their canonical form, so networks of IPv4-mapped addresses are too.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.network().to_ipv4_mapped().filter(|_| v6.prefix_len() >= 96);
    let v4 = mapped.and_then(|address| Ipv4Net::new(address, v6.prefix_len() - 96).ok());
    v4.map_or(IpNet::V6(Ipv6Net::trunc(&v6)), IpNet::V4)
}

const fn v4(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_octets(octets))
}

const fn v6(segments: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_segments(segments))
}

#[cfg(test)]
mod tests;
