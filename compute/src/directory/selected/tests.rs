use std::collections::BTreeMap;

use super::*;
use crate::model::{Health, InstanceId, Position, Provider, ProviderSpec};
use crate::view::Counts;

fn service(n: u64) -> ServiceKey {
    ServiceKey::new("default", &format!("service-{n}")).expect("a good name")
}

/// A view of `count` instances, each with `bytes` of metadata.
fn view(n: u64, count: u64, bytes: usize) -> Arc<View> {
    let revision = Position::new(1, n + 1).expect("in range").at(0);
    let instance = |id: u64| {
        let metadata = (0..bytes / 512).map(|key| (format!("k{key}"), "v".repeat(500))).collect();
        let spec = ProviderSpec { metadata, ..ProviderSpec::at("10.0.0.1", 80) };
        Arc::new(Instance {
            id: InstanceId::new(&format!("{id:04}")).expect("a good id"),
            provider: Provider::new(&spec).expect("a good provider"),
            health: Health::good(0),
            operator: None,
            registered_at_ms: 0,
            generation: revision,
            revision,
            cell: Arc::default(),
        })
    };
    let instances = Arc::new((0..count).map(instance).collect());
    let counts = Counts { all: count as u32, healthy: count as u32, isolated: 0 };
    Arc::new(View { revision, instances, counts, ..View::unknown(service(n)) })
}

fn healthy() -> Selector {
    Selector { healthy: Some(true), ..Selector::default() }
}

fn counts(selected: &Selected) -> (u64, u64) {
    (selected.hits.load(Ordering::Relaxed), selected.misses.load(Ordering::Relaxed))
}

#[test]
fn the_same_selection_at_the_same_revision_is_made_once() {
    let selected = Selected::new(SelectedLimits::default());
    let (first, again) = (selected.get(&view(1, 3, 0), &healthy()), selected.get(&view(1, 3, 0), &healthy()));
    assert!(Arc::ptr_eq(&first, &again));
    let newer = Arc::new(View { revision: Position::new(1, 9).expect("in range").at(0), ..View::unknown(service(1)) });
    assert!(!Arc::ptr_eq(&first, &selected.get(&newer, &healthy())), "another revision is another entry");
    assert_eq!(counts(&selected), (1, 2));
}

#[test]
fn a_service_that_nobody_registered_is_kept_too() {
    let selected = Selected::new(SelectedLimits::default());
    let unknown = || Arc::new(View::unknown(service(1)));
    let first = selected.get(&unknown(), &healthy());
    assert!(Arc::ptr_eq(&first, &selected.get(&unknown(), &healthy())));
    assert_eq!(counts(&selected), (1, 1));
    let there = selected.get(&view(1, 2, 0), &healthy());
    assert_eq!(there.instances.len(), 2, "once it is registered, that is not what is answered");
}

#[test]
fn an_overlay_is_never_kept() {
    let selected = Selected::new(SelectedLimits::default());
    let over = Arc::new(View { overlay: 1, ..View::unknown(service(1)) });
    assert!(!Arc::ptr_eq(&selected.get(&over, &healthy()), &selected.get(&over, &healthy())));
    assert_eq!(counts(&selected), (0, 0));
}

#[test]
fn there_are_no_more_entries_than_allowed() {
    let selected = Selected::new(SelectedLimits { entries_max: 50, bytes_max: 64 << 20 });
    for n in 0..500 {
        selected.get(&view(n, 1, 0), &healthy());
    }
    selected.cache.run_pending_tasks();
    assert!((25..=50).contains(&selected.cache.entry_count()), "{}", selected.cache.entry_count());
}

/// The bound is of what is really held: keys, instances with all they carry, and both encodings.
#[test]
fn there_are_no_more_bytes_than_allowed() {
    let bytes_max = 4 << 20;
    let selected = Selected::new(SelectedLimits { entries_max: 100_000, bytes_max });
    for n in 0..100 {
        selected.get(&view(n, 8, 16 * 1024), &healthy());
    }
    selected.cache.run_pending_tasks();
    let held = selected.cache.iter().map(|(_, view)| {
        let metadata = view.instances.iter().map(|i| i.provider.heap_bytes());
        metadata.sum::<usize>() * (1 + ENCODINGS)
    });
    let held = held.sum::<usize>() as u64;
    assert!(held <= bytes_max, "{held} bytes are held, {bytes_max} are allowed");
    assert!(held >= bytes_max / 2, "{held} bytes are held: the bound must be used");
}

#[test]
fn words_of_a_selector_count() {
    let metadata: BTreeMap<Box<str>, Box<str>> =
        (0..64).map(|n| (format!("k{n}").into(), "v".repeat(1_000).into())).collect();
    let wordy = Selector { metadata, ..Selector::default() };
    let of = |selector: Selector| weight(&(service(1), Revision::ZERO, selector), &View::unknown(service(1)));
    assert!(of(wordy) >= of(healthy()) + 64_000);
}

#[test]
fn a_huge_selection_is_answered_and_not_kept() {
    let selected = Selected::new(SelectedLimits { entries_max: 100, bytes_max: 1 << 20 });
    let huge = view(1, 16, 16 * 1024);
    assert_eq!(selected.get(&huge, &healthy()).instances.len(), 16);
    assert_eq!(selected.get(&huge, &healthy()).instances.len(), 16);
    selected.cache.run_pending_tasks();
    assert_eq!((selected.cache.entry_count(), counts(&selected)), (0, (0, 2)));
    // A small selection of a huge service is no huge one.
    let none = Selector { healthy: Some(false), ..Selector::default() };
    selected.get(&huge, &none);
    selected.cache.run_pending_tasks();
    assert_eq!(selected.cache.entry_count(), 1);
}
