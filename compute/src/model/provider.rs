use std::collections::BTreeMap;
use std::sync::Arc;

use super::limits::{
    HOST_BYTES_MAX, INCARNATION_BYTES_MAX, LABEL_BYTES_MAX, PORT_NAME_BYTES_MAX, PORTS_MAX, WEIGHT_DEFAULT, WEIGHT_MAX,
};
use super::{Invalid, Lease, Metadata, SessionId, text};

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

    fn text(&self) -> ProviderText<'_> {
        ProviderText {
            host: &self.host,
            port: self.port,
            ports: self.ports.iter().map(|(name, port)| (name.as_str(), *port)).collect(),
            protocol: &self.protocol,
            weight: self.weight,
            version: &self.version,
            zone: &self.zone,
            region: &self.region,
            metadata: self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            lease: self.lease.clone(),
            incarnation: self.incarnation.as_deref(),
        }
    }
}

/// The same where it lies, in a message that is read without copies. Of a name that comes twice the last one counts.
#[derive(Clone, Debug)]
pub struct ProviderText<'a> {
    pub host: &'a str,
    pub port: u64,
    pub ports: Vec<(&'a str, u64)>,
    pub protocol: &'a str,
    pub weight: u64,
    pub version: &'a str,
    pub zone: &'a str,
    pub region: &'a str,
    pub metadata: Vec<(&'a str, &'a str)>,
    pub lease: Lease,
    pub incarnation: Option<&'a str>,
}

/// What a provider says of itself: checked, and packed into one allocation, because a registry holds millions. What is
/// asked for, the change that says so and the instance share it.
///
/// Two are equal exactly when the provider said the same, so a register can tell a change from a heartbeat.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Provider {
    /// Host, protocol, version, zone, region, incarnation, ports, metadata; see [`Packed`].
    packed: Arc<[u8]>,
    lease: Lease,
    port: u16,
    weight: u16,
}

/// What tells a provider's process from the next one at its address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Process {
    /// As it named itself.
    Incarnation(Box<str>),
    /// Of one that gave itself no name.
    Session(SessionId),
}

impl Process {
    /// A name that a provider can have.
    pub fn named(incarnation: &str) -> Result<Self, Invalid> {
        check_incarnation(incarnation)?;
        Ok(Self::Incarnation(incarnation.into()))
    }

    /// Whether this provider says that it is that process.
    pub fn is_of(&self, provider: &Provider) -> bool {
        match (self, provider.incarnation()) {
            (Self::Incarnation(name), Some(its)) => **name == *its,
            (Self::Session(session), None) => provider.lease.session() == Some(*session),
            _ => false,
        }
    }
}

impl Provider {
    pub fn new(spec: &ProviderSpec) -> Result<Self, Invalid> {
        Self::read(spec.text())
    }

    pub fn read(mut said: ProviderText<'_>) -> Result<Self, Invalid> {
        in_order(&mut said.ports);
        in_order(&mut said.metadata);
        check_host(said.host)?;
        let port = text::range("port", said.port, 0, u64::from(u16::MAX))? as u16;
        let weight = text::range("weight", said.weight, 0, u64::from(WEIGHT_MAX))? as u16;
        for (field, label) in
            [("protocol", said.protocol), ("version", said.version), ("zone", said.zone), ("region", said.region)]
        {
            text::plain(field, label, LABEL_BYTES_MAX)?;
        }
        said.incarnation.map_or(Ok(()), check_incarnation)?;
        check_ports(&said.ports)?;
        Metadata::check(said.metadata.iter().copied())?;
        Ok(Self { packed: pack(&said), lease: said.lease, port, weight })
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

    /// True when both say that they are one process. Saying nothing is not enough.
    pub fn is_same_process_as(&self, other: &Self) -> bool {
        self.process().is_some_and(|process| process.is_of(other))
    }

    /// The process that it says it is: its incarnation, or else its session.
    pub fn process(&self) -> Option<Process> {
        let session = || self.lease.session().map(Process::Session);
        self.incarnation().map(|name| Process::Incarnation(name.into())).or_else(session)
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.packed.len() + 2 * size_of::<usize>()
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

fn check_incarnation(incarnation: &str) -> Result<(), Invalid> {
    text::plain("incarnation", incarnation, INCARNATION_BYTES_MAX)?;
    if incarnation.is_empty() {
        return Err(Invalid::new("incarnation", "", "1 to 128 bytes, or leave it out"));
    }
    Ok(())
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

/// By name, each once: the last one of a name.
fn in_order<V>(pairs: &mut Vec<(&str, V)>) {
    if pairs.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    // The last one of a name comes first of its name, and the first is kept.
    pairs.reverse();
    pairs.sort_by_key(|(name, _)| *name);
    pairs.dedup_by_key(|(name, _)| *name);
}

fn check_ports(ports: &[(&str, u64)]) -> Result<(), Invalid> {
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

fn pack(said: &ProviderText<'_>) -> Arc<[u8]> {
    let labels = [said.host, said.protocol, said.version, said.zone, said.region, said.incarnation.unwrap_or("")];
    let ports = || said.ports.iter().map(|(name, port)| (*name, *port as usize));
    let bytes = labels.into_iter().map(text_bytes).sum::<usize>()
        + number_bytes(said.ports.len())
        + ports().map(|(name, port)| text_bytes(name) + number_bytes(port)).sum::<usize>()
        + number_bytes(said.metadata.len())
        + said.metadata.iter().map(|(key, value)| text_bytes(key) + text_bytes(value)).sum::<usize>();
    let mut packed: Arc<[u8]> = std::iter::repeat_n(0, bytes).collect();
    let mut out = Out(Arc::get_mut(&mut packed).expect("nobody else has it yet"));
    labels.into_iter().for_each(|label| out.text(label));
    out.number(said.ports.len());
    for (name, port) in ports() {
        out.text(name);
        out.number(port);
    }
    out.number(said.metadata.len());
    for (key, value) in &said.metadata {
        out.text(key);
        out.text(value);
    }
    debug_assert!(out.0.is_empty(), "what was counted is what was written");
    packed
}

fn text_bytes(text: &str) -> usize {
    number_bytes(text.len()) + text.len()
}

fn number_bytes(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Room that is written from its start; there is as much as was counted.
struct Out<'a>(&'a mut [u8]);

impl Out<'_> {
    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes(&[(number & 0x7f) as u8 | 0x80]);
            number >>= 7;
        }
        self.bytes(&[number as u8]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (first, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        first.copy_from_slice(bytes);
        self.0 = rest;
    }
}
