//! Runs a path under valgrind's callgrind, in a process of its own, and reads how many instructions it took.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::paths::HotPath;
use crate::span::TOGGLES;

/// With this option this program runs one path and prints how many operations were counted.
pub(crate) const RUN: &str = "--run";
/// Memory is given back to the machine by the clock, which runs fast beside a program that is interpreted: not at all.
const ALLOCATOR: &str = "dirty_decay_ms:-1,muzzy_decay_ms:-1";
/// Of the environment, all that valgrind needs; where the stack begins should not depend on the rest.
const ENVIRONMENT: [&str; 2] = ["PATH", "VALGRIND_LIB"];

pub(crate) struct Count {
    /// Of one operation.
    pub(crate) instructions: u64,
    pub(crate) operations: u64,
    pub(crate) profile: PathBuf,
}

pub(crate) fn count(path: &HotPath) -> Result<Count> {
    let own = std::env::current_exe()?;
    let profile = own.with_file_name(format!("callgrind.out.{}", path.name));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.args(TOGGLES.map(|function| format!("--toggle-collect=*{function}*")));
    valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
    valgrind.arg(&own).args([RUN, path.name]);
    valgrind.env_clear().env("MALLOC_CONF", ALLOCATOR).stderr(Stdio::inherit());
    valgrind.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let ended =
        valgrind.output().context("valgrind, which counts, can't be started (Debian: apt-get install valgrind)")?;
    ensure!(ended.status.success(), "{}: valgrind ended with {}", path.name, ended.status);
    let said = String::from_utf8_lossy(&ended.stdout);
    let operations: u64 = said.trim().parse().with_context(|| format!("{}: it said {said:?}", path.name))?;
    let total = total(&profile)?;
    ensure!(operations > 0 && total >= operations, "{}: {total} instructions for {operations}", path.name);
    Ok(Count { instructions: total / operations, operations, profile })
}

/// The sum in a profile.
fn total(profile: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(profile).with_context(|| format!("read {}", profile.display()))?;
    total_of(&text).with_context(|| format!("no totals in {}", profile.display()))
}

fn total_of(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_at_the_end_of_a_profile() {
        assert_eq!(total_of("events: Ir\nfn=(1) totals: 3\n+1 20\n\ntotals: 1234\n"), Some(1_234));
        assert_eq!(total_of("events: Ir\n"), None);
    }
}
