//! Words of operators where nobody is registered.

use crate::command::{Answer, Command, ServicePatch};
use crate::error::Error;
use crate::model::limits::{KEPT_AHEAD_MS_MAX, OVERRIDES_MAX, TOMBSTONE_POSITIONS};
use crate::model::{Author, InstanceKey, Op, OperatorPatch, OverrideRow, Process, RemovalReason, Row, Set};
use crate::port::store::Loaded;

use super::super::{Decision, Refusal, State, Verdict};
use super::{Desk, IDENTITY, a, isolate, orders};

fn keep(word: OperatorPatch, until_ms: Option<u64>, only_for: Option<&str>) -> Command {
    let only_for = only_for.map(|name| Process::named(name).expect("good"));
    Command::KeepOverride { instance: a(), word, until_ms, only_for }
}

/// A service where nobody is.
fn empty_service() -> Desk {
    let mut desk = Desk::new();
    let patch = ServicePatch { whole: true, ..ServicePatch::default() };
    desk.run(Command::PutService { service: orders(), patch, expected: None });
    desk
}

#[test]
fn an_operators_word_may_come_before_the_instance() {
    for (only_for, comes, isolated) in [
        (None, None, true),
        (None, Some("one"), true),
        (Some("one"), Some("one"), true),
        (Some("one"), Some("two"), false),
        (Some("one"), None, false),
    ] {
        let mut desk = empty_service();
        desk.run(keep(isolate(), Some(desk.time_ms + 60_000), only_for));
        desk.time_ms += 59_999;
        desk.register(comes);
        assert_eq!(desk.is_isolated(), Some(isolated), "for {only_for:?}, {comes:?} comes");
        assert_eq!(desk.state.kept_count(), 0, "whoever comes, it is over");
    }
    let mut desk = empty_service();
    desk.run(keep(OperatorPatch { keep_ms: Set::To(500), ..isolate() }, None, None));
    desk.time_ms += 500;
    assert_eq!((desk.end_what_is_due(), desk.state.kept_count(), desk.state.timer_count()), (1, 0, 0));
}

#[test]
fn the_same_kept_word_again_changes_nothing_and_another_takes_its_place() {
    let mut desk = empty_service();
    let until = Some(desk.time_ms + 60_000);
    let first = desk.run(keep(isolate(), until, Some("one")));
    desk.time_ms += 1_000;
    let Decision::Answer(Answer::Override { kept, created: false }) = desk.decide(keep(isolate(), until, Some("one")))
    else {
        panic!("it is another");
    };
    assert_eq!((kept.row.operator.revision, kept.row.operator.set_at_ms), (first, 1_000));
    let weight = OperatorPatch { weight: Set::To(7), ..OperatorPatch::default() };
    for other in
        [keep(isolate(), until, None), keep(isolate(), until.map(|at| at + 1), None), keep(weight, until, None)]
    {
        let at = desk.run(other);
        let kept = &desk.state.kept_overrides(&orders())[0].row.operator;
        assert_eq!((kept.revision, kept.set_at_ms), (at, desk.time_ms));
    }
    let kept = &desk.state.kept_overrides(&orders())[0].row;
    assert_eq!((kept.operator.isolated, kept.operator.weight), (None, Some(7)), "it is whole");
}

#[test]
fn a_kept_word_rests_on_nobody_being_there() {
    let mut desk = empty_service();
    let until = Some(desk.time_ms + 60_000);
    let Decision::Append(early) = desk.decide(keep(isolate(), until, None)) else { panic!("nobody is there") };
    desk.register(None);
    assert_eq!(desk.apply(early.clone()), Verdict::Refused(Refusal::Base), "somebody is");
    assert!(matches!(desk.decide(keep(isolate(), until, None)), Decision::Refuse(Error::Conflict(_))));
    desk.deregister();
    assert_eq!(desk.apply(early.clone()), Verdict::Refused(Refusal::Base), "somebody was");
    desk.run(keep(isolate(), until, None));
    assert_eq!(desk.apply(early), Verdict::Refused(Refusal::Base), "there is a word now");
    let Decision::Append(late) = desk.decide(keep(isolate(), until.map(|at| at - 1), None)) else {
        panic!("it is another");
    };
    desk.run(Command::DropOverride { instance: a() });
    assert_eq!(desk.apply(late), Verdict::Refused(Refusal::Base), "the word that it replaces is gone");
    let Decision::Append(last) = desk.decide(keep(isolate(), until, None)) else { panic!("nobody is there") };
    desk.pass_frames(TOMBSTONE_POSITIONS);
    assert_eq!(desk.apply(last.clone()), Verdict::Refused(Refusal::BaseTooOld));
    desk.run(Command::DeleteService { service: orders(), expected: None });
    assert_eq!(desk.apply(last), Verdict::Refused(Refusal::Absent), "its service is gone");
}

