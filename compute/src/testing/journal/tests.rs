use std::sync::Arc;

use super::{Decided, JournalBroken, MemoryJournal, in_order};
use crate::model::{Entry, Frame, Position};
use crate::port::Journal;
use crate::state::{Refusal, Verdict};
use crate::testing::script::Script;

/// The frames of a script, as a node that restarts in the middle writes them down.
fn journal() -> Vec<Decided> {
    let mut script = Script::new(7);
    (0..200).for_each(|_| drop(script.step()));
    let mut decided = script.journal().decided();
    let middle = decided.len() / 2;
    decided.splice(middle..middle, decided[middle - 5..middle].to_vec());
    decided
}

fn at(decided: &Decided) -> Position {
    decided.entry.position
}

#[test]
fn what_is_recorded_is_there_in_its_order() {
    let decided = journal();
    let journal = MemoryJournal::new();
    decided.iter().for_each(|one| journal.record(&one.entry, &one.verdicts));
    assert_eq!(journal.decided().iter().map(at).collect::<Vec<_>>(), decided.iter().map(at).collect::<Vec<_>>());
    let ordered = in_order(&decided).unwrap();
    assert_eq!(ordered.len(), decided.len() - 5);
    assert!(ordered.iter().zip(1..).all(|(one, offset)| at(one).offset() == offset));
}

#[test]
fn a_journal_that_lost_a_frame_or_says_two_things_is_noticed() {
    let whole = journal();
    let busy = whole.len() / 2 + 1;
    let again = at(&whole[busy]);

    let mut lost = whole.clone();
    lost.remove(3);
    let told = JournalBroken::Gap { after: at(&whole[2]), at: at(&whole[4]) };
    assert_eq!(in_order(&lost).unwrap_err(), told);

    let mut other = whole.clone();
    other[busy].entry = Entry {
        frame: Arc::new(Frame { time_ms: 1, ..(*other[busy].entry.frame).clone() }),
        ..whole[busy].entry.clone()
    };
    assert_eq!(in_order(&other).unwrap_err(), JournalBroken::OtherFrame { at: again });

    let decided_again = whole[whole.len() / 2..].iter().position(|one| !one.verdicts.is_empty()).unwrap();
    let busy = whole.len() / 2 + decided_again;
    let mut other = whole.clone();
    other[busy].verdicts[0] = Verdict::Refused(Refusal::NotEmpty);
    assert_eq!(in_order(&other).unwrap_err(), JournalBroken::OtherVerdicts { at: at(&whole[busy]) });

    let mut short = whole;
    short[busy].verdicts.pop();
    assert!(matches!(in_order(&short).unwrap_err(), JournalBroken::Uncounted { .. }));
}
