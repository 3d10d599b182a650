//! Sessions come, are lost, and come back.

use crate::model::SessionId;
use crate::port::clock::MonoMs;
use crate::state::freeze::LeaseId;

use super::LeaseTable;
use super::sessions::Held;
use super::trouble::{Item, Stage};

impl LeaseTable {
    /// The log shows that a session was opened or taken over. `here`: by a connection to this node, which answers for it
    /// from now on; its grace runs until [`LeaseTable::session_held`] says that the connection is still there.
    pub fn session_attached(&mut self, session: SessionId, epoch: u32, grace_ms: u32, here: bool, now: MonoMs) {
        let place = self.sessions.enter(session, now);
        let Some(session) = self.sessions.get_mut(place) else { return };
        let was_elsewhere = session.held == Held::Elsewhere;
        session.epoch = epoch;
        session.grace_ms = grace_ms;
        session.held = if here { Held::Lost { since: now } } else { Held::Elsewhere };
        session.floor_ms = 0;
        session.is_suspect = false;
        let leases = session.leases;
        if was_elsewhere {
            self.elsewhere -= leases;
        }
        if !here {
            self.elsewhere += leases;
        }
        for lease in self.leases_of_session(place) {
            self.drop_trouble(lease);
        }
        self.look_at_session(place);
    }

    /// This node holds the session's connection.
    pub fn session_held(&mut self, session: SessionId, epoch: u32, now: MonoMs) {
        let Some(place) = self.sessions.find(session) else { return };
        let Some(session) = self.sessions.get_mut(place) else { return };
        if session.epoch != epoch || session.held == Held::Elsewhere {
            return;
        }
        session.held = Held::Here;
        session.is_suspect = false;
        for lease in self.leases_of_session(place) {
            match self.troubles.get(lease).map(|trouble| trouble.stage) {
                None => {}
                Some(Stage::Wanting) => {
                    self.drop_trouble(lease);
                }
                Some(Stage::Standing { .. } | Stage::Unhealthy { .. }) => {
                    self.owed.insert(lease);
                    self.troubles.look(lease, now);
                }
            }
        }
        self.look_at_session(place);
    }

    /// This node saw the connection of that epoch end without a goodbye: the grace begins.
    pub fn session_lost(&mut self, session: SessionId, epoch: u32, now: MonoMs) {
        let Some(place) = self.sessions.find(session) else { return };
        if let Some(session) = self.sessions.get_mut(place)
            && session.epoch == epoch
            && session.held == Held::Here
        {
            session.held = Held::Lost { since: now };
            session.floor_ms = 0;
            session.is_suspect = false;
            self.look_at_session(place);
        }
    }

    /// The log shows that a session is over.
    pub fn session_closed(&mut self, session: SessionId) {
        let Some(place) = self.sessions.find(session) else { return };
        if let Some(session) = self.sessions.get_mut(place) {
            session.is_closed = true;
        }
        self.let_go_if_over(place);
    }

    pub(super) fn leases_of_session(&self, place: u32) -> Vec<LeaseId> {
        self.sessions.get(place).map(|session| self.slots.chain(session.head).collect()).unwrap_or_default()
    }

    pub(super) fn join_session(&mut self, lease: LeaseId, session: SessionId, now: MonoMs) {
        let place = self.sessions.enter(session, now);
        let Some(session) = self.sessions.get_mut(place) else { return };
        self.slots.link(lease, place, &mut session.head);
        session.leases += 1;
        let is_suspect = session.is_suspect;
        if session.held == Held::Elsewhere {
            self.elsewhere += 1;
        }
        if is_suspect {
            self.suspect(lease, now);
        }
        self.look_at_session(place);
    }

    pub(super) fn leave_session(&mut self, lease: LeaseId) {
        let place = self.slots.list(lease);
        let Some(session) = self.sessions.get_mut(place) else { return };
        self.slots.unlink(lease, &mut session.head);
        session.leases -= 1;
        if session.held == Held::Elsewhere {
            self.elsewhere -= 1;
        }
        self.let_go_if_over(place);
    }

    fn let_go_if_over(&mut self, place: u32) {
        self.look_at_session(place);
        if let Some(session) = self.sessions.get(place)
            && session.is_closed
            && session.leases == 0
        {
            self.troubles.move_item(Item::Session(place), session.look_at, MonoMs::MAX);
            self.sessions.remove(place);
        }
    }

    /// Keeps a session's place in the agenda.
    pub(super) fn look_at_session(&mut self, place: u32) {
        let next = self.sessions.get(place).map_or(MonoMs::MAX, |session| session.next_look());
        self.look_at_session_at(place, next);
    }

    pub(super) fn look_at_session_at(&mut self, place: u32, at: MonoMs) {
        if let Some(session) = self.sessions.get_mut(place) {
            let old = std::mem::replace(&mut session.look_at, at);
            self.troubles.move_item(Item::Session(place), old, at);
        }
    }

    /// Two thirds of the grace are over: so they are for each of its leases.
    pub(super) fn suspect_session(&mut self, place: u32, now: MonoMs) {
        let Some(session) = self.sessions.get_mut(place) else { return };
        if std::mem::replace(&mut session.is_suspect, true) {
            return;
        }
        for lease in self.leases_of_session(place) {
            if self.troubles.get(lease).is_none() {
                self.suspect(lease, now);
            }
        }
    }
}
