//! Frames of every kind, within the limits and at them.

use std::collections::BTreeMap;

use compute::model::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    let head = (any::<[u8; 16]>(), 0..3u64, any::<u64>());
    (head, vec(change(), 0..12)).prop_map(|((identity, writer, time_ms), changes)| Frame {
        identity: LogIdentity(identity),
        writer: NodeIncarnation(writer),
        time_ms,
        changes,
    })
}

fn change() -> impl Strategy<Value = Change> {
    (0..3u64, any::<u64>(), author(), op()).prop_map(|(node, counter, author, op)| Change {
        origin: Origin { node: NodeIncarnation(node), counter },
        author,
        op,
    })
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let about_names = prop_oneof![
        (namespace(), namespace_settings(), base()).prop_map(|(namespace, settings, base)| Op::PutNamespace {
            namespace,
            settings,
            base
        }),
        (namespace(), revision()).prop_map(|(namespace, base)| Op::DeleteNamespace { namespace, base }),
        (service(), service_settings(), base()).prop_map(|(service, settings, base)| Op::PutService {
            service,
            settings,
            base
        }),
        (service(), revision()).prop_map(|(service, base)| Op::DeleteService { service, base }),
        (service(), revision()).prop_map(|(service, base)| Op::CollectService { service, base }),
        (scope(), any::<(u32, u32)>()).prop_map(|(scope, (lapsed, of))| Op::Freeze { scope, lapsed, of }),
        (scope(), revision()).prop_map(|(scope, freeze)| Op::Release { scope, freeze }),
    ];
    let about_sessions = prop_oneof![
        (session(), any::<u64>(), 1_000..=300_000u32, "[a-z ]{0,40}").prop_map(|(session, node, grace_ms, client)| {
            Op::OpenSession { session, node: NodeIncarnation(node), grace_ms, client: client.into() }
        }),
        (session(), any::<u64>(), any::<u32>()).prop_map(|(session, node, epoch)| Op::AttachSession {
            session,
            node: NodeIncarnation(node),
            epoch
        }),
        (session(), any::<u32>(), any::<bool>()).prop_map(|(session, epoch, deregister)| Op::CloseSession {
            session,
            epoch,
            deregister
        }),
    ];
    prop_oneof![about_instances(), about_suspicions(), about_names, about_sessions, about_nodes()]
}

fn about_nodes() -> impl Strategy<Value = Op> {
    prop_oneof![
        beacon("[^\\p{Cc}]{0,40}", "[0-9a-f:.]{0,40}"),
        any::<u64>().prop_map(|node| Op::Gone { node: NodeIncarnation(node) }),
    ]
}

fn beacon(name: &'static str, peer: &'static str) -> impl Strategy<Value = Op> {
    let rest = (position(), any::<u64>(), option::of(any::<[u8; 16]>()), option::of(any::<[u8; 16]>()));
    let ends = (position(), any::<bool>());
    (name, peer, rest, ends).prop_map(|(name, peer, (applied, rolling_hash, digest, rebuilt), (landed, leaving))| {
        Op::Beacon {
            name: name.into(),
            peer: peer.into(),
            applied,
            rolling_hash,
            digest: digest.map(Digest::from_bytes),
            rebuilt: rebuilt.map(Digest::from_bytes),
            landed,
            leaving,
        }
    })
}

fn keep_override() -> impl Strategy<Value = Op> {
    let only_for = prop_oneof![
        "[a-z0-9]{1,40}".prop_map(|name| Process::Incarnation(name.into())),
        any::<[u8; 16]>().prop_map(|id| Process::Session(SessionId(id))),
    ];
    let kept = (operator(0..=10_000), any::<u64>(), option::of(only_for))
        .prop_map(|(operator, until_ms, only_for)| Box::new(OverrideRow { operator, until_ms, only_for }));
    (instance(), position(), option::of(revision()), kept).prop_map(|(instance, absent, over, kept)| Op::KeepOverride {
        instance,
        absent,
        over,
        kept,
    })
}

fn about_instances() -> impl Strategy<Value = Op> {
    let register =
        (instance(), provider(), base(), option::of(any::<u32>())).prop_map(|(instance, provider, base, epoch)| {
            Op::Register { instance, provider: Box::new(provider), base, epoch }
        });
    let reason =
        prop_oneof![Just(RemovalReason::Deregistered), Just(RemovalReason::Expired), Just(RemovalReason::Operator),];
    prop_oneof![
        register,
        (instance(), revision(), reason).prop_map(|(instance, generation, reason)| Op::Deregister {
            instance,
            generation,
            reason
        }),
        (instance(), revision(), revision(), option::of(operator(0..=10_000))).prop_map(
            |(instance, generation, base, operator)| {
                Op::Operate { instance, generation, base, operator: operator.map(Box::new) }
            }
        ),
        keep_override(),
        (instance(), revision()).prop_map(|(instance, operator)| Op::EndOverride { instance, operator }),
    ]
}

