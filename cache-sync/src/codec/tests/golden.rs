//! Frames as earlier programs wrote them. A line of the file is never edited or taken away.

use compute::model::*;

use super::{change, frame_of, register};
use crate::codec::{decode, encode};

/// A name and the bytes in hexadecimal on each line.
const GOLDEN: &str = include_str!("../../../tests/golden/frames_v1.txt");

#[test]
fn golden_frames_are_still_read_and_written() {
    let golden: Vec<(&str, Vec<u8>)> = GOLDEN.lines().map(|line| parse(line).expect(line)).collect();
    let samples = samples();
    let mut missing = String::new();
    for (name, frame) in &samples {
        let bytes = encode(frame, 3).unwrap();
        let Some((_, known)) = golden.iter().find(|(known, _)| known == name) else {
            missing += &format!("{name} {}\n", hex(&bytes));
            continue;
        };
        let decoded = decode(known).unwrap_or_else(|error| panic!("{name} is no longer read: {error}"));
        assert_eq!((&decoded.frame, decoded.generation), (frame, 3), "{name} is read as another frame");
        assert_eq!(hex(known), hex(&bytes), "{name} is written as other bytes");
    }
    assert!(missing.is_empty(), "not golden yet; append to the file:\n{missing}");
    assert_eq!(golden.len(), samples.len(), "a golden frame has no sample");
}

