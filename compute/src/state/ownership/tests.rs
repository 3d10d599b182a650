use std::collections::BTreeMap;

use super::*;
use crate::state::lease_table::tests::world::key;

fn member(node: u64) -> Standing {
    Standing { node: NodeIncarnation(node), joined_ms: 0, leaving: false }
}

fn young(node: u64, joined_ms: u64) -> Standing {
    Standing { joined_ms, ..member(node) }
}

fn leaving(node: u64) -> Standing {
    Standing { leaving: true, ..member(node) }
}

fn of(nodes: &[u64]) -> Ownership {
    Ownership::of(nodes.iter().map(|node| member(*node)), RIPE_MS)
}

fn nodes(ownership: &Ownership) -> Vec<u64> {
    ownership.shares().iter().map(|node| node.0).collect()
}

fn keys() -> impl Iterator<Item = InstanceKey> {
    (0..20_000).map(|n| key(&format!("s{}/10.0.{}.{}:8080", n % 977, n / 256, n % 256)))
}

/// What another version of this program, or a reader of the specification, computes too.
#[test]
fn the_owners_are_these_for_ever() {
    let ownership = of(&[1, 2, 3, 0xfeed_face_1234_5678, u64::MAX]);
    let of_key = |namespace, service, id| {
        let key = InstanceKey::new(namespace, service, id).unwrap();
        (ownership.owner(&key).unwrap().0, ownership.second(&key).unwrap().0)
    };
    assert_eq!(of_key("default", "s", "a"), (3, 1));
    assert_eq!(of_key("default", "orders", "10.0.0.1:8080"), (0xfeed_face_1234_5678, 1));
    assert_eq!(of_key("tenant-7", "a/b@@c", "x"), (1, 3));
    assert_eq!(of_key("default", "payments", "i-0123456789abcdef0123"), (1, u64::MAX));
    assert_eq!(of_key("default", "s", "ä漢字"), (3, 0xfeed_face_1234_5678));
    let of_session = |id: [u8; 16]| ownership.owner_of_session(&SessionId(id), NodeIncarnation(9)).unwrap().0;
    assert_eq!(of_session([0; 16]), 2);
    assert_eq!(of_session(std::array::from_fn(|at| at as u8)), 1);
    assert_eq!(of_session([0xff; 16]), 2);
    assert_eq!(instance_hash(&key("s/a").service, &key("s/a").id), 0x2de0_e5f2_5570_fd6a);
}

#[test]
fn the_order_in_which_members_are_told_does_not_matter() {
    let (a, b) = (of(&[1, 2, 3, 4]), of(&[4, 2, 1, 3]));
    assert_eq!(a, b);
    assert!(keys().all(|key| a.owner(&key) == b.owner(&key) && a.second(&key) == b.second(&key)));
}

#[test]
fn each_has_its_share_and_who_comes_or_goes_moves_no_other() {
    let (three, four) = (of(&[10, 20, 30]), of(&[10, 20, 30, 40]));
    let mut shares = BTreeMap::new();
    for key in keys() {
        let (before, after) = (three.owner(&key).unwrap(), four.owner(&key).unwrap());
        assert!(after == before || after.0 == 40, "{key} went from {before:?} to {after:?}");
        // Whose owner goes is owned by the one that came second.
        let expected = if after.0 == 40 { four.second(&key) } else { Some(after) };
        assert_eq!(Some(before), expected, "{key}");
        *shares.entry(after.0).or_insert(0) += 1;
    }
    for node in [10, 20, 30, 40] {
        assert!((4_700..5_300).contains(&shares[&node]), "{shares:?}");
    }
}

#[test]
fn the_second_is_another_node_and_a_lone_one_has_none() {
    let ownership = of(&[1, 2]);
    assert!(keys().all(|key| {
        let (owner, second) = (ownership.owner(&key).unwrap(), ownership.second(&key).unwrap());
        owner != second
    }));
    assert_eq!(of(&[1]).second(&key("s/a")), None);
}

#[test]
fn a_newcomer_has_no_share_while_an_older_one_stays() {
    let at = |members: &[Standing], now| nodes(&Ownership::of(members.iter().copied(), now));
    assert_eq!(at(&[member(1), young(2, 90_000)], 119_999), [1]);
    assert_eq!(at(&[member(1), young(2, 90_000)], 120_000), [1, 2]);
    // The older one leaves: the newcomer is all there is.
    assert_eq!(at(&[leaving(1), young(2, 90_000)], 91_000), [2]);
    assert_eq!(at(&[leaving(1), young(2, 90_000), member(3)], 91_000), [3]);
    // All leave: all share.
    assert_eq!(at(&[leaving(2), leaving(1)], 91_000), [1, 2]);
}

