//! The rules of the tree that no compiler checks: who may depend on whom, how long a file may be, which words may not
//! be names, who may ask the machine for the time. Each rule is a function from one file to what is wrong with it, and
//! its test first feeds it samples: one that must fail for each thing it looks for, so that no rule goes blind unseen.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the tree: its path from the root, with `/`, and its text (empty when it is not UTF-8).
struct File {
    path: String,
    text: String,
}

type Rule = fn(&File) -> Vec<String>;

/// Each crate and the crates of ours that it may name. A new line here is a design review.
const LAYERS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("compute", &[]),
    ("store", &["compute", "schemas"]),
    ("cache-sync", &["compute", "schemas"]),
    ("gateway", &["compute", "schemas"]),
    ("gateway/server", &["compute", "schemas", "store", "cache-sync", "gateway"]),
    ("loadtest", &["compute", "schemas", "cache-sync", "gateway"]),
    ("loadtest/counts", &["compute", "schemas", "gateway"]),
];

/// The domain knows no SQL, no log, no protocol and no format.
const FOREIGN_TO_COMPUTE: &[&str] =
    &["anyhow", "axum", "http", "hyper", "prost", "rdkafka", "serde", "serde_json", "sqlx", "tonic"];

const SOURCES: &[&str] = &["rs", "ts", "tsx", "py", "go", "java"];
const LINES_MAX: usize = 1_000;

const BANNED_WORDS: &[&str] = &[
    "common", "commons", "util", "utils", "helper", "helpers", "manager", "managers", "info", "data", "impl", "impls",
    "v2",
];

// What this file looks for is written in pieces, so that it does not find itself.
const CLOCK_CALLS: &[&str] = &[concat!("Instant::", "now"), concat!("SystemTime::", "now")];
const SWITCHED_OFF: &[&str] =
    &[concat!("#[", "ignore"), concat!("#[", "should_panic"), concat!("to", "do!("), concat!("unimpl", "emented!(")];
const UNFINISHED: &[&str] = &[concat!("FIX", "ME"), concat!("X", "XX")];
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "root/"), concat!("/", "work/"), concat!("/", "home/"), concat!("/", "Users/")];
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("registry.", "npmjs"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("repo1.", "maven"),
    concat!("repo.", "maven"),
    concat!("proxy.", "golang"),
    concat!("deb.", "debian"),
];

/// Hashes may spell anything, and the package managers write what they like.
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json", "go.sum"];

fn layers(file: &File) -> Vec<String> {
    let Some(folder) = manifest_folder(&file.path) else { return vec![] };
    let Some((_, allowed)) = LAYERS.iter().find(|(crate_folder, _)| *crate_folder == folder) else {
        return vec![format!("crate `{folder}` has no line in LAYERS: say what it may depend on")];
    };
    let own = folder.rsplit('/').next().unwrap_or(folder);
    let ours: BTreeSet<&str> = LAYERS.iter().filter_map(|(f, _)| f.rsplit('/').next()).collect();
    let mut wrong = vec![];
    for (section, name) in dependencies(&file.text) {
        // A crate may name itself in dev-dependencies: that is how its own tests switch a feature on.
        let itself = name == own && section == "dev-dependencies";
        if ours.contains(name.as_str()) && !itself && !allowed.contains(&name.as_str()) {
            wrong.push(format!("`{own}` may not depend on `{name}` ({section})"));
        }
        if own == "compute" && FOREIGN_TO_COMPUTE.contains(&name.as_str()) {
            wrong.push(format!("`compute` may not know `{name}` ({section})"));
        }
    }
    wrong
}

fn inherited_lints(file: &File) -> Vec<String> {
    let inherits = || {
        let mut lines = file.text.lines().map(str::trim).skip_while(|line| *line != "[lints]");
        lines.nth(1) == Some("workspace = true")
    };
    match manifest_folder(&file.path) {
        Some(_) if !inherits() => vec!["`[lints] workspace = true` is missing: the crate escapes every lint".into()],
        _ => vec![],
    }
}

fn sizes(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if !SOURCES.contains(&extension(&file.path)) || lines <= LINES_MAX {
        return vec![];
    }
    vec![format!("{lines} lines, at most {LINES_MAX}: split it by subject")]
}

