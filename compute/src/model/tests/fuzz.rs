//! Values from outside: each is taken as the contract says, or refused by field with what is allowed.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;

/// What a name may be, and much that it may not.
fn text() -> BoxedStrategy<String> {
    let known = select(vec![
        "",
        ".",
        "..",
        "...",
        "a",
        "default",
        "DEFAULT_GROUP@@orders",
        "a/b:c$d#e",
        "a b",
        "a%2f",
        "ä",
        "日本",
        "\0",
        "\n",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "10.0.0.7",
        "10.0.0.256",
        "fe80::1",
        "[::1]",
        "::ffff:10.0.0.7",
        "fe80::1%eth0",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "a.1",
        "a_b",
        "0x7f.1",
        "/health",
        "/a b",
        "//",
        "health",
        "1.1.1",
        "shop.Orders",
    ]);
    prop_oneof![
        6 => known.prop_map(str::to_owned),
        4 => "\\PC{0,12}",
        2 => "[ -~]{0,8}",
        1 => (select(vec!["x", "ü", "a."]), select(vec![31_usize, 63, 64, 127, 128, 253, 254, 255, 256, 1_025]))
            .prop_map(|(piece, bytes)| piece.repeat(bytes / piece.len())),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<u64> {
    let known = select(vec![
        0,
        1,
        49,
        50,
        99,
        100,
        101,
        999,
        1_000,
        10_000,
        10_001,
        60_000,
        60_001,
        65_535,
        65_536,
        3_600_000,
        3_600_001,
        86_400_000,
        86_400_001,
        604_800_000,
        604_800_001,
        u64::MAX,
    ]);
    prop_oneof![4 => known, 1 => any::<u64>()].boxed()
}

fn blamed(wrong: &Invalid) -> Result<(), TestCaseError> {
    prop_assert!(!wrong.field.is_empty() && wrong.field.len() < 1_500 && !wrong.allowed.is_empty(), "{:?}", wrong);
    prop_assert!(wrong.value.len() < 1_000 && !wrong.value.contains(char::is_control), "{:?}", wrong);
    Ok(())
}

fn lease() -> BoxedStrategy<Result<Lease, Invalid>> {
    let kind = prop_oneof![
        text().prop_map(|path| CheckKind::http(&path)),
        Just(Ok(CheckKind::Tcp)),
        text().prop_map(|service| CheckKind::grpc(&service)),
    ];
    let check = (kind, [number(), number(), number(), number()], option::of(any::<u16>())).prop_map(
        |(kind, [interval, timeout, failures, successes], port)| {
            Check::new(kind?, interval, timeout, failures, successes, port)
        },
    );
    prop_oneof![
        Just(Ok(Lease::DEFAULT)),
        (number(), number()).prop_map(|(ttl, remove)| Lease::ttl(ttl, remove)),
        (any::<[u8; 16]>(), number()).prop_map(|(session, remove)| Lease::stream(SessionId(session), remove)),
        (check, option::of(number())).prop_map(|(check, remove)| Lease::checked(check?, remove)),
        Just(Ok(Lease::Permanent)),
    ]
    .boxed()
}

fn spec() -> BoxedStrategy<ProviderSpec> {
    let labels = option::weighted(0.5, [text(), text(), text(), text()]);
    let lease = lease().prop_filter_map("no lease", Result::ok);
    let host = prop_oneof![1 => Just("10.0.0.7".to_owned()), 1 => text()];
    let number = || prop_oneof![1 => Just(80), 1 => number()];
    let maps = (btree_map(text(), number(), 0..3), btree_map(text(), text(), 0..4));
    (host, number(), number(), labels, maps, lease, option::of(text()))
        .prop_map(|(host, port, weight, labels, (ports, metadata), lease, incarnation)| {
            let [protocol, version, zone, region] = labels.unwrap_or_default();
            ProviderSpec { host, port, ports, protocol, weight, version, zone, region, metadata, lease, incarnation }
        })
        .boxed()
}

proptest! {
    #[test]
    fn a_text_is_one_revision_or_none(
        text in prop_oneof![
            text(),
            "[0-9]{0,6}\\.[0-9]{0,15}\\.[0-9]{0,7}",
            "(127|128|1)\\.(1099511627775|1099511627776|7)\\.(65535|65536|0)",
            "[+-]?[0-9]{1,2}\\.[0-9١]{1,2}\\.[0-9 ]{1,2}",
        ],
    ) {
        match text.parse::<Revision>() {
            Ok(revision) => {
                prop_assert_eq!(revision.to_string().parse::<Revision>(), Ok(revision));
                prop_assert_eq!(Revision::from_packed(revision.packed()), Some(revision));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{}", text);
                prop_assert!(revision.packed() < 1 << 63);
            }
            Err(wrong) => {
                prop_assert_eq!(wrong.field.as_ref(), "revision");
                blamed(&wrong)?;
            }
        }
    }

    #[test]
    fn a_number_is_one_revision_or_none(packed in any::<u64>()) {
        match Revision::from_packed(packed) {
            Some(revision) => {
                prop_assert_eq!(revision.packed(), packed);
                prop_assert_eq!(revision.to_string().parse::<Revision>(), Ok(revision));
                prop_assert_eq!(revision.position().at(revision.place()), revision);
            }
            None => prop_assert!(packed >= 1 << 63),
        }
    }

    #[test]
    fn a_name_is_what_the_contract_says(text in text()) {
        let is_bounded = (1..=limits::NAME_BYTES_MAX).contains(&text.len()) && text != "." && text != "..";
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@/:$#".contains(&byte));
        let named = [
            ("namespace", is_plain, Namespace::new(&text).map(|name| name.as_str().to_owned())),
            ("service", is_plain, ServiceName::new(&text).map(|name| name.as_str().to_owned())),
            ("id", !text.contains(char::is_control), InstanceId::new(&text).map(|name| name.as_str().to_owned())),
        ];
        for (field, is_spelt, named) in named {
            prop_assert_eq!(named.is_ok(), is_bounded && is_spelt, "{}: {:?}", field, text);
            match named {
                Ok(name) => prop_assert_eq!(&name, &text),
                Err(wrong) => {
                    prop_assert_eq!(wrong.field.as_ref(), field);
                    blamed(&wrong)?;
                }
            }
        }
    }

    #[test]
    fn a_provider_is_what_it_was_made_of(spec in spec()) {
        match Provider::new(&spec) {
            Ok(provider) => {
                prop_assert_eq!(Provider::new(&provider.spec()), Ok(provider.clone()));
                let pairs: BTreeMap<_, _> = provider.metadata().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                prop_assert_eq!(pairs, spec.metadata);
                prop_assert_eq!((provider.host(), u64::from(provider.port())), (&*spec.host, spec.port));
                prop_assert_eq!(provider.lease(), &spec.lease);
                prop_assert!(spec.weight <= u64::from(limits::WEIGHT_MAX) && spec.host.len() <= limits::HOST_BYTES_MAX);
            }
            Err(wrong) => blamed(&wrong)?,
        }
    }

    #[test]
    fn a_lease_is_refused_by_its_field(lease in lease()) {
        if let Err(wrong) = lease {
            prop_assert!(wrong.field.starts_with("lease."), "{:?}", wrong);
            blamed(&wrong)?;
        }
    }

    #[test]
    fn an_operators_word_is_refused_by_its_field(weight in number(), note in text(), keep_ms in number()) {
        let patch = OperatorPatch {
            weight: Set::To(weight),
            note: Set::To(note.clone()),
            keep_ms: Set::To(keep_ms),
            ..OperatorPatch::default()
        };
        match patch.check() {
            Ok(()) => {
                prop_assert!(weight <= u64::from(limits::WEIGHT_MAX) && keep_ms <= limits::KEEP_MS_MAX);
                prop_assert!(note.len() <= limits::NOTE_BYTES_MAX);
            }
            Err(wrong) => {
                prop_assert!(["weight", "note", "keep_ms"].contains(&wrong.field.as_ref()), "{:?}", wrong);
                blamed(&wrong)?;
            }
        }
    }
}
