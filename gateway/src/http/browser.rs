//! What a page of somebody else's may make a browser do here: nothing.
//!
//! A browser sends requests to any address that a page names, loopback too, and a page may have its own name lead there
//! (DNS rebinding), after which it even reads the answers. A node without tokens would obey. So what changes something
//! must not come from a page of another origin, and a node that trusts whoever reaches it answers only to the names that
//! it was told are its own. Who calls without a browser sends neither `Origin` nor `Sec-Fetch-Site`, and an address or a
//! name that is known.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::body::Body;
use http::header::{CONTENT_ENCODING, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use crate::error::{Code, Problem};

#[cfg(test)]
mod tests;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names that a node without tokens answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Whatever it is called: something else keeps pages of others away from it.
    Any,
    /// IP addresses, `localhost`, and these.
    Named(Vec<Box<str>>),
}

impl Hosts {
    /// Whether `text` can be the name of a host, in whatever case.
    pub fn is_name(text: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        (1..=253).contains(&text.len()) && text.bytes().all(is_part)
    }

    /// No page can have a name of its own that is an address, or `localhost`.
    fn has(&self, host: &str) -> bool {
        let Self::Named(names) = self else { return true };
        if let Some(inner) = host.strip_prefix('[') {
            return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        host.parse::<Ipv4Addr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    fn allowed(&self) -> String {
        let named = match self {
            Self::Any => String::new(),
            Self::Named(names) => names.iter().map(|name| format!(", {name}")).collect(),
        };
        format!("an IP address, localhost{named}; --allow-host adds a name")
    }
}

/// The head of a request.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    version: Version,
    uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(super) fn of(request: &'a Request<Body>) -> Self {
        Self { version: request.version(), uri: request.uri(), headers: request.headers() }
    }

    pub(super) fn of_parts(parts: &'a Parts) -> Self {
        Self { version: parts.version, uri: &parts.uri, headers: &parts.headers }
    }

    /// Refuses what no caller may send, and what somebody else's page sends. `changes`: it is asked for more than a
    /// look. `hosts`: the names of a node that asks for no token.
    pub(super) fn check(self, changes: bool, hosts: Option<&Hosts>) -> Result<(), Problem> {
        let (mut host, mut origin, mut site) = (None, None, None);
        // One pass over the few headers that there are.
        for (name, value) in self.headers {
            if name == HOST {
                if host.replace(value).is_some() {
                    return Err(Problem::invalid("host", "two of it", "exactly one, the host and port that is called"));
                }
            } else if name == CONTENT_ENCODING {
                check_encoding(value)?;
            } else if name == ORIGIN {
                origin = Some(value);
            } else if name == FETCH_SITE {
                site = Some(value);
            }
        }
        let host = self.host(host)?;
        if let (Some(hosts), Some(host)) = (hosts, host)
            && !hosts.has(without_port(host))
        {
            return Err(foreign_host(host, hosts));
        }
        if changes {
            site.map_or(Ok(()), check_site)?;
            // More than one is none that a browser sent.
            origin
                .map_or(Ok(()), |_| self.headers.get_all(ORIGIN).iter().try_for_each(|one| check_origin(one, host)))?;
        }
        Ok(())
    }

    /// Which host is called; only HTTP/1.0 may leave it open.
    fn host(self, header: Option<&'a HeaderValue>) -> Result<Option<&'a str>, Problem> {
        let named = match (self.uri.authority(), header) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(header)) => {
                let shown = || String::from_utf8_lossy(header.as_bytes());
                let text = header.to_str().ok().filter(|text| is_host(text));
                text.ok_or_else(|| Problem::invalid("host", shown(), "a host and, behind a colon, a port"))?
            }
            (None, None) if self.version < Version::HTTP_11 => return Ok(None),
            (None, None) => return Err(Problem::missing("host", "the host and port that is called, as HTTP asks for")),
        };
        Ok(Some(named))
    }
}

fn is_host(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    !text.is_empty() && !text.starts_with(':') && text.bytes().all(is_part)
}

/// `host:port` without the port; brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What a browser says of where a request comes from; a page can not change it.
fn check_site(site: &HeaderValue) -> Result<(), Problem> {
    let allowed = "same-origin, or none as of somebody's own hand";
    match site.as_bytes() {
        b"same-origin" | b"none" => Ok(()),
        other => Err(forbidden("sec-fetch-site", &String::from_utf8_lossy(other), allowed)),
    }
}

/// The page's own host and port must be those that are called.
fn check_origin(origin: &HeaderValue, host: Option<&str>) -> Result<(), Problem> {
    let given = String::from_utf8_lossy(origin.as_bytes());
    let is_same = given.split_once("://").zip(host).is_some_and(|((scheme, page), host)| {
        // A browser leaves out the port that goes without saying, others may not.
        let silent = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let plain = |text: &str| text.strip_suffix(silent).unwrap_or(text).to_ascii_lowercase();
        plain(page) == plain(host)
    });
    if is_same {
        return Ok(());
    }
    Err(forbidden("origin", &given, "the host and port that is called, as of a page of this node's own"))
}

fn check_encoding(encoding: &HeaderValue) -> Result<(), Problem> {
    if encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    Err(refusal(
        Code::UnsupportedMediaType,
        "content-encoding",
        &String::from_utf8_lossy(encoding.as_bytes()),
        "identity",
    ))
}

fn foreign_host(host: &str, hosts: &Hosts) -> Problem {
    forbidden("host", host, hosts.allowed())
}

fn forbidden(header: &'static str, value: &str, allowed: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    refusal(Code::Forbidden, header, value, allowed)
}

/// As of an invalid value, but for its code.
fn refusal(
    code: Code,
    header: &'static str,
    value: &str,
    allowed: impl Into<std::borrow::Cow<'static, str>>,
) -> Problem {
    let invalid = compute::model::Invalid::new(header, value, allowed);
    let problem = Problem::new(code, invalid.to_string()).about(header).allowing(invalid.allowed.clone());
    problem.of_value(invalid.value)
}
