use std::collections::BTreeMap;
use std::sync::Arc;

use super::{KEPT_MIN, MERGED_KEYS_MAX, RANGE_POSITIONS, RANGES_MAX, Ranges, Sealed, Unlanded};
use crate::model::{Entry, Frame, LogIdentity, LogState, NodeIncarnation, Position, Row, Rows, SessionId};
use crate::port::Chance;
use crate::port::store::{Epoch, PresenceStore};
use crate::state::State;
use crate::state::dirty::Dirty;
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

    async fn land(&mut self, unlanded: Unlanded) {
        self.store.land(self.epoch, unlanded.rows(), self.mark, unlanded.upto).await.expect("taken");
        self.mark = unlanded.upto.watermark;
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
    let (mut landings, mut superset, mut merged, mut taken_over, mut parts) = (0, 0, 0, 0, 0);
    for seed in 1..28 {
        // Sometimes the store is away for long: what waits for it is merged.
        let is_away = seed % 4 == 0;
        let chance = SeededChance::new(seed);
        let mut script = Script::new(2 * seed + 1);
        let mut nodes = [(); 3].map(|()| State::new(IDENTITY));
        let (mut landing, mut lander, mut log) = (Landing::new().await, 0, Vec::new());
        let mut truth = State::new(IDENTITY);
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
            // Sometimes not all at once.
            let unlanded = node.unlanded_behind(landing.mark, if chance.below(3) == 0 { 20 } else { usize::MAX });
            if chance.below(refused + 3) < refused {
                // The store refused.
                continue;
            }
            superset += unlanded.rows().len();
            merged += usize::from(node.ranges.closed.len() == RANGES_MAX);
            let is_part = unlanded.upto.watermark < node.position();
            parts += usize::from(is_part);
            landing.land(unlanded).await;
            let behind = log.iter().skip(truth.position().offset() as usize);
            behind
                .take_while(|entry| entry.position <= landing.mark)
                .for_each(|entry| drop(truth.apply(entry).expect("whole")));
            landing.check(&truth, &format!("seed {seed}, at {}", landing.mark)).await;
            landings += 1;
        }
        nodes.iter_mut().for_each(|node| {
            let next = node.position().offset() as usize;
            log.iter().skip(next).for_each(|entry| drop(node.apply(entry).expect("whole")));
        });
        assert!(nodes.iter().all(|node| node.all_rows().len() == script.state().all_rows().len()));
    }
    assert!(
        landings > 1_500 && merged > 10 && taken_over > 100 && parts > 20,
        "{landings} landings, {merged} of merged ranges, {taken_over} takings-over, {parts} of a part"
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
            drop(script.state_mut().unlanded_behind(Position::ZERO, usize::MAX));
        }
        if round % 40 == 0 {
            befores.push((script.state().log(), script.state().all_rows()));
        }
        let ranges = &script.state().ranges;
        assert!(ranges.closed.len() <= RANGES_MAX, "{}", ranges.closed.len());
        assert_eq!(ranges.keys, ranges.closed.iter().map(|range| range.sealed.len()).sum::<usize>());
        assert!(ranges.closed.iter().map(|range| range.upto.watermark).is_sorted_by(|a, b| a < b));
        *keys.entry(ranges.closed.len()).or_default() += 1;
    }
    assert!(keys.contains_key(&RANGES_MAX), "never as many as may be: {keys:?}");
    for (log, rows) in befores {
        let mut landing = Landing::new().await;
        landing.store.land(landing.epoch, rows, Position::ZERO, log).await.expect("taken");
        landing.mark = log.watermark;
        script.state_mut().landed(log.watermark);
        let unlanded = script.state_mut().unlanded_behind(log.watermark, usize::MAX);
        landing.land(unlanded).await;
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
    let upto: Vec<u64> = state.ranges.closed.iter().map(|range| range.upto.watermark.offset()).collect();
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
    let mut count_behind = |landed| state.unlanded_behind(landed, usize::MAX).rows().len();
    let (all, rest) = (count_behind(third), count_behind(fourth));
    assert!(rest < all, "{rest} of {all}");
    assert_eq!(state.unlanded_behind(state.position(), usize::MAX).rows(), Rows::default());

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
    let behind = sorted(state.unlanded_behind(Position::ZERO, usize::MAX).rows());
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
    let unlanded = script.state_mut().unlanded_behind(Position::ZERO, usize::MAX);
    landing.land(unlanded).await;
    let loaded = landing.store.load().await.expect("readable");
    let mut booted = State::load(loaded, LogIdentity([1; 16])).expect("the rows agree");
    assert_eq!((booted.landable_from(), booted.unlanded()), (landing.mark, 0));
    for offset in 1..=RANGE_POSITIONS {
        booted.apply(&entry(landing.mark.offset() + offset)).expect("whole");
    }
    let unlanded = booted.unlanded_behind(landing.mark, usize::MAX);
    assert_eq!(unlanded.rows(), Rows::default(), "nothing has changed");
    for _ in 0..200 {
        let Some(decided) = script.step() else { continue };
        let mut moved = decided.entry.clone();
        moved.position = booted.position().next();
        booted.apply(&moved).expect("whole");
    }
    let unlanded = booted.unlanded_behind(landing.mark, usize::MAX);
    assert!(unlanded.rows().instances.iter().any(|row| matches!(row, Row::Put(..))));
    landing.land(unlanded).await;
    landing.check(&booted, "of a node that was started behind it").await;
}

