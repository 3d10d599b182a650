//! Frames that are well formed, and say anything: only what the model allows is taken, and that can be written again.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use wire::change::Op as Wire;

fn text() -> BoxedStrategy<String> {
    let known = select(vec![
        "default",
        "orders",
        "a",
        "",
        ".",
        "..",
        "a b",
        "ü",
        "\0",
        "10.0.0.7",
        "::1",
        "/health",
        "1.2.3.4.5",
    ]);
    prop_oneof![
        8 => known.prop_map(str::to_owned),
        1 => "\\PC{0,8}",
        1 => select(vec![128_usize, 129, 253, 254, 255, 256, 1_025]).prop_map(|bytes| "x".repeat(bytes)),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<u32> {
    let known = select(vec![
        0,
        1,
        50,
        1_000,
        10_000,
        10_001,
        65_535,
        65_536,
        300_000,
        300_001,
        86_400_000,
        86_400_001,
        u32::MAX,
    ]);
    prop_oneof![6 => known, 1 => any::<u32>()].boxed()
}

fn packed() -> BoxedStrategy<u64> {
    prop_oneof![any::<u64>(), Just(0), Just((1 << 63) - 1), Just(1 << 63), Just((1 << 47) - 1), Just(1 << 47)].boxed()
}

fn sixteen() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 16), 1 => vec(any::<u8>(), 0..20)].boxed()
}

fn metadata() -> BoxedStrategy<std::collections::BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..3).boxed()
}

fn some<S: Strategy>(value: S) -> impl Strategy<Value = Option<S::Value>> {
    option::weighted(0.9, value)
}

fn service() -> BoxedStrategy<Option<wire::ServiceKey>> {
    some((text(), text()).prop_map(|(namespace, service)| wire::ServiceKey { namespace, service })).boxed()
}

fn instance() -> BoxedStrategy<Option<wire::InstanceKey>> {
    some((text(), text(), text()).prop_map(|(namespace, service, id)| wire::InstanceKey { namespace, service, id }))
        .boxed()
}

fn author() -> BoxedStrategy<wire::Author> {
    (text(), text()).prop_map(|(name, door)| wire::Author { name, door }).boxed()
}

fn base() -> BoxedStrategy<Option<wire::Base>> {
    use wire::base::Seen;
    let seen = prop_oneof![packed().prop_map(Seen::At), packed().prop_map(Seen::Absent)];
    some(some(seen).prop_map(|seen| wire::Base { seen })).boxed()
}

fn lease() -> BoxedStrategy<Option<wire::Lease>> {
    use wire::{check, lease::Kind};
    let probe = prop_oneof![
        text().prop_map(|path| check::Kind::Http(wire::HttpCheck { path })),
        Just(check::Kind::Tcp(wire::TcpCheck {})),
        text().prop_map(|service| check::Kind::Grpc(wire::GrpcCheck { service })),
    ];
    let numbers = [number(), number(), number(), number()];
    let check = (some(probe), numbers, option::of(number())).prop_map(
        |(kind, [interval_ms, timeout_ms, failures, successes], port)| wire::Check {
            kind,
            interval_ms,
            timeout_ms,
            failures,
            successes,
            port,
        },
    );
    let kind = prop_oneof![
        (number(), number())
            .prop_map(|(ttl_ms, remove_after_ms)| Kind::Ttl(wire::TtlLease { ttl_ms, remove_after_ms })),
        (sixteen(), number())
            .prop_map(|(session, remove_after_ms)| { Kind::Stream(wire::StreamLease { session, remove_after_ms }) }),
        (some(check), option::of(number()))
            .prop_map(|(check, remove_after_ms)| { Kind::Checked(wire::CheckedLease { check, remove_after_ms }) }),
        Just(Kind::Permanent(wire::PermanentLease {})),
    ];
    some(some(kind).prop_map(|kind| wire::Lease { kind })).boxed()
}

fn provider() -> BoxedStrategy<Option<wire::Provider>> {
    let labels = option::weighted(0.3, [text(), text(), text(), text()]);
    let ports = proptest::collection::btree_map(text(), number(), 0..2);
    let provider = (text(), number(), number(), labels, ports, metadata(), lease(), option::of(text())).prop_map(
        |(host, port, weight, labels, ports, metadata, lease, incarnation)| {
            let [protocol, version, zone, region] = labels.unwrap_or_default();
            wire::Provider { host, port, weight, protocol, version, zone, region, ports, metadata, incarnation, lease }
        },
    );
    some(provider).boxed()
}

