//! The same in words.

use std::fmt::Write;

use crate::figures::{Figures, Judged, Verdict};

/// How what is found becomes what is recorded.
const RECORD: &str = "make counts ARGS=--record";

/// A line for each path.
pub(crate) fn table(judged: &[Judged]) -> String {
    let mut text = format!("{:<24} {:>12} {:>12} {:>9}\n", "instructions of one", "found", "recorded", "");
    for Judged { path, stored, found, .. } in judged {
        let change = stored.zip(*found).map_or_else(String::new, |(stored, found)| change(stored, found));
        // A String takes everything.
        let _ = writeln!(text, "{path:<24} {:>12} {:>12} {change:>9}", figure(*found), figure(*stored));
    }
    text
}

fn figure(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

fn change(stored: u64, found: u64) -> String {
    format!("{:+.1} %", (found as f64 / stored.max(1) as f64 - 1.0) * 100.0)
}

/// What is wrong, or to be done, and whether that is well enough.
pub(crate) fn verdict(judged: &[Judged]) -> (String, bool) {
    let (mut text, mut is_good) = (String::new(), true);
    for Judged { path, stored, found, verdict } in judged {
        let (stored, found) = (stored.unwrap_or_default(), found.unwrap_or_default());
        let by = change(stored, found);
        let (line, is_fault) = match verdict {
            Verdict::Same => continue,
            Verdict::Dearer => {
                (format!("{path} costs {found} instructions, {by} of the {stored} recorded; allowed: +5 %"), true)
            }
            Verdict::Cheaper => (
                format!(
                    "{path} costs only {found} instructions, {by} of the {stored} recorded: record that, so that it stays so"
                ),
                false,
            ),
            Verdict::Unknown => (format!("nothing is recorded of {path}"), true),
            Verdict::Gone => (format!("{path} is recorded, and there is no such path any more"), true),
        };
        is_good &= !is_fault;
        // A String takes everything.
        let _ = writeln!(text, "{}: {line}", if is_fault { "error" } else { "*** notice" });
    }
    if !text.is_empty() {
        let _ = writeln!(text, "where it is meant to be so: {RECORD}, and commit the difference");
    }
    (text, is_good)
}

/// Why nothing can be held against what was recorded, if so.
pub(crate) fn another_toolchain(stored: &Figures, found: &Figures) -> Option<String> {
    let (was, is) = (&stored.toolchain, &found.toolchain);
    (was != is).then(|| {
        format!(
            "\n*** NOT CHECKED: recorded with {} on {}, and this is {} on {}: other instructions. {RECORD} ***\n\n",
            was.rustc, was.machine, is.rustc, is.machine
        )
    })
}

#[cfg(test)]
mod tests;
