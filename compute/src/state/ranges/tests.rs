use std::collections::BTreeMap;
use std::sync::Arc;

use super::{RANGE_POSITIONS, RANGES_MAX};
use crate::model::{Entry, Frame, LogIdentity, NodeIncarnation, Position, Row, Rows};
use crate::port::Chance;
use crate::port::store::{Epoch, PresenceStore};
use crate::state::State;
use crate::testing::SeededChance;
use crate::testing::script::{IDENTITY, Script};
use crate::testing::store::{MemoryStore, sample::sorted};

fn entry(offset: u64) -> Entry {
    let position = Position::new(1, offset).expect("in range");
    let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(1), time_ms: 1, changes: Vec::new() };
    Entry { position, frame: Arc::new(frame), checksum: offset }
}

/// A store, and how far it is landed.
struct Landing {
    store: Arc<MemoryStore>,
    epoch: Epoch,
    mark: Position,
}

impl Landing {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let epoch = store.lead(IDENTITY).await.expect("free");
        Self { store, epoch, mark: Position::ZERO }
    }

    async fn land(&mut self, rows: Rows, by: &State) {
        self.store.land(self.epoch, rows, self.mark, by.log()).await.expect("taken");
        self.mark = by.position();
    }

    /// What is landed is the whole of `state`.
    async fn check(&self, state: &State, what: &str) {
        let loaded = self.store.load().await.expect("readable");
        let landed = State::load(loaded, LogIdentity([1; 16])).expect("the rows agree");
        assert_eq!(sorted(landed.all_rows()), sorted(state.all_rows()), "{what}");
        assert_eq!(landed.digest(), state.digest(), "{what}");
    }
}

/// Three nodes read one log, at their own pace. Any of them lands next, from where the store is; each hears sooner or
/// later how far that is. The store always has the whole state.
#[tokio::test]
async fn whoever_lands_next_leaves_nothing_out() {
    let (mut landings, mut superset, mut merged, mut taken_over) = (0, 0, 0, 0);
    for seed in 1..28 {
        // Sometimes the store is away for long: what waits for it is merged.
        let is_away = seed % 4 == 0;
        let chance = SeededChance::new(seed);
        let mut script = Script::new(2 * seed + 1);
        let mut nodes = [(); 3].map(|()| State::new(IDENTITY));
        let (mut landing, mut lander, mut log) = (Landing::new().await, 0, Vec::new());
        let (steps, turn, refused) = if is_away { (2_500, 400, 199) } else { (700, 40, 1) };
        for _ in 0..steps {
            log.extend(script.step().map(|decided| decided.entry));
            for node in &mut nodes {
                let lag = chance.below(4);
                let next = node.position().offset() as usize;
                log.iter().skip(next).take(lag as usize).for_each(|entry| drop(node.apply(entry).expect("whole")));
                if chance.below(9) == 0 {
                    node.landed(landing.mark);
                }
            }
            if chance.below(turn) == 0 {
                let next = chance.below(3) as usize;
                taken_over += usize::from(lander != next);
                lander = next;
            }
            let node = &mut nodes[lander];
            if (chance.below(5) > 0 && !is_away) || node.position() < landing.mark {
                continue;
            }
            assert!(node.landable_from() <= landing.mark);
            let rows = node.take_rows_behind(landing.mark);
            if chance.below(refused + 3) < refused {
                // The store refused.
                continue;
            }
            superset += rows.len();
            merged += usize::from(node.ranges.closed.len() == RANGES_MAX);
            landing.land(rows, node).await;
            landing.check(node, &format!("seed {seed}, at {}", landing.mark)).await;
            landings += 1;
        }
        nodes.iter_mut().for_each(|node| {
            let next = node.position().offset() as usize;
            log.iter().skip(next).for_each(|entry| drop(node.apply(entry).expect("whole")));
        });
        assert!(nodes.iter().all(|node| node.all_rows().len() == script.state().all_rows().len()));
    }
    assert!(
        landings > 1_500 && merged > 10 && taken_over > 100,
        "{landings} landings, {merged} of merged ranges, {taken_over} takings-over"
    );
    assert!(superset < landings * 60, "{} rows a landing", superset / landings);
}

/// Nothing is forgotten that has not landed, whatever the ranges are merged to and wherever another node has stopped.
#[tokio::test]
async fn ranges_are_few_however_long_the_store_is_away() {
    let mut script = Script::new(3);
    let mut befores = Vec::new();
    let mut keys: BTreeMap<usize, usize> = BTreeMap::new();
    for round in 0..3_000 {
        script.step();
        if round % 7 == 0 {
            // A landing that failed.
            drop(script.state_mut().take_rows_behind(Position::ZERO));
        }
        if round % 40 == 0 {
            befores.push((script.state().log(), script.state().all_rows()));
        }
        let ranges = &script.state().ranges;
        assert!(ranges.closed.len() <= RANGES_MAX, "{}", ranges.closed.len());
        assert_eq!(ranges.keys, ranges.closed.iter().map(|range| range.dirty.len()).sum::<usize>());
        assert!(ranges.closed.iter().map(|range| range.upto).is_sorted_by(|a, b| a < b));
        *keys.entry(ranges.closed.len()).or_default() += 1;
    }
    assert!(keys.contains_key(&RANGES_MAX), "never as many as may be: {keys:?}");
    for (log, rows) in befores {
        let mut landing = Landing::new().await;
        landing.store.land(landing.epoch, rows, Position::ZERO, log).await.expect("taken");
        landing.mark = log.watermark;
        script.state_mut().landed(log.watermark);
        let rows = script.state_mut().take_rows_behind(log.watermark);
        landing.land(rows, script.state()).await;
        landing.check(script.state(), &format!("from {}", log.watermark)).await;
    }
}