fn names(file: &File) -> Vec<String> {
    let modules = file.text.lines().filter_map(module_name).filter(|_| extension(&file.path) == "rs");
    let spoken = file.path.split('/').chain(modules);
    spoken
        .flat_map(|name| words(name).into_iter().map(move |word| (name, word)))
        .filter(|(_, word)| BANNED_WORDS.contains(&word.as_str()))
        .map(|(name, word)| format!("`{word}` in the name `{name}` says nothing: name the subject"))
        .collect()
}

fn module_files(file: &File) -> Vec<String> {
    match file.path.rsplit('/').next() {
        Some("mod.rs") => vec!["modules are `foo.rs` beside `foo/`".into()],
        _ => vec![],
    }
}

fn clocks(file: &File) -> Vec<String> {
    let exempt = file.path.ends_with("/clock.rs") || file.path.starts_with("loadtest/");
    if extension(&file.path) != "rs" || exempt {
        return vec![];
    }
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    found(&file.text, |line| CLOCK_CALLS.iter().find(|call| code(line).contains(**call)).copied())
}

fn switched_off(file: &File) -> Vec<String> {
    if extension(&file.path) != "rs" {
        return vec![];
    }
    found(&file.text, |line| SWITCHED_OFF.iter().find(|mark| line.contains(**mark)).copied())
}

fn unfinished(file: &File) -> Vec<String> {
    if is_lock(&file.path) {
        return vec![];
    }
    let says = |line: &str, word: &str| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word);
    found(&file.text, |line| UNFINISHED.iter().find(|word| says(line, word)).copied())
}

fn machine_paths(file: &File) -> Vec<String> {
    let begins = |line: &str, path: &str| {
        line.match_indices(path).any(|(at, _)| {
            !line[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || "._-}*/".contains(before))
        })
    };
    found(&file.text, |line| MACHINE_PATHS.iter().find(|path| begins(line, path)).copied())
}

fn registry_hosts(file: &File) -> Vec<String> {
    // cargo writes its own registry into its lock file; npm can be told not to.
    if file.path.ends_with("Cargo.lock") {
        return vec![];
    }
    found(&file.text, |line| REGISTRY_HOSTS.iter().find(|host| line.contains(**host)).copied())
}

/// Every file directly in `tests/` is a binary of its own that links the whole crate once more.
fn integration_binaries(file: &File) -> Vec<String> {
    let Some((before, after)) = file.path.split_once("/tests/") else { return vec![] };
    let in_sources = before.split('/').any(|part| part == "src");
    let is_binary = match after.split_once('/') {
        None => extension(after) == "rs",
        Some((folder, rest)) => rest == "main.rs" && folder != "it",
    };
    if in_sources || !is_binary || file.path == "loadtest/tests/tidy.rs" {
        return vec![];
    }
    vec!["a crate has one integration binary, `tests/it/main.rs`: make this a module of it".into()]
}

fn crate_docs(file: &File) -> Vec<String> {
    let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if !file.path.ends_with("src/lib.rs") || first.starts_with("//!") {
        return vec![];
    }
    vec!["lib.rs begins with the crate's docs (`//!`): purpose, main types, invariants".into()]
}

fn manifest_folder(path: &str) -> Option<&str> {
    path.strip_suffix("/Cargo.toml").filter(|folder| !folder.starts_with("gateway/examples/"))
}

/// Each dependency a manifest names, with the kind of its section; a renamed one by its real name.
fn dependencies(manifest: &str) -> Vec<(&'static str, String)> {
    let mut section = None;
    let mut named = vec![];
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            section = ["dev-dependencies", "build-dependencies", "dependencies"]
                .into_iter()
                .find(|kind| header.split('.').next_back() == Some(kind) || header.contains(&format!("{kind}.")));
            if let (Some(kind), Some((_, name))) = (section, header.split_once("dependencies.")) {
                named.push((kind, name.trim_matches('"').to_owned()));
                section = None;
            }
        } else if let (Some(kind), Some((key, value))) = (section, line.split_once('='))
            && !line.starts_with('#')
        {
            let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
            let key = key.split('.').next().unwrap_or(key).trim().trim_matches('"');
            named.push((kind, renamed.unwrap_or(key).to_owned()));
        }
    }
    named
}

