//! As much of ZooKeeper's encoding as a registry's client needs: frames there and back, and no socket.

use anyhow::{Context, Result, ensure};

use crate::target::Instance;

pub(super) const NO_NODE: i32 = -101;
pub(super) const NODE_EXISTS: i32 = -110;
/// The id of what answers nothing.
pub(super) const WATCH_EVENT: i32 = -1;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET_CHILDREN: i32 = 8;
const EPHEMERAL: i32 = 1;
const ANY_VERSION: i32 = -1;
const ALL_PERMISSIONS: i32 = 31;
/// Characters that part the name of a node.
const RESERVED: &[char] = &['/', '?', '&', '='];

struct Frame(Vec<u8>);

impl Frame {
    fn new() -> Self {
        Self(vec![0; 4])
    }

    fn request(xid: i32, kind: i32) -> Self {
        Self::new().int(xid).int(kind)
    }

    fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn flag(mut self, value: bool) -> Self {
        self.0.push(value.into());
        self
    }

    fn bytes(self, value: &[u8]) -> Self {
        let mut frame = self.int(value.len() as i32);
        frame.0.extend(value);
        frame
    }

    fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

pub(super) fn connect(timeout_ms: i32) -> Vec<u8> {
    Frame::new().int(0).long(0).int(timeout_ms).long(0).bytes(&[0; 16]).flag(false).done()
}

/// The session was given.
pub(super) fn connected(frame: &[u8]) -> Result<()> {
    let mut rest = Rest(frame);
    let (_version, timeout_ms) = (rest.int()?, rest.int()?);
    ensure!(timeout_ms > 0, "the session was refused");
    Ok(())
}

/// A node without anything in it, for everybody.
pub(super) fn create(xid: i32, path: &str, is_ephemeral: bool) -> Vec<u8> {
    let everybody = |frame: Frame| frame.int(1).int(ALL_PERMISSIONS).bytes(b"world").bytes(b"anyone");
    let frame = Frame::request(xid, CREATE).bytes(path.as_bytes()).bytes(b"");
    everybody(frame).int(if is_ephemeral { EPHEMERAL } else { 0 }).done()
}

pub(super) fn delete(xid: i32, path: &str) -> Vec<u8> {
    Frame::request(xid, DELETE).bytes(path.as_bytes()).int(ANY_VERSION).done()
}

pub(super) fn get_children(xid: i32, path: &str, watch: bool) -> Vec<u8> {
    Frame::request(xid, GET_CHILDREN).bytes(path.as_bytes()).flag(watch).done()
}

/// What a frame of the server says; the body is there only without an error.
pub(super) struct Answer {
    pub(super) xid: i32,
    pub(super) error: i32,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(frame: &[u8]) -> Result<Self> {
        let mut rest = Rest(frame);
        let (xid, _zxid, error) = (rest.int()?, rest.long()?, rest.int()?);
        Ok(Self { xid, error, body: rest.0.to_vec() })
    }

    /// A list of names, which is all of the body.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut rest = Rest(&self.body);
        let count = rest.int()?.max(0);
        (0..count).map(|_| Ok(std::str::from_utf8(rest.bytes()?)?.to_owned())).collect()
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("a frame ends too soon")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.int()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }
}

pub(super) fn service_path(service: &str) -> String {
    format!("/services/{service}")
}

/// `HOST:PORT?KEY=VALUE&...`, which is all of an instance.
pub(super) fn child_name(instance: &Instance) -> Result<String> {
    let pairs: Vec<_> = instance.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let words = instance.metadata.iter().flat_map(|(key, value)| [key, value]);
    let bad = words.chain([&instance.host]).find(|word| word.contains(RESERVED));
    ensure!(bad.is_none(), "{bad:?} cannot be in the name of a node: it holds one of {RESERVED:?}");
    Ok(format!("{}?{}", instance.id(), pairs.join("&")))
}

pub(super) fn parse_child(service: &str, name: &str) -> Result<Instance> {
    let parsed = || {
        let (address, pairs) = name.split_once('?')?;
        let (host, port) = address.rsplit_once(':')?;
        let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let metadata = pairs.split('&').filter(|text| !text.is_empty()).map(pair).collect::<Option<_>>()?;
        Some(Instance { service: service.to_owned(), host: host.to_owned(), port: port.parse().ok()?, metadata })
    };
    parsed().with_context(|| format!("\"{name}\" is no instance"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample;

    #[test]
    fn a_connection_begins_with_forty_nine_bytes() {
        let mut wanted = vec![0, 0, 0, 45, 0, 0, 0, 0];
        wanted.extend([0; 8]);
        wanted.extend([0, 0, 0x9c, 0x40]);
        wanted.extend([0; 8]);
        wanted.extend([0, 0, 0, 16]);
        wanted.extend([0; 17]);
        assert_eq!(connect(40_000), wanted);
    }

    #[test]
    fn requests_are_framed() {
        let wanted = b"\0\0\0\x31\0\0\0\x07\0\0\0\x01\0\0\0\x02/a\0\0\0\0\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x01";
        assert_eq!(create(7, "/a", true), wanted);
        assert_eq!(get_children(8, "/a", true), b"\0\0\0\x0f\0\0\0\x08\0\0\0\x08\0\0\0\x02/a\x01");
        assert_eq!(delete(9, "/a"), b"\0\0\0\x12\0\0\0\x09\0\0\0\x02\0\0\0\x02/a\xff\xff\xff\xff");
    }

    #[test]
    fn answers_are_read() {
        let frame = b"\0\0\0\x08\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc";
        let answer = Answer::parse(frame).expect("an answer");
        assert_eq!((answer.xid, answer.error), (8, 0));
        assert_eq!(answer.names().expect("names"), ["a", "bc"]);
        let refused = Answer::parse(b"\0\0\0\x09\0\0\0\0\0\0\0\x2a\xff\xff\xff\x9b").expect("an answer");
        assert_eq!((refused.xid, refused.error), (9, NO_NODE));
        assert!(Answer::parse(b"\0\0").is_err());
        let cut = Answer::parse(&frame[..frame.len() - 1]).expect("an answer");
        assert!(cut.names().is_err());
    }

    #[test]
    fn a_session_that_is_refused_is_an_error() {
        assert!(connected(b"\0\0\0\0\0\0\x9c\x40").is_ok());
        assert!(connected(b"\0\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn a_name_holds_all_of_an_instance() {
        let instance = sample();
        let name = child_name(&instance).expect("a name");
        assert_eq!(parse_child(&instance.service, &name).expect("an instance"), instance);
        let mut other = instance;
        other.metadata.insert("path".into(), "/a".into());
        assert!(child_name(&other).is_err());
        assert!(parse_child("orders", "10.0.0.7").is_err());
    }
}