#[test]
fn a_kept_word_says_something_and_ends_in_time() {
    let desk = empty_service();
    let now = desk.time_ms;
    let refused = |command| match desk.decide(command) {
        Decision::Refuse(error) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    };
    let cases = [
        (keep(OperatorPatch::default(), Some(now + 1), None), "at least one of isolated, weight"),
        (
            keep(isolate(), None, None),
            "kept_until is \"\"; allowed: a time in the future, or a keep_ms above 0 beside it",
        ),
        (keep(isolate(), Some(now), None), "kept_until is \"1000\"; allowed: a time in the future, at most 8 days"),
        (keep(isolate(), Some(now + KEPT_AHEAD_MS_MAX + 1), None), "a time in the future, at most 8 days"),
        (keep(OperatorPatch { expires_at_ms: Set::To(now), ..isolate() }, Some(now + 1), None), "expires_at"),
        (keep(OperatorPatch { weight: Set::To(10_001), ..isolate() }, Some(now + 1), None), "0 to 10000"),
    ];
    for (command, wanted) in cases {
        let said = refused(command);
        assert!(said.contains(wanted), "\"{said}\" does not say \"{wanted}\"");
    }
    let instance = InstanceKey::new("default", "nobody", "a").expect("good");
    let elsewhere = Command::KeepOverride { instance, word: isolate(), until_ms: Some(now + 1), only_for: None };
    assert_eq!(refused(elsewhere), "no service \"default/nobody\"");
    // It ends with the word itself, if that is sooner.
    let patch = OperatorPatch { expires_at_ms: Set::To(now + 5), keep_ms: Set::To(60_000), ..isolate() };
    let Decision::Append(Op::KeepOverride { kept, .. }) = desk.decide(keep(patch, None, None)) else { panic!("good") };
    assert_eq!(kept.until_ms, now + 5);
}

#[test]
fn no_more_words_are_kept_than_there_is_room_for() {
    let mut desk = empty_service();
    let kept = OverrideRow {
        operator: isolate().over(None, &Author::new("ann", "http"), 0).expect("good").expect("a word"),
        until_ms: 1_000_000,
        only_for: None,
    };
    let mut rows = desk.state.all_rows();
    let key = |n: usize| InstanceKey::new("default", "orders", &n.to_string()).expect("good");
    rows.overrides = (0..OVERRIDES_MAX - 1).map(|n| Row::Put(key(n), kept.clone())).collect();
    desk.state = State::load(Loaded { log: Some(desk.state.log()), rows }, IDENTITY).expect("whole");
    let until = Some(desk.time_ms + 60_000);
    desk.run(keep(isolate(), until, None));
    let one_more =
        Command::KeepOverride { instance: key(OVERRIDES_MAX), word: isolate(), until_ms: until, only_for: None };
    let Decision::Refuse(Error::Conflict(why)) = desk.decide(one_more) else { panic!("there is room") };
    assert_eq!(why, "100000 words of operators are kept, which is as many as may be");
    desk.run(keep(isolate(), until.map(|at| at + 1), None));
    desk.register(None);
    desk.operate(OperatorPatch { keep_ms: Set::To(60_000), ..isolate() });
    let full = Command::KeepOverride { instance: key(OVERRIDES_MAX), word: isolate(), until_ms: until, only_for: None };
    desk.run(full);
    let generation = desk.state.instance(&a()).expect("there").generation;
    let deregister = Op::Deregister { instance: a(), generation, reason: RemovalReason::Deregistered };
    let applied = desk.applied(deregister);
    assert_eq!((applied.verdicts[0].is_applied(), applied.unkept), (true, 1), "it goes, and its word with it");
    assert_eq!(desk.state.kept_count(), OVERRIDES_MAX);
}
