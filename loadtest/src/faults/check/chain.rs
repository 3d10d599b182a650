//! A watcher's events form one chain: each begins where the last one ended, or it is an announced snapshot.

use std::collections::BTreeMap;

use super::super::truth::Revision;

/// What a watcher is told of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The whole, at a revision; `complete`: its last part.
    Snapshot {
        items: Vec<Item>,
        revision: Revision,
        is_complete: bool,
    },
    Change {
        from: Revision,
        to: Revision,
        put: Vec<Item>,
        removed: Vec<String>,
    },
    Progress {
        revision: Revision,
    },
    /// A snapshot follows.
    Compacted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: String,
    pub is_healthy: bool,
}

/// What a watcher of one service has made of its events.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    at: Option<Revision>,
    /// Where the last change led, or the snapshot; `at` is behind it when nothing new was said since.
    led_to: Option<Revision>,
    /// The connection is new and nothing was brought, or `compacted` was said: a snapshot may come.
    awaits_snapshot: bool,
    /// The id of each, and whether it is healthy.
    pub view: BTreeMap<String, bool>,
    partial: BTreeMap<String, bool>,
}

impl Chain {
    pub fn new() -> Self {
        Self { awaits_snapshot: true, ..Self::default() }
    }

    /// Where to go on; `None`: from a snapshot.
    pub fn at(&self) -> Option<Revision> {
        self.at
    }

    /// A new connection goes on where this is; what had come of a snapshot is void. Before a service is there it is at
    /// no revision, 0.0.0, and behind that comes a snapshot.
    pub fn resumes(&mut self) {
        self.at = self.at.filter(|at| *at != Revision::default());
        self.partial.clear();
        self.awaits_snapshot = self.at.is_none();
    }

    /// Ends with what is wrong; the watcher begins anew behind it.
    pub fn take(&mut self, told: Told) -> Result<(), String> {
        match told {
            Told::Compacted => self.awaits_snapshot = true,
            Told::Snapshot { .. } if !self.awaits_snapshot => {
                return Err(format!("a snapshot that nobody announced, behind {:?}", self.at));
            }
            Told::Snapshot { items, revision, is_complete } => {
                self.partial.extend(items.into_iter().map(|item| (item.id, item.is_healthy)));
                if is_complete {
                    self.forward(revision)?;
                    self.led_to = Some(revision);
                    self.view = std::mem::take(&mut self.partial);
                    self.awaits_snapshot = false;
                }
            }
            Told::Change { from, to, put, removed } => {
                // In between there was nothing new, so it may begin anywhere there.
                if self.led_to.is_none_or(|led| from < led) || self.at.is_none_or(|at| at < from) {
                    return Err(format!("a change from {from}, behind {:?} and {:?}", self.led_to, self.at));
                }
                self.forward(to)?;
                self.led_to = Some(to);
                self.view.extend(put.into_iter().map(|item| (item.id, item.is_healthy)));
                for id in removed {
                    self.view.remove(&id);
                }
            }
            Told::Progress { revision } => self.forward(revision)?,
        }
        Ok(())
    }

    fn forward(&mut self, to: Revision) -> Result<(), String> {
        if let Some(at) = self.at.filter(|at| to < *at) {
            return Err(format!("{to} behind {at}"));
        }
        self.at = Some(to);
        Ok(())
    }
}