fn about_suspicions() -> impl Strategy<Value = Op> {
    let cause = prop_oneof![
        Just(Cause::Lapse),
        (session(), any::<u32>()).prop_map(|(session, epoch)| Cause::Session { session, epoch }),
        ".{0,60}".prop_map(|detail| Cause::Check { detail: detail.into() }),
    ];
    prop_oneof![
        (instance(), revision(), any::<u64>(), cause).prop_map(|(instance, generation, age_ms, cause)| Op::Suspect {
            instance,
            generation,
            age_ms,
            cause
        }),
        (instance(), revision(), any::<u64>()).prop_map(|(instance, suspicion, age_ms)| Op::Refute {
            instance,
            suspicion,
            age_ms
        }),
        (instance(), revision()).prop_map(|(instance, suspicion)| Op::Confirm { instance, suspicion }),
        (instance(), revision()).prop_map(|(instance, suspicion)| Op::Unhealthy { instance, suspicion }),
        (instance(), revision()).prop_map(|(instance, suspicion)| Op::Expire { instance, suspicion }),
    ]
}

/// Ops with values that their types let pass and their limits do not, and some that are fine.
pub(super) fn loose_op() -> impl Strategy<Value = Op> {
    let lease = prop_oneof![
        any::<(u32, u32)>().prop_map(|(ttl_ms, remove_after_ms)| Lease::Ttl { ttl_ms, remove_after_ms }),
        (session(), any::<u32>()).prop_map(|(session, remove_after_ms)| Lease::Stream { session, remove_after_ms }),
        (loose_check(), option::of(any::<u32>()))
            .prop_map(|(check, remove_after_ms)| Lease::Checked { check: Box::new(check), remove_after_ms }),
    ];
    let register = (provider(), lease).prop_map(|(provider, lease)| super::register_with(provider.with_lease(lease)));
    let operate = operator(0..=u16::MAX).prop_map(|operator| Op::Operate {
        instance: InstanceKey::new("default", "orders", "a").unwrap(),
        generation: Revision::ZERO,
        base: Revision::ZERO,
        operator: Some(Box::new(operator)),
    });
    let settings = (service(), any::<f64>(), "\\PC{0,20}|\\x00").prop_map(|(service, protect_threshold, owner)| {
        let settings = ServiceSettings { protect_threshold, owner: owner.into(), ..ServiceSettings::default() };
        Op::PutService { service, settings, base: Base::Absent(Position::ZERO) }
    });
    let open = (session(), any::<u32>(), "[a-z]{250,260}").prop_map(|(session, grace_ms, client)| Op::OpenSession {
        session,
        node: NodeIncarnation(1),
        grace_ms,
        client: client.into(),
    });
    prop_oneof![register, operate, settings, open]
}

fn loose_check() -> impl Strategy<Value = Check> {
    let kind = prop_oneof![
        "[/a ]{0,8}".prop_map(|path| CheckKind::Http { path: path.into() }),
        Just(CheckKind::Tcp),
        "[a-z\\n]{0,8}".prop_map(|service| CheckKind::Grpc { service: service.into() }),
    ];
    (kind, any::<(u32, u32, u8, u8)>(), option::of(any::<u16>())).prop_map(|(kind, numbers, port)| {
        let (interval_ms, timeout_ms, failures, successes) = numbers;
        Check { kind, interval_ms, timeout_ms, failures, successes, port }
    })
}

/// As many bytes as one change can have.
pub(super) fn largest() -> Op {
    let name = "n".repeat(255);
    let label = "l".repeat(128);
    let mut spec = ProviderSpec::at([&"h".repeat(61)[..]; 4].join("."), 65_535);
    spec.ports = (0..16).map(|n| (format!("{n:0>128}"), 65_535)).collect();
    (spec.protocol, spec.version, spec.zone, spec.region) =
        (label.clone(), label.clone(), label.clone(), label.clone());
    spec.incarnation = Some(label);
    spec.metadata = (0..64).map(|n| (format!("{n:0>128}"), "v".repeat(128))).collect();
    let check = Check::new(CheckKind::http(&format!("/{}", "p".repeat(1_023))).unwrap(), 5_000, 1_000, 3, 1, Some(1));
    spec.lease = Lease::checked(check.unwrap(), Some(86_400_000)).unwrap();
    Op::Register {
        instance: InstanceKey::new(&name, &name, &name).unwrap(),
        provider: Box::new(Provider::new(&spec).unwrap()),
        base: Base::At(Revision::from_packed(u64::MAX >> 1).unwrap()),
        epoch: Some(u32::MAX),
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_@/:$#-]{1,20}"
}

fn namespace() -> impl Strategy<Value = Namespace> {
    name().prop_map(|name| Namespace::new(&name).unwrap())
}

fn service() -> impl Strategy<Value = ServiceKey> {
    (name(), name()).prop_map(|(namespace, service)| ServiceKey::new(&namespace, &service).unwrap())
}

fn instance() -> impl Strategy<Value = InstanceKey> {
    // Few services, so that neighbours in a frame share them.
    (0..3u8, "[^\\p{Cc}]{1,30}").prop_filter_map("id", |(n, id)| {
        InstanceKey::new(["a", "b"][usize::from(n) % 2], ["x", "y", "z"][usize::from(n)], &id).ok()
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId)
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..=u64::MAX >> 1).prop_map(|packed| Revision::from_packed(packed).unwrap())
}

fn position() -> impl Strategy<Value = Position> {
    (0..1u64 << 47).prop_map(|packed| Position::from_packed(packed).unwrap())
}

fn base() -> impl Strategy<Value = Base> {
    prop_oneof![
        revision().prop_map(Base::At),
        revision().prop_map(|revision| Base::Absent(revision.position())),
        Just(Base::Absent(Position::ZERO)),
    ]
}

fn author() -> impl Strategy<Value = Author> {
    (prop_oneof![Just("ann".to_owned()), "\\PC{0,20}"], prop_oneof![Just("http"), Just("lease")])
        .prop_map(|(name, door)| Author::new(&name, door))
}

fn scope() -> impl Strategy<Value = FreezeScope> {
    prop_oneof![
        any::<u64>().prop_map(|node| FreezeScope::Node(NodeIncarnation(node))),
        service().prop_map(FreezeScope::Service),
    ]
}

fn pairs(keys: usize) -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[^\\p{Cc}]{1,12}", "[^\\p{Cc}]{0,20}", 0..=keys)
}

