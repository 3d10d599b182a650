use std::collections::BTreeMap;

use super::*;

fn map(figures: &[(&str, u64)]) -> BTreeMap<String, u64> {
    figures.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
}

fn verdict(stored: u64, found: u64) -> Verdict {
    let judged = judge(&map(&[("discover", stored)]), &map(&[("discover", found)]));
    assert_eq!(judged.len(), 1);
    judged[0].verdict
}

#[test]
fn a_path_may_be_a_twentieth_off_and_no_more() {
    for (found, expected) in [
        (10_000, Verdict::Same),
        (10_500, Verdict::Same),
        (10_501, Verdict::Dearer),
        (20_000, Verdict::Dearer),
        (9_500, Verdict::Same),
        (9_499, Verdict::Cheaper),
        (0, Verdict::Cheaper),
    ] {
        assert_eq!(verdict(10_000, found), expected, "{found} of 10000");
    }
    // What was recorded as nothing may cost nothing.
    assert_eq!(verdict(0, 1), Verdict::Dearer);
    assert_eq!(verdict(u64::MAX, u64::MAX), Verdict::Same);
}

#[test]
fn every_path_is_judged_that_was_recorded_or_found() {
    let judged = judge(&map(&[("gone", 5), ("kept", 7)]), &map(&[("kept", 7), ("new", 9)]));
    let told: Vec<_> = judged.iter().map(|j| (j.path.as_str(), j.stored, j.found, j.verdict)).collect();
    assert_eq!(
        told,
        [
            ("gone", Some(5), None, Verdict::Gone),
            ("kept", Some(7), Some(7), Verdict::Same),
            ("new", None, Some(9), Verdict::Unknown),
        ]
    );
}

#[test]
fn what_is_recorded_is_read_again() {
    let toolchain = Toolchain { rustc: "rustc 1.95.0".into(), machine: "x86_64-linux, avx2".into() };
    let figures = Figures { toolchain, instructions: map(&[("discover", 12), ("renew", 3)]) };
    let path = std::env::temp_dir().join(format!("thuban-figures-{}.json", std::process::id()));
    figures.write(&path).expect("a folder for temporary files");
    let read = Figures::read(&path);
    std::fs::remove_file(&path).expect("it was written");
    assert_eq!(read.expect("as it was written"), figures);
}

/// The file in the tree has a figure for each path, and none else.
#[test]
fn all_paths_are_recorded() {
    let stored = Figures::read(&crate::stored_at()).expect("recorded");
    let recorded: Vec<_> = stored.instructions.keys().map(String::as_str).collect();
    let mut paths: Vec<_> = crate::paths::ALL.iter().map(|path| path.name).collect();
    paths.sort_unstable();
    assert_eq!(recorded, paths);
}
