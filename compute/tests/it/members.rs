//! What nodes say of each other, in every order, against the independent model; and nodes that boot in between.

use std::collections::BTreeSet;
use std::sync::Arc;

use compute::model::{
    Author, Base, Cause, Change, Entry, Frame, FreezeScope, InstanceKey, Lease, LogIdentity, NodeIncarnation, Op,
    Origin, Position, Provider, ProviderSpec, Revision,
};
use compute::port::store::Loaded;
use compute::state::{State, Verdict};
use compute::testing::journal::Decided;
use compute::testing::model::{Model, differences};
use compute::testing::script::{IDENTITY, Script};

/// Frames before anybody speaks.
const QUIET: u64 = 9;

/// A state and the model, side by side.
struct Pair {
    state: State,
    model: Model,
}

impl Pair {
    fn apply(&mut self, changes: Vec<Change>) -> Vec<Verdict> {
        let offset = self.state.position().offset() + 1;
        let position = Position::new(1, offset).expect("in range");
        let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(1), time_ms: offset, changes };
        let entry = Entry { position, frame: Arc::new(frame), checksum: offset };
        let verdicts = self.state.apply(&entry).expect("the log is whole").verdicts;
        let decided = Decided { entry, verdicts: verdicts.clone() };
        self.model.read(&decided).unwrap_or_else(|wrong| panic!("{wrong}"));
        verdicts
    }

    fn agree(&self) {
        let different = differences(self.model.rows(), self.state.all_rows());
        assert!(different.is_empty(), "{different:#?}");
    }
}

fn change(node: u64, counter: u64, op: Op) -> Change {
    Change { origin: Origin { node: NodeIncarnation(node), counter }, author: Author::new("node", "lease"), op }
}

fn a() -> InstanceKey {
    InstanceKey::new("default", "orders", "a").expect("a good key")
}

fn beacon(applied: u64, landed: u64, leaving: bool) -> Op {
    let at = |offset| Position::new(1, offset).expect("in range");
    let (name, peer) = (format!("n{applied}").into(), "10.0.0.1:7802".into());
    Op::Beacon {
        name,
        peer,
        applied: at(applied),
        rolling_hash: applied,
        digest: None,
        rebuilt: None,
        landed: at(landed),
        leaving,
    }
}

/// Two nodes that live, doubt and bury each other, and one of them holds back what it owns.
fn said(generation: Revision) -> [Change; 7] {
    let suspect = Op::Suspect { instance: a(), generation, age_ms: 10_000, cause: Cause::Lapse };
    let freeze = Op::Freeze { scope: FreezeScope::Node(NodeIncarnation(2)), lapsed: 3, of: 3 };
    [
        change(1, 1, beacon(8, 1, false)),
        change(2, 1, beacon(7, 2, false)),
        change(2, 2, beacon(6, 3, true)),
        change(1, 2, Op::Gone { node: NodeIncarnation(2) }),
        change(2, 3, Op::Gone { node: NodeIncarnation(1) }),
        change(2, 4, freeze),
        change(2, 5, suspect),
    ]
}

fn begun() -> (Pair, Revision) {
    let mut pair = Pair { state: State::new(IDENTITY), model: Model::new() };
    let spec = ProviderSpec { lease: Lease::DEFAULT, ..ProviderSpec::at("10.0.0.7", 80) };
    let provider = Box::new(Provider::new(&spec).expect("a good provider"));
    let register = Op::Register { instance: a(), provider, base: Base::Absent(Position::ZERO), epoch: None };
    let verdicts = pair.apply(vec![change(9, 1, register)]);
    let Verdict::Applied(generation) = verdicts[0] else { panic!("{verdicts:?}") };
    (1..QUIET).for_each(|_| drop(pair.apply(vec![])));
    (pair, generation)
}

/// Every order of `items`, by Heap's way.
fn orders(items: usize) -> Vec<Vec<usize>> {
    let (mut order, mut all) = ((0..items).collect::<Vec<_>>(), vec![]);
    let mut counts = vec![0; items];
    all.push(order.clone());
    let mut at = 0;
    while at < items {
        if counts[at] < at {
            order.swap(if at.is_multiple_of(2) { 0 } else { counts[at] }, at);
            all.push(order.clone());
            counts[at] += 1;
            at = 0;
        } else {
            counts[at] = 0;
            at += 1;
        }
    }
    all
}

