//! A disk that loses its power under another process, and with it every byte that was not flushed.
//!
//! `power_loss/disk.c` does the work: a library that is preloaded into that process and keeps, beside its directory,
//! what a disk would hold at any moment. It is C because no safe Rust can come between a process and its system, and it
//! is compiled when a test runs, with the compiler that SQLite needs anyway. Linux only.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/power_loss/disk.c");

/// Compiles a library for preloading into `folder`. Panics, with what the compiler says, if it can't.
pub fn library(source: &Path, folder: &Path) -> PathBuf {
    let name = source.file_stem().expect("a source is a file");
    let library = folder.join(name).with_extension("so");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-std=gnu11", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    let output = command.arg(&library).arg(source).output();
    let output = output.unwrap_or_else(|error| panic!("no C compiler `{compiler}`: {error}"));
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    library
}

/// A directory on a disk that can lose its power.
pub struct Disk {
    root: PathBuf,
    /// What it has for sure, and may have written unasked.
    durable: PathBuf,
    /// While this file exists, the disk does not flush the files that it names.
    lies: PathBuf,
    library: PathBuf,
    /// Of how long it takes to flush.
    seed: u64,
    /// Half of what is written is on the disk at once, in whatever order.
    spills: bool,
}

impl Disk {
    /// Takes `place`, an empty directory. What is on the disk will be in `place/name`, which does not exist yet.
    pub fn new(place: &Path, name: &str, seed: u64, spills: bool) -> io::Result<Self> {
        // SQLite resolves links before it opens a file.
        let place = place.canonicalize()?;
        let (root, durable, lies) = (place.join(name), place.join("durable"), place.join("lies"));
        fs::create_dir(&durable)?;
        Ok(Self { root, durable, lies, library: library(Path::new(SOURCE), &place), seed, spills })
    }

    /// The directory that the process must use, and nothing else may while the process runs.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// For the environment of the process.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("POWER_LOSS_ROOT", self.root.clone().into()),
            ("POWER_LOSS_DURABLE", self.durable.clone().into()),
            ("POWER_LOSS_LIES", self.lies.clone().into()),
            ("POWER_LOSS_SEED", self.seed.to_string().into()),
        ];
        environment.extend(self.spills.then(|| ("POWER_LOSS_SPILLS", "1".into())));
        environment
    }

    /// From now on the disk does not flush the files whose path has `part` in it, and says that it has.
    pub fn lie_about(&self, part: &str) -> io::Result<()> {
        // Whole at once: who reads half of it would lie about more.
        let half = self.lies.with_extension("half");
        fs::write(&half, part)?;
        fs::rename(half, &self.lies)
    }

    /// The process is dead, and nothing is left but what the disk has.
    pub fn lose_power(&self) -> io::Result<()> {
        if self.root.exists() {
            fs::remove_dir_all(&self.root)?;
        }
        copy(&self.durable, &self.root)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
