use schemas::thuban::change::v1::change::Op;
use schemas::thuban::change::v1::*;

use super::check;
use super::frame_1::{NODE, REVISION};

const POSITION: u64 = 1 << 40 | 57;

fn kept(name: &str) -> String {
    let lines = include_str!("members_1.hex").lines();
    let found = lines.filter_map(|line| line.split_once(' ')).find(|(of, _)| *of == name);
    found.map(|(_, hex)| hex.to_owned()).unwrap_or_default()
}

fn change(op: Op) -> Change {
    Change { node: None, counter: 9, author: 0, op: Some(op) }
}

#[test]
fn what_nodes_say_of_nodes_in_format_1_reads_for_ever() {
    let beacon = Beacon {
        name: "node-1".into(),
        peer: "10.0.0.1:7802".into(),
        applied: POSITION,
        rolling_hash: u64::MAX,
        landed: POSITION - 7,
        leaving: true,
        digest: vec![],
        rebuilt: vec![],
    };
    check(&kept("beacon"), &change(Op::Beacon(beacon)));
    check(&kept("beacon_first"), &change(Op::Beacon(Beacon::default())));
    check(&kept("gone"), &change(Op::Gone(Gone { node: NODE })));
}

#[test]
fn members_of_format_1_read_for_ever() {
    let row = MemberRow {
        name: "node-1".into(),
        peer: "10.0.0.1:7802".into(),
        joined_ms: 1_790_000_000_000,
        joined: REVISION,
        seen: REVISION + 1,
        applied: POSITION,
        rolling_hash: u64::MAX,
        landed: POSITION - 7,
        leaving: true,
        gone: true,
    };
    check(&kept("member"), &row);
}
