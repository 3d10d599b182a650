//! Lines of `SAYER: VERB ... = VERDICT ...`, one frame each (several changes are parted by `|`), and of questions,
//! `WHAT = ANSWER`. Each node is called `n` and its incarnation; a position by its offset.
//!
//! Every table is run twice: as it is, and with a node that boots from what has landed after each line. Both must say
//! the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;

use crate::model::{
    Author, Base, Cause, Change, Check, CheckKind, Digest, Entry, Frame, FreezeScope, InstanceKey, Lease, LeaseKind,
    LogIdentity, MemberRow, Namespace, NodeIncarnation, Op, Operator, Origin, Position, Provider, ProviderSpec,
    RemovalReason, Revision, Row, ServiceKey, SessionId,
};
use crate::port::store::{Epoch, PresenceStore};
use crate::state::{Applied, LeaseEvent, State, Verdict};
use crate::testing::store::MemoryStore;

const IDENTITY: LogIdentity = LogIdentity([3; 16]);
const GOOD: &str = "good";

/// Runs a table; what comes out must be the table.
#[track_caller]
pub(super) fn check(table: &str) {
    let lines: Vec<_> = table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for boots in [false, true] {
        let mut desk = Desk::new(boots);
        let said: Vec<_> = lines.iter().map(|line| desk.line(line)).collect();
        let (said, expected) = (said.join("\n"), lines.join("\n"));
        assert!(said == expected, "what was said (boots: {boots}):\n{said}\n\nwhat was expected:\n{expected}\n");
    }
}

struct Desk {
    state: State,
    boots: bool,
    store: Arc<MemoryStore>,
    epoch: Epoch,
    time_ms: u64,
    counters: BTreeMap<u64, u64>,
    last: Vec<Change>,
    /// What has landed since it was asked for.
    lands: BTreeMap<String, String>,
    digest: Digest,
}

impl Desk {
    fn new(boots: bool) -> Self {
        let store = MemoryStore::new();
        let epoch = store.lead(IDENTITY).now_or_never().expect("in memory").expect("free");
        Self {
            state: State::new(IDENTITY),
            boots,
            store,
            epoch,
            time_ms: 1_000,
            counters: BTreeMap::new(),
            last: Vec::new(),
            lands: BTreeMap::new(),
            digest: Digest::default(),
        }
    }

    fn line(&mut self, line: &str) -> String {
        if line.starts_with('#') {
            return line.to_owned();
        }
        let said = line.split(" = ").next().unwrap_or_default().trim_end();
        let width = line.find(" = ").unwrap_or(said.len());
        let words: Vec<_> = said.split_whitespace().collect();
        let answer = match words[..] {
            ["again"] => self.frame(self.last.clone()),
            ["frames", count] => {
                (0..count.parse().expect(GOOD)).for_each(|_| drop(self.frame(Vec::new())));
                return line.to_owned();
            }
            ["time", ms] => {
                self.time_ms = ms.parse().expect(GOOD);
                return line.to_owned();
            }
            [first, ..] if first.ends_with(':') => {
                let changes = said.split(" | ").map(|one| self.change(one)).collect();
                self.frame(changes)
            }
            _ => self.ask(&words),
        };
        format!("{said:width$} = {answer}")
    }

    fn change(&mut self, said: &str) -> Change {
        let (sayer, what) = said.split_once(':').expect("who says it");
        let node = node(sayer.trim());
        let words: Vec<_> = what.split_whitespace().collect();
        let op = self.op(node, words[0], &words[1..]);
        let counter = self.counters.entry(node.0).or_default();
        *counter += 1;
        Change { origin: Origin { node, counter: *counter }, author: Author::new("somebody", "test"), op }
    }

