//! What was recorded, what is found, and what is to be said of the difference. Pure, but for the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// How far a path may be from what was recorded, in thousandths.
const SLACK: u64 = 50;

/// Instructions of one operation, by path, and what made them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) toolchain: Toolchain,
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// Another one makes other instructions of the same program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Toolchain {
    /// `rustc --version`.
    pub(crate) rustc: String,
    /// Architecture and system, and of its instructions those that libraries look for when they run.
    pub(crate) machine: String,
}

/// One path, beside what was recorded of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Judged {
    pub(crate) path: String,
    pub(crate) stored: Option<u64>,
    pub(crate) found: Option<u64>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Same,
    /// It costs more than it may.
    Dearer,
    /// It costs so much less that the record allows for more than the slack.
    Cheaper,
    /// Nothing was recorded of it.
    Unknown,
    /// There is no such path any more.
    Gone,
}

impl Figures {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not as it was written", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

impl Toolchain {
    pub(crate) fn this() -> Result<Self> {
        let said = Command::new("rustc").arg("--version").output().context("rustc can't be started")?;
        ensure!(said.status.success(), "rustc --version: {}", String::from_utf8_lossy(&said.stderr));
        let rustc = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        let wide = if has_avx2() { ", avx2" } else { "" };
        Ok(Self { rustc, machine: format!("{}-{}{wide}", std::env::consts::ARCH, std::env::consts::OS) })
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

/// Every path that was recorded or found, by name.
pub(crate) fn judge(stored: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Vec<Judged> {
    let all: BTreeSet<&String> = stored.keys().chain(found.keys()).collect();
    let judged = all.into_iter().map(|path| {
        let (stored, found) = (stored.get(path).copied(), found.get(path).copied());
        let verdict = match (stored, found) {
            (Some(stored), Some(found)) => compare(stored, found),
            (None, _) => Verdict::Unknown,
            (_, None) => Verdict::Gone,
        };
        Judged { path: path.clone(), stored, found, verdict }
    });
    judged.collect()
}

fn compare(stored: u64, found: u64) -> Verdict {
    let (stored, found) = (u128::from(stored), u128::from(found) * 1_000);
    if found > stored * u128::from(1_000 + SLACK) {
        Verdict::Dearer
    } else if found < stored * u128::from(1_000 - SLACK) {
        Verdict::Cheaper
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests;
