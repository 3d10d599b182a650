mod fuzz;

use std::collections::BTreeMap;

use super::limits::{METADATA_BYTES_MAX, METADATA_KEYS_MAX, NAME_BYTES_MAX};
use super::*;

fn refused<T>(result: Result<T, Invalid>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(invalid) => invalid.field.into_owned(),
    }
}

#[test]
fn names() {
    let long = "x".repeat(NAME_BYTES_MAX);
    let too_long = "x".repeat(NAME_BYTES_MAX + 1);
    for good in ["a", "DEFAULT_GROUP@@orders", "a/b", "a.b-c_d:e$f#g", "9", &long] {
        assert_eq!(refused(ServiceName::new(good)), "ok", "{good}");
    }
    for bad in ["", ".", "..", "a b", "ä", "a%", "a\n", "a\0", &too_long] {
        assert_eq!(refused(ServiceName::new(bad)), "service", "{bad:?}");
        assert_eq!(refused(Namespace::new(bad)), "namespace", "{bad:?}");
    }
    for good in ["10.0.0.7:8080", "a b", "ä", "日本", "a%2f", &long] {
        assert_eq!(refused(InstanceId::new(good)), "ok", "{good}");
    }
    for bad in ["", ".", "..", "a\n", "a\u{7f}", "\u{85}", &too_long] {
        assert_eq!(refused(InstanceId::new(bad)), "id", "{bad:?}");
    }
}

#[test]
fn a_refusal_names_field_value_and_what_is_allowed() {
    let invalid = text::range("weight", 10_001, 0, 10_000).expect_err("too heavy");
    assert_eq!(invalid.to_string(), "weight is \"10001\"; allowed: 0 to 10000");
    let shown = Invalid::new("id", "\n".repeat(100), "less").value;
    assert!(shown.len() < 200 && shown.ends_with('…') && !shown.contains('\n'), "{shown}");
    assert_eq!(Invalid::new("ttl_ms", 1, "more").within("lease").field, "lease.ttl_ms");
}

#[test]
fn revisions_order_by_generation_then_offset_then_place() {
    let revision = |text: &str| text.parse::<Revision>().expect("a good revision");
    let ordered =
        ["0.0.0", "1.0.65535", "1.1.0", "1.1.1", "1.2.0", "1.1099511627775.0", "2.1.0", "127.1099511627775.65535"];
    assert!(ordered.map(revision).is_sorted());
    for text in ordered {
        assert_eq!(revision(text).to_string(), text);
        assert_eq!(Revision::from_packed(revision(text).packed()), Some(revision(text)));
        assert!(revision(text).packed() < 1 << 63, "a signed integer can hold it");
    }
    let bad =
        ["", "1", "1.2", "1.2.3.4", "1.2.x", "1..3", "+1.2.3", "128.1.0", "1.1099511627776.0", "1.2.65536", "-1.2.3"];
    for text in bad {
        assert!(text.parse::<Revision>().is_err(), "{text}");
    }
    assert_eq!(Revision::from_packed(1 << 63), None);
}

#[test]
fn a_position_is_below_the_next_whatever_the_place() {
    let position = Position::new(3, 41).expect("in range");
    assert!(position.last() < position.next().at(0));
    assert_eq!(position.at(7).position(), position);
    assert_eq!(position.back(100), Position::new(3, 0).expect("in range"));
}

/// Computed with another implementation: `sha256("a\n1.2.3")[..16]` and the sum with that of `b` at `1.2.4`.
#[test]
fn the_digest_is_as_documented() {
    let id = |text| InstanceId::new(text).expect("a good id");
    let a = Digest::of(&id("a"), "1.2.3".parse().expect("good"));
    let b = Digest::of(&id("b"), "1.2.4".parse().expect("good"));
    assert_eq!(a.to_string(), "ca54c4b1219cbce194a20763066b4927");
    assert_eq!(a.plus(b).to_string(), "f09904d8fdae04cb39e9a0bfe5429f41");
    assert_eq!(a.plus(b).minus(a), b);
    assert_eq!(Digest::from_bytes(a.to_bytes()), a);
}

