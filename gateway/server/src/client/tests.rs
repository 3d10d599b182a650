mod fuzz;

use std::time::Duration;

use serde_json::json;

use super::json::pair;
use super::output::cell;
use super::target::{Place, Target};
use super::watch::{Events, Pause};

#[test]
fn a_server_is_a_url_or_an_address() {
    let parsed = |text| Target::parse(text).map(|target| target.to_string()).ok();
    let cases = [
        ("http://127.0.0.1:7800", Some("http://127.0.0.1:7800")),
        ("127.0.0.1:7800", Some("http://127.0.0.1:7800")),
        ("https://thuban.example/", Some("https://thuban.example:443")),
        ("http://[::1]:1/behind/a/proxy/", Some("http://[::1]:1/behind/a/proxy")),
        ("http://host", Some("http://host:80")),
        ("ftp://host", None),
        ("http://user:secret@host", None),
        ("http://host/?query", None),
        ("http://", None),
        ("", None),
        ("http://host:99999", None),
        ("-[]", None),
        ("http://[host]", None),
    ];
    for (text, wanted) in cases {
        assert_eq!(parsed(text).as_deref(), wanted, "{text}");
    }
}

#[test]
fn names_are_encoded_where_they_stand() {
    let place = Place::service("a/b", "ü?", &["instances", "1#2%"]).with("x y", "&=").with_some("none", None::<u8>);
    let wanted = "/v1/namespaces/a%2Fb/services/%C3%BC%3F/instances/1%232%25?x%20y=%26%3D";
    assert_eq!(place.with_some("n", Some(1)).as_str(), format!("{wanted}&n=1"));
}

#[test]
fn a_pair_has_a_key() {
    assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
    assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
    assert!(pair("a").is_err() && pair("=b").is_err());
}

#[test]
fn nothing_that_was_registered_moves_the_cursor() {
    assert_eq!(cell("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    assert_eq!(cell(""), "-");
}

/// However the bytes are cut, the same events come out.
#[test]
fn events_come_out_of_bytes_in_any_pieces() {
    let text = "retry: 500\n\nevent: snapshot\ndata: {\"a\":\"ü\"}\n\n: a comment\nevent: change\r\nid: 1.2.3\r\ndata: {}\r\n\r\n";
    let all = |size: usize| {
        let mut events = Events::default();
        text.as_bytes().chunks(size).flat_map(|piece| events.take(piece)).collect::<Vec<_>>()
    };
    let whole = all(text.len());
    let words = whole.iter().map(|event| (event.kind.as_str(), event.id.as_deref(), event.body.as_str()));
    let wanted = [("snapshot", None, "{\"a\":\"ü\"}"), ("change", Some("1.2.3"), "{}")];
    assert_eq!(words.collect::<Vec<_>>(), wanted);
    for size in 1..text.len() {
        assert_eq!(all(size), whole, "in pieces of {size}");
    }
    let mut events = Events::default();
    assert_eq!(events.take(b"retry: 700\nevent: progress\ndata: {}\n\nretry: soon\n").len(), 1);
    assert_eq!(events.told, Some(Duration::from_millis(700)));
}

#[test]
fn a_lost_stream_is_opened_ever_more_seldom() {
    let mut pause = Pause::default();
    let mut taken = |count: usize, told: Option<u64>| {
        if told.is_some() {
            pause.begin(told.map(Duration::from_millis));
        }
        (0..count).map(|_| pause.next().as_millis()).collect::<Vec<_>>()
    };
    assert_eq!(taken(6, None), [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    assert_eq!(taken(3, Some(700)), [700, 1_400, 2_800]);
    // A node can ask for nothing that floods it, and for nothing that never ends.
    assert_eq!(taken(2, Some(0)), [100, 200]);
    assert_eq!(taken(2, Some(u64::MAX)), [10_000, 10_000]);
    pause.begin(Some(Duration::from_millis(500)));
    let _ = (pause.next(), pause.next());
    pause.begin(None);
    assert_eq!(pause.next(), Duration::from_millis(500), "an event came");
}

#[test]
fn what_is_said_of_an_instance_is_what_its_provider_said() {
    let shown = json!({"host": "h", "port": 1, "weight": 7, "provider_weight": 100, "zone": "", "ports": {},
        "metadata": {"a": "b"}, "healthy": true, "revision": "1.2.3", "lease": {"kind": "permanent"}});
    let wanted = json!({"host": "h", "port": 1, "weight": 100, "metadata": {"a": "b"}, "lease": {"kind": "permanent"}});
    assert_eq!(super::transfer::provider(&shown), wanted);
}

#[test]
fn what_client_commands_take_may_stand_before_their_name() {
    let said = |line: &str| {
        let words = std::iter::once("thuban").chain(line.split(' ').filter(|word| !word.is_empty()));
        let moved = crate::cli::rearranged(words.map(Into::into).collect());
        moved.map(|words| words[1..].join(std::ffi::OsStr::new(" ")).into_string().expect("UTF-8")).ok()
    };
    let cases = [
        ("", Some("")),
        ("services --server a", Some("services --server a")),
        ("--server a namespaces put n", Some("namespaces --server a put n")),
        (
            "--server=a -n t --output json services --prefix x",
            Some("services --server=a -n t --output json --prefix x"),
        ),
        ("-nt services", Some("services -nt")),
        ("--token-file f --ca-file c status", Some("status --token-file f --ca-file c")),
        // Not ours: clap says what it thinks of them.
        ("--prefix a services", Some("--prefix a services")),
        ("--help", Some("--help")),
        ("--server a --help", Some("--help")),
        ("--server a --nonsense services", Some("--nonsense services")),
        // Nothing follows, or the option has no value.
        ("--server", None),
        ("--server a", None),
    ];
    for (line, wanted) in cases {
        assert_eq!(said(line).as_deref(), wanted, "{line}");
    }
}
