use std::collections::BTreeMap;

use super::limits::{
    HOST_BYTES_MAX, INCARNATION_BYTES_MAX, LABEL_BYTES_MAX, PORT_NAME_BYTES_MAX, PORTS_MAX, WEIGHT_DEFAULT, WEIGHT_MAX,
};
use super::{Invalid, Lease, Metadata, text};

/// What a provider says of itself, as it arrives: unchecked.
#[derive(Clone, PartialEq, Debug)]
pub struct ProviderSpec {
    pub host: String,
    pub port: u64,
    pub ports: BTreeMap<String, u64>,
    pub protocol: String,
    pub weight: u64,
    pub version: String,
    pub zone: String,
    pub region: String,
    pub metadata: BTreeMap<String, String>,
    pub lease: Lease,
    /// Names the provider's process; another one begins a new generation.
    pub incarnation: Option<String>,
}

impl ProviderSpec {
    pub fn at(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port: u64::from(port),
            ports: BTreeMap::new(),
            protocol: String::new(),
            weight: u64::from(WEIGHT_DEFAULT),
            version: String::new(),
            zone: String::new(),
            region: String::new(),
            metadata: BTreeMap::new(),
            lease: Lease::DEFAULT,
            incarnation: None,
        }
    }
}

/// What a provider says of itself: checked, and packed into one allocation, because a registry holds millions.
///
/// Two are equal exactly when the provider said the same, so a register can tell a change from a heartbeat.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Provider {
    /// Host, protocol, version, zone, region, incarnation, ports, metadata; see [`Packed`].
    packed: Box<[u8]>,
    lease: Lease,
    port: u16,
    weight: u16,
}

impl Provider {
    pub fn new(spec: &ProviderSpec) -> Result<Self, Invalid> {
        check_host(&spec.host)?;
        let port = text::range("port", spec.port, 0, u64::from(u16::MAX))? as u16;
        let weight = text::range("weight", spec.weight, 0, u64::from(WEIGHT_MAX))? as u16;
        for (field, label) in
            [("protocol", &spec.protocol), ("version", &spec.version), ("zone", &spec.zone), ("region", &spec.region)]
        {
            text::plain(field, label, LABEL_BYTES_MAX)?;
        }
        if let Some(incarnation) = &spec.incarnation {
            text::plain("incarnation", incarnation, INCARNATION_BYTES_MAX)?;
            if incarnation.is_empty() {
                return Err(Invalid::new("incarnation", "", "1 to 128 bytes, or leave it out"));
            }
        }
        check_ports(&spec.ports)?;
        Metadata::check(&spec.metadata)?;
        Ok(Self { packed: pack(spec), lease: spec.lease.clone(), port, weight })
    }

    pub fn host(&self) -> &str {
        Packed(&self.packed).text()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn weight(&self) -> u16 {
        self.weight
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    pub fn protocol(&self) -> &str {
        self.nth(1)
    }

    pub fn version(&self) -> &str {
        self.nth(2)
    }

    pub fn zone(&self) -> &str {
        self.nth(3)
    }

    pub fn region(&self) -> &str {
        self.nth(4)
    }

    pub fn incarnation(&self) -> Option<&str> {
        Some(self.nth(5)).filter(|text| !text.is_empty())
    }

    /// The named ports, by name.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        let mut rest = self.after_labels();
        let count = rest.number();
        (0..count).map(move |_| (rest.text(), rest.number() as u16))
    }

    /// The metadata, by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.after_labels();
        for _ in 0..rest.number() {
            rest.skip();
            rest.number();
        }
        let count = rest.number();
        (0..count).map(move |_| (rest.text(), rest.text()))
    }