fn full() -> ProviderSpec {
    ProviderSpec {
        ports: BTreeMap::from([("metrics".to_owned(), 9090), ("zero".to_owned(), 0)]),
        protocol: "http".to_owned(),
        weight: 7,
        version: "1.4.2".to_owned(),
        zone: "eu-1a".to_owned(),
        region: "eu-1".to_owned(),
        metadata: BTreeMap::from([("team".to_owned(), "payments".to_owned()), ("long".to_owned(), "x".repeat(1_000))]),
        incarnation: Some("one".to_owned()),
        ..ProviderSpec::at("db.example.org", 5432)
    }
}

#[test]
fn a_provider_says_again_what_was_said() {
    for spec in [full(), ProviderSpec::at("::1", 0), ProviderSpec::at("10.0.0.7", 65_535)] {
        let provider = Provider::new(&spec).expect("a good provider");
        assert_eq!(provider.spec(), spec);
        assert_eq!(Provider::new(&provider.spec()).expect("still good"), provider);
    }
    let provider = Provider::new(&full()).expect("a good provider");
    assert_eq!(provider.metadata_value("team"), Some("payments"));
    assert_eq!(provider.metadata_value("nobody"), None);
    assert_eq!(provider.ports().collect::<Vec<_>>(), [("metrics", 9090), ("zero", 0)]);
}

#[test]
fn each_field_of_a_provider_has_its_limits() {
    type Change = fn(&mut ProviderSpec);
    let cases: [(&str, Change); 20] = [
        ("ok", |_| ()),
        ("host", |s| s.host = String::new()),
        ("host", |s| s.host = "a b".to_owned()),
        ("host", |s| s.host = "-a".to_owned()),
        ("host", |s| s.host = "a..b".to_owned()),
        ("host", |s| s.host = "10.0.0.256".to_owned()),
        ("host", |s| s.host = format!("{}.com", "x".repeat(250))),
        ("port", |s| s.port = 65_536),
        ("ports.a", |s| s.ports = BTreeMap::from([("a".to_owned(), 70_000)])),
        ("ports", |s| s.ports = (0..17).map(|i| (i.to_string(), 1)).collect()),
        ("weight", |s| s.weight = 10_001),
        ("zone", |s| s.zone = "x".repeat(129)),
        ("region", |s| s.region = "a\0".to_owned()),
        ("version", |s| s.version = "x".repeat(129)),
        ("protocol", |s| s.protocol = "x".repeat(129)),
        ("incarnation", |s| s.incarnation = Some(String::new())),
        ("metadata", |s| s.metadata = (0..=METADATA_KEYS_MAX).map(|i| (i.to_string(), String::new())).collect()),
        ("metadata", |s| s.metadata = BTreeMap::from([(String::new(), String::new())])),
        ("metadata.a", |s| s.metadata = BTreeMap::from([("a".to_owned(), "x".repeat(1_025))])),
        ("metadata", |s| {
            s.metadata = (0..17).map(|i| (format!("{i:02}"), "x".repeat(METADATA_BYTES_MAX / 16))).collect();
        }),
    ];
    for (field, change) in cases {
        let mut spec = full();
        change(&mut spec);
        assert_eq!(refused(Provider::new(&spec)), field, "{spec:?}");
    }
}

