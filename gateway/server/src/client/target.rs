use std::fmt;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;

/// All but what never has a meaning in a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a node is: the parts of `--server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_encrypted: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before `/v1`, behind a proxy; as a rule nothing.
    pub(super) base: String,
}

impl Target {
    pub(super) fn parse(server: &str) -> Result<Self, Failure> {
        let wrong = || {
            let allowed = "a URL such as http://127.0.0.1:7800 or https://thuban.example";
            Failure::Usage(format!("--server \"{}\"; allowed: {allowed}", server.escape_debug()))
        };
        let full = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let uri: Uri = full.parse().map_err(|_| wrong())?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        // Brackets are for an IPv6 address, around all of it.
        let host = match authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => Some(address).filter(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
            None => Some(authority.host()).filter(|name| !name.is_empty() && !name.contains(['[', ']'])),
        };
        let host = host.filter(|_| uri.query().is_none()).ok_or_else(wrong)?;
        let port = match authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if is_encrypted => 443,
            None => 80,
        };
        Ok(Self { is_encrypted, host: host.to_owned(), port, base: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

/// A path of names, each encoded, and its query.
#[derive(Clone, Debug)]
pub(super) struct Place {
    text: String,
    has_query: bool,
}

impl Place {
    pub(super) fn new(segments: &[&str]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            text.extend(utf8_percent_encode(segment, ENCODED));
        }
        Self { text, has_query: false }
    }

    pub(super) fn service(namespace: &str, service: &str, rest: &[&str]) -> Self {
        let start = ["v1", "namespaces", namespace, "services", service];
        Self::new(&[&start[..], rest].concat())
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.extend(utf8_percent_encode(name, ENCODED));
        self.text.push('=');
        self.text.extend(utf8_percent_encode(&value.to_string(), ENCODED));
        self
    }

    #[must_use]
    pub(super) fn with_some(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}