    fn frame(&mut self, changes: Vec<Change>) -> String {
        if !changes.is_empty() {
            self.last.clone_from(&changes);
        }
        let offset = self.state.position().offset() + 1;
        let position = Position::new(1, offset).expect("in range");
        let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(99), time_ms: self.time_ms, changes };
        let entry = Entry { position, frame: Arc::new(frame), checksum: offset };
        let from = self.state.position();
        let applied = self.state.apply(&entry).expect("the log is whole");
        self.land(from);
        words_of(&applied)
    }

    /// Lands everything, and boots from it.
    fn land(&mut self, from: Position) {
        let rows = self.state.take_rows();
        for row in &rows.members {
            let sign = if matches!(row, Row::Delete(_)) { "-" } else { "" };
            self.lands.insert(format!("n{}", row.key().0), format!("{sign}n{}", row.key().0));
        }
        for row in &rows.freezes {
            let sign = if matches!(row, Row::Delete(_)) { "-" } else { "" };
            let scope = scope_word(row.key());
            self.lands.insert(format!("freeze:{scope}"), format!("{sign}freeze:{scope}"));
        }
        let landed = self.store.land(self.epoch, rows, from, self.state.log()).now_or_never();
        landed.expect("in memory").expect("taken");
        if self.boots {
            let loaded = self.store.load().now_or_never().expect("in memory").expect("readable");
            self.state = State::load(loaded, LogIdentity([8; 16])).expect("the rows agree");
        }
    }

    fn op(&self, by: NodeIncarnation, verb: &str, words: &[&str]) -> Op {
        let first = words.first().copied().unwrap_or_default();
        match verb {
            "beacon" => self.beacon(by, words),
            "gone" => Op::Gone { node: node(first) },
            "freeze" => Op::Freeze { scope: scope(first), lapsed: 3, of: 3 },
            "release" => {
                let standing = self.state.freeze(&scope(first)).map(|freeze| freeze.revision);
                Op::Release { scope: scope(first), freeze: standing.unwrap_or(Revision::ZERO) }
            }
            "open" | "attach" | "close" => self.of_session(by, verb, first, words),
            "namespace" => {
                let namespace = Namespace::new(first).expect(GOOD);
                Op::PutNamespace { namespace, settings: Default::default(), base: Base::Absent(self.state.position()) }
            }
            "delete-namespace" => {
                let namespace = Namespace::new(first).expect(GOOD);
                let mut all = self.state.namespaces();
                let base = all.find(|(name, _)| **name == namespace).map_or(Revision::ZERO, |(_, row)| row.revision);
                Op::DeleteNamespace { namespace, base }
            }
            "service" | "delete-service" | "collect" => self.of_service(verb, service(first)),
            _ => self.of_instance(verb, key(first), &words[1..]),
        }
    }

    fn beacon(&self, by: NodeIncarnation, words: &[&str]) -> Op {
        let mut shown = MemberRow {
            name: format!("n{}", by.0).into(),
            peer: "".into(),
            joined_ms: 0,
            joined: Revision::ZERO,
            seen: Revision::ZERO,
            applied: self.state.position(),
            rolling_hash: 0,
            landed: Position::ZERO,
            leaving: false,
            gone: false,
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("applied", offset) => shown.applied = at(offset),
                ("landed", offset) => shown.landed = at(offset),
                ("name", name) => shown.name = name.into(),
                ("peer", peer) => shown.peer = peer.into(),
                ("hash", hash) => shown.rolling_hash = hash.parse().expect(GOOD),
                ("leaving", "") => shown.leaving = true,
                other => panic!("no part of a beacon: {other:?}"),
            }
        }
        let MemberRow { name, peer, applied, rolling_hash, landed, leaving, .. } = shown;
        Op::Beacon {
            name,
            peer,
            applied,
            rolling_hash,
            digest: Some(self.state.digest()),
            rebuilt: None,
            landed,
            leaving,
        }
    }

    fn of_session(&self, by: NodeIncarnation, verb: &str, name: &str, words: &[&str]) -> Op {
        let session = session(name);
        let epoch = self.state.session(&session).map_or(0, |session| session.epoch);
        // `for n2`: the connection is another node's than who says it.
        let node = if let [_, "for", other] = words { node(other) } else { by };
        match verb {
            "open" => Op::OpenSession { session, node, grace_ms: 10_000, client: "client".into() },
            "attach" => Op::AttachSession { session, node, epoch: epoch + 1 },
            _ => Op::CloseSession { session, epoch, deregister: true },
        }
    }

    fn of_service(&self, verb: &str, service: ServiceKey) -> Op {
        let row = self.state.service(&service).map(|service| service.row().as_ref().clone());
        let base = row.as_ref().map_or(Revision::ZERO, |row| row.settings_revision);
        match verb {
            "service" => {
                let base = Base::Absent(self.state.position());
                Op::PutService { service, settings: Default::default(), base }
            }
            "collect" => Op::CollectService { service, base: row.map_or(Revision::ZERO, |row| row.revision) },
            _ => Op::DeleteService { service, base },
        }
    }

    fn of_instance(&self, verb: &str, instance: InstanceKey, words: &[&str]) -> Op {
        let there = self.state.instance(&instance);
        let base = there.map_or(Base::Absent(self.state.position()), |there| Base::At(there.revision));
        let generation = there.map_or(Revision::ZERO, |there| there.generation);
        let revision = there.map_or(Revision::ZERO, |there| there.revision);
        let suspicion = self.state.suspicion(&instance).map_or(Revision::ZERO, |standing| standing.revision);
        match verb {
            "register" => {
                let lease = lease(words);
                let epoch = lease.session().and_then(|id| self.state.session(&id)).map(|session| session.epoch);
                let port = self.state.position().offset() as u16;
                let spec = ProviderSpec { lease, ..ProviderSpec::at("10.0.0.1", port) };
                Op::Register { instance, provider: Box::new(Provider::new(&spec).expect(GOOD)), base, epoch }
            }
            "deregister" => Op::Deregister { instance, generation, reason: RemovalReason::Deregistered },
            "operate" => Op::Operate { instance, generation, base: revision, operator: Some(Box::new(isolated())) },
            "end" => {
                let word = there.and_then(|there| there.operator.as_ref()).map_or(Revision::ZERO, |o| o.revision);
                Op::EndOverride { instance, operator: word }
            }
            "suspect" => {
                let lease = there.map_or(&Lease::Permanent, |there| there.lease());
                let cause = match (lease.kind(), lease.session()) {
                    (LeaseKind::Checked, _) => Cause::Check { detail: "no answer".into() },
                    (_, Some(session)) => {
                        let epoch = self.state.session(&session).map_or(0, |session| session.epoch);
                        Cause::Session { session, epoch }
                    }
                    _ => Cause::Lapse,
                };
                Op::Suspect { instance, generation, age_ms: 10_000, cause }
            }
            "refute" => Op::Refute { instance, suspicion, age_ms: 1 },
            "confirm" => Op::Confirm { instance, suspicion },
            "unhealthy" => Op::Unhealthy { instance, suspicion },
            "expire" => Op::Expire { instance, suspicion },
            other => panic!("no verb: {other}"),
        }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let state = &self.state;
        match *words {
            ["members"] => {
                let leaving = |row: &MemberRow| if row.leaving { "/leaving" } else { "" };
                list(state.members().map(|(node, row)| format!("n{}{}", node.0, leaving(row))))
            }
            ["gone"] => list((0..100).filter(|n| state.is_gone(NodeIncarnation(*n))).map(|n| format!("n{n}"))),
            ["member", name] => state.member(node(name)).map_or("none".to_owned(), member_words),
            ["row", name] => {
                let rows = state.all_rows().members;
                let row = rows.into_iter().find(|row| *row.key() == node(name));
                if let Some(Row::Put(_, row)) = row { member_words(&row) } else { "none".to_owned() }
            }
            ["barrier"] => state.barrier().map_or("none".to_owned(), |at| at.offset().to_string()),
            ["freezes"] => list(state.freezes().map(|(scope, _)| scope_word(scope))),
            ["lands"] => list(std::mem::take(&mut self.lands).into_values()),
            ["instances"] => {
                let words = |i: &crate::model::Instance| if i.is_healthy() { "" } else { "/unhealthy" };
                let shown = state.services().flat_map(|(_, service)| service.instances().iter());
                let mut shown: Vec<_> = shown.map(|i| format!("{}{}", i.id, words(i))).collect();
                shown.sort();
                list(shown.into_iter())
            }
            ["sessions"] => list(state.sessions().map(|(id, row)| format!("{}@n{}", char::from(id.0[0]), row.node.0))),
            ["digest"] => {
                let sum = |sum: Digest, (_, service): (_, &crate::state::Service)| sum.plus(service.row().digest);
                let now = state.services().fold(Digest::default(), sum);
                let is_same = std::mem::replace(&mut self.digest, now) == now;
                if is_same { "as before" } else { "another" }.to_owned()
            }
            _ => panic!("no question: {words:?}"),
        }
    }
}

