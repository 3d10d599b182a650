//! Random changes, late, twice and out of order, against the independent model.

use std::collections::BTreeMap;

use compute::model::{LogIdentity, Position, Row, Rows};
use compute::port::store::Loaded;
use compute::state::{Refusal, State, Verdict};
use compute::testing::journal::Decided;
use compute::testing::model::{Model, differences};
use compute::testing::script::{IDENTITY, Script};

/// How often each kind of change was applied, and each verdict given.
#[derive(Default, Debug)]
pub(crate) struct Seen(BTreeMap<String, usize>);

impl Seen {
    pub(crate) fn count(&mut self, decided: &Decided) {
        for (change, verdict) in decided.entry.frame.changes.iter().zip(&decided.verdicts) {
            let op = format!("{:?}", change.op);
            let kind = op.split([' ', '{']).next().unwrap_or_default().to_owned();
            match verdict {
                Verdict::Applied(_) => *self.0.entry(kind).or_default() += 1,
                other => *self.0.entry(format!("{other:?}")).or_default() += 1,
            }
        }
    }

    pub(crate) fn must_have(&self, least: usize, kinds: &[&str]) {
        for kind in kinds {
            let seen = self.0.get(*kind).copied().unwrap_or_default();
            assert!(seen >= least, "{seen} of {kind}, at least {least} are wanted: {self:?}");
        }
    }
}

const OPS: [&str; 22] = [
    "PutNamespace",
    "DeleteNamespace",
    "PutService",
    "DeleteService",
    "CollectService",
    "Register",
    "Deregister",
    "Operate",
    "KeepOverride",
    "EndOverride",
    "Suspect",
    "Refute",
    "Confirm",
    "Unhealthy",
    "Expire",
    "OpenSession",
    "AttachSession",
    "CloseSession",
    "Freeze",
    "Release",
    "Beacon",
    "Gone",
];
const REFUSED: [&str; 10] = [
    "Duplicate",
    "Refused(Base)",
    "Refused(Generation)",
    "Refused(Suspicion)",
    "Refused(Already)",
    "Refused(Epoch)",
    "Refused(Absent)",
    "Refused(NotEmpty)",
    "Refused(Gone)",
    "Refused(Barrier)",
];

/// The model's state and the script's are one: rows, what is due, and what follows from the rows.
fn compare(script: &Script, model: &Model) {
    let state = script.state();
    let different = differences(model.rows(), state.all_rows());
    assert!(different.is_empty(), "at {}: {different:#?}", state.position());
    for (key, service) in state.services() {
        let view = state.view(key);
        assert_eq!(view.digest, service.row().digest, "the digest of {key}");
        assert_eq!(view.counts.healthy as usize, view.instances.iter().filter(|i| i.is_healthy()).count());
        assert_eq!(view.counts.isolated as usize, view.instances.iter().filter(|i| i.is_isolated()).count());
    }
    assert_eq!(state.instance_count(), model.living.len());
    for ahead_ms in [0, 20_000, 100_000_000] {
        let now_ms = state.log().time_ms + ahead_ms;
        let words = |ops: Vec<_>| {
            let mut words: Vec<_> = ops.iter().map(|op| format!("{op:?}")).collect();
            words.sort();
            words
        };
        assert_eq!(words(state.due(now_ms)), words(model.due(now_ms)), "due at {now_ms}");
    }
}

#[test]
fn every_verdict_is_that_of_the_model() {
    let mut seen = Seen::default();
    for seed in 0..150 {
        let (mut script, mut model) = (Script::new(seed), Model::new());
        for step in 0..400 {
            let Some(decided) = script.step() else { continue };
            seen.count(&decided);
            model.read(&decided).unwrap_or_else(|wrong| panic!("seed {seed}, step {step}: {wrong}"));
            if step % 50 == 0 {
                compare(&script, &model);
            }
        }
        compare(&script, &model);
    }
    seen.must_have(10, &OPS);
    seen.must_have(10, &REFUSED);
}

/// Removals are forgotten, and who looked before that is refused.
#[test]
fn what_is_forgotten_lets_nothing_back_in() {
    let (mut seen, mut forgotten) = (Seen::default(), 0);
    for seed in 0..8 {
        let (mut script, mut model) = (Script::new(seed), Model::new());
        (0..300).for_each(|_| drop(script.step()));
        script.quiet(9_950 + 30 * seed);
        script.deliver_late();
        (0..300).for_each(|_| drop(script.step()));
        script.journal().decided().iter().for_each(|decided| {
            seen.count(decided);
            model.read(decided).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        });
        forgotten += model.removed_count() - script.state().tombstone_count();
        compare(&script, &model);
    }
    assert!(forgotten > 10, "{forgotten} removals were forgotten");
    seen.must_have(1, &["Refused(BaseTooOld)"]);
}

/// A journal in which one verdict is not what it was.
fn with_other(journal: &[Decided], what: impl Fn(&Verdict) -> Option<Verdict>) -> Vec<Decided> {
    let mut journal = journal.to_vec();
    let mut verdicts = journal.iter_mut().flat_map(|decided| &mut decided.verdicts);
    let changed = verdicts.find_map(|verdict| what(verdict).map(|other| *verdict = other));
    assert!(changed.is_some(), "there is none to change");
    journal
}

