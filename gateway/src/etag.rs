//! What names the content of a view: the same on every door and on every node.
//!
//! A tag is `"REVISION-CONTENT"`. The content part is made of what a reader is shown, not of the service's revision, so
//! that one who waits for a selection is not woken by what happens outside it: the digest (id and revision of each
//! instance), whether protection is on, and of an empty list why it is empty. Two tags name the same when their content
//! parts do. The revision in front makes a tag good wherever a revision is asked for. A service that nobody registered
//! has the tag `"0.0.0"`.

use std::fmt;

use bytes::Bytes;
use compute::model::{Invalid, Revision};
use compute::view::{Emptied, Format, View};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

/// Where a view keeps its tag, beside its encodings.
const TAG: Format = Format("etag");
/// Digits of a content part: 64 bits, for views of one service.
const CONTENT_DIGITS: usize = 16;

/// An entity tag, quotes and all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Etag(Bytes);

impl Etag {
    /// Made once for each view, and shared.
    pub fn of(view: &View) -> Self {
        Self(view.encoded.get(TAG, || make(view).into()))
    }

    /// The tag of something else than a view that is known by its revision alone.
    pub fn of_revision(revision: Revision) -> Self {
        Self(format!("\"{revision}\"").into())
    }

    /// The tag of a list, of which only the bytes are known.
    pub fn of_content(revision: Revision, content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        let mut tag = format!("\"{revision}-");
        push_digits(&mut tag, &hash);
        tag.push('"');
        Self(tag.into())
    }

    /// The same, for an answer that shows what is not in the log yet.
    #[must_use]
    pub fn weak(self) -> Self {
        if self.as_str().starts_with("W/") { self } else { Self(format!("W/{}", self.as_str()).into()) }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made from text")
    }

    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The revision in it, as text that shares its bytes.
    pub fn revision_bytes(&self) -> Bytes {
        let text = self.as_str();
        let start = text.find('"').map_or(0, |at| at + 1);
        let end = text[start..].find(['-', '"']).map_or(text.len(), |at| start + at);
        self.0.slice(start..end)
    }

    /// Whether a condition names this content: one tag, several with commas between, or `*`. Compared weakly, as
    /// conditional reads are.
    pub fn matches(&self, condition: &str) -> bool {
        let own = opaque(self.as_str());
        let (own_revision, own_content) = parts(own);
        condition.split(',').map(str::trim).any(|given| {
            if given == "*" {
                return own_revision != "0.0.0";
            }
            match (parts(opaque(given)), own_content) {
                ((_, Some(content)), Some(own_content)) => content == own_content,
                // A bare revision: of a service that nobody registered, or brought back from another header.
                ((revision, None), _) => revision == own_revision,
                ((_, Some(_)), None) => false,
            }
        })
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The revision of whatever an answer gave as one: a revision, or a tag with one in it.
pub fn revision_of(field: &'static str, text: &str) -> Result<Revision, Invalid> {
    let (revision, _) = parts(opaque(text));
    revision.parse().map_err(|_| Invalid::new(field, text, "a revision or ETag that Thuban gave, like 1.57.2"))
}

/// What the reader has seen who brings this condition, if it is one tag and no more.
pub(crate) fn seen_in(condition: &str) -> Option<Revision> {
    revision_of("If-None-Match", condition.trim()).ok()
}

/// What is between the quotes, if there are any.
fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag)
}

/// Revision and content.
fn parts(opaque: &str) -> (&str, Option<&str>) {
    match opaque.split_once('-') {
        Some((revision, content)) => (revision, Some(content)),
        None => (opaque, None),
    }
}

fn make(view: &View) -> String {
    if !view.exists() {
        return format!("\"{}\"", Revision::ZERO);
    }
    let mut tag = String::with_capacity(48);
    tag.push_str(if view.overlay > 0 { "W/\"" } else { "\"" });
    let digest = view.digest.to_string();
    tag.push_str(&format!("{}-{}", view.revision, &digest[..CONTENT_DIGITS]));
    if view.protected {
        tag.push('p');
    }
    match view.emptied() {
        Some(Emptied::Removed(removal)) => tag.push_str(&format!("r{}", removal.revision)),
        Some(Emptied::Filtered) => tag.push('f'),
        Some(Emptied::Never) => tag.push('n'),
        None => {}
    }
    if view.overlay > 0 {
        tag.push('o');
        push_digits(&mut tag, &overlay_hash(view));
    }
    tag.push('"');
    tag
}

fn push_digits(tag: &mut String, hash: &[u8]) {
    for byte in &hash[..CONTENT_DIGITS / 2] {
        tag.push_str(&format!("{byte:02x}"));
    }
}

/// Of what the digest leaves out: the instances that are not in the log yet.
fn overlay_hash(view: &View) -> [u8; 32] {
    let mut hash = Sha256::new();
    for instance in view.instances.iter().filter(|instance| instance.revision == Revision::ZERO) {
        // Their text form has every part that a reader is shown.
        hash.update(format!("{instance:?}\n"));
    }
    hash.finalize().into()
}