fn parse(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, hex) = line.split_once(' ')?;
    let bytes = (0..hex.len() / 2).map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok());
    Some((name, bytes.collect::<Option<_>>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(offset: u64, place: u16) -> Revision {
    Position::new(3, offset).unwrap().at(place)
}

/// One frame for each op, with every field set somewhere.
fn samples() -> Vec<(&'static str, Frame)> {
    let one = |name, op| (name, frame_of(vec![change(op)]));
    let mut samples = vec![
        ("empty", Frame { time_ms: 0, ..frame_of(vec![]) }),
        ("other_origin", other_origin()),
        one("register_ttl", register(Lease::DEFAULT)),
        one("register_all", registered_with_everything()),
        one("register_permanent", register(Lease::Permanent)),
    ];
    samples.extend(about_names().into_iter().map(|(name, op)| one(name, op)));
    samples.extend(about_instances().into_iter().map(|(name, op)| one(name, op)));
    samples.extend(about_sessions().into_iter().map(|(name, op)| one(name, op)));
    samples.extend(about_nodes().into_iter().map(|(name, op)| one(name, op)));
    samples
}

fn other_origin() -> Frame {
    let confirm =
        |id| Op::Confirm { instance: InstanceKey::new("default", "orders", id).unwrap(), suspicion: at(9, 2) };
    let by = |node, name, id| Change {
        origin: Origin { node: NodeIncarnation(node), counter: u64::MAX },
        author: Author::new(name, "grpc"),
        op: confirm(id),
    };
    frame_of(vec![by(7, "ann", "a"), by(u64::MAX, "bob", "b"), by(0, "ann", "ü")])
}

fn registered_with_everything() -> Op {
    let check = Check::new(CheckKind::http("/health?deep=1").unwrap(), 5_000, 1_000, 3, 1, Some(9_090)).unwrap();
    let spec = ProviderSpec {
        host: "a.example".into(),
        port: 65_535,
        ports: [("metrics".to_owned(), 9_090), ("zero".to_owned(), 0)].into(),
        protocol: "http".into(),
        weight: 10_000,
        version: "1.4.2".into(),
        zone: "eu-1a".into(),
        region: "eu-1".into(),
        metadata: [("team".to_owned(), "payments".to_owned()), ("note".to_owned(), "two\nlines".to_owned())].into(),
        lease: Lease::checked(check, Some(30_000)).unwrap(),
        incarnation: Some("pod-7".into()),
    };
    Op::Register {
        instance: InstanceKey::new("team-a", "g@@orders", "10.0.0.7:8080").unwrap(),
        provider: Box::new(Provider::new(&spec).unwrap()),
        base: Base::At(at(57, 2)),
        epoch: Some(4),
    }
}

fn about_names() -> Vec<(&'static str, Op)> {
    let namespace = Namespace::new("team-a").unwrap();
    let service = ServiceKey::new("team-a", "orders").unwrap();
    let metadata = Metadata::new(&[("k".to_owned(), "v".to_owned())].into()).unwrap();
    let settings = NamespaceSettings { description: "ours".into(), metadata: metadata.clone() };
    let service_settings =
        ServiceSettings { description: "d".into(), owner: "o".into(), metadata, protect_threshold: 0.5 };
    let absent = Base::Absent(at(12, 0).position());
    vec![
        ("put_namespace", Op::PutNamespace { namespace: namespace.clone(), settings, base: absent }),
        ("delete_namespace", Op::DeleteNamespace { namespace, base: at(13, 1) }),
        (
            "put_service",
            Op::PutService { service: service.clone(), settings: service_settings, base: Base::At(at(14, 0)) },
        ),
        ("delete_service", Op::DeleteService { service: service.clone(), base: at(15, 0) }),
        ("collect_service", Op::CollectService { service: service.clone(), base: at(16, 0) }),
        ("freeze_service", Op::Freeze { scope: FreezeScope::Service(service), lapsed: 20, of: 100 }),
        ("freeze_node", Op::Freeze { scope: FreezeScope::Node(NodeIncarnation(8)), lapsed: 3, of: 3 }),
        ("release", Op::Release { scope: FreezeScope::Node(NodeIncarnation(8)), freeze: at(17, 0) }),
    ]
}

fn about_instances() -> Vec<(&'static str, Op)> {
    let instance = InstanceKey::new("default", "orders", "10.0.0.7:8080").unwrap();
    let (generation, suspicion) = (at(42, 0), at(58, 3));
    let operator = Operator {
        isolated: Some(true),
        weight: Some(0),
        note: Some("drained".into()),
        expires_at_ms: Some(1_700_000_600_000),
        keep_ms: 60_000,
        author: Author::new("ann", "console"),
        set_at_ms: 1_700_000_000_000,
        revision: at(43, 1),
    };
    let kept = Operator { revision: Revision::ZERO, ..operator.clone() };
    let session = SessionId([9; 16]);
    let suspect = |cause| Op::Suspect { instance: instance.clone(), generation, age_ms: 10_000, cause };
    let deregister = |reason| Op::Deregister { instance: instance.clone(), generation, reason };
    vec![
        ("deregister", deregister(RemovalReason::Deregistered)),
        ("deregister_expired", deregister(RemovalReason::Expired)),
        ("deregister_operator", deregister(RemovalReason::Operator)),
        (
            "operate",
            Op::Operate { instance: instance.clone(), generation, base: at(43, 0), operator: Some(Box::new(operator)) },
        ),
        ("operate_end", Op::Operate { instance: instance.clone(), generation, base: at(44, 0), operator: None }),
        (
            "keep_override",
            Op::KeepOverride {
                instance: instance.clone(),
                absent: at(44, 0).position(),
                over: None,
                kept: Box::new(OverrideRow { operator: kept.clone(), until_ms: 1_700_000_700_000, only_for: None }),
            },
        ),
        (
            "keep_override_for_one",
            Op::KeepOverride {
                instance: instance.clone(),
                absent: at(44, 0).position(),
                over: Some(at(43, 1)),
                kept: Box::new(OverrideRow {
                    operator: kept,
                    until_ms: 1_700_000_700_000,
                    only_for: Some(Process::Incarnation("boot-1".into())),
                }),
            },
        ),
        ("end_override", Op::EndOverride { instance: instance.clone(), operator: at(45, 0) }),
        ("suspect_lapse", suspect(Cause::Lapse)),
        ("suspect_session", suspect(Cause::Session { session, epoch: 2 })),
        ("suspect_check", suspect(Cause::Check { detail: "status 503".into() })),
        ("refute", Op::Refute { instance: instance.clone(), suspicion, age_ms: 0 }),
        ("confirm", Op::Confirm { instance: instance.clone(), suspicion }),
        ("unhealthy", Op::Unhealthy { instance: instance.clone(), suspicion }),
        ("expire", Op::Expire { instance, suspicion }),
    ]
}

fn about_sessions() -> Vec<(&'static str, Op)> {
    let session = SessionId([9; 16]);
    let node = NodeIncarnation(7);
    let stream = Lease::stream(session, 30_000).unwrap();
    let tcp = Lease::checked(Check::new(CheckKind::Tcp, 5_000, 1_000, 3, 1, None).unwrap(), None).unwrap();
    let grpc = CheckKind::grpc("health.v1").unwrap();
    let grpc = Lease::checked(Check::new(grpc, 1_000, 50, 1, 100, None).unwrap(), None).unwrap();
    vec![
        ("open_session", Op::OpenSession { session, node, grace_ms: 10_000, client: "orders-1".into() }),
        ("attach_session", Op::AttachSession { session, node, epoch: 2 }),
        ("close_session", Op::CloseSession { session, epoch: 2, deregister: true }),
        ("register_stream", register(stream)),
        ("register_tcp", register(tcp)),
        ("register_grpc", register(grpc)),
    ]
}

fn about_nodes() -> Vec<(&'static str, Op)> {
    let beacon = |name: &str, peer: &str, applied, landed, leaving| Op::Beacon {
        name: name.into(),
        peer: peer.into(),
        applied,
        rolling_hash: u64::MAX,
        digest: None,
        rebuilt: None,
        landed,
        leaving,
    };
    let (applied, landed) = (at(70, 0).position(), at(60, 0).position());
    vec![
        ("beacon", beacon("node-1", "10.0.0.1:7802", applied, landed, true)),
        ("beacon_first", beacon("", "", Position::ZERO, Position::ZERO, false)),
        ("beacon_with_digest", {
            let mut said = beacon("node-1", "10.0.0.1:7802", applied, landed, true);
            if let Op::Beacon { digest, .. } = &mut said {
                *digest = Some(Digest::from_bytes([7; 16]));
            }
            said
        }),
        ("beacon_with_rebuilt", {
            let mut said = beacon("node-1", "10.0.0.1:7802", applied, landed, true);
            if let Op::Beacon { digest, rebuilt, .. } = &mut said {
                (*digest, *rebuilt) = (Some(Digest::from_bytes([7; 16])), Some(Digest::from_bytes([8; 16])));
            }
            said
        }),
        ("gone", Op::Gone { node: NodeIncarnation(8) }),
    ]
}
