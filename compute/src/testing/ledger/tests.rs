use std::sync::Arc;

use super::{Judged, Ledger, Wrong};
use crate::model::{Author, Change, Op, Position};
use crate::state::{Refusal, Verdict};
use crate::testing::journal::{Decided, Raised, Record};
use crate::testing::script::{IDENTITY, Script};

/// What nodes that share a log decided, each removal by somebody who may order it.
fn script() -> Vec<Decided> {
    // An even seed: nobody says how it calls itself.
    let mut script = Script::new(4);
    (0..300).for_each(|_| drop(script.step()));
    let mut decided = script.journal().decided();
    for change in decided.iter_mut().flat_map(|one| &mut Arc::make_mut(&mut one.entry.frame).changes) {
        sign(change, if matches!(change.op, Op::Expire { .. }) { "lease" } else { "http" });
    }
    decided
}

fn sign(change: &mut Change, door: &str) {
    change.author = Author::new("somebody", door);
}

fn at(decided: &Decided) -> Position {
    decided.entry.position
}

/// One that has begun where the first of these follows, or with nothing.
fn tell(ledger: &mut Ledger, node: &str, decided: &[Decided]) {
    let from = decided[0].entry.position.back(1);
    let from = if from.offset() == 0 { Position::ZERO } else { from };
    ledger.take(node, Record::Begun { log: IDENTITY, at: from });
    decided.iter().for_each(|one| ledger.take(node, Record::Decided(one.clone())));
}

fn judged(journals: &[(&str, &[Decided])]) -> Judged {
    let mut ledger = Ledger::default();
    journals.iter().for_each(|(node, decided)| tell(&mut ledger, node, decided));
    ledger.judge()
}

fn count(decided: &[Decided]) -> u64 {
    decided.iter().map(|one| one.verdicts.len() as u64).sum()
}

/// The same with one verdict that is not what it was.
fn with_other(decided: &[Decided], other: impl Fn(&Decided, usize) -> Option<Verdict>) -> Vec<Decided> {
    let mut decided = decided.to_vec();
    let found = decided
        .iter()
        .enumerate()
        .find_map(|(at, one)| (0..one.verdicts.len()).find_map(|place| Some((at, place, other(one, place)?))));
    let (at, place, verdict) = found.expect("one to change");
    decided[at].verdicts[place] = verdict;
    decided
}

#[test]
fn journals_with_holes_are_judged_whole_where_together_they_have_all() {
    let all = script();
    let (third, half) = (all.len() / 3, all.len() / 2);
    let mut ledger = Ledger::default();
    tell(&mut ledger, "a", &all[..half]);
    tell(&mut ledger, "b", &all[third..]);
    // It died, and what it decided again it decided alike.
    tell(&mut ledger, "b", &all[half..]);
    let judged = ledger.judge();
    assert_eq!(judged.wrong, []);
    assert_eq!(judged.unjudged, 0);
    let removals = |one: &Decided| one.verdicts.iter().zip(&one.entry.frame.changes).filter(removes).count() as u64;
    assert!(judged.removals >= all.iter().map(removals).sum() && judged.removals > 0, "{} removals", judged.removals);
    assert_eq!(judged.decisions["a"], count(&all[..half]));
    assert_eq!(judged.decisions["b"], count(&all[third..]) + count(&all[half..]));
    assert!(ledger.judge().decisions.is_empty(), "nothing has come since");
}

fn removes((verdict, change): &(&Verdict, &Change)) -> bool {
    verdict.is_applied() && matches!(change.op, Op::Expire { .. } | Op::Deregister { .. })
}

#[test]
fn a_stale_decision_is_found_though_all_nodes_took_it() {
    let planted = with_other(&script(), |one, place| match one.verdicts[place] {
        Verdict::Refused(_) => Some(Verdict::Applied(at(one).at(place as u16))),
        _ => None,
    });
    let judged = judged(&[("a", &planted), ("b", &planted)]);
    assert!(matches!(judged.wrong[..], [Wrong::Stale(_), Wrong::Missing(_)]), "{:?}", judged.wrong);
    assert!(judged.unjudged > 0, "the model knows nothing from there on");
}

#[test]
fn to_refuse_what_stands_is_another_verdict_and_not_a_stale_one() {
    let planted =
        with_other(&script(), |one, place| one.verdicts[place].is_applied().then_some(Verdict::Refused(Refusal::Base)));
    let judged = judged(&[("a", &planted)]);
    assert!(matches!(judged.wrong[..], [Wrong::Otherwise(_), Wrong::Missing(_)]), "{:?}", judged.wrong);
}

#[test]
fn a_node_that_decides_or_reads_something_else_is_found() {
    let all = script();
    let other =
        with_other(&all, |one, place| one.verdicts[place].is_applied().then_some(Verdict::Refused(Refusal::Base)));
    let wrong = judged(&[("a", &all), ("b", &other)]).wrong;
    assert!(matches!(&wrong[..], [Wrong::Differs(what)] if what.contains("a decided")), "{wrong:?}");

    let mut other = all.clone();
    other[7].entry.checksum += 1;
    let wrong = judged(&[("a", &all), ("b", &other)]).wrong;
    assert!(matches!(&wrong[..], [Wrong::Differs(what)] if what.contains("different frames")), "{wrong:?}");
}