    pub fn metadata_value(&self, key: &str) -> Option<&str> {
        self.metadata().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// What this provider said, as it could be said again.
    pub fn spec(&self) -> ProviderSpec {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        ProviderSpec {
            host: self.host().to_owned(),
            port: u64::from(self.port),
            ports: self.ports().map(|(name, port)| (name.to_owned(), u64::from(port))).collect(),
            protocol: self.protocol().to_owned(),
            weight: u64::from(self.weight),
            version: self.version().to_owned(),
            zone: self.zone().to_owned(),
            region: self.region().to_owned(),
            metadata: self.metadata().map(own).collect(),
            lease: self.lease.clone(),
            incarnation: self.incarnation().map(str::to_owned),
        }
    }

    /// The same provider under another lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    /// True when `other` is another life of the process: another session, or another incarnation.
    pub fn is_reborn_as(&self, other: &Self) -> bool {
        self.incarnation() != other.incarnation() || self.lease.session() != other.lease.session()
    }

    /// True when both say that they are one process: the same named incarnation, or else the same session. Saying
    /// nothing is not enough.
    pub fn is_same_process_as(&self, other: &Self) -> bool {
        match (self.incarnation(), other.incarnation()) {
            (Some(mine), Some(its)) => mine == its,
            (None, None) => self.lease.session().is_some() && self.lease.session() == other.lease.session(),
            _ => false,
        }
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.packed.len()
    }

    fn nth(&self, index: usize) -> &str {
        let mut rest = Packed(&self.packed);
        (0..index).for_each(|_| rest.skip());
        rest.text()
    }

    fn after_labels(&self) -> Packed<'_> {
        let mut rest = Packed(&self.packed);
        (0..6).for_each(|_| rest.skip());
        rest
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.spec(), f)
    }
}

fn check_host(host: &str) -> Result<(), Invalid> {
    let wrong = || Err(Invalid::new("host", host, "a DNS name or an IP address of 1 to 253 bytes"));
    if host.is_empty() || host.len() > HOST_BYTES_MAX {
        return wrong();
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    // What ends in a number is meant as an IPv4 address, and this is none.
    let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if !is_number && name.split('.').all(label) { Ok(()) } else { wrong() }
}

fn check_ports(ports: &BTreeMap<String, u64>) -> Result<(), Invalid> {
    if ports.len() > PORTS_MAX {
        return Err(Invalid::new("ports", format!("{} ports", ports.len()), "at most 16 ports"));
    }
    for (name, port) in ports {
        text::plain("ports", name, PORT_NAME_BYTES_MAX)?;
        if name.is_empty() {
            return Err(Invalid::new("ports", name, "port names of 1 to 128 bytes"));
        }
        text::range("ports", *port, 0, u64::from(u16::MAX))
            .map_err(|wrong| Invalid { field: format!("ports.{name}").into(), ..wrong })?;
    }
    Ok(())
}

/// Reads what [`pack`] wrote: texts with a length in front, and counts, each number in base 128.
#[derive(Clone)]
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn number(&mut self) -> usize {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let (first, rest) = self.0.split_first().expect("written whole by pack");
            self.0 = rest;
            value |= usize::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect("written from text by pack")
    }

    /// Steps over a text without a look at its letters.
    fn skip(&mut self) {
        self.bytes();
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.number();
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

fn pack(spec: &ProviderSpec) -> Box<[u8]> {
    let pairs: usize = spec.metadata.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
    let mut out = Vec::with_capacity(96 + pairs);
    let labels = [&spec.host, &spec.protocol, &spec.version, &spec.zone, &spec.region];
    labels.into_iter().for_each(|label| put_text(&mut out, label));
    put_text(&mut out, spec.incarnation.as_deref().unwrap_or(""));
    put_number(&mut out, spec.ports.len());
    for (name, port) in &spec.ports {
        put_text(&mut out, name);
        put_number(&mut out, *port as usize);
    }
    put_number(&mut out, spec.metadata.len());
    for (key, value) in &spec.metadata {
        put_text(&mut out, key);
        put_text(&mut out, value);
    }
    out.into_boxed_slice()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