fn about_names() -> BoxedStrategy<Wire> {
    let namespace =
        (text(), metadata()).prop_map(|(description, metadata)| wire::NamespaceSettings { description, metadata });
    let threshold = prop_oneof![any::<f64>(), Just(0.5), Just(-0.0), Just(f64::NAN), Just(1.0)];
    let settings =
        (text(), text(), metadata(), threshold).prop_map(|(description, owner, metadata, protect_threshold)| {
            wire::ServiceSettings { description, owner, metadata, protect_threshold }
        });
    prop_oneof![
        (text(), some(namespace), base()).prop_map(|(namespace, settings, base)| {
            Wire::PutNamespace(wire::PutNamespace { namespace, settings, base })
        }),
        (text(), packed())
            .prop_map(|(namespace, base)| Wire::DeleteNamespace(wire::DeleteNamespace { namespace, base })),
        (service(), some(settings), base())
            .prop_map(|(service, settings, base)| { Wire::PutService(wire::PutService { service, settings, base }) }),
        (service(), packed()).prop_map(|(service, base)| Wire::DeleteService(wire::DeleteService { service, base })),
        (service(), packed()).prop_map(|(service, base)| Wire::CollectService(wire::CollectService { service, base })),
    ]
    .boxed()
}

fn about_instances() -> BoxedStrategy<Wire> {
    let operator = (
        any::<Option<bool>>(),
        option::of(number()),
        option::of(text()),
        option::of(any::<u64>()),
        any::<u64>(),
        some(author()),
        any::<u64>(),
        packed(),
    )
        .prop_map(|(isolated, weight, note, expires_at_ms, keep_ms, author, set_at_ms, revision)| wire::Operator {
            isolated,
            weight,
            note,
            expires_at_ms,
            keep_ms: keep_ms % 700_000_000,
            author,
            set_at_ms,
            revision,
        })
        .boxed();
    use wire::keep_override::OnlyFor;
    let only_for = prop_oneof![text().prop_map(OnlyFor::Incarnation), sixteen().prop_map(OnlyFor::Session)];
    prop_oneof![
        3 => (instance(), provider(), base(), any::<Option<u32>>()).prop_map(|(instance, provider, base, epoch)| {
            Wire::Register(wire::Register { instance, provider, base, epoch })
        }),
        1 => (instance(), packed(), -1..5_i32).prop_map(|(instance, generation, reason)| {
            Wire::Deregister(wire::Deregister { instance, generation, reason })
        }),
        2 => (instance(), packed(), option::of(packed()), option::of(operator.clone()), any::<u64>(), option::of(only_for))
            .prop_map(|(instance, absent, over, operator, until_ms, only_for)| {
                Wire::KeepOverride(wire::KeepOverride { instance, absent, over, operator, until_ms, only_for })
            }),
        2 => (instance(), packed(), packed(), option::of(operator)).prop_map(|(instance, generation, base, operator)| {
            Wire::Operate(wire::Operate { instance, generation, base, operator })
        }),
        1 => (instance(), packed()).prop_map(|(instance, operator)| {
            Wire::EndOverride(wire::EndOverride { instance, operator })
        }),
    ]
    .boxed()
}

fn about_suspicions() -> BoxedStrategy<Wire> {
    use wire::cause::Kind;
    let kind = prop_oneof![
        Just(Kind::Lapse(wire::LapseCause {})),
        (sixteen(), any::<u32>()).prop_map(|(session, epoch)| Kind::Session(wire::SessionCause { session, epoch })),
        text().prop_map(|detail| Kind::Check(wire::CheckCause { detail })),
    ];
    let cause = some(some(kind).prop_map(|kind| wire::Cause { kind }));
    prop_oneof![
        (instance(), packed(), any::<u64>(), cause).prop_map(|(instance, generation, age_ms, cause)| {
            Wire::Suspect(wire::Suspect { instance, generation, age_ms, cause })
        }),
        (instance(), packed(), any::<u64>())
            .prop_map(|(instance, suspicion, age_ms)| { Wire::Refute(wire::Refute { instance, suspicion, age_ms }) }),
        (instance(), packed()).prop_map(|(instance, suspicion)| Wire::Confirm(wire::Confirm { instance, suspicion })),
        (instance(), packed())
            .prop_map(|(instance, suspicion)| Wire::Unhealthy(wire::Unhealthy { instance, suspicion })),
        (instance(), packed()).prop_map(|(instance, suspicion)| Wire::Expire(wire::Expire { instance, suspicion })),
    ]
    .boxed()
}