/// The log at `offset`, and a range that ends there in which the sessions `keys` have gone.
fn closed(offset: u64, keys: std::ops::Range<u128>) -> (LogState, Sealed) {
    let watermark = Position::new(1, offset).expect("in range");
    let upto = LogState { identity: IDENTITY, watermark, time_ms: offset, rolling_hash: offset };
    let sessions = keys.map(|key| SessionId(key.to_be_bytes())).collect();
    let dirty = Dirty { sessions, ..Dirty::default() };
    (upto, Sealed::seal(dirty, &State::new(IDENTITY)))
}

/// What one transaction writes stays small however much waits; one range is always taken, or nothing would go on.
#[test]
fn a_landing_takes_whole_ranges_up_to_so_many_keys() {
    let mut ranges = Ranges::behind(Position::ZERO);
    for at in 0..10 {
        let (upto, sealed) = closed(100 + at, u128::from(at) * 100..u128::from(at) * 100 + 100);
        ranges.close(upto, sealed, 0);
    }
    let (end, _) = closed(500, 0..0);
    let of = |landed: u64, keys_max| {
        let unlanded = ranges.behind_of(Position::new(1, landed).expect("in range"), keys_max, end);
        (unlanded.len(), unlanded.rows().len(), unlanded.upto.watermark.offset(), unlanded.upto.rolling_hash)
    };
    assert_eq!(of(0, 350), (300, 300, 102, 102));
    assert_eq!(of(102, 350), (300, 300, 105, 105));
    assert_eq!(of(103, 1), (100, 100, 104, 104));
    assert_eq!(of(108, 100), (100, 100, 500, 500), "the last one goes to the end of the log");
    assert_eq!(of(109, 100), (0, 0, 500, 500));
    assert_eq!(of(0, usize::MAX), (1_000, 1_000, 500, 500));
}

/// A landing that is under way has what it was given, whatever is merged meanwhile.
#[test]
fn ranges_that_a_landing_reads_are_left_as_they_are() {
    let mut ranges = Ranges::behind(Position::ZERO);
    let close = |ranges: &mut Ranges, at: u64| {
        let (upto, sealed) = closed(at, 0..10);
        ranges.close(upto, sealed, 0);
    };
    (1..=RANGES_MAX as u64).for_each(|at| close(&mut ranges, at));
    let (end, _) = closed(RANGES_MAX as u64, 0..0);
    let reading = ranges.behind_of(Position::ZERO, usize::MAX, end);
    (1..10).for_each(|at| close(&mut ranges, RANGES_MAX as u64 + at));
    assert!(reading.ranges.iter().zip(&ranges.closed).all(|(read, range)| Arc::ptr_eq(read, &range.sealed)));
    drop(reading);
    (10..30).for_each(|at| close(&mut ranges, RANGES_MAX as u64 + at));
    assert!(ranges.closed.len() <= RANGES_MAX + 9, "{}", ranges.closed.len());
    let after = ranges.closed.len();
    close(&mut ranges, 1_000);
    assert_eq!(ranges.closed.len(), after, "each that comes makes one go");
}

/// A range can only be landed whole: large ones stay for themselves. But one key is kept a few times only.
#[test]
fn large_ranges_become_one_only_when_too_many_versions_are_kept() {
    let keys = MERGED_KEYS_MAX as u128 * 3 / 4;
    let fill = |instances| {
        let mut ranges = Ranges::behind(Position::ZERO);
        for at in 0..2 * RANGES_MAX as u64 {
            let (upto, sealed) = closed(at + 1, 0..keys);
            ranges.close(upto, sealed, instances);
        }
        (ranges.closed.len(), ranges.keys)
    };
    assert_eq!(fill(1 << 20).0, 2 * RANGES_MAX, "the registry is as large");
    let (count, kept) = fill(0);
    assert!(count > 1 && kept <= KEPT_MIN + 2 * keys as usize, "{count} ranges, {kept} keys");
}