#[test]
fn nodes_may_speak_of_each_other_in_any_order() {
    let mut outcomes = BTreeSet::new();
    for order in orders(7) {
        for in_one_frame in [false, true] {
            let (mut pair, generation) = begun();
            let said = said(generation);
            let ordered: Vec<_> = order.iter().map(|at| said[*at].clone()).collect();
            let frames: Vec<Vec<_>> =
                if in_one_frame { vec![ordered] } else { ordered.into_iter().map(|one| vec![one]).collect() };
            let verdicts: Vec<_> = frames.iter().flat_map(|frame| pair.apply(frame.clone())).collect();

            // Sent again, in the same order: nothing of it counts.
            let before = pair.state.all_rows();
            let again: Vec<_> = frames.iter().flat_map(|frame| pair.apply(frame.clone())).collect();
            assert!(again.iter().all(|verdict| *verdict == Verdict::Duplicate), "{order:?}: {again:?}");
            let mut seen = differences(before, pair.state.all_rows());
            seen.retain(|row| !row.contains("OriginRow"));
            assert!(seen.is_empty(), "{order:?}: {seen:#?}");

            // And a third node would have the suspect's end.
            if let Some(standing) = pair.state.suspicion(&a()).map(|standing| standing.revision) {
                pair.apply(vec![change(3, 1, Op::Unhealthy { instance: a(), suspicion: standing })]);
            }
            pair.agree();
            let is_healthy = pair.state.instance(&a()).is_some_and(|there| there.is_healthy());
            let members: Vec<_> = pair.state.members().map(|(node, row)| (node.0, row.applied, row.leaving)).collect();
            let took: Vec<_> = verdicts.iter().map(|verdict| matches!(verdict, Verdict::Applied(_))).collect();
            outcomes.insert(format!("{is_healthy} {members:?} {took:?}"));
        }
    }
    assert!(outcomes.len() > 50, "{} outcomes", outcomes.len());
}

/// Whatever a node boots from, it decides from there on as those do that were there all the time.
#[test]
fn a_node_that_boots_decides_as_the_others_do() {
    let (mut booted, mut judged) = (0, 0);
    for seed in 0..30 {
        let mut script = Script::new(seed);
        let mut others: Vec<State> = Vec::new();
        for step in 0..400 {
            if step % 40 == 39 {
                let state = script.state();
                let loaded = Loaded { log: Some(state.log()), rows: state.all_rows() };
                others.push(State::load(loaded, LogIdentity([1; 16])).expect("the rows agree"));
                booted += 1;
            }
            let Some(decided) = script.step() else { continue };
            for other in &mut others {
                let applied = other.apply(&decided.entry).expect("the log is whole");
                assert_eq!(applied.verdicts, decided.verdicts, "seed {seed}, at {}", decided.entry.position);
                judged += applied.verdicts.len();
            }
        }
        for other in &others {
            let different = differences(script.state().all_rows(), other.all_rows());
            assert!(different.is_empty(), "seed {seed}: {different:#?}");
            assert_eq!((other.log(), other.barrier()), (script.state().log(), script.state().barrier()));
        }
    }
    assert!(booted > 250 && judged > 20_000, "{booted} booted, {judged} verdicts");
}

/// What a frame of beacons does shows in no view, and in no digest.
#[test]
fn beacons_touch_no_service() {
    let mut beacons = 0;
    for seed in 0..20 {
        let mut script = Script::new(2 * seed + 1);
        let mut other = State::new(IDENTITY);
        for _ in 0..400 {
            let Some(decided) = script.step() else { continue };
            let views = |state: &State| -> Vec<_> {
                let rows = state.services().map(|(key, service)| (key.clone(), service.row().as_ref().clone()));
                let mut rows: Vec<_> = rows.collect();
                rows.sort_by(|a, b| a.0.cmp(&b.0));
                rows
            };
            let before = views(&other);
            let applied = other.apply(&decided.entry).expect("the log is whole");
            let is_of_nodes = |change: &Change| matches!(change.op, Op::Beacon { .. } | Op::Gone { .. });
            if decided.entry.frame.changes.iter().all(is_of_nodes) {
                beacons += decided.entry.frame.changes.len();
                assert!(applied.touched.is_empty() && applied.kept.is_empty() && applied.namespaces.is_empty());
                assert!(views(&other) == before, "seed {seed}, at {}", decided.entry.position);
            } else {
                let changes = decided.entry.frame.changes.iter().zip(&applied.verdicts);
                let mut of_nodes =
                    changes.filter(|(change, verdict)| is_of_nodes(change) && matches!(verdict, Verdict::Applied(_)));
                assert!(!applied.members_changed || of_nodes.next().is_some(), "members changed by themselves");
            }
        }
    }
    assert!(beacons > 300, "{beacons} beacons");
}
