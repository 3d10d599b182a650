//! The token file: one token a line, `name sha256 namespaces verbs [requests_per_second]`.
//!
//! ```text
//! # name    SHA-256 of the token, in hexadecimal                                      where          what
//! ci        9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  default,team-a read,register
//! console   60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752  *              read,operate   200
//! ```

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use compute::model::Namespace;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::identity::{Grant, Identity, Verb};
use super::rate::Rate;

/// Most tokens of a file.
const TOKENS_MAX: usize = 10_000;
/// Renewals a token may make for each other request.
const RENEWALS_PER_REQUEST: u32 = 10;
/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Why a token file can't be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("token file {path} can't be read: {cause}")]
    Unreadable { path: String, cause: String },
    #[error("token file {path}, line {line}: {wrong}")]
    Wrong { path: String, line: usize, wrong: String },
}

impl TokenFileError {
    pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> Self {
        Self::Unreadable { path: path.display().to_string(), cause: cause.to_string() }
    }
}

/// What is wrong with a line, before it is known of which file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongLine {
    line: usize,
    wrong: String,
}

impl WrongLine {
    pub(super) fn in_file(self, path: &Path) -> TokenFileError {
        TokenFileError::Wrong { path: path.display().to_string(), line: self.line, wrong: self.wrong }
    }
}

/// All tokens of a file.
///
/// Found by the first two bytes of their SHA-256, and compared in constant time from there: what can be learned from
/// the time it takes is two bytes of a hash, from which no token can be made.
pub(super) struct Tokens(HashMap<[u8; 2], Vec<Identity>>);

impl Tokens {
    pub(super) fn parse(content: &[u8]) -> Result<Self, WrongLine> {
        let text = std::str::from_utf8(content).map_err(|e| {
            let line = 1 + content[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            WrongLine { line, wrong: "not UTF-8".to_owned() }
        })?;
        let mut names = BTreeSet::new();
        let mut tokens = Self(HashMap::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |wrong: String| WrongLine { line: index + 1, wrong };
            let grant = parse_line(line).map_err(at)?;
            if !names.insert(grant.name.to_string()) {
                return Err(at(format!("the name \"{}\" is there twice", grant.name)));
            }
            if names.len() > TOKENS_MAX {
                return Err(at(format!("more than {TOKENS_MAX} tokens")));
            }
            tokens.add(grant).map_err(at)?;
        }
        Ok(tokens)
    }

    fn add(&mut self, grant: Grant) -> Result<(), String> {
        let digest = grant.digest.ok_or("a token without a digest")?;
        let same_start = self.0.entry([digest[0], digest[1]]).or_default();
        if same_start.iter().any(|other| other.digest() == Some(&digest)) {
            return Err("this token is there twice".to_owned());
        }
        same_start.push(Identity::new(grant));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(super) fn find(&self, token: &[u8]) -> Option<&Identity> {
        self.find_digest(&Sha256::digest(token).into())
    }

    /// Whether an identity of an earlier reading still may what it did.
    pub(super) fn holds(&self, identity: &Identity) -> bool {
        let now = identity.digest().and_then(|digest| self.find_digest(digest));
        now.is_some_and(|now| now.allows_what(identity))
    }

    fn find_digest(&self, digest: &[u8; 32]) -> Option<&Identity> {
        let mut found = None;
        // Each is compared to its end, and all are: the time does not tell which one it was.
        for identity in self.0.get(&[digest[0], digest[1]])? {
            let is_it = identity.digest().is_some_and(|own| bool::from(own.ct_eq(digest)));
            if is_it {
                found = Some(identity);
            }
        }
        found
    }
}

fn parse_line(line: &str) -> Result<Grant, String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (name, digest, namespaces, verbs, rate) = match words[..] {
        [name, digest, namespaces, verbs] => (name, digest, namespaces, verbs, None),
        [name, digest, namespaces, verbs, rate] => (name, digest, namespaces, verbs, Some(rate)),
        _ => return Err("expected: name sha256 namespaces verbs [requests_per_second]".to_owned()),
    };
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name is at most {NAME_BYTES_MAX} bytes"));
    }
    let rate = rate.map(parse_rate).transpose()?;
    Ok(Grant {
        name: name.into(),
        digest: Some(parse_digest(digest)?),
        namespaces: parse_namespaces(namespaces)?,
        verbs: parse_verbs(verbs)?,
        rate: rate.map(Rate::per_second),
        renewal_rate: rate.map(|count| Rate::per_second(count.saturating_mul(RENEWALS_PER_REQUEST))),
        renewals: AtomicUsize::new(0),
    })
}

fn parse_digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "the second word is the SHA-256 of the token: 64 hexadecimal digits".to_owned();
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn parse_namespaces(text: &str) -> Result<Option<BTreeSet<Namespace>>, String> {
    if text == "*" {
        return Ok(None);
    }
    let named: Result<_, _> = text.split(',').map(Namespace::new).collect();
    named.map(Some).map_err(|wrong| format!("{wrong}; or * for all"))
}

fn parse_verbs(text: &str) -> Result<Vec<Verb>, String> {
    let parse = |word: &str| {
        let known = Verb::ALL.into_iter().find(|verb| verb.as_str() == word);
        known.ok_or_else(|| format!("unknown verb \"{word}\"; allowed: read, register, operate, with commas between"))
    };
    text.split(',').map(parse).collect()
}

fn parse_rate(text: &str) -> Result<u32, String> {
    let count = text.parse::<u32>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("\"{text}\" is no number of requests a second above 0"))
}
