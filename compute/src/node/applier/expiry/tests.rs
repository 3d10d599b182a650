use std::sync::Arc;

use super::Expiry;
use crate::model::{
    Author, Base, Cause, Change, Entry, Frame, InstanceKey, Lease, LogIdentity, NodeIncarnation, Op, Origin, Position,
    Provider, ProviderSpec, Suspicion,
};
use crate::node::checks::Feed;
use crate::state::State;
use crate::state::freeze::{Members, WINDOW_MS};
use crate::state::lease_table::Conditions;
use crate::state::ownership::{Ownership, Standing};

const ME: NodeIncarnation = NodeIncarnation(1);
const IDENTITY: LogIdentity = LogIdentity([3; 16]);
const TTL_MS: u64 = 3_000;

/// A state with an instance of each of these services, registered in this order.
fn state(services: impl Iterator<Item = u32>) -> State {
    let mut state = State::new(IDENTITY);
    let spec = ProviderSpec { lease: Lease::ttl(TTL_MS, 1_000).unwrap(), ..ProviderSpec::at("10.0.0.1", 80) };
    let register = |service: u32| Op::Register {
        instance: InstanceKey::new("default", &format!("s{service:03}"), "i").unwrap(),
        provider: Box::new(Provider::new(&spec).unwrap()),
        base: Base::Absent(Position::ZERO),
        epoch: None,
    };
    let change = |(at, service)| Change {
        origin: Origin { node: ME, counter: at as u64 + 1 },
        author: Author::new("somebody", "test"),
        op: register(service),
    };
    let changes: Vec<_> = services.enumerate().map(change).collect();
    let frame = Frame { identity: IDENTITY, writer: ME, time_ms: 1_000, changes };
    let entry = Entry { position: Position::new(1, 1).unwrap(), frame: Arc::new(frame), checksum: 0 };
    let applied = state.apply(&entry).unwrap();
    assert!(applied.verdicts.iter().all(|verdict| matches!(verdict, crate::state::Verdict::Applied(_))));
    state
}

/// Two nodes that load the same rows, or one that starts twice, say the same in the same order.
#[test]
fn leases_are_taken_over_in_the_order_of_their_names() {
    let (checks, _end) = Feed::new();
    let wanted: Vec<String> = (0..100).map(|service| format!("s{service:03}")).collect();
    for state in [state(0..100), state((0..100).rev())] {
        let mut expiry = Expiry::ready(ME, &state, &checks, 0);
        let mut words = Vec::new();
        expiry.table.due(
            TTL_MS - 500,
            Conditions { is_alone: true, barrier: None },
            &|_| Members::default(),
            &mut words,
        );
        let mut said = Vec::new();
        for word in &words {
            let Op::Suspect { instance, .. } = word else { panic!("it is too soon for {word:?}") };
            said.push(instance.service.service.as_str().to_owned());
        }
        assert_eq!(said, wanted);
    }
}

/// It counts where it fell as long as it is there; then it is what another node has lost.
#[test]
fn what_fell_here_counts_as_anothers_when_its_lease_is() {
    let (checks, _end) = Feed::new();
    let mut state = state(0..1);
    let mut expiry = Expiry::ready(ME, &state, &checks, 0);
    let key = InstanceKey::new("default", "s000", "i").unwrap();
    let alone = Conditions { is_alone: true, barrier: None };
    let members = |_: &_| Members { all: 1, healthy: 1, ..Members::default() };
    for (offset, now) in [(2, TTL_MS - 500), (3, TTL_MS + 500)] {
        let mut words = Vec::new();
        expiry.table.due(now, alone, &members, &mut words);
        let op = words.pop().unwrap();
        let origin = Origin { node: ME, counter: offset };
        let changes = vec![Change { origin, author: Author::new("somebody", "test"), op }];
        let frame = Frame { identity: IDENTITY, writer: ME, time_ms: 1_000, changes };
        let entry = Entry { position: Position::new(1, offset).unwrap(), frame: Arc::new(frame), checksum: 0 };
        state.apply(&entry).unwrap();
        match state.suspicion(&key).filter(|_| state.instance(&key).unwrap().is_healthy()) {
            Some(suspicion) => drop(expiry.table.suspected(&key, suspicion, now)),
            None => expiry.table.unhealthy(&key, now),
        }
    }
    assert_eq!(expiry.elsewhere.lost(&key.service, TTL_MS + 500), (0, 0));
    let other = Standing { node: NodeIncarnation(2), joined_ms: 0, leaving: false };
    expiry.own(Ownership::of([other], 1_000), &state, &[], TTL_MS + 600);
    expiry.go_on_owning(&state, TTL_MS + 600);
    assert!(!expiry.table.has(&key));
    assert_eq!(expiry.elsewhere.lost(&key.service, TTL_MS + 600), (1, 0));
    assert_eq!(expiry.elsewhere.lost(&key.service, TTL_MS + 500 + WINDOW_MS), (0, 0));
}

/// The loop of a node would turn without a pause until its frame has come back, or, with a log that is away, for ever.
#[test]
fn what_a_witness_owes_wakes_nobody_while_it_can_not_be_said() {
    let (checks, _end) = Feed::new();
    let state = state(0..1);
    let mut expiry = Expiry::ready(ME, &state, &checks, 0);
    expiry.table.due(0, Conditions { is_alone: true, barrier: None }, &|_| Members::default(), &mut Vec::new());
    let key = InstanceKey::new("default", "s000", "i").unwrap();
    let there = state.instance(&key).unwrap();
    there.cell.renew(900);
    let (generation, revision) = (there.generation, state.position().next().at(0));
    let suspicion = Suspicion { revision, generation, age_ms: 2_000, cause: Cause::Lapse };
    expiry.witness.suspected(&key, there, &suspicion, 1_000);
    assert_eq!(expiry.next_deadline(true), Some(1_000));
    assert!(expiry.next_deadline(false).is_none_or(|at| at > 1_000));
}
