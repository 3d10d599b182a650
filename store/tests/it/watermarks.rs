//! A node that boots from the file at any watermark has the whole state, whatever was decided before.

use std::fmt::Debug;

use compute::model::{LogIdentity, Position, Row, Rows};
use compute::port::PresenceStore;
use compute::state::State;
use compute::testing::script::{IDENTITY, Script};

use crate::mysql::base::Base;
use crate::place::Place;

#[tokio::test]
async fn a_node_that_boots_at_any_watermark_has_the_whole_state() {
    let mut rows_seen = Rows::default();
    for seed in 0..6 {
        let place = Place::new();
        let store = place.open().await;
        boots_everywhere(store.as_ref(), seed, 250, &mut rows_seen).await;
        store.close().await;
    }
    let seen = [
        rows_seen.namespaces.len(),
        rows_seen.services.len(),
        rows_seen.instances.len(),
        rows_seen.overrides.len(),
        rows_seen.tombstones.len(),
        rows_seen.sessions.len(),
        rows_seen.suspicions.len(),
        rows_seen.freezes.len(),
        rows_seen.origins.len(),
        rows_seen.members.len(),
    ];
    assert!(seen.iter().all(|most| *most > 0), "the scripts made too little: {seen:?}");
}

#[tokio::test]
async fn a_node_that_boots_from_mariadb_at_any_watermark_has_it_too() {
    let mut rows_seen = Rows::default();
    for seed in 0..2 {
        let Some(base) = Base::shared().await else { return };
        boots_everywhere(base.open().await.as_ref(), seed, 150, &mut rows_seen).await;
    }
    assert!(rows_seen.len() > 20, "the scripts made too little: {} rows", rows_seen.len());
}

/// Keeps the longest of each kind that was there at once.
async fn boots_everywhere(store: &impl PresenceStore, seed: u64, steps: usize, rows_seen: &mut Rows) {
    let epoch = store.lead(IDENTITY).await.unwrap();
    let mut script = Script::new(seed);
    let mut from = Position::ZERO;
    for _ in 0..steps {
        if script.step().is_none() {
            continue;
        }
        let upto = script.state().log();
        let rows = script.state_mut().take_rows();
        store.land(epoch, rows, from, upto).await.unwrap();
        from = upto.watermark;
        let booted = State::load(store.load().await.unwrap(), LogIdentity([1; 16])).unwrap();
        assert_eq!(booted.log(), upto, "seed {seed}");
        let (expected, found) = (script.state().all_rows(), booted.all_rows());
        same(&expected, &found, &format!("seed {seed}, at {from}"));
        let timers = |state: &State| (state.timer_count(), state.next_due_ms());
        assert_eq!(timers(&booted), timers(script.state()), "seed {seed}, at {from}");
        most(rows_seen, expected);
    }
}

fn same(expected: &Rows, found: &Rows, at: &str) {
    fn each<K: Ord + Debug, V: PartialEq + Debug>(expected: &[Row<K, V>], found: &[Row<K, V>], at: &str) {
        let sorted = |rows: &[Row<K, V>]| {
            let mut places: Vec<usize> = (0..rows.len()).collect();
            places.sort_by(|a, b| rows[*a].key().cmp(rows[*b].key()));
            places
        };
        assert_eq!(expected.len(), found.len(), "{at}: {expected:#?} became {found:#?}");
        for (a, b) in sorted(expected).into_iter().zip(sorted(found)) {
            assert_eq!(expected[a], found[b], "{at}");
        }
    }
    each(&expected.namespaces, &found.namespaces, at);
    each(&expected.services, &found.services, at);
    each(&expected.instances, &found.instances, at);
    each(&expected.overrides, &found.overrides, at);
    each(&expected.tombstones, &found.tombstones, at);
    each(&expected.sessions, &found.sessions, at);
    each(&expected.suspicions, &found.suspicions, at);
    each(&expected.freezes, &found.freezes, at);
    each(&expected.origins, &found.origins, at);
    each(&expected.members, &found.members, at);
}

/// Keeps the longest of each kind.
fn most(kept: &mut Rows, rows: Rows) {
    fn one<T>(kept: &mut Vec<T>, rows: Vec<T>) {
        if rows.len() > kept.len() {
            *kept = rows;
        }
    }
    one(&mut kept.namespaces, rows.namespaces);
    one(&mut kept.services, rows.services);
    one(&mut kept.instances, rows.instances);
    one(&mut kept.overrides, rows.overrides);
    one(&mut kept.tombstones, rows.tombstones);
    one(&mut kept.sessions, rows.sessions);
    one(&mut kept.suspicions, rows.suspicions);
    one(&mut kept.freezes, rows.freezes);
    one(&mut kept.origins, rows.origins);
    one(&mut kept.members, rows.members);
}