#[test]
fn leases_and_checks_have_their_limits() {
    assert_eq!(refused(Lease::ttl(999, 1_000)), "lease.ttl_ms");
    assert_eq!(refused(Lease::ttl(1_000, 86_400_001)), "lease.remove_after_ms");
    assert_eq!(refused(Lease::ttl(86_400_000, 1_000)), "ok");
    let check = |path: &str, interval, timeout, failures, port| {
        Check::new(CheckKind::http(path)?, interval, timeout, failures, 1, port)
    };
    assert_eq!(refused(check("/health", 5_000, 1_000, 3, None)), "ok");
    assert_eq!(refused(check("health", 5_000, 1_000, 3, None)), "lease.check.http");
    assert_eq!(refused(check("/a b", 5_000, 1_000, 3, None)), "lease.check.http");
    assert_eq!(refused(check("/a\r\nx", 5_000, 1_000, 3, None)), "lease.check.http");
    assert_eq!(refused(check("/", 999, 1_000, 3, None)), "lease.check.interval_ms");
    assert_eq!(refused(check("/", 5_000, 60_001, 3, None)), "lease.check.timeout_ms");
    assert_eq!(refused(check("/", 5_000, 1_000, 0, None)), "lease.check.failures");
    assert_eq!(refused(check("/", 5_000, 1_000, 3, Some(0))), "lease.check.port");
}

#[test]
fn an_operators_patch_leaves_sets_and_clears() {
    let author = Author::new("ops", "http");
    let isolate = OperatorPatch { isolated: Set::To(true), note: Set::To("why".to_owned()), ..Default::default() };
    let first = isolate.over(None, &author, 10).expect("good").expect("says something");
    assert_eq!(
        (first.isolated, first.note.as_deref(), first.weight, first.keep_ms),
        (Some(true), Some("why"), None, 0)
    );
    let weigh = OperatorPatch { weight: Set::To(0), note: Set::Clear, ..Default::default() };
    let second = weigh.over(Some(&first), &author, 20).expect("good").expect("says something");
    assert_eq!((second.isolated, second.note.as_deref(), second.weight), (Some(true), None, Some(0)));
    let clear = OperatorPatch { isolated: Set::Clear, weight: Set::Clear, ..Default::default() };
    assert_eq!(clear.over(Some(&second), &author, 30), Ok(None), "nothing is left to say");
    let past = OperatorPatch { isolated: Set::To(true), expires_at_ms: Set::To(10), ..Default::default() };
    assert_eq!(refused(past.over(None, &author, 10)), "expires_at");
    let heavy = OperatorPatch { weight: Set::To(10_001), ..Default::default() };
    assert_eq!(refused(heavy.over(None, &author, 10)), "weight");
    let long = OperatorPatch { keep_ms: Set::To(7 * 86_400_000 + 1), ..Default::default() };
    assert_eq!(refused(long.over(None, &author, 10)), "keep_ms");
}

#[test]
fn a_session_id_does_not_print_itself() {
    let id = SessionId(*b"0123456789abcdef");
    assert_eq!(format!("{id} {id:?}"), "30313233… 30313233…");
}

#[test]
fn one_process_says_so() {
    let of = |incarnation: Option<&str>, session: Option<u8>| {
        let lease = match session {
            Some(n) => Lease::stream(SessionId([n; 16]), 5_000).expect("good"),
            None => Lease::DEFAULT,
        };
        let spec = ProviderSpec { lease, incarnation: incarnation.map(str::to_owned), ..full() };
        Provider::new(&spec).expect("good")
    };
    // (first, second, is the second another generation, is it surely the same process)
    let cases = [
        (of(None, None), of(None, None), false, false),
        (of(Some("a"), None), of(Some("a"), None), false, true),
        (of(Some("a"), None), of(Some("b"), None), true, false),
        (of(Some("a"), None), of(None, None), true, false),
        (of(None, Some(1)), of(None, Some(1)), false, true),
        (of(None, Some(1)), of(None, Some(2)), true, false),
        (of(Some("a"), Some(1)), of(Some("a"), Some(2)), true, true),
    ];
    for (first, second, reborn, same) in cases {
        assert_eq!((first.is_reborn_as(&second), first.is_same_process_as(&second)), (reborn, same));
    }
}
