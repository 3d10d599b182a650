use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{InstanceId, Revision};

/// Proof that a view is complete: the sum, modulo 2^128, of a hash of each instance in it.
///
/// The hash of an instance is the first 16 bytes, read as a big-endian integer, of SHA-256 over its id, a line feed and
/// its revision as text (`1.57.2`). A sum, because adding and taking away one instance is then O(1) and order does not
/// matter. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Digest(u128);

impl Digest {
    /// The digest of a view that holds just this instance.
    pub fn of(id: &InstanceId, revision: Revision) -> Self {
        Self::of_text(id.as_str(), &revision.to_string())
    }

    fn of_text(id: &str, revision: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(id.as_bytes());
        hash.update(b"\n");
        hash.update(revision.as_bytes());
        let whole = hash.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&whole[..16]);
        Self(u128::from_be_bytes(first))
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
