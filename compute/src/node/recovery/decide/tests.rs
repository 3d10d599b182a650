use super::Heard::{Refused, Silent, Unsure};
use super::*;

const ME: NodeIncarnation = NodeIncarnation(5);
const LOW: NodeIncarnation = NodeIncarnation(1);
const HIGH: NodeIncarnation = NodeIncarnation(9);
const LOG: LogIdentity = LogIdentity([1; 16]);
const OTHER: LogIdentity = LogIdentity([2; 16]);

fn at(generation: u8, offset: u64) -> Position {
    Position::new(generation, offset).unwrap()
}

fn stopped(generation: u8, offset: u64) -> Heard {
    Heard::Answered { reading: Reading::Stopped, applied: at(generation, offset) }
}

fn reading(reading: Reading, offset: u64) -> Heard {
    Heard::Answered { reading, applied: at(3, offset) }
}

/// What it is, what this node and the store have, what the others say, and what is to be done.
type Case<'a> = (&'a str, Option<Position>, Position, &'a [(NodeIncarnation, Heard)], &'a str);

/// The step in a word, with whom is waited for.
fn word(step: Step) -> String {
    match step {
        Step::Reload => "reload".into(),
        Step::Raise(Source::State) => "raise state".into(),
        Step::Raise(Source::Rows) => "raise rows".into(),
        Step::Wait(node, _) => format!("wait {}", node.map_or(0, |node| node.0)),
    }
}

#[test]
fn the_furthest_that_lives_begins_the_next_life() {
    let (mine, stored) = (Some(at(3, 50)), at(3, 40));
    let table: &[Case<'_>] = &[
        ("alone, ahead of the store", mine, stored, &[], "raise state"),
        ("alone, the store has as much", mine, at(3, 50), &[], "raise state"),
        ("alone, the store has more", mine, at(3, 51), &[], "raise rows"),
        ("somebody has begun it", mine, at(4, 0), &[(LOW, stopped(3, 90))], "reload"),
        ("the other has less", mine, stored, &[(LOW, stopped(3, 49)), (HIGH, stopped(3, 1))], "raise state"),
        ("the other has more", mine, stored, &[(LOW, stopped(3, 1)), (HIGH, stopped(3, 51))], "wait 9"),
        ("as much: the smaller name", mine, stored, &[(LOW, stopped(3, 50))], "wait 1"),
        ("as much: not the larger name", mine, stored, &[(HIGH, stopped(3, 50))], "raise state"),
        ("the store has more than all", mine, at(3, 60), &[(LOW, stopped(3, 20))], "raise rows"),
        ("the other has more, the store most", mine, at(3, 60), &[(LOW, stopped(3, 55))], "wait 1"),
        ("one has not answered yet", mine, stored, &[(LOW, Unsure), (HIGH, stopped(3, 1))], "wait 1"),
        ("one is dead", mine, stored, &[(LOW, Silent), (HIGH, stopped(3, 1))], "raise state"),
        ("one reads it", mine, stored, &[(LOW, reading(Reading::Reads, 10)), (HIGH, Unsure)], "reload"),
        ("one does not know yet", mine, stored, &[(LOW, reading(Reading::Away, 10))], "wait 1"),
        ("one has slept over a life", mine, stored, &[(LOW, stopped(2, 900))], "raise state"),
        ("one is in a later life", mine, stored, &[(LOW, stopped(4, 2)), (HIGH, stopped(3, 90))], "wait 1"),
        ("nothing has landed", mine, Position::ZERO, &[(LOW, stopped(3, 2))], "raise state"),
        ("starts: nobody lives", None, stored, &[(LOW, Silent)], "raise rows"),
        ("starts: somebody may live", None, stored, &[(LOW, Unsure)], "wait 1"),
        ("starts: one lives, with less", None, stored, &[(LOW, stopped(3, 2))], "wait 1"),
        ("starts: one reads it", None, stored, &[(LOW, reading(Reading::Reads, 10))], "wait 1"),
        ("one does not believe this node", mine, stored, &[(LOW, Refused), (HIGH, stopped(3, 1))], "wait 1"),
        ("starts: one does not believe it", None, stored, &[(LOW, Silent), (HIGH, Refused)], "wait 9"),
        ("starts: one is away from it", None, stored, &[(LOW, reading(Reading::Away, 10))], "wait 1"),
    ];
    for (case, applied, stored, others, wanted) in table {
        assert_eq!(word(decide(ME, *applied, (*stored, true), others)), *wanted, "{case}");
    }
}

