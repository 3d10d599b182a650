//! Several nodes over one log: each with its own clock, its own state as far as it has read, its own table and witness.
//! Providers beat at any node; what they say is forwarded to the owner late or never; nodes die and come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::key;
use crate::model::{
    Author, Base, Change, Entry, Frame, InstanceKey, Lease, LogIdentity, NodeIncarnation, Op, Origin, Position,
    Provider, ProviderSpec, Revision,
};
use crate::port::clock::MonoMs;
use crate::state::freeze::Members;
use crate::state::lease_table::{Conditions, LeaseTable};
use crate::state::ownership::{Moving, Ownership, Standing, Transfer};
use crate::state::witness::Witness;
use crate::state::{Applied, LeaseEvent, State, Verdict};

const IDENTITY: LogIdentity = LogIdentity([7; 16]);
pub(super) const TICK_MS: MonoMs = 10;
const BEACON_MS: MonoMs = 500;
/// Own beacons that come back without one of another node, which is gone then.
const SILENT: u32 = 4;

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

/// What a frame says beside its changes.
#[derive(Clone, Copy, Debug)]
enum Aside {
    Beacon { node: NodeIncarnation, applied: Position },
    Gone { node: NodeIncarnation },
}

struct Logged {
    at: MonoMs,
    entry: Entry,
    asides: Vec<Aside>,
}

struct Mate {
    joined_ms: u64,
    shown: Position,
    /// When its last beacon was applied here, on this node's clock.
    seen: MonoMs,
    /// Own beacons since.
    silent: u32,
}

struct Node {
    id: NodeIncarnation,
    /// What its clock shows more than the others'.
    skew: MonoMs,
    state: State,
    table: LeaseTable,
    witness: Witness,
    mates: BTreeMap<NodeIncarnation, Mate>,
    /// When the last beacon of one that is gone was applied.
    left: BTreeMap<NodeIncarnation, MonoMs>,
    from: Ownership,
    ownership: Ownership,
    transfer: Transfer,
    read: usize,
    /// How far behind the log it reads.
    lag_ms: MonoMs,
    /// Until then it reads nothing; it hears providers all the same.
    stalls_until: MonoMs,
    counter: u64,
    waiting: Vec<Op>,
    asides: Vec<Aside>,
    in_flight: Option<(MonoMs, Frame, Vec<Aside>)>,
    beacon_at: MonoMs,
    has_beacon_out: bool,
    /// It has read that it is gone itself.
    is_gone: bool,
}

/// A heartbeat on its way to the owner.
struct Forward {
    at: MonoMs,
    to: NodeIncarnation,
    key: InstanceKey,
    generation: Revision,
    age_ms: u64,
}

pub(super) struct Fleet {
    pub(super) now: MonoMs,
    pub(super) random: Random,
    /// Longest time of an append, and of a read after it.
    pub(super) delay_ms: MonoMs,
    /// Longest time of a heartbeat to its owner; `None`: it never comes.
    pub(super) forward_ms: Option<MonoMs>,
    log: Vec<Logged>,
    nodes: Vec<Node>,
    forwards: Vec<Forward>,
    last_node: u64,
    gone: BTreeSet<NodeIncarnation>,
    /// What has taken effect: when, whose word, and what.
    pub(super) applied: Vec<(MonoMs, NodeIncarnation, Op)>,
    /// Sees the whole log at once.
    truth: State,
    /// When the shares last changed, in the eyes of any node.
    pub(super) moved_at: MonoMs,
}

impl Fleet {
    pub(super) fn new(seed: u64, nodes: u64, leases: &[(InstanceKey, Lease)]) -> Self {
        let mut fleet = Self {
            now: 1_000_000,
            random: Random(seed),
            delay_ms: 100,
            forward_ms: None,
            log: Vec::new(),
            nodes: Vec::new(),
            forwards: Vec::new(),
            last_node: 0,
            gone: BTreeSet::new(),
            applied: Vec::new(),
            truth: State::new(IDENTITY),
            moved_at: 0,
        };
        let register = |(instance, lease): &(InstanceKey, Lease)| Op::Register {
            instance: instance.clone(),
            provider: Box::new(
                Provider::new(&ProviderSpec { lease: lease.clone(), ..ProviderSpec::at("h", 1) }).unwrap(),
            ),
            base: Base::Absent(Position::ZERO),
            epoch: None,
        };
        let client = NodeIncarnation(u64::MAX);
        let frame = frame(client, &mut 0, fleet.now, leases.iter().map(register).collect());
        fleet.append(frame, Vec::new());
        (0..nodes).for_each(|_| fleet.join());
        fleet
    }