#[test]
fn those_that_start_together_share_all_the_time() {
    let members = [young(1, 5_000), young(2, 34_999), young(3, 35_000)];
    let joined = |now: u64| members.into_iter().filter(move |member| member.joined_ms <= now);
    let at = |now| nodes(&Ownership::of(joined(now), now));
    assert_eq!((at(5_000), at(34_998), at(34_999)), (vec![1], vec![1], vec![1, 2]));
    assert_eq!((at(35_000), at(64_999), at(65_000)), (vec![1, 2], vec![1, 2], vec![1, 2, 3]));
}

#[test]
fn it_is_told_when_a_newcomer_gets_its_share() {
    let members = [member(1), young(2, 95_000), young(3, 94_000), Standing { leaving: true, ..young(4, 90_000) }];
    let at = |now| Ownership::of(members, now);
    let (mut now, mut changes) = (96_000, Vec::new());
    while let Some(next) = at(now).ripens_ms() {
        assert!(at(next - 1).has_same_shares(&at(now)) && !at(next).has_same_shares(&at(now)), "{next}");
        changes.push(next);
        now = next;
    }
    assert_eq!(changes, [124_000, 125_000]);
}

#[test]
fn a_session_is_its_nodes_as_long_as_that_is_a_member() {
    let members = [member(1), young(2, 90_000), leaving(3)];
    let ownership = Ownership::of(members, 91_000);
    let sessions = (0..100_u8).map(|n| SessionId([n; 16]));
    for session in sessions {
        for node in [1, 2, 3] {
            assert_eq!(ownership.owner_of_session(&session, NodeIncarnation(node)), Some(NodeIncarnation(node)));
        }
        assert_eq!(ownership.owner_of_session(&session, NodeIncarnation(4)), Some(NodeIncarnation(1)));
    }
    let two = of(&[1, 2]);
    let drawn = |n: u8| two.owner_of_session(&SessionId([n; 16]), NodeIncarnation(4));
    assert!((0..100).any(|n| drawn(n) != drawn(0)), "one node gets all the sessions of one that is gone");
}

#[test]
fn without_members_everything_is_this_nodes() {
    let alone = Ownership::default();
    assert!(alone.is_embedded());
    assert_eq!((alone.owner(&key("s/a")), alone.second(&key("s/a"))), (None, None));
    assert!(alone.is_owner(NodeIncarnation(7), &key("s/a")));
    let shared = of(&[1]);
    assert!(!shared.is_embedded() && shared.is_owner(NodeIncarnation(1), &key("s/a")));
    assert!(!shared.is_owner(NodeIncarnation(7), &key("s/a")));
}

#[test]
fn suspects_of_other_nodes_are_counted_while_they_are_healthy() {
    use crate::model::{Author, Base, Cause, Change, Entry, Frame, Lease, LogIdentity, Op, Origin, Position};
    use crate::model::{Provider, ProviderSpec, Revision};
    let (identity, ownership) = (LogIdentity([1; 16]), of(&[1, 2]));
    let mut state = State::new(identity);
    let mut counter = 0;
    let mut say = |op: Op| {
        counter += 1;
        let origin = Origin { node: NodeIncarnation(9), counter };
        let changes = vec![Change { origin, author: Author::new("somebody", "test"), op }];
        let frame = Frame { identity, writer: NodeIncarnation(9), time_ms: 1, changes };
        let position = Position::new(1, counter).unwrap();
        let verdicts = state.apply(&Entry { position, frame: frame.into(), checksum: 0 }).unwrap().verdicts;
        assert!(matches!(verdicts[..], [crate::state::Verdict::Applied(_)]), "{verdicts:?}");
        position.at(0)
    };
    let spec = ProviderSpec { lease: Lease::DEFAULT, ..ProviderSpec::at("h", 1) };
    let mut suspicions: BTreeMap<InstanceKey, Revision> = BTreeMap::new();
    for n in 0..60 {
        // A service before and one behind it in the order of names.
        let instance = key(&format!("{}/i{n}", ["a", "b", "c"][n % 3]));
        let (provider, base) = (Box::new(Provider::new(&spec).unwrap()), Base::Absent(Position::ZERO));
        let generation = say(Op::Register { instance: instance.clone(), provider, base, epoch: None });
        if n < 45 {
            let op = Op::Suspect { instance: instance.clone(), generation, age_ms: 1, cause: Cause::Lapse };
            suspicions.insert(instance, say(op));
        }
    }
    let of_b = || suspicions.iter().filter(|(key, _)| key.service.service.as_str() == "b");
    let theirs: Vec<_> = of_b().filter(|(key, _)| !ownership.is_owner(NodeIncarnation(1), key)).collect();
    assert!(theirs.len() > 2 && theirs.len() < 13, "{}", theirs.len());
    let (instance, suspicion) = theirs[0];
    say(Op::Unhealthy { instance: instance.clone(), suspicion: *suspicion });
    let counted = |ownership: &Ownership| ownership.suspects(NodeIncarnation(1), &state, &key("b/i").service);
    let (all, elsewhere) = counted(&ownership);
    assert_eq!((all as usize, elsewhere as usize), (of_b().count() - 1, theirs.len() - 1));
    assert_eq!(counted(&Ownership::default()), (0, 0));
}
