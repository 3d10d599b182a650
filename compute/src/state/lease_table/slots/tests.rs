use super::*;
use crate::state::lease_table::tests::world::instance;

fn key(text: &str) -> InstanceKey {
    let (service, id) = text.split_once('/').unwrap();
    InstanceKey::new("default", service, id).unwrap()
}

fn put(slots: &mut Slots, text: &str) -> LeaseId {
    slots.insert(&key(text), instance(&key(text).id, crate::model::Lease::DEFAULT, 1))
}

#[test]
fn a_lease_takes_no_more_than_forty_bytes() {
    // 24 for the slot, at most 10.5 for finding it (4 and a tag, in a table that is at least 7/16 full), and its share
    // of its service's name, of 10 instances each.
    let service = size_of::<Named>() + 11;
    assert_eq!(size_of::<Slot>(), 24);
    assert!(24.0 + 10.5 + service as f64 / 10.0 <= 40.5, "a service's name takes {service} bytes");
}

#[test]
fn what_is_removed_is_not_found_and_its_place_is_used_again() {
    let mut slots = Slots::new();
    let (a, b) = (put(&mut slots, "s/a"), put(&mut slots, "t/a"));
    assert_eq!((slots.find(&key("s/a")), slots.find(&key("t/a"))), (Some(a), Some(b)));
    assert_eq!(slots.key(b), key("t/a"));
    slots.remove(a);
    assert_eq!((slots.find(&key("s/a")), slots.find(&key("t/a"))), (None, Some(b)));
    assert_eq!(slots.leases_of(slots.service(b)), 1);
    let again = put(&mut slots, "t/b");
    assert_eq!((again, slots.find(&key("t/b")), slots.find(&key("t/a"))), (a, Some(a), Some(b)));
}

#[test]
fn a_service_without_a_name_gives_its_number_to_the_next() {
    let mut slots = Slots::new();
    let a = put(&mut slots, "s/a");
    let service = slots.service(a);
    slots.remove(a);
    slots.unname(service);
    assert_eq!(slots.find(&key("s/a")), None);
    let b = put(&mut slots, "t/a");
    assert_eq!((slots.service(b), slots.service_key(service).to_string()), (service, "default/t".to_owned()));
    assert_eq!(slots.find(&key("s/a")), None);
    assert_eq!(slots.find(&key("t/a")), Some(b));
}

#[test]
fn many_are_found_after_growth_and_removals() {
    let mut slots = Slots::new();
    let text = |n: usize| format!("s{}/i{n}", n % 37);
    let leases: Vec<_> = (0..5_000).map(|n| put(&mut slots, &text(n))).collect();
    leases.iter().step_by(3).for_each(|lease| slots.remove(*lease));
    for (n, lease) in leases.iter().enumerate() {
        assert_eq!(slots.find(&key(&text(n))), (n % 3 != 0).then_some(*lease), "{n}");
    }
}

#[test]
fn a_list_keeps_its_order_around_what_is_taken_out() {
    let mut slots = Slots::new();
    let leases: Vec<_> = ["s/a", "s/b", "s/c", "s/d"].iter().map(|text| put(&mut slots, text)).collect();
    let mut head = NONE;
    leases.iter().for_each(|lease| slots.link(*lease, 7, &mut head));
    let shown = |slots: &Slots, head| slots.chain(head).map(|lease| lease.0).collect::<Vec<_>>();
    assert_eq!(shown(&slots, head), [3, 2, 1, 0]);
    slots.unlink(leases[2], &mut head);
    assert_eq!(shown(&slots, head), [3, 1, 0]);
    slots.unlink(leases[3], &mut head);
    assert_eq!((shown(&slots, head), slots.list(leases[3]), slots.list(leases[1])), (vec![1, 0], NONE, 7));
    slots.unlink(leases[0], &mut head);
    slots.unlink(leases[1], &mut head);
    assert_eq!((shown(&slots, head), head), (vec![], NONE));
}