    /// A node starts: it reads all that the log has, and is ready.
    pub(super) fn join(&mut self) {
        self.last_node += 1;
        let id = NodeIncarnation(self.last_node.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut node = Node::new(id, self.random.below(1 << 30), self.now);
        while node.read < self.log.len() {
            node.take(&self.log[node.read], self.now);
        }
        node.table.ready(self.now + node.skew);
        self.nodes.push(node);
    }

    /// A node dies, and with it what it has not appended yet.
    pub(super) fn kill(&mut self, at: usize) {
        let at = at % self.nodes.len();
        self.nodes.remove(at);
    }

    /// A node stops reading the log for a while; it may be taken for gone.
    pub(super) fn stall(&mut self, at: usize, ms: MonoMs) {
        let at = at % self.nodes.len();
        self.nodes[at].stalls_until = self.now + ms;
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A provider says that it lives, to any node that does.
    pub(super) fn beat(&mut self, key: &InstanceKey) {
        let at = self.random.below(self.nodes.len() as u64) as usize;
        let node = &mut self.nodes[at];
        let now = self.now + node.skew;
        let Some(instance) = node.state.instance(key) else { return };
        if instance.cell.renew(now)
            && let Some(suspicion) = node.state.suspicion(key)
        {
            let refute = Op::Refute { instance: key.clone(), suspicion: suspicion.revision, age_ms: 0 };
            node.waiting.push(refute);
        }
        let (generation, owner) = (instance.generation, node.ownership.owner(key));
        if let Some(to) = owner.filter(|owner| *owner != node.id)
            && let Some(longest) = self.forward_ms
        {
            let at = self.now + self.random.below(longest + 1);
            self.forwards.push(Forward { at, to, key: key.clone(), generation, age_ms: 0 });
        }
    }

    pub(super) fn tick(&mut self) {
        self.now += TICK_MS;
        self.deliver();
        for at in 0..self.nodes.len() {
            self.run(at);
        }
        for _ in self.nodes.extract_if(.., |node| node.is_gone).collect::<Vec<_>>() {
            self.join();
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (arrived, left) = std::mem::take(&mut self.forwards).into_iter().partition(|forward| forward.at <= now);
        self.forwards = left;
        let arrived: Vec<Forward> = arrived;
        for Forward { to, key, generation, age_ms, .. } in arrived {
            if let Some(node) = self.nodes.iter_mut().find(|node| node.id == to) {
                node.table.heard_elsewhere(&key, generation, age_ms, now + node.skew);
            }
        }
    }

    fn run(&mut self, at: usize) {
        let now = self.now;
        if let Some((_, frame, asides)) = self.nodes[at].in_flight.take_if(|(arrives, ..)| *arrives <= now) {
            self.append(frame, asides);
        }
        let node = &mut self.nodes[at];
        let before = node.ownership.clone();
        while let Some(logged) = self.log.get(node.read)
            && logged.at + node.lag_ms <= now
            && node.stalls_until <= now
        {
            node.take(logged, now);
            node.lag_ms = self.random.below(self.delay_ms / 2 + 1);
        }
        if node.ownership != before {
            self.moved_at = now;
        }
        node.work(now);
        let delay_ms = 1 + self.random.below(self.delay_ms / 2 + 1);
        node.pump(now, delay_ms);
    }

    /// As apply does, nothing but a refute counts of one that is gone.
    fn append(&mut self, mut frame: Frame, mut asides: Vec<Aside>) {
        if self.gone.contains(&frame.writer) {
            frame.changes.retain(|change| matches!(change.op, Op::Refute { .. }));
            asides.clear();
        }
        self.gone.extend(asides.iter().filter_map(|aside| match aside {
            Aside::Gone { node } => Some(*node),
            Aside::Beacon { .. } => None,
        }));
        let position = Position::new(1, self.log.len() as u64 + 1).unwrap();
        let entry = Entry { position, frame: Arc::new(frame), checksum: 0 };
        let Applied { verdicts, .. } = self.truth.apply(&entry).unwrap();
        for (change, verdict) in entry.frame.changes.iter().zip(verdicts) {
            if let Verdict::Applied(_) = verdict {
                self.applied.push((self.now, change.origin.node, change.op.clone()));
            }
        }
        self.log.push(Logged { at: self.now, entry, asides });
    }

    pub(super) fn is_healthy(&self, key: &InstanceKey) -> Option<bool> {
        self.truth.instance(key).map(|instance| instance.is_healthy())
    }

    /// How many leases each node has in its table.
    pub(super) fn shares(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.table.counts().ttl).collect()
    }
}

fn frame(writer: NodeIncarnation, counter: &mut u64, time_ms: u64, ops: Vec<Op>) -> Frame {
    let author = Author::new("somebody", "test");
    let change = |op| {
        *counter += 1;
        Change { origin: Origin { node: writer, counter: *counter }, author: author.clone(), op }
    };
    Frame { identity: IDENTITY, writer, time_ms, changes: ops.into_iter().map(change).collect() }
}

impl Node {
    fn new(id: NodeIncarnation, skew: MonoMs, now: MonoMs) -> Self {
        Self {
            id,
            skew,
            state: State::new(IDENTITY),
            table: LeaseTable::new(id),
            witness: Witness::default(),
            mates: BTreeMap::new(),
            left: BTreeMap::new(),
            from: Ownership::of([], 0),
            ownership: nobodys(),
            transfer: Transfer::default(),
            read: 0,
            lag_ms: 0,
            stalls_until: 0,
            counter: 0,
            waiting: Vec::new(),
            asides: Vec::new(),
            in_flight: None,
            beacon_at: now,
            has_beacon_out: false,
            is_gone: false,
        }
    }

    /// Applies what the log says.
    fn take(&mut self, logged: &Logged, now: MonoMs) {
        let mono = now + self.skew;
        let applied = self.state.apply(&logged.entry).unwrap();
        applied.leases.iter().for_each(|event| self.hear(event, mono));
        for (change, verdict) in logged.entry.frame.changes.iter().zip(&applied.verdicts) {
            if change.origin.node == self.id && !matches!(verdict, Verdict::Applied(_)) {
                self.table.refused(&change.op, mono);
                self.witness.refused(&change.op, mono);
            }
        }
        for aside in &logged.asides {
            self.mind(*aside, mono);
        }
        self.read += 1;
        self.share_out();
    }

    fn hear(&mut self, event: &LeaseEvent, now: MonoMs) {
        match event {
            LeaseEvent::Began { key, instance } | LeaseEvent::Heard { key, instance } => {
                if self.ownership.is_owner(self.id, key) {
                    self.table.heard(key, instance, now);
                } else {
                    self.witness.registered(instance, now);
                }
            }
            LeaseEvent::Ended { key, generation } => {
                self.table.end(key, *generation, now);
                self.witness.ended(key);
            }
            LeaseEvent::Suspected { key, suspicion } => {
                if !self.table.suspected(key, suspicion, now)
                    && let Some(instance) = self.state.instance(key)
                {
                    self.witness.suspected(key, instance, suspicion, now);
                }
            }
            LeaseEvent::Cleared { key, age_ms } => {
                self.table.cleared(key, *age_ms, now);
                let theirs = self.state.instance(key).filter(|_| !self.table.has(key));
                self.witness.cleared(key, theirs.map(Arc::as_ref), *age_ms, now);
            }
            LeaseEvent::Unhealthy { key, .. } => self.table.unhealthy(key, now),
            other => panic!("nothing of this fleet: {other:?}"),
        }
    }

    fn mind(&mut self, aside: Aside, now: MonoMs) {
        match aside {
            Aside::Beacon { node, applied } => {
                if self.left.contains_key(&node) {
                    return;
                }
                let joined_ms = self.state.log().time_ms;
                let mate = self.mates.entry(node).or_insert(Mate { joined_ms, shown: applied, seen: now, silent: 0 });
                (mate.shown, mate.seen, mate.silent) = (mate.shown.max(applied), now, 0);
                if node == self.id {
                    self.has_beacon_out = false;
                    self.beacon_at = now - self.skew + BEACON_MS;
                    let others = self.mates.iter_mut().filter(|(other, _)| **other != node);
                    for (other, mate) in others {
                        mate.silent += 1;
                        if mate.silent == SILENT {
                            self.asides.push(Aside::Gone { node: *other });
                        }
                    }
                }
            }
            Aside::Gone { node } => {
                self.is_gone |= node == self.id;
                if let Some(mate) = self.mates.remove(&node) {
                    self.left.insert(node, mate.seen);
                }
            }
        }
    }

    fn share_out(&mut self) {
        let standing = |(node, mate): (&NodeIncarnation, &Mate)| Standing {
            node: *node,
            joined_ms: mate.joined_ms,
            leaving: false,
        };
        if self.mates.is_empty() {
            return;
        }
        let new = Ownership::of(self.mates.iter().map(standing), self.state.log().time_ms);
        if !new.has_same_shares(&self.ownership) {
            self.from = std::mem::replace(&mut self.ownership, new);
            self.transfer = Transfer::over(&self.state);
        }
    }

    fn work(&mut self, now: MonoMs) {
        let now = now + self.skew;
        let (left, from, to) = (&self.left, &self.from, &self.ownership);
        let since = |_: &InstanceKey, owner: Option<NodeIncarnation>| {
            owner.and_then(|owner| left.get(&owner)).copied().unwrap_or(now)
        };
        let moving = Moving { me: self.id, from, to, since: &since };
        self.transfer.step(3, &self.state, &moving, (&mut self.table, &mut self.witness), now, &mut |_| {});
        self.witness.due(now, usize::MAX, &mut self.waiting);
        if self.table.next_deadline().is_some_and(|at| at <= now) {
            let barrier = self.mates.values().map(|mate| mate.shown).min();
            // What no member has shown is past nobody's barrier.
            let conditions = Conditions { is_alone: self.mates.len() == 1, barrier: barrier.or(Some(Position::ZERO)) };
            self.table.due(now, conditions, &|_| Members::default(), &mut self.waiting);
        }
    }

    fn pump(&mut self, now: MonoMs, delay_ms: MonoMs) {
        if self.in_flight.is_some() {
            return;
        }
        let mut asides = std::mem::take(&mut self.asides);
        let applied = self.state.position();
        let may_show = self.witness.may_show(applied) && !self.table.owes();
        if now >= self.beacon_at && !self.has_beacon_out && may_show {
            self.has_beacon_out = true;
            asides.push(Aside::Beacon { node: self.id, applied });
        }
        let ops = std::mem::take(&mut self.waiting);
        if !ops.is_empty() || !asides.is_empty() {
            self.in_flight = Some((now + delay_ms, frame(self.id, &mut self.counter, now, ops), asides));
        }
    }
}

/// A node that has not shown itself yet owns nothing.
fn nobodys() -> Ownership {
    Ownership::of([Standing { node: NodeIncarnation(0), joined_ms: 0, leaving: false }], 0)
}

/// One provider.
pub(super) struct Provided {
    pub(super) key: InstanceKey,
    pub(super) interval_ms: MonoMs,
    pub(super) next: MonoMs,
    pub(super) dies_at: MonoMs,
    /// When it was last heard by anybody.
    pub(super) last: MonoMs,
}

pub(super) fn name(n: usize) -> InstanceKey {
    key(&format!("s{n}/i"))
}

/// Lets time pass, with everybody doing what they do.
pub(super) fn run(fleet: &mut Fleet, providers: &mut [Provided], until: MonoMs) {
    while fleet.now < until {
        for provider in providers.iter_mut() {
            if provider.next <= fleet.now && fleet.now < provider.dies_at {
                fleet.beat(&provider.key);
                provider.last = fleet.now;
                provider.next = fleet.now + provider.interval_ms;
            }
        }
        fleet.tick();
    }
}

/// Who refuted an instance since then, and with which age.
pub(super) fn refutes(fleet: &Fleet, key: &InstanceKey, since: MonoMs) -> Vec<(MonoMs, NodeIncarnation, u64)> {
    let of_it = |(at, node, op): &(MonoMs, NodeIncarnation, Op)| match op {
        Op::Refute { instance, age_ms, .. } if instance == key && *at >= since => Some((*at, *node, *age_ms)),
        _ => None,
    };
    fleet.applied.iter().filter_map(of_it).collect()
}

/// Those who were said to be unhealthy, and when first since then.
pub(super) fn fallen(fleet: &Fleet) -> BTreeSet<InstanceKey> {
    let of_it = |(_, _, op): &(MonoMs, NodeIncarnation, Op)| match op {
        Op::Unhealthy { instance, .. } => Some(instance.clone()),
        _ => None,
    };
    fleet.applied.iter().filter_map(of_it).collect()
}
