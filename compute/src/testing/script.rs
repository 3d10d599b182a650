//! Random changes of every kind, right and wrong, that reach the log late, twice, out of order or never.
//!
//! For whoever must show that something holds whatever was decided: that an independent model agrees with apply, or
//! that a store gives back the state at each watermark.

mod commands;
mod words;

use std::sync::Arc;

use crate::command::Command;
use crate::model::{
    Author, Change, Entry, Frame, InstanceKey, LogIdentity, NodeIncarnation, Origin, Position, Revision, ServiceKey,
    SessionId,
};
use crate::port::{Chance, Journal};
use crate::state::{Deciding, Decision, State};

use super::SeededChance;
use super::journal::{Decided, MemoryJournal};

/// Of the log that scripts write.
pub const IDENTITY: LogIdentity = LogIdentity([9; 16]);
const VALID: &str = "within the limits";
const HOUR_MS: u64 = 3_600_000;

pub struct Script {
    chance: Arc<SeededChance>,
    state: State,
    journal: Arc<MemoryJournal>,
    /// Changes decided and not appended yet: they are appended late, in any order, some twice, some never.
    drawer: Vec<Change>,
    nodes: [Node; 3],
    /// Whether its nodes show themselves with beacons.
    is_shared: bool,
    sessions: Vec<SessionId>,
    wall_ms: u64,
    /// Of the last change that was applied or refused.
    last: Revision,
}

/// One of those who decide, in its newest life.
#[derive(Clone, Copy)]
struct Node {
    incarnation: NodeIncarnation,
    counter: u64,
}

impl Script {
    /// Of a log that nodes share if the seed is odd, of one that one process has to itself if it is even.
    pub fn new(seed: u64) -> Self {
        Self {
            chance: SeededChance::new(seed),
            state: State::new(IDENTITY),
            journal: MemoryJournal::new(),
            drawer: Vec::new(),
            nodes: [0, 1, 2].map(|n| Node { incarnation: NodeIncarnation(n), counter: 0 }),
            is_shared: !seed.is_multiple_of(2),
            sessions: Vec::new(),
            wall_ms: 1_000_000,
            last: Revision::ZERO,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// To take rows from it.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// What was decided so far.
    pub fn journal(&self) -> &MemoryJournal {
        &self.journal
    }

    /// Decides something, or appends and applies a frame: then that frame.
    pub fn step(&mut self) -> Option<Decided> {
        if self.below(4) < 3 {
            self.decide();
            return None;
        }
        Some(self.append())
    }

    /// So many frames with nothing in them.
    pub fn quiet(&mut self, frames: u64) {
        (0..frames).for_each(|_| drop(self.apply(Vec::new())));
    }

    /// All that is late comes now.
    pub fn deliver_late(&mut self) {
        while let Some(change) = self.drawer.pop() {
            self.apply(vec![change]);
        }
    }

    fn below(&self, end: usize) -> usize {
        self.chance.below(end as u64) as usize
    }

    fn one_of<T: Clone>(&self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn some_service(&self) -> ServiceKey {
        let (namespace, service) =
            self.one_of(&[("default", "orders"), ("default", "orders"), ("default", "billing"), ("second", "orders")]);
        ServiceKey::new(namespace, service).expect(VALID)
    }

    fn some_key(&self) -> InstanceKey {
        let service = self.some_service();
        let id = self.one_of(&["a", "b", "c", "d"]);
        InstanceKey::new(service.namespace.as_str(), service.service.as_str(), id).expect(VALID)
    }

    fn decide(&mut self) {
        let author =
            Author::new(self.one_of(&["somebody", "another", "node"]), self.one_of(&["http", "grpc", "lease"]));
        let node = self.below(3);
        self.revive(node);
        let op = match self.below(if self.is_shared { 16 } else { 9 }) {
            0 => self.some_word(),
            1 => self.some_suspicion(),
            2 => self.some_expiry(),
            3 => Some(self.some_freeze()),
            4 => self.some_end(),
            9 => self.some_gone(),
            10.. => Some(self.some_beacon()),
            _ => {
                let command = self.some_command();
                self.decided(&command, &author, self.nodes[node].incarnation)
            }
        };
        let Some(op) = op else { return };
        let Node { incarnation, counter } = &mut self.nodes[node];
        *counter += 1;
        let origin = Origin { node: *incarnation, counter: *counter };
        self.drawer.push(Change { origin, author, op });
    }

    /// A node that is gone comes again, sooner or later, as another one.
    fn revive(&mut self, node: usize) {
        if self.state.is_gone(self.nodes[node].incarnation) && self.below(6) == 0 {
            let newest = self.nodes.iter().map(|node| node.incarnation.0).max().unwrap_or_default();
            self.nodes[node] = Node { incarnation: NodeIncarnation(newest + 1), counter: 0 };
        }
    }

    fn decided(&self, command: &Command, author: &Author, node: NodeIncarnation) -> Option<crate::model::Op> {
        match self.state.decide(command, Deciding { node, author, now_ms: self.wall_ms }) {
            Decision::Append(op) => Some(op),
            Decision::Answer(_) | Decision::Refuse(_) => None,
        }
    }

    fn append(&mut self) -> Decided {
        let mut changes = Vec::new();
        for _ in 0..self.below(5) {
            if self.drawer.is_empty() {
                break;
            }
            // Mostly the newest, which rest on what still stands.
            let newest = self.drawer.len() - 1;
            let at = if self.below(2) == 0 { newest } else { self.below(self.drawer.len()) };
            let change = self.drawer[at].clone();
            // One in five stays in the drawer, to be appended again.
            if self.below(5) > 0 {
                self.drawer.swap_remove(at);
            }
            changes.push(change);
        }
        self.pass();
        self.apply(changes)
    }

    /// Clocks of nodes go on, back a little, and now and then a day has passed.
    fn pass(&mut self) {
        let step = match self.below(40) {
            0 => 25 * HOUR_MS as i64,
            1 => 30_000,
            n => [1_000, -500, 0][n % 3],
        };
        self.wall_ms = self.wall_ms.saturating_add_signed(step);
    }

    fn apply(&mut self, changes: Vec<Change>) -> Decided {
        let offset = self.state.position().offset() + 1;
        let position = Position::new(1, offset).expect("a script does not append 2^40 frames");
        let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(1), time_ms: self.wall_ms, changes };
        let entry = Entry { position, frame: Arc::new(frame), checksum: offset };
        let applied = self.state.apply(&entry).expect("each frame follows the last");
        self.journal.record(&entry, &applied.verdicts);
        if !applied.verdicts.is_empty() {
            self.last = position.at(applied.verdicts.len() as u16 - 1);
        }
        Decided { entry, verdicts: applied.verdicts }
    }
}
