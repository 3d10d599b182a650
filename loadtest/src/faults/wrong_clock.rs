//! Makes the wall clock of one process wrong, and leaves its monotonic clock alone: a library for it to preload.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const SOURCE: &str = include_str!("wrong_clock.c");
const LIBRARY: &str = "wrong_clock.so";
const DAY_S: i64 = 24 * 60 * 60;
/// By how much the time that was told may be off what it should be: an answer takes a while.
const ABOUT_S: i64 = 5;

/// Why it cannot be built here.
pub(super) fn lacks() -> Option<&'static str> {
    let runs = std::process::Command::new("cc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    (!runs.is_ok_and(|status| status.success())).then_some("no C compiler `cc`")
}

/// The library, as long as this is held.
pub struct WrongClock(TempDir);

impl WrongClock {
    pub async fn build() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("thuban-clock-").tempdir()?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(Self::path(&folder));
        let mut running = compiler.stdin(Stdio::piped()).spawn().context("start cc")?;
        let mut input = running.stdin.take().context("stdin is piped")?;
        input.write_all(SOURCE.as_bytes()).await?;
        drop(input);
        let ended = running.wait().await?;
        ensure!(ended.success(), "cc ended with {ended}");
        Ok(Self(folder))
    }

    fn path(folder: &TempDir) -> PathBuf {
        folder.path().join(LIBRARY)
    }

    /// What a process must have in its environment.
    pub fn environment(&self, wrong_s: i64) -> String {
        format!("LD_PRELOAD={} WRONG_CLOCK_S={wrong_s}", Self::path(&self.0).display())
    }
}

/// Whether a `Date` of HTTP is about so wrong.
pub(super) fn is_wrong_by(date: &str, wrong_s: i64) -> Option<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Some(off(second_of_day(date)?, now.as_secs() as i64 + wrong_s) <= ABOUT_S)
}

/// Of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn second_of_day(date: &str) -> Option<i64> {
    let time = date.split_whitespace().find(|word| word.contains(':'))?;
    let parts: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some((hours * 60 + minutes) * 60 + seconds)
}

/// How far two seconds are apart on the face of a clock.
fn off(one: i64, other: i64) -> i64 {
    let apart = (one - other).rem_euclid(DAY_S);
    apart.min(DAY_S - apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_held_against_the_clock_over_midnight_too() {
        assert_eq!(second_of_day("Sun, 06 Nov 1994 08:49:37 GMT"), Some(8 * 3_600 + 49 * 60 + 37));
        assert_eq!(second_of_day("yesterday"), None);
        assert_eq!(off(DAY_S - 1, 1), 2);
        assert_eq!(off(3_600, DAY_S), 3_600);
        assert_eq!(off(0, -60), 60);
    }

    #[tokio::test]
    async fn a_process_that_preloads_it_has_another_wall_clock() {
        if lacks().is_some() {
            eprintln!("\n*** SKIPPED: no C compiler ***\n");
            return;
        }
        let clock = WrongClock::build().await.expect("it builds");
        let mut date = Command::new("date");
        date.args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]);
        for wrong_s in [-60, 3_600] {
            for word in clock.environment(wrong_s).split(' ') {
                let (name, value) = word.split_once('=').expect("NAME=VALUE");
                date.env(name, value);
            }
            let said = date.output().await.expect("date runs");
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert_eq!(is_wrong_by(&said, wrong_s), Some(true), "{said}");
            assert_eq!(is_wrong_by(&said, 0), Some(false), "{said}");
        }
    }
}
