//! What readers get: immutable snapshots of one service, with their encoded bytes.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::model::{Digest, Instance, InstanceId, Removal, Revision, Selector, ServiceKey, ServiceRow};

/// One encoding of a view. A door names its own; compute does not know what is in the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format(pub &'static str);

/// Bytes that are made once, on first use, and then shared by every reader: one piece for each format that was asked
/// for, in the order in which they were first. There are as many as doors have, so a look is a step or three.
#[derive(Default)]
pub struct Encoded(OnceLock<Box<Piece>>);

struct Piece {
    format: Format,
    bytes: OnceLock<Bytes>,
    next: OnceLock<Box<Piece>>,
}

impl Encoded {
    pub fn get(&self, format: Format, encode: impl FnOnce() -> Bytes) -> Bytes {
        let mut place = &self.0;
        loop {
            // Two may come at once with different formats: who loses finds the other's piece and goes on behind it.
            let piece = place.get_or_init(|| Box::new(Piece::new(format)));
            if piece.format == format {
                return piece.bytes.get_or_init(encode).clone();
            }
            place = &piece.next;
        }
    }
}

impl Piece {
    fn new(format: Format) -> Self {
        Self { format, bytes: OnceLock::new(), next: OnceLock::new() }
    }
}

/// Everything visible of one service, or of a selection of it, at exactly one revision.
pub struct View {
    pub service: ServiceKey,
    /// The service itself; `None`: nobody registered it.
    pub row: Option<Arc<ServiceRow>>,
    /// The last change of the service or of any of its instances; [`Revision::ZERO`] for an unknown one.
    pub revision: Revision,
    /// Of the instances shown, without those of the overlay.
    pub digest: Digest,
    /// Sorted by id.
    pub instances: Arc<Vec<Arc<Instance>>>,
    /// Of all instances of the service, whatever the selection.
    pub counts: Counts,
    /// Fewer are healthy than the service's threshold, so the demand for health was not applied.
    pub protected: bool,
    /// How many changes in it are not in the log yet. Their instances have [`Revision::ZERO`].
    pub overlay: u32,
    /// Without the overlay, where there is one: what watchers are told of.
    pub log: Option<Arc<View>>,
    pub encoded: Encoded,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub all: u32,
    pub healthy: u32,
    pub isolated: u32,
}

/// Why a list is empty.
#[derive(Clone, PartialEq, Debug)]
pub enum Emptied<'a> {
    /// Its last instance went: when, why, by whom.
    Removed(&'a Removal),
    /// There are instances, and the selection took none.
    Filtered,
    /// It never had one.
    Never,
}

impl View {
    /// The view of a service that nobody registered.
    pub fn unknown(service: ServiceKey) -> Self {
        Self {
            service,
            row: None,
            revision: Revision::ZERO,
            digest: Digest::default(),
            instances: Arc::default(),
            counts: Counts::default(),
            protected: false,
            overlay: 0,
            log: None,
            encoded: Encoded::default(),
        }
    }

    pub fn exists(&self) -> bool {
        self.row.is_some() || self.overlay > 0
    }

    /// What the log alone shows of a service. Of a whole view, not of a selection.
    pub fn logged(self: &Arc<Self>) -> Arc<Self> {
        self.log.as_ref().unwrap_or(self).clone()
    }

    pub fn get(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        let at = self.instances.binary_search_by(|i| i.id.cmp(id)).ok()?;
        self.instances.get(at)
    }

    /// The proof of an empty list; `None` when it is not empty.
    pub fn emptied(&self) -> Option<Emptied<'_>> {
        if !self.instances.is_empty() {
            return None;
        }
        if self.counts.all > 0 {
            return Some(Emptied::Filtered);
        }
        let removal = self.row.as_ref().and_then(|row| row.last_removal.as_ref());
        Some(removal.map_or(Emptied::Never, Emptied::Removed))
    }

    /// The instances that `selector` takes. A service below its protect threshold answers a demand for health with
    /// all that else match.
    pub fn select(&self, selector: &Selector) -> Self {
        let protected = selector.asks_for_healthy() && self.is_below_threshold();
        let spared;
        let wanted = if protected {
            spared = selector.protected();
            &spared
        } else {
            selector
        };
        let instances: Vec<_> = self.instances.iter().filter(|i| wanted.matches(i)).cloned().collect();
        let shown = instances.iter().filter(|i| i.revision != Revision::ZERO);
        let digest = shown.fold(Digest::default(), |sum, i| sum.plus(i.digest()));
        Self {
            service: self.service.clone(),
            row: self.row.clone(),
            revision: self.revision,
            digest,
            instances: Arc::new(instances),
            counts: self.counts,
            protected,
            overlay: self.overlay,
            log: None,
            encoded: Encoded::default(),
        }
    }

    fn is_below_threshold(&self) -> bool {
        let threshold = self.row.as_ref().map_or(0.0, |row| row.settings.protect_threshold);
        f64::from(self.counts.healthy) < threshold * f64::from(self.counts.all)
    }
}

#[cfg(test)]
mod tests;
