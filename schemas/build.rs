//! Compiles every `.proto` below `proto/` without any system tool and lists every migration below `migrations/`, so
//! that adding a file is enough.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

/// Replies that a server may have encoded before, once for all who ask.
const PREPARED: &[&str] = &["DiscoverReply", "WatchEvent", "SessionReply"];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_protos(&root.join("proto"), &out)?;
    list_migrations(&root.join("migrations"), &out)
}

fn compile_protos(root: &Path, out: &Path) -> Outcome<()> {
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    find(root, "proto", &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let mut descriptors = compiler.file_descriptor_set();
    // Maps are ordered, so that the same value gives the same bytes everywhere. Byte fields stay `Vec<u8>`: a decoded
    // `Bytes` would keep the whole buffer alive that it was received in.
    tonic_prost_build::configure().btree_map(".").build_server(false).compile_fds(descriptors.clone())?;

    // Servers are generated apart from clients, because only they answer with bytes that were encoded before.
    let servers = out.join("servers");
    fs::create_dir_all(&servers)?;
    let mut server = tonic_prost_build::configure()
        .build_client(false)
        .out_dir(&servers)
        .extern_path(".thuban.v1", "crate::thuban::v1")
        .extern_path(".thuban.change.v1", "crate::thuban::change::v1")
        .extern_path(".thuban.peer.v1", "crate::thuban::peer::v1");
    for reply in PREPARED {
        let (proto, rust) = (format!(".thuban.v1.{reply}"), format!("crate::Prepared<crate::thuban::v1::{reply}>"));
        server = server.extern_path(proto, rust);
    }
    server.compile_fds(descriptors.clone())?;

    // Reflection has no use for comments and positions, and the binary none for their weight.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}

/// Writes `migrations.rs`: one `pub const` for each folder `migrations/{dialect}/{set}/`, of its files in order.
fn list_migrations(root: &Path, out: &Path) -> Outcome<()> {
    println!("cargo::rerun-if-changed={}", root.display());
    let mut code = String::new();
    for dialect in folders(root)? {
        writeln!(code, "/// The migrations of this dialect.\npub mod {} {{", file_name(&dialect)?)?;
        for set in folders(&dialect)? {
            write_set(&mut code, &set)?;
        }
        writeln!(code, "}}")?;
    }
    fs::write(out.join("migrations.rs"), code)?;
    Ok(())
}

fn write_set(code: &mut String, set: &Path) -> Outcome<()> {
    let mut files = Vec::new();
    find(set, "sql", &mut files)?;
    files.sort();
    let name = file_name(set)?;
    writeln!(code, "    /// In the order in which they are applied.")?;
    writeln!(code, "    pub const {}: &[crate::migration::Migration] = &[", name.to_uppercase())?;
    for (place, file) in files.iter().enumerate() {
        let stem = file_name(file)?.strip_suffix(".sql").unwrap_or_default();
        let parts = stem.split_once('_').filter(|(number, name)| number.len() == 4 && !name.is_empty());
        let Some((number, title)) = parts else {
            return Err(format!("{}: a migration is called NNNN_name.sql", file.display()).into());
        };
        let number: u32 = number.parse().map_err(|error| format!("{}: {error}", file.display()))?;
        if number as usize != place + 1 {
            return Err(format!(
                "{}: numbers run from 0001 without a gap, here {:04} is due",
                file.display(),
                place + 1
            )
            .into());
        }
        writeln!(
            code,
            "        crate::migration::Migration {{ number: {number}, name: {title:?}, sql: include_str!({:?}) }},",
            file.display().to_string(),
        )?;
    }
    writeln!(code, "    ];")?;
    Ok(())
}

fn find(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, extension, found)?;
        } else if path.extension().is_some_and(|met| met == extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn folders(root: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> Outcome<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| format!("{}: not a name in UTF-8", path.display()).into())
}
