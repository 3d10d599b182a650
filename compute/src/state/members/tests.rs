use std::sync::Arc;

use crate::model::limits::ORIGIN_POSITIONS;
use crate::model::{
    Author, Change, Entry, Frame, LogIdentity, LogState, MemberRow, NodeIncarnation, Op, Origin, OriginRow, Position,
    Row, Rows,
};
use crate::port::store::Loaded;
use crate::state::{Refusal, State, Verdict};

const IDENTITY: LogIdentity = LogIdentity([4; 16]);

fn at(offset: u64) -> Position {
    Position::new(1, offset).expect("in range")
}

fn row(seen: u64, gone: bool) -> MemberRow {
    MemberRow {
        name: "a".into(),
        peer: "".into(),
        joined_ms: 1,
        joined: at(1).at(0),
        seen: at(seen).at(0),
        applied: at(1),
        rolling_hash: 1,
        landed: Position::ZERO,
        leaving: false,
        gone,
    }
}

/// A log that is far on, with these members, and what was heard of whom last.
fn state(position: u64, members: &[(u64, MemberRow)], origins: &[(u64, u64)]) -> State {
    let members = members.iter().map(|(node, row)| Row::Put(NodeIncarnation(*node), row.clone()));
    let origin = |last_seen| OriginRow { highest: 5, gaps: vec![], last_seen: at(last_seen) };
    let origins = origins.iter().map(|(node, seen)| Row::Put(NodeIncarnation(*node), origin(*seen)));
    let rows = Rows { members: members.collect(), origins: origins.collect(), ..Rows::default() };
    let log = LogState { identity: IDENTITY, watermark: at(position), time_ms: 1, rolling_hash: 1 };
    State::load(Loaded { log: Some(log), rows }, IDENTITY).expect("the rows agree")
}

fn apply(state: &mut State, said: Vec<(u64, Op)>) -> Vec<Verdict> {
    let change = |(node, op)| {
        let origin = Origin { node: NodeIncarnation(node), counter: 6 };
        Change { origin, author: Author::new("node", "lease"), op }
    };
    let changes = said.into_iter().map(change).collect();
    let frame = Frame { identity: IDENTITY, writer: NodeIncarnation(1), time_ms: 1, changes };
    let entry = Entry { position: state.position().next(), frame: Arc::new(frame), checksum: 1 };
    state.apply(&entry).expect("the log is whole").verdicts
}

fn beacon() -> Op {
    let (applied, landed) = (at(1), Position::ZERO);
    Op::Beacon {
        name: "a".into(),
        peer: "".into(),
        applied,
        rolling_hash: 1,
        digest: None,
        rebuilt: None,
        landed,
        leaving: false,
    }
}

fn known(state: &State) -> Vec<u64> {
    let mut known: Vec<_> = state.all_rows().members.iter().map(|row| row.key().0).collect();
    known.sort_unstable();
    known
}

#[test]
fn who_is_long_gone_is_forgotten_with_its_origin() {
    const FAR: u64 = 10 + ORIGIN_POSITIONS;
    // (position, its row, when it was heard, is it known in the frame behind)
    let cases = [
        (FAR, row(10, true), Some(9), false),
        // One position earlier it could still be told from news.
        (FAR - 1, row(10, true), Some(9), true),
        // It was buried later than it was heard, and the other way round.
        (FAR, row(11, true), Some(9), true),
        (FAR, row(9, true), Some(11), true),
        // Its origin went before it was buried.
        (FAR, row(10, true), None, false),
        // Who is not gone is waited for, however long it was not heard.
        (FAR, row(10, false), Some(9), true),
        (FAR, row(10, false), None, true),
    ];
    for (position, row, heard, stays) in cases {
        let case = format!("at {position}, {row:?}, heard {heard:?}");
        let origins: Vec<_> = heard.map(|heard| (7, heard)).into_iter().collect();
        let mut state = state(position, &[(7, row)], &origins);
        assert_eq!(state.take_rows(), Rows::default(), "{case}");
        apply(&mut state, vec![]);
        assert_eq!(known(&state), if stays { vec![7] } else { vec![] }, "{case}");
        let landed = state.take_rows().members;
        assert_eq!(landed, if stays { vec![] } else { vec![Row::Delete(NodeIncarnation(7))] }, "{case}");
    }
}

/// As long as its words come, they are known for what they are.
#[test]
fn who_is_gone_and_still_speaks_is_not_forgotten() {
    let mut state = state(10 + ORIGIN_POSITIONS, &[(7, row(10, true)), (8, row(10, true))], &[(7, 9), (8, 9)]);
    let verdicts = apply(&mut state, vec![(7, beacon())]);
    assert_eq!(verdicts, [Verdict::Refused(Refusal::Gone)]);
    assert_eq!(known(&state), [7]);
    assert!(state.is_gone(NodeIncarnation(7)) && !state.is_gone(NodeIncarnation(8)));
}

#[test]
fn the_barrier_is_that_of_the_living() {
    let far = |applied: u64, gone| MemberRow { applied: at(applied), ..row(10, gone) };
    let barrier = |members: &[(u64, MemberRow)]| state(100, members, &[]).barrier();
    assert_eq!(barrier(&[]), None);
    assert_eq!(barrier(&[(1, far(3, true))]), None);
    assert_eq!(barrier(&[(1, far(3, true)), (2, far(9, false)), (3, far(5, false))]), Some(at(5)));
}
