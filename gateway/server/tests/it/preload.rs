//! Small libraries in C that come between the program and the system: what no test can have a real machine do, such as
//! losing its power or setting its clock, and what no safe Rust could do to another process. They are compiled here,
//! with the compiler that SQLite needs anyway.

use std::path::{Path, PathBuf};

use crate::process::{clean, within};

/// Compiles one of the sources beside this file into `folder`.
pub(crate) async fn library(source: &str, folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(source);
    let name = from.file_stem().expect("a file has a name").to_owned();
    let library = folder.join(name).with_extension("so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut command = clean(tokio::process::Command::new(&compiler));
    command.args(["-std=gnu11", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    let output = within("a compiler", command.arg(&library).arg(from).output()).await;
    let output = output.unwrap_or_else(|error| panic!("no C compiler `{compiler}`: {error}"));
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    library
}