#[test]
fn the_model_sees_planted_bugs() {
    let mut script = Script::new(5);
    (0..400).for_each(|_| drop(script.step()));
    let journal = script.journal().decided();
    let model = Model::replay(&journal).expect("as it was");
    assert_eq!(differences(model.rows(), script.state().all_rows()), [""; 0]);

    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
    let applied = |verdict: &Verdict| matches!(verdict, Verdict::Applied(_));
    let elsewhere = Verdict::Applied(Position::new(1, 1 << 30).expect("in range").at(3));
    let other = |why: Refusal| if why == Refusal::Epoch { Refusal::NotEmpty } else { Refusal::Epoch };
    let wrong: [(&str, Vec<Decided>); 6] = [
        ("refused what stands", with_other(&journal, |v| applied(v).then_some(Verdict::Refused(Refusal::Base)))),
        ("took a change for a repeated one", with_other(&journal, |v| applied(v).then_some(Verdict::Duplicate))),
        ("applied it elsewhere", with_other(&journal, |v| applied(v).then_some(elsewhere))),
        ("applied what does not stand", with_other(&journal, |v| refused(v).then_some(elsewhere))),
        ("applied it twice", with_other(&journal, |v| (*v == Verdict::Duplicate).then_some(elsewhere))),
        (
            "refused for a reason that is none",
            with_other(&journal, |v| match v {
                Verdict::Refused(why) => Some(Verdict::Refused(other(*why))),
                _ => None,
            }),
        ),
    ];
    for (bug, journal) in wrong {
        assert!(Model::replay(&journal).is_err(), "unseen: {bug}");
    }
    let mut lost = journal;
    lost.remove(10);
    assert!(Model::replay(&lost).is_err(), "unseen: a frame was lost");
}

#[test]
fn a_difference_of_any_row_is_seen() {
    let mut kinds = [false; 7];
    let mut script = Script::new(0);
    for step in 0..1_000 {
        if step % 200 == 0 {
            script = Script::new(step + step / 200);
        }
        script.step();
        let rows = script.state().all_rows();
        let seen = |kind: &mut bool, other: Option<Rows>| {
            let Some(other) = other else { return };
            *kind = true;
            assert_eq!(differences(rows.clone(), other).len(), 1);
        };
        seen(&mut kinds[0], removal_by_another(&rows));
        seen(&mut kinds[1], first(&rows, |rows| &mut rows.overrides, |kept| kept.until_ms += 1));
        seen(&mut kinds[2], first(&rows, |rows| &mut rows.sessions, |session| session.epoch += 1));
        seen(&mut kinds[3], first(&rows, |rows| &mut rows.services, |service| service.implicit ^= true));
        seen(&mut kinds[4], first(&rows, |rows| &mut rows.origins, |origin| origin.gaps.push(7)));
        seen(&mut kinds[6], first(&rows, |rows| &mut rows.members, |member| member.leaving ^= true));
        let mut less = rows.clone();
        seen(&mut kinds[5], less.suspicions.pop().map(|_| less));
    }
    assert_eq!(kinds, [true; 7], "there was nothing to change");
}

fn first<K, V>(rows: &Rows, of: fn(&mut Rows) -> &mut Vec<Row<K, V>>, change: fn(&mut V)) -> Option<Rows> {
    let mut rows = rows.clone();
    match of(&mut rows).first_mut()? {
        Row::Put(_, value) => change(value),
        Row::Delete(_) => return None,
    }
    Some(rows)
}

fn removal_by_another(rows: &Rows) -> Option<Rows> {
    let mut rows = rows.clone();
    let removal = rows.services.iter_mut().find_map(|row| match row {
        Row::Put(_, service) => service.last_removal.as_mut(),
        Row::Delete(_) => None,
    })?;
    removal.author.name = "nobody".into();
    Some(rows)
}

/// Coalesced rows of every landing, laid one over the other, are the state at each watermark.
#[test]
fn a_node_that_boots_at_any_watermark_has_the_whole_state() {
    for seed in 0..25 {
        let mut script = Script::new(seed);
        let (mut every, mut seldom) = (Rows::default(), Rows::default());
        for step in 0..150 {
            let appended = script.step().is_some();
            if !appended {
                continue;
            }
            let rows = script.state_mut().take_rows();
            lay(&mut every, rows.clone());
            boots_whole(&every, script.state(), seed);
            // What was not landed comes back, and goes with the next batch.
            script.state_mut().give_back(&rows);
            if step % 7 == 0 {
                lay(&mut seldom, script.state_mut().take_rows());
                boots_whole(&seldom, script.state(), seed);
            }
        }
    }
}

fn boots_whole(rows: &Rows, state: &State, seed: u64) {
    let loaded = Loaded { log: Some(state.log()), rows: rows.clone() };
    let booted = State::load(loaded, LogIdentity([1; 16])).expect("the rows agree");
    let different = differences(state.all_rows(), booted.all_rows());
    assert!(different.is_empty(), "seed {seed}, at {}: {different:#?}", state.position());
    assert_eq!((booted.log(), booted.log().identity), (state.log(), IDENTITY));
    let timers = |state: &State| (state.timer_count(), state.next_due_ms());
    assert_eq!(timers(&booted), timers(state));
}

/// What a store would hold after `landed`.
fn lay(store: &mut Rows, landed: Rows) {
    fn one<K: Ord + Clone, V: Clone>(there: &mut Vec<Row<K, V>>, landed: Vec<Row<K, V>>) {
        for row in landed {
            there.retain(|old| old.key() != row.key());
            if matches!(row, Row::Put(..)) {
                there.push(row);
            }
        }
    }
    one(&mut store.namespaces, landed.namespaces);
    one(&mut store.services, landed.services);
    one(&mut store.instances, landed.instances);
    one(&mut store.overrides, landed.overrides);
    one(&mut store.tombstones, landed.tombstones);
    one(&mut store.sessions, landed.sessions);
    one(&mut store.suspicions, landed.suspicions);
    one(&mut store.freezes, landed.freezes);
    one(&mut store.origins, landed.origins);
    one(&mut store.members, landed.members);
}
