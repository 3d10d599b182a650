use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Kind, WORDS};

/// The metrics in the sources of every crate of the program, by name.
fn used() -> BTreeMap<String, Kind> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut used = BTreeMap::new();
    for folder in ["compute/src", "store/src", "cache-sync/src", "gateway/src", "gateway/server/src"] {
        gather(&top.join(folder), &mut used);
    }
    used
}

fn gather(folder: &Path, used: &mut BTreeMap<String, Kind>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, used);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).expect("a source");
            for (kind, word) in
                [(Kind::Counter, "counter!("), (Kind::Gauge, "gauge!("), (Kind::Histogram, "histogram!(")]
            {
                for (at, _) in text.match_indices(word) {
                    let behind = text[at + word.len()..].trim_start().strip_prefix('"');
                    if let Some((name, _)) = behind.and_then(|behind| behind.split_once('"')) {
                        used.insert(name.to_owned(), kind);
                    }
                }
            }
        }
    }
}

#[test]
fn every_metric_has_its_words_and_no_word_is_for_nothing() {
    let used = used();
    assert!(used.len() > 50, "the sources are not where they were: {used:?}");
    let told: BTreeMap<String, Kind> = WORDS.iter().map(|(kind, name, _)| ((*name).to_owned(), *kind)).collect();
    assert_eq!(told.len(), WORDS.len(), "a name is there twice");
    assert_eq!(told, used);
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for (kind, name, help) in WORDS {
        assert!(name.starts_with("thuban_") && help.ends_with('.') && help.len() > 5, "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for end in ["_ms", "_us", "_millis", "_kib"] {
            assert!(!name.ends_with(end), "{name}: seconds and bytes");
        }
    }
}