#[test]
fn a_range_of_a_shared_log_is_closed_in_time_and_forgotten_when_landed() {
    let mut script = Script::new(1);
    while script.state().members().next().is_none() {
        script.step();
    }
    for _ in 0..2_000 {
        script.step();
    }
    let state = script.state_mut();
    let upto: Vec<u64> = state.ranges.closed.iter().map(|range| range.upto.offset()).collect();
    assert!(upto.len() > 3 && upto.windows(2).all(|pair| pair[1] - pair[0] == RANGE_POSITIONS), "{upto:?}");
    assert!(state.position().offset() - upto[upto.len() - 1] < RANGE_POSITIONS);

    let before = state.unlanded();
    // In the middle of the third range: two are landed.
    let third = Position::new(1, upto[2] - 1).expect("in range");
    state.landed(third);
    assert_eq!(state.ranges.closed.len(), upto.len() - 2);
    assert_eq!(state.landable_from().offset(), upto[1]);
    assert!(state.unlanded() < before && state.unlanded() > 0);

    // What has landed is not given again.
    let fourth = Position::new(1, upto[3]).expect("in range");
    let (all, rest) = (state.take_rows_behind(third).len(), state.take_rows_behind(fourth).len());
    assert!(rest < all, "{rest} of {all}");
    assert_eq!(state.take_rows_behind(state.position()), Rows::default());

    state.landed(state.position());
    assert_eq!((state.unlanded(), state.landable_from()), (0, state.position()));
    // Also of what is in the range that is still open.
    (0..20).for_each(|_| drop(script.step()));
    let state = script.state_mut();
    assert!(state.dirty.len() > 0);
    state.landed(state.position());
    assert_eq!((state.unlanded(), state.landable_from()), (0, state.position()));
    state.landed(third);
    assert_eq!(state.landable_from(), state.position(), "what was landed stays so");
}

/// A log without members is one process's: it pays for one set of keys, and lands as it always did.
#[test]
fn a_log_of_one_process_has_one_range() {
    let mut script = Script::new(2);
    for _ in 0..2_000 {
        script.step();
        assert_eq!(script.state().ranges.closed.len(), 0);
    }
    let (unlanded, rows) = (script.state().unlanded(), script.state_mut().take_rows());
    assert_eq!(rows.len(), unlanded);
    assert_eq!(script.state().unlanded(), 0);
    script.state_mut().give_back(&rows);
    assert_eq!(sorted(script.state_mut().take_rows()), sorted(rows));
}

/// A node that lands alone on a log that was shared takes what is in the closed ranges too.
#[test]
fn all_ranges_are_taken_at_once() {
    let mut script = Script::new(1);
    for _ in 0..2_000 {
        script.step();
    }
    let state = script.state_mut();
    assert!(state.ranges.closed.len() > 3);
    let behind = sorted(state.take_rows_behind(Position::ZERO));
    assert_eq!(sorted(state.take_rows()), behind);
    assert_eq!((state.unlanded(), state.take_rows().len()), (0, 0));
    assert_eq!(state.landable_from(), state.position());
}

/// What a store gave is landed: behind its watermark this node knows everything, before it nothing.
#[tokio::test]
async fn a_node_that_boots_knows_what_comes_after() {
    let mut landing = Landing::new().await;
    let mut script = Script::new(5);
    (0..400).for_each(|_| drop(script.step()));
    let rows = script.state_mut().take_rows_behind(Position::ZERO);
    landing.land(rows, script.state()).await;
    let loaded = landing.store.load().await.expect("readable");
    let mut booted = State::load(loaded, LogIdentity([1; 16])).expect("the rows agree");
    assert_eq!((booted.landable_from(), booted.unlanded()), (landing.mark, 0));
    for offset in 1..=RANGE_POSITIONS {
        booted.apply(&entry(landing.mark.offset() + offset)).expect("whole");
    }
    assert_eq!(booted.take_rows_behind(landing.mark), Rows::default(), "nothing has changed");
    for _ in 0..200 {
        let Some(decided) = script.step() else { continue };
        let mut moved = decided.entry.clone();
        moved.position = booted.position().next();
        booted.apply(&moved).expect("whole");
    }
    let rows = booted.take_rows_behind(landing.mark);
    assert!(rows.instances.iter().any(|row| matches!(row, Row::Put(..))));
    landing.land(rows, &booted).await;
    landing.check(&booted, "of a node that was started behind it").await;
}