fn module_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = if line.starts_with("pub") { line.split_once(' ')?.1 } else { line };
    line.strip_prefix("mod ")?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// `fooBar-baz.rs` is foo, bar, baz, rs.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    words
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn is_lock(path: &str) -> bool {
    LOCK_FILES.iter().any(|name| path.rsplit('/').next() == Some(name))
}

fn found(text: &str, mark: impl Fn(&str) -> Option<&'static str>) -> Vec<String> {
    let marks = text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, mark(line)?)));
    marks.map(|(line, mark)| format!("line {line}: `{mark}`")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What git tracks, and what it would track: a new file is judged before it is committed.
fn tree() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    let files = paths.split('\0').filter(|path| root().join(path).is_file());
    files
        .map(|path| {
            let bytes = fs::read(root().join(path)).expect("a listed file can be read");
            File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() }
        })
        .collect()
}

/// The rule accepts each good sample, rejects each bad one, and finds nothing in the tree.
fn check(rule: Rule, good: &[(&str, &str)], bad: &[(&str, &str)]) {
    let judge = |(path, text): &(&str, &str)| rule(&File { path: (*path).into(), text: (*text).into() });
    for sample in good {
        assert_eq!(judge(sample), Vec::<String>::new(), "a good sample is rejected: {sample:?}");
    }
    for sample in bad {
        assert_ne!(judge(sample), Vec::<String>::new(), "a bad sample passes: {sample:?}");
    }
    let broken: Vec<String> =
        tree().iter().flat_map(|file| rule(file).into_iter().map(|what| format!("{}: {what}", file.path))).collect();
    assert!(broken.is_empty(), "{} places break the rule:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_walk_sees_the_tree() {
    let seen: BTreeSet<String> =
        tree().into_iter().filter(|file| !file.text.is_empty()).map(|file| file.path).collect();
    for (folder, _) in LAYERS {
        assert!(seen.contains(&format!("{folder}/Cargo.toml")), "{folder} is not seen");
    }
    assert!(seen.contains("loadtest/tests/tidy.rs") && seen.contains("compute/src/lib.rs"));
    assert!(!seen.iter().any(|path| path.starts_with("target/")));
}

#[test]
fn dependencies_go_one_way() {
    check(
        layers,
        &[
            ("compute/Cargo.toml", "[dependencies]\nbytes = { workspace = true }\n[dev-dependencies]\ncompute = {}"),
            ("store/Cargo.toml", "[package]\ngateway = 1\n[dependencies]\ncompute.workspace = true\n# gateway = 1"),
            ("gateway/examples/rust/Cargo.toml", "[dependencies]\nstore = \"1\""),
        ],
        &[
            ("compute/Cargo.toml", "[dependencies]\nschemas = { workspace = true }"),
            ("compute/Cargo.toml", "[dependencies]\nsqlx = { workspace = true }"),
            ("compute/Cargo.toml", "[dependencies]\ncompute = { workspace = true }"),
            ("store/Cargo.toml", "[dev-dependencies]\ncache-sync = { path = \"../cache-sync\" }"),
            ("store/Cargo.toml", "[dependencies]\nlog = { path = \"../cache-sync\", package = \"cache-sync\" }"),
            ("gateway/Cargo.toml", "[dependencies.store]\nworkspace = true"),
            ("gateway/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nstore.workspace = true"),
            ("loadtest/Cargo.toml", "[build-dependencies]\nstore = { workspace = true }"),
            ("another/Cargo.toml", "[dependencies]"),
        ],
    );
}

#[test]
fn every_crate_inherits_the_lints() {
    check(
        inherited_lints,
        &[("store/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"), ("Cargo.toml", "[workspace]")],
        &[("store/Cargo.toml", "[package]\n"), ("store/Cargo.toml", "[lints]\nrust = {}\n")],
    );
}

#[test]
fn files_are_short() {
    let (full, over) = ("x\n".repeat(LINES_MAX), "x\n".repeat(LINES_MAX + 1));
    check(
        sizes,
        &[("a/src/b.rs", &full), ("Cargo.lock", &over)],
        &[("a/src/b.rs", &over), ("a/b.ts", &over), ("a/b.py", &over), ("a/b.go", &over), ("a/B.java", &over)],
    );
}

#[test]
fn names_say_something() {
    check(
        names,
        &[("schemas/proto/thuban/v1/watch.proto", ""), ("a/testdata/metadata.rs", "mod database;\nlet data = 1;")],
        &[
            ("a/src/common.rs", ""),
            ("a/src/http_utils/body.rs", ""),
            ("a/LeaseManager.java", ""),
            ("a/v2/watch.proto", ""),
            ("a/src/lease.rs", "    pub(crate) mod lease_helper {"),
            ("a/src/lease.rs", "mod info;"),
        ],
    );
}

#[test]
fn modules_are_files_beside_their_folder() {
    check(module_files, &[("a/src/modest.rs", "")], &[("a/src/b/mod.rs", "")]);
}

#[test]
fn only_the_clock_reads_the_clock() {
    let call = format!("let now = {}();", CLOCK_CALLS[0]);
    check(
        clocks,
        &[
            ("compute/src/port/clock.rs", &call),
            ("loadtest/src/live.rs", &call),
            ("compute/src/lib.rs", &format!("/// Never {call}")),
        ],
        &[
            ("compute/src/state.rs", &call),
            ("gateway/tests/it/main.rs", &format!("std::time::{}()", CLOCK_CALLS[1])),
            ("compute/src/alarmclock.rs", &call),
        ],
    );
}

#[test]
fn nothing_is_switched_off() {
    let bad: Vec<_> = SWITCHED_OFF.iter().map(|mark| ("a/src/b.rs", format!("    {mark} = \"slow\"]"))).collect();
    let bad: Vec<_> = bad.iter().map(|(path, text)| (*path, text.as_str())).collect();
    check(switched_off, &[("a/src/b.rs", "// we ignore it\n#[test]\nfn a() {}")], &bad);
}

#[test]
fn nothing_is_left_for_later() {
    let bad: Vec<_> = UNFINISHED.iter().map(|word| ("a/b.md", format!("- {word}: later"))).collect();
    let bad: Vec<_> = bad.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let hash = format!("sha512-a+{}/b==", UNFINISHED[1]);
    check(unfinished, &[("package-lock.json", &hash), ("a.rs", concat!("PREFIX", "ME"))], &bad);
}

#[test]
fn no_path_of_one_machine() {
    let bad: Vec<_> = MACHINE_PATHS.iter().map(|path| ("a/b.py", format!("open(\"{path}x\")"))).collect();
    let bad: Vec<_> = bad.iter().map(|(path, text)| (*path, text.as_str())).collect();
    check(machine_paths, &[("a/b.py", concat!("open(base + \"docs/", "work/x\")"))], &bad);
}

#[test]
fn no_registry_is_named() {
    let bad: Vec<_> = REGISTRY_HOSTS.iter().map(|host| ("a/.npmrc", format!("https://{host}.x/"))).collect();
    let bad: Vec<_> = bad.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let own = format!("source = \"{}\"", REGISTRY_HOSTS[0]);
    check(registry_hosts, &[("Cargo.lock", &own), ("pom.xml", "<groupId>org.apache.maven.plugins</groupId>")], &bad);
}

#[test]
fn a_crate_has_one_integration_binary() {
    check(
        integration_binaries,
        &[
            ("store/tests/it/main.rs", ""),
            ("store/tests/it/crash.rs", ""),
            ("loadtest/tests/tidy.rs", ""),
            ("compute/src/state/tests/lease.rs", ""),
            ("gateway/tests/golden/a.json", ""),
        ],
        &[("store/tests/crash.rs", ""), ("store/tests/crash/main.rs", ""), ("store/tests/tidy.rs", "")],
    );
}

#[test]
fn a_library_tells_what_it_is() {
    check(
        crate_docs,
        &[("store/src/lib.rs", "\n//! Durable truth.\n"), ("store/src/row.rs", "use x;")],
        &[("store/src/lib.rs", "use x;\n//! late"), ("store/src/lib.rs", "")],
    );
}
