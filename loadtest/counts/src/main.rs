//! What the hot paths cost in instructions, held against what they cost when that was last recorded.
//!
//! Seconds depend on the neighbours of a machine, instructions do not: each path runs by itself under callgrind, on one
//! thread, over ports in memory, in time that stands still, with hashes that have no secret, and what is counted is
//! neither its preparation nor the client that asks. So a path that costs more than it did was changed, and by how much
//! can be said to the per cent. What the kernel does for it is not in the count, nor what waits for memory.

mod callgrind;
mod connection;
mod figures;
mod paths;
mod ports;
mod report;
mod span;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use figures::{Figures, Toolchain};
use paths::HotPath;

/// The node's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: counts [--record | --profile PATH]
  without an option: counts each path and holds it against loadtest/counts/figures.json; ends with 1 when one costs
                     more than that by more than 5 %
  --record           writes what is found there
  --profile PATH     counts one path and leaves its profile, for callgrind_annotate";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => check(),
        ["--record"] => record(),
        ["--profile", name] => profile(name),
        [callgrind::RUN, name] => run(name),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Where the figures are kept.
fn stored_at() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("figures.json")
}

fn check() -> Result<ExitCode> {
    let (stored, found) = (Figures::read(&stored_at())?, measure()?);
    let is_kept = std::env::var_os("CI").is_none_or(|ci| ci != "true");
    let Some(told) = report::another_toolchain(&stored, &found) else {
        let judged = figures::judge(&stored.instructions, &found.instructions);
        print!("{}", report::table(&judged));
        let (text, is_good) = report::verdict(&judged);
        eprint!("{text}");
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    print!("{}", report::table(&figures::judge(&stored.instructions, &found.instructions)));
    eprint!("{told}");
    if is_kept {
        found.write(&stored_at())?;
        eprintln!("recorded anew in {}: look at the difference and commit it", stored_at().display());
    }
    Ok(ExitCode::SUCCESS)
}

fn record() -> Result<ExitCode> {
    let found = measure()?;
    if let Ok(stored) = Figures::read(&stored_at()) {
        print!("{}", report::table(&figures::judge(&stored.instructions, &found.instructions)));
    }
    found.write(&stored_at())?;
    eprintln!("recorded in {}", stored_at().display());
    Ok(ExitCode::SUCCESS)
}

fn measure() -> Result<Figures> {
    ensure!(
        cfg!(fixed_hashes),
        "built with hashes that have a secret, so that counts vary from run to run; `make counts` builds it as it must be"
    );
    let counted = paths::ALL.iter().map(|path| Ok((path.name.to_owned(), callgrind::count(path)?.instructions)));
    Ok(Figures { toolchain: Toolchain::this()?, instructions: counted.collect::<Result<_>>()? })
}

fn profile(name: &str) -> Result<ExitCode> {
    let count = callgrind::count(path(name)?)?;
    println!("{name}: {} instructions each of {}", count.instructions, count.operations);
    println!("callgrind_annotate {}", count.profile.display());
    Ok(ExitCode::SUCCESS)
}

/// One path, once; under callgrind as a rule.
fn run(name: &str) -> Result<ExitCode> {
    let operations = (path(name)?.run)().with_context(|| format!("path {name}"))?;
    println!("{operations}");
    Ok(ExitCode::SUCCESS)
}

fn path(name: &str) -> Result<&'static HotPath> {
    if let Some(path) = paths::ALL.iter().find(|path| path.name == name) {
        return Ok(path);
    }
    let names: Vec<_> = paths::ALL.iter().map(|path| path.name).collect();
    bail!("there is no path \"{name}\"; allowed: {}", names.join(", "))
}