#[test]
fn what_nobody_has_is_missing_and_what_follows_is_not_judged() {
    let all = script();
    let (mut ledger, hole) = (Ledger::default(), 20);
    tell(&mut ledger, "a", &all[..hole]);
    tell(&mut ledger, "b", &all[hole + 1..]);
    let judged = ledger.judge();
    assert!(matches!(judged.wrong[..], [Wrong::Missing(_)]), "{:?}", judged.wrong);
    assert_eq!(judged.unjudged, count(&all[hole + 1..]));
    assert_eq!(judged.decisions.keys().collect::<Vec<_>>(), ["a"]);
    // Somebody was only late to tell.
    tell(&mut ledger, "c", &all[hole..hole + 1]);
    let judged = ledger.judge();
    assert_eq!(judged.wrong, []);
    assert_eq!(judged.decisions["b"], count(&all[hole + 1..]));
}

#[test]
fn a_log_that_began_with_rows_is_not_judged() {
    let all = script();
    let judged = judged(&[("a", &all[1..])]);
    assert!(matches!(judged.wrong[..], [Wrong::Missing(_)]), "{:?}", judged.wrong);
    assert_eq!(judged.unjudged, count(&all[1..]));
}

#[test]
fn a_journal_that_lost_something_says_so_or_is_found_out() {
    let all = script();
    let mut lost = all.clone();
    lost.remove(9);
    let wrong = judged(&[("a", &all), ("b", &lost)]).wrong;
    assert!(matches!(&wrong[..], [Wrong::Missing(what)] if what.starts_with("b goes on with")), "{wrong:?}");

    let mut ledger = Ledger::default();
    tell(&mut ledger, "a", &all);
    tell(&mut ledger, "b", &all[..9]);
    ledger.take("b", Record::Lost { frames: 1 });
    all[10..].iter().for_each(|one| ledger.take("b", Record::Decided(one.clone())));
    let wrong = ledger.judge().wrong;
    assert!(matches!(&wrong[..], [Wrong::Missing(what)] if what.contains("could not write 1")), "{wrong:?}");

    let mut short = all.clone();
    assert!(short.iter_mut().find_map(|one| one.verdicts.pop()).is_some());
    let wrong = judged(&[("a", &all), ("b", &short)]).wrong;
    assert!(wrong.iter().all(|one| matches!(one, Wrong::Missing(_))) && !wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_removal_names_who_may_order_it() {
    let all = script();
    let resigned = |is: fn(&Op) -> bool, door: &str| {
        let mut all = all.clone();
        for one in &mut all {
            let applied = one.verdicts.iter().map(Verdict::is_applied);
            let mut changes = Arc::make_mut(&mut one.entry.frame).changes.iter_mut().zip(applied);
            if let Some((change, _)) = changes.find(|(change, is_applied)| *is_applied && is(&change.op)) {
                sign(change, door);
                return judged(&[("a", &all)]).wrong;
            }
        }
        panic!("there is none");
    };
    for (is, door) in [
        ((|op| matches!(op, Op::Expire { .. })) as fn(&Op) -> bool, "http"),
        (|op| matches!(op, Op::Deregister { .. }), "lease"),
    ] {
        let wrong = resigned(is, door);
        assert!(matches!(wrong[..], [Wrong::Unproven(_)]), "{wrong:?}");
    }
    assert_eq!(resigned(|op| matches!(op, Op::Register { .. }), "lease"), [], "that is no removal");
}

#[test]
fn what_was_decided_behind_the_next_life_is_void() {
    let all = script();
    let half = all.len() / 2;
    let raised = Raised {
        log: IDENTITY,
        from: at(&all[half - 1]),
        next: Position::new(96, 0).expect("in range"),
        is_lifted: false,
    };
    let beacon = |one: &Decided, offset| {
        let mut one = one.clone();
        one.entry.position = Position::new(96, offset).expect("in range");
        let frame = Arc::make_mut(&mut one.entry.frame);
        frame.changes.clear();
        one.verdicts.clear();
        one
    };
    // Whether it is told before what it makes void, or behind that.
    for is_early in [true, false] {
        let mut ledger = Ledger::default();
        if is_early {
            ledger.take("b", Record::Raised(raised));
        }
        tell(&mut ledger, "a", &all);
        assert_eq!(ledger.judge().wrong, [], "early: {is_early}");
        if !is_early {
            ledger.take("b", Record::Raised(raised));
        }
        ledger.take("a", Record::Begun { log: IDENTITY, at: raised.next });
        (1..4).for_each(|offset| ledger.take("a", Record::Decided(beacon(&all[0], offset))));
        let judged = ledger.judge();
        assert_eq!((judged.wrong, judged.unjudged), (vec![], 0), "early: {is_early}");
        let log = ledger.logs.values().next().expect("one");
        assert_eq!(log.model.position().generation(), 96);
        let mut alone = crate::testing::model::Model::new();
        all[..half].iter().for_each(|one| alone.read(one).expect("as it was"));
        assert_eq!(log.model.removal_count(), alone.removal_count(), "what is void is not in it");
    }
}
