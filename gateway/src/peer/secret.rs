//! The cluster secret, and what shows that somebody has it.

use std::fmt;

use compute::model::NodeIncarnation;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

/// Shortest secret that is taken, in bytes: 128 bits, if they are random.
const SECRET_BYTES_MIN: usize = 16;
const SECRET_BYTES_MAX: usize = 4 << 10;

/// Who calls.
pub(super) const FROM: HeaderName = HeaderName::from_static("thuban-peer-from");
/// Who is meant.
pub(super) const TO: HeaderName = HeaderName::from_static("thuban-peer-to");
/// That the sender has the secret.
pub(super) const PROOF: HeaderName = HeaderName::from_static("thuban-peer-proof");

type Sha256Mac = Hmac<Sha256>;

/// What all nodes of a cluster know and nobody else does. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why something can't be a cluster secret. Says nothing of what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WrongSecret {
    #[error("the cluster secret has {0} bytes; allowed: {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length(usize),
}

impl Secret {
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, WrongSecret> {
        let secret = secret.into();
        match secret.len() {
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self(secret)),
            length => Err(WrongSecret::Length(length)),
        }
    }

    /// A key for one purpose: what is learned of it says nothing of another's.
    pub(super) fn key(&self, purpose: &str) -> Key {
        let mut mac = keyed(&self.0);
        mac.update(purpose.as_bytes());
        Key(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn keyed(key: &[u8]) -> Sha256Mac {
    Sha256Mac::new_from_slice(key).expect("a key of HMAC may have any length")
}

/// Made of the secret for one purpose.
#[derive(Clone)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// For calls and their answers.
    pub(super) fn of_calls(secret: &Secret) -> Self {
        secret.key("thuban peer calls v1")
    }

    pub(super) fn mac(&self) -> Sha256Mac {
        keyed(&self.0)
    }

    fn proving(&self, way: Way, path: &str, from: NodeIncarnation, to: NodeIncarnation) -> Sha256Mac {
        let mut mac = self.mac();
        mac.update(&[way as u8]);
        mac.update(&from.0.to_be_bytes());
        mac.update(&to.0.to_be_bytes());
        mac.update(path.as_bytes());
        mac
    }

    /// What the sender puts into a call or an answer.
    pub(super) fn proof(&self, way: Way, path: &str, from: NodeIncarnation, to: NodeIncarnation) -> HeaderValue {
        let bytes: [u8; 32] = self.proving(way, path, from, to).finalize().into_bytes().into();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut value = HeaderValue::from_str(&text).expect("hexadecimal digits make a header");
        value.set_sensitive(true);
        value
    }

    /// Whether the sender has the secret; takes as long whatever is wrong.
    pub(super) fn proves(
        &self,
        proof: Option<&HeaderValue>,
        way: Way,
        path: &str,
        from: NodeIncarnation,
        to: NodeIncarnation,
    ) -> bool {
        let Some(brought) = proof.and_then(|proof| bytes_of(proof.as_bytes())) else { return false };
        self.proving(way, path, from, to).verify_slice(&brought).is_ok()
    }
}

/// Which way something goes: a proof of one is none of the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Call = 1,
    Answer = 2,
}

fn bytes_of(hex: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

pub(super) fn incarnation(node: NodeIncarnation) -> HeaderValue {
    HeaderValue::from_str(&format!("{:016x}", node.0)).expect("hexadecimal digits make a header")
}

/// The node that a header names.
pub(super) fn named(headers: &HeaderMap, name: &HeaderName) -> Option<NodeIncarnation> {
    let digits = headers.get(name)?.to_str().ok()?;
    let is_number = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_number.then(|| u64::from_str_radix(digits, 16).ok().map(NodeIncarnation))?
}

#[cfg(test)]
mod tests;
