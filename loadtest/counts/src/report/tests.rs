use std::collections::BTreeMap;

use super::*;
use crate::figures::{Toolchain, judge};

fn judged(stored: &[(&str, u64)], found: &[(&str, u64)]) -> Vec<Judged> {
    let map = |figures: &[(&str, u64)]| figures.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
    judge(&map(stored), &map(found))
}

#[test]
fn what_costs_more_is_named_with_how_much_and_what_to_do() {
    let (text, is_good) =
        verdict(&judged(&[("discover_http", 10_000), ("renew", 10)], &[("discover_http", 11_200), ("renew", 10)]));
    assert!(!is_good);
    assert!(text.contains("discover_http costs 11200 instructions, +12.0 % of the 10000 recorded"), "{text}");
    assert!(text.contains("make counts ARGS=--record"), "{text}");
    assert!(!text.contains("renew"), "{text}");
}

#[test]
fn what_costs_less_is_said_and_is_no_fault() {
    let (text, is_good) = verdict(&judged(&[("renew", 1_000)], &[("renew", 800)]));
    assert!(is_good);
    assert!(text.contains("renew costs only 800 instructions, -20.0 %") && text.contains("--record"), "{text}");
}

#[test]
fn what_was_not_recorded_or_is_not_found_is_a_fault() {
    let (text, is_good) = verdict(&judged(&[("gone", 1)], &[("new", 1)]));
    assert!(!is_good);
    assert!(text.contains("nothing is recorded of new") && text.contains("gone is recorded"), "{text}");
}

#[test]
fn nothing_is_said_where_all_is_as_it_was() {
    assert_eq!(verdict(&judged(&[("renew", 1_000)], &[("renew", 1_049)])), (String::new(), true));
}

#[test]
fn the_table_has_a_line_for_each() {
    let table = table(&judged(&[("gone", 7), ("kept", 200)], &[("kept", 202), ("new", 9)]));
    let lines: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["gone", "-", "7"], vec!["kept", "202", "200", "+1.0", "%"], vec!["new", "9", "-"]]);
}

#[test]
fn another_compiler_or_machine_is_no_measure() {
    let figures = |rustc: &str, machine: &str| Figures {
        toolchain: Toolchain { rustc: rustc.into(), machine: machine.into() },
        instructions: BTreeMap::new(),
    };
    let stored = figures("rustc 1.95.0", "x86_64-linux");
    assert_eq!(another_toolchain(&stored, &stored), None);
    for other in [figures("rustc 1.96.0", "x86_64-linux"), figures("rustc 1.95.0", "aarch64-linux")] {
        let told = another_toolchain(&stored, &other).expect("it is another");
        assert!(told.contains("NOT CHECKED") && told.contains(&other.toolchain.rustc), "{told}");
    }
}