fn about_sessions() -> BoxedStrategy<Wire> {
    use wire::freeze_scope::Scope;
    let scope = prop_oneof![
        any::<u64>().prop_map(Scope::Node),
        (text(), text()).prop_map(|(namespace, service)| Scope::Service(wire::ServiceKey { namespace, service })),
    ];
    let scope = some(some(scope).prop_map(|scope| wire::FreezeScope { scope })).boxed();
    prop_oneof![
        (sixteen(), any::<u64>(), number(), text()).prop_map(|(session, node, grace_ms, client)| {
            Wire::OpenSession(wire::OpenSession { session, node, grace_ms, client })
        }),
        (sixteen(), any::<u64>(), any::<u32>())
            .prop_map(|(session, node, epoch)| { Wire::AttachSession(wire::AttachSession { session, node, epoch }) }),
        (sixteen(), any::<u32>(), any::<bool>()).prop_map(|(session, epoch, deregister)| {
            Wire::CloseSession(wire::CloseSession { session, epoch, deregister })
        }),
        (scope.clone(), any::<(u32, u32)>()).prop_map(|(scope, (lapsed, of))| Wire::Freeze(wire::Freeze {
            scope,
            lapsed,
            of
        })),
        (scope, packed()).prop_map(|(scope, freeze)| Wire::Release(wire::Release { scope, freeze })),
    ]
    .boxed()
}

fn about_nodes() -> BoxedStrategy<Wire> {
    let beacon = (text(), text(), packed(), any::<u64>(), packed(), any::<bool>(), sixteen(), sixteen()).prop_map(
        |(name, peer, applied, rolling_hash, landed, leaving, digest, rebuilt)| {
            Wire::Beacon(wire::Beacon { name, peer, applied, rolling_hash, landed, leaving, digest, rebuilt })
        },
    );
    prop_oneof![beacon, any::<u64>().prop_map(|node| Wire::Gone(wire::Gone { node }))].boxed()
}

/// As the generated types have it, so only the values can be wrong.
fn frame() -> impl Strategy<Value = wire::Frame> {
    let op = prop_oneof![about_names(), about_instances(), about_suspicions(), about_sessions(), about_nodes()];
    let change = (0..4_u32, any::<u64>(), any::<Option<u64>>(), some(op))
        .prop_map(|(author, counter, node, op)| wire::Change { author, counter, node, op });
    let head = (prop_oneof![9 => Just(1), 1 => any::<u32>()], sixteen(), 0..130_u32, any::<u64>(), any::<u64>());
    (head, vec(author(), 0..5), vec(change, 0..4)).prop_map(
        |((format_version, identity, generation, writer, time_ms), authors, changes)| wire::Frame {
            format_version,
            identity,
            generation,
            writer,
            time_ms,
            authors,
            changes,
        },
    )
}

proptest! {
    #[test]
    fn a_well_formed_frame_is_within_all_limits_or_an_error(message in frame()) {
        let bytes = message.encode_to_vec();
        check_any(&bytes)?;
        if let Err(error) = decode(&bytes) {
            let said = error.to_string();
            prop_assert!(said.contains("allowed: ") || said.contains("reads up to"), "{}", said);
            prop_assert!(said.len() < 2_048 && !said.contains(char::is_control), "{:?}", said);
        }
    }

    #[test]
    fn what_can_stand_alone_can_stand_together(op in frame(), other in frame()) {
        // The names that changes share with those before them are no other ones.
        let joined = wire::Frame { changes: [op.changes.clone(), other.changes.clone()].concat(), ..op.clone() };
        let alone = |changes: Vec<wire::Change>| decode(&wire::Frame { changes, ..op.clone() }.encode_to_vec());
        if let (Ok(first), Ok(second)) = (alone(op.changes.clone()), alone(other.changes)) {
            let both = decode(&joined.encode_to_vec()).unwrap().frame.changes;
            prop_assert_eq!(both, [first.frame.changes, second.frame.changes].concat());
        }
    }
}
