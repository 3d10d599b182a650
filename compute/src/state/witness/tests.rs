use super::*;
use crate::model::Lease;
use crate::state::lease_table::tests::world::{checked, instance, key, revision};
use crate::state::ownership::Standing;

fn suspicion(n: u64, age_ms: u64) -> Suspicion {
    Suspicion { revision: revision(n), generation: revision(1), age_ms, cause: Cause::Lapse }
}

fn lease(text: &str) -> (InstanceKey, Arc<Instance>) {
    let key = key(text);
    let instance = instance(&key.id, Lease::DEFAULT, 1);
    (key, instance)
}

fn said(witness: &mut Witness, now: MonoMs) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    witness.due(now, usize::MAX, &mut out);
    let refute = |op: &Op| match op {
        Op::Refute { suspicion, age_ms, .. } => (suspicion.position().offset(), *age_ms),
        other => panic!("no word of a witness: {other:?}"),
    };
    out.iter().map(refute).collect()
}

#[test]
fn what_was_heard_here_and_is_younger_refutes() {
    for (age_ms, refutes) in [(4_001, true), (4_000, false), (3_000, false)] {
        let (key, instance) = lease("s/a");
        let mut witness = Witness::default();
        instance.cell.renew(1_000);
        witness.suspected(&key, &instance, &suspicion(9, age_ms), 5_000);
        let expected = if refutes { vec![(9, 4_100)] } else { vec![] };
        assert_eq!(said(&mut witness, 5_100), expected, "{age_ms}");
    }
}

#[test]
fn what_was_only_assumed_refutes_nothing() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(1_000);
    witness.registered(&instance, 3_000);
    witness.suspected(&key, &instance, &suspicion(9, 10_000), 5_000);
    assert_eq!((said(&mut witness, 5_000), witness.next_deadline()), (vec![], None));
    assert_eq!(instance.cell.renewed_ms(), 3_000);
}

#[test]
fn a_heartbeat_refutes_once() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(1_000);
    witness.suspected(&key, &instance, &suspicion(9, 10_000), 5_000);
    assert_eq!(said(&mut witness, 5_000), [(9, 4_000)]);
    // Applied in the same moment; the next suspicion names an age that could be believed to be older.
    witness.cleared(&key, Some(&instance), Some(4_000), 5_000);
    witness.suspected(&key, &instance, &suspicion(10, 99_000), 6_000);
    assert_eq!(said(&mut witness, 6_000), []);
    // Another heartbeat is another matter.
    instance.cell.renew(6_500);
    witness.suspected(&key, &instance, &suspicion(11, 99_000), 7_000);
    assert_eq!(said(&mut witness, 7_000), [(11, 500)]);
}

#[test]
fn what_is_younger_than_anothers_refute_is_not_spent_by_it() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(4_000);
    witness.suspected(&key, &instance, &suspicion(9, 10_000), 5_000);
    assert_eq!(said(&mut witness, 5_000), [(9, 1_000)]);
    // Somebody else's was first, with an older heartbeat.
    witness.cleared(&key, Some(&instance), Some(3_000), 5_100);
    witness.suspected(&key, &instance, &suspicion(10, 10_000), 9_000);
    assert_eq!(said(&mut witness, 9_000), [(10, 5_000)]);
}

#[test]
fn it_is_said_again_until_it_comes_back_with_the_age_that_it_has_then() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(1_000);
    witness.suspected(&key, &instance, &suspicion(9, 10_000), 5_000);
    assert_eq!(said(&mut witness, 5_000), [(9, 4_000)]);
    assert_eq!(said(&mut witness, 6_999), []);
    assert_eq!(witness.next_deadline(), Some(7_000));
    assert_eq!(said(&mut witness, 7_000), [(9, 6_000)]);
    instance.cell.renew(8_000);
    witness.refused(&Op::Refute { instance: key.clone(), suspicion: revision(9), age_ms: 6_000 }, 8_100);
    assert_eq!(witness.next_deadline(), Some(8_350));
    assert_eq!(said(&mut witness, 8_350), [(9, 350)]);
    witness.cleared(&key, Some(&instance), Some(350), 8_400);
    assert_eq!((said(&mut witness, 99_000), witness.next_deadline(), witness.len()), (vec![], None, 0));
}

#[test]
fn a_beacon_waits_for_the_refutes_before_it() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(1_000);
    witness.suspected(&key, &instance, &suspicion(9, 10_000), 5_000);
    let at = |n: u64| revision(n).position();
    assert!(witness.may_show(at(8)) && !witness.may_show(at(9)) && !witness.may_show(at(10)));
    let (mut none, mut some) = (Vec::new(), Vec::new());
    witness.due(5_000, 0, &mut none);
    assert!(none.is_empty() && !witness.may_show(at(9)), "the frame was full");
    witness.due(5_000, 1, &mut some);
    assert!(some.len() == 1 && witness.may_show(at(10)));
    witness.refused(&some[0], 5_100);
    assert!(!witness.may_show(at(9)));
    witness.ended(&key);
    assert!(witness.may_show(at(10)) && witness.is_empty());
}

#[test]
fn nothing_is_owed_of_another_life_or_of_what_does_not_live_by_heartbeats() {
    let (key, instance) = lease("s/a");
    let mut witness = Witness::default();
    instance.cell.renew(4_000);
    let of_another_life = Suspicion { generation: revision(2), ..suspicion(9, 10_000) };
    let of_a_check = Suspicion { cause: Cause::Check { detail: "refused".into() }, ..suspicion(9, 10_000) };
    for other in [of_another_life, of_a_check] {
        witness.suspected(&key, &instance, &other, 5_000);
        assert!(witness.is_empty(), "{other:?}");
    }
}

#[test]
fn the_second_of_a_lease_is_asked_about_a_failed_check_and_nobody_else() {
    let key = key("s/a");
    let instance = instance(&key.id, checked(None), 1);
    let members = [1, 2, 3].map(|node| Standing { node: NodeIncarnation(node), joined_ms: 0, leaving: false });
    let ownership = Ownership::of(members, 0);
    let failed = Suspicion { cause: Cause::Check { detail: "refused".into() }, ..suspicion(9, 0) };
    let asked =
        |node, suspicion: &Suspicion| second_opinion(&ownership, NodeIncarnation(node), &key, &instance, suspicion);
    let second = ownership.second(&key).unwrap();
    let all: Vec<_> = (1..=3).filter(|node| asked(*node, &failed).is_some()).collect();
    assert_eq!(all, [second.0]);
    assert!(asked(second.0, &suspicion(9, 0)).is_none());
    let of_another_life = Suspicion { generation: revision(2), ..failed.clone() };
    assert!(asked(second.0, &of_another_life).is_none());
    let word = |is_well| asked(second.0, &failed).unwrap().word(is_well);
    assert_eq!(word(false), Op::Confirm { instance: key.clone(), suspicion: revision(9) });
    assert_eq!(word(true), Op::Refute { instance: key.clone(), suspicion: revision(9), age_ms: 0 });
}