fn words_of(applied: &Applied) -> String {
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Applied(_) => "applied".to_owned(),
        Verdict::Duplicate => "duplicate".to_owned(),
        Verdict::Refused(why) => format!("{why:?}").to_lowercase(),
    };
    let mut words = vec![applied.verdicts.iter().map(verdict).collect::<Vec<_>>().join(" | ")];
    if applied.members_changed {
        words.push("changed".to_owned());
    }
    if !applied.touched.is_empty() {
        words.push("touched".to_owned());
    }
    words.extend(applied.leases.iter().filter_map(|event| match event {
        LeaseEvent::Released { scope } => Some(format!("released {}", scope_word(scope))),
        _ => None,
    }));
    words.join(" ")
}

fn member_words(row: &MemberRow) -> String {
    let MemberRow { name, peer, joined_ms, joined, seen, applied, rolling_hash, landed, leaving, gone } = row;
    let (joined, seen) = (joined.position().offset(), seen.position().offset());
    let (applied, landed) = (applied.offset(), landed.offset());
    let leaving = if *leaving { " leaving" } else { "" };
    let gone = if *gone { " gone" } else { "" };
    format!(
        "{name} [{peer}] joined {joined} at {joined_ms} seen {seen} applied {applied} hash {rolling_hash} landed \
         {landed}{leaving}{gone}"
    )
}

fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn node(name: &str) -> NodeIncarnation {
    let number = name.strip_prefix('n').and_then(|n| n.parse().ok());
    NodeIncarnation(number.unwrap_or_else(|| panic!("no node: {name:?}")))
}

fn at(offset: &str) -> Position {
    match offset.parse().expect(GOOD) {
        0 => Position::ZERO,
        offset => Position::new(1, offset).expect(GOOD),
    }
}

fn session(name: &str) -> SessionId {
    let mut id = [0; 16];
    id[0] = name.as_bytes()[0];
    SessionId(id)
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("default", name).expect(GOOD)
}

fn key(id: &str) -> InstanceKey {
    InstanceKey::new("default", "orders", id).expect(GOOD)
}

fn scope(name: &str) -> FreezeScope {
    if name.starts_with('n') { FreezeScope::Node(node(name)) } else { FreezeScope::Service(service(name)) }
}

fn scope_word(scope: &FreezeScope) -> String {
    match scope {
        FreezeScope::Node(node) => format!("n{}", node.0),
        FreezeScope::Service(service) => service.service.to_string(),
    }
}

fn lease(words: &[&str]) -> Lease {
    match words {
        [] | ["ttl"] => Lease::DEFAULT,
        ["stream", name] => Lease::stream(session(name), 5_000).expect(GOOD),
        ["checked"] => {
            Lease::checked(Check::new(CheckKind::Tcp, 5_000, 1_000, 3, 1, None).expect(GOOD), Some(5_000)).expect(GOOD)
        }
        other => panic!("no lease: {other:?}"),
    }
}

fn isolated() -> Operator {
    Operator {
        isolated: Some(true),
        weight: None,
        note: None,
        expires_at_ms: None,
        keep_ms: 0,
        author: Author::new("ops", "test"),
        set_at_ms: 0,
        revision: Revision::ZERO,
    }
}