/// Who lands in the store reads a log: it is not lost, or not for everybody.
#[test]
fn nobody_begins_a_life_while_the_store_still_grows() {
    for applied in [None, Some(at(3, 50))] {
        let step = |is_still| word(decide(ME, applied, (at(3, 40), is_still), &[(LOW, Silent)]));
        assert_eq!((step(false).as_str(), step(true).starts_with("raise")), ("wait 0", true), "{applied:?}");
        let begun = decide(ME, applied, (at(4, 1), false), &[(LOW, Silent)]);
        assert_eq!(word(begun) == "reload", applied.is_some(), "who has begun it is followed at once");
    }
}

/// Whatever they have, of nodes that all answer each other exactly one begins, and it is one that nobody is ahead of.
#[test]
fn exactly_one_of_those_who_live_begins() {
    let nodes = [LOW, ME, HIGH];
    for seed in 0..4_u64.pow(4) {
        let place = |at: u32| seed / 4_u64.pow(at) % 4;
        let applied = [0, 1, 2].map(|of| at(3, place(of) + 1));
        let stored = at(3, place(3) + 1);
        let steps = [0, 1, 2].map(|me: usize| {
            let others: Vec<_> = [0, 1, 2].into_iter().filter(|of| *of != me).collect();
            let heard = |of: &usize| (nodes[*of], stopped(3, applied[*of].offset()));
            decide(nodes[me], Some(applied[me]), (stored, true), &others.iter().map(heard).collect::<Vec<_>>())
        });
        let raising: Vec<_> = (0..3).filter(|of| matches!(steps[*of], Step::Raise(_))).collect();
        assert_eq!(raising.len(), 1, "{applied:?} {stored}: {steps:?}");
        assert_eq!(Some(applied[raising[0]]), applied.into_iter().max(), "{applied:?} {stored}: {steps:?}");
        let wanted = if applied[raising[0]] >= stored { Source::State } else { Source::Rows };
        assert_eq!(steps[raising[0]], Step::Raise(wanted), "{applied:?} {stored}");
    }
}

#[test]
fn rows_and_log_are_a_pair_or_it_is_said_why_not() {
    let found = |trimmed, last, lives| Found { trimmed, last, lives };
    let one = |generation| Some(((LOG, generation), (LOG, generation)));
    let table = [
        ("as ever", at(3, 7), found(2, 9, one(3)), Pair::Whole),
        ("all has landed", at(3, 9), found(0, 9, one(3)), Pair::Whole),
        ("nothing yet", Position::ZERO, found(0, 0, None), Pair::Whole),
        ("not yet landed", Position::ZERO, found(0, 4, one(3)), Pair::Whole),
        ("emptied, and its end known", at(3, 9), found(9, 9, None), Pair::Whole),
        ("raised, and nothing written since", at(4, 9), found(0, 9, one(3)), Pair::Whole),
        ("two lives", at(4, 9), found(0, 12, Some(((LOG, 3), (LOG, 4)))), Pair::Whole),
        ("made anew", at(3, 7), found(0, 0, None), Pair::Lost),
        ("made anew, and one wrote into it", at(3, 7), found(0, 2, one(3)), Pair::Lost),
        ("its end is lost", at(3, 7), found(0, 6, one(3)), Pair::Lost),
        ("another log", at(3, 7), found(0, 9, Some(((OTHER, 3), (OTHER, 3)))), Pair::Foreign(OTHER)),
        ("another one behind it", at(3, 7), found(0, 9, Some(((LOG, 3), (OTHER, 3)))), Pair::Foreign(OTHER)),
        ("emptied, and a stranger was faster", at(4, 9), found(9, 12, None), Pair::Whole),
        ("made anew for the next life, and a stranger was faster", at(4, 0), found(0, 2, None), Pair::Whole),
        ("a stranger's", at(3, 7), found(0, 9, None), Pair::Strange(9)),
        ("a stranger's, and shorter", at(3, 7), found(2, 5, None), Pair::Strange(3)),
        ("a stranger's, and nothing has landed", Position::ZERO, found(0, 9, None), Pair::Strange(9)),
        ("an old copy of the rows", at(3, 7), found(0, 9, one(4)), Pair::Later((LOG, 4))),
    ];
    for (case, stored, found, wanted) in table {
        assert_eq!(pair(LOG, stored, &found), wanted, "{case}");
    }
}
