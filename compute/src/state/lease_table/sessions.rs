//! The sessions that stream leases hang on.

use std::collections::HashMap;

use crate::model::SessionId;
use crate::model::limits::SESSION_GRACE_MS_DEFAULT;
use crate::port::clock::MonoMs;

use super::slots::NONE;
use super::term::two_thirds;

/// Where a session's connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// At this node.
    Here,
    /// Nowhere, since then, as far as this node knows, which answers for it.
    Lost { since: MonoMs },
    /// At another node, which answers for it.
    Elsewhere,
}

pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) epoch: u32,
    pub(super) grace_ms: u32,
    pub(super) held: Held,
    /// The list of its leases, and how many they are.
    pub(super) head: u32,
    pub(super) leases: usize,
    /// Its end does not come before a full grace from here.
    pub(super) floor_ms: MonoMs,
    /// Its leases have been taken for suspects.
    pub(super) is_suspect: bool,
    /// The log has closed it; it stays here until its leases are told of too.
    pub(super) is_closed: bool,
    /// Its place in the agenda.
    pub(super) look_at: MonoMs,
}

impl Session {
    /// What the log has not told of yet: it can only be lost.
    fn unknown(id: SessionId, now: MonoMs) -> Self {
        Self {
            id,
            epoch: 0,
            grace_ms: SESSION_GRACE_MS_DEFAULT,
            held: Held::Lost { since: now },
            head: NONE,
            leases: 0,
            floor_ms: 0,
            is_suspect: false,
            is_closed: false,
            look_at: MonoMs::MAX,
        }
    }

    pub(super) fn grace(&self) -> MonoMs {
        MonoMs::from(self.grace_ms)
    }

    pub(super) fn suspect_at(&self) -> Option<MonoMs> {
        self.since().map(|since| since + two_thirds(self.grace()))
    }

    pub(super) fn close_at(&self) -> Option<MonoMs> {
        self.since().map(|since| since + self.grace())
    }

    fn since(&self) -> Option<MonoMs> {
        match self.held {
            Held::Lost { since } => Some(since.max(self.floor_ms)),
            Held::Here | Held::Elsewhere => None,
        }
    }

    /// When there is something to look at by itself; its leases have their own places in the agenda.
    pub(super) fn next_look(&self) -> MonoMs {
        let at = match (self.leases, self.is_suspect, self.is_closed) {
            (0, _, false) => self.close_at(),
            (1.., false, _) => self.suspect_at(),
            _ => None,
        };
        at.unwrap_or(MonoMs::MAX)
    }
}

#[derive(Default)]
pub(super) struct Sessions {
    places: Vec<Option<Session>>,
    free: Vec<u32>,
    by_id: HashMap<SessionId, u32>,
}

impl Sessions {
    pub(super) fn find(&self, id: SessionId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The place of a session, made if it has none.
    pub(super) fn enter(&mut self, id: SessionId, now: MonoMs) -> u32 {
        if let Some(at) = self.find(id) {
            return at;
        }
        let at = self.free.pop().unwrap_or(self.places.len() as u32);
        let session = Some(Session::unknown(id, now));
        match self.places.get_mut(at as usize) {
            Some(place) => *place = session,
            None => self.places.push(session),
        }
        self.by_id.insert(id, at);
        at
    }

    pub(super) fn remove(&mut self, at: u32) {
        if let Some(session) = self.places.get_mut(at as usize).and_then(Option::take) {
            self.by_id.remove(&session.id);
            self.free.push(at);
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Session> {
        self.places.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Session> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    /// In the order of their places.
    pub(super) fn places(&self) -> Vec<u32> {
        (0..self.places.len() as u32).filter(|at| self.get(*at).is_some()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