fn namespace_settings() -> impl Strategy<Value = NamespaceSettings> {
    ("\\PC{0,40}", pairs(5)).prop_map(|(description, pairs)| NamespaceSettings {
        description: description.into(),
        metadata: Metadata::new(&pairs).unwrap(),
    })
}

fn service_settings() -> impl Strategy<Value = ServiceSettings> {
    ("\\PC{0,40}", "\\PC{0,20}", pairs(5), 0.0..=1.0).prop_map(|(description, owner, pairs, protect_threshold)| {
        ServiceSettings {
            description: description.into(),
            owner: owner.into(),
            metadata: Metadata::new(&pairs).unwrap(),
            protect_threshold,
        }
    })
}

fn operator(weights: std::ops::RangeInclusive<u16>) -> impl Strategy<Value = Operator> {
    let word = (option::of(any::<bool>()), option::of(weights), option::of("\\PC{0,40}"));
    let times = (option::of(any::<u64>()), prop_oneof![0..=604_800_000u64, Just(604_800_001)], any::<u64>());
    (word, times, author(), revision()).prop_map(|((isolated, weight, note), times, author, revision)| Operator {
        isolated,
        weight,
        note: note.map(Into::into),
        expires_at_ms: times.0,
        // One above the limit only where weights above theirs are drawn too.
        keep_ms: if weight.is_some_and(|weight| weight > 10_000) { times.1 } else { times.1.min(604_800_000) },
        author,
        set_at_ms: times.2,
        revision,
    })
}

fn lease() -> impl Strategy<Value = Lease> {
    let ms = || 1_000..=86_400_000u64;
    prop_oneof![
        (ms(), ms()).prop_map(|(ttl, remove)| Lease::ttl(ttl, remove).unwrap()),
        (session(), ms()).prop_map(|(session, remove)| Lease::stream(session, remove).unwrap()),
        (check(), option::of(ms())).prop_map(|(check, remove)| Lease::checked(check, remove).unwrap()),
        Just(Lease::Permanent),
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let kind = prop_oneof![
        "/[a-z/?=%]{0,30}".prop_map(|path| CheckKind::http(&path).unwrap()),
        Just(CheckKind::Tcp),
        "[a-z.]{0,30}".prop_map(|service| CheckKind::grpc(&service).unwrap()),
    ];
    let times = (1_000..=3_600_000u64, 50..=60_000u64);
    (kind, times, 1..=100u64, 1..=100u64, option::of(1..=65_535u16)).prop_map(
        |(kind, (interval, timeout), failures, successes, port)| {
            Check::new(kind, interval, timeout, failures, successes, port).unwrap()
        },
    )
}

fn provider() -> impl Strategy<Value = Provider> {
    let host = prop_oneof!["[a-z]{1,20}(\\.[a-z]{1,10}){0,3}", Just("10.0.0.7".to_owned()), Just("::1".to_owned())];
    let labels = ["[^\\p{Cc}]{0,10}"; 4];
    let numbers = (any::<u16>(), 0..=10_000u64);
    let ports = btree_map("[^\\p{Cc}]{1,10}", 0..=65_535u64, 0..=4);
    (host, labels, numbers, ports, pairs(6), lease(), option::of("[^\\p{Cc}]{1,12}")).prop_map(
        |(host, [protocol, version, zone, region], (port, weight), ports, metadata, lease, incarnation)| {
            let port = u64::from(port);
            let spec = ProviderSpec {
                host,
                port,
                ports,
                protocol,
                weight,
                version,
                zone,
                region,
                metadata,
                lease,
                incarnation,
            };
            Provider::new(&spec).unwrap()
        },
    )
}
