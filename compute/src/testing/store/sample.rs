//! Rows to try a store with: of every kind, at the limits, and as many as are wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::limits::{
    CHECK_TARGET_BYTES_MAX, CLIENT_NAME_BYTES_MAX, HOST_BYTES_MAX, LABEL_BYTES_MAX, METADATA_KEYS_MAX, NAME_BYTES_MAX,
    NODE_NAME_BYTES_MAX, NOTE_BYTES_MAX, PEER_BYTES_MAX, PORTS_MAX, WEIGHT_MAX,
};
use crate::model::{
    Author, Cause, Check, CheckKind, Digest, Freeze, FreezeScope, Health, HealthReason, Instance, InstanceId,
    InstanceKey, Lease, LeaseCell, LogIdentity, LogState, MemberRow, Metadata, Namespace, NamespaceRow,
    NamespaceSettings, NodeIncarnation, Operator, OriginRow, OverrideRow, Position, Process, Provider, ProviderSpec,
    Removal, RemovalReason, Revision, Row, Rows, ServiceKey, ServiceRow, ServiceSettings, Session, SessionId,
    Suspicion, Tombstone,
};

const VALID: &str = "a sample is within the limits";
const EPOCH_MS: u64 = 1_700_000_000_000;

pub fn identity(n: u8) -> LogIdentity {
    LogIdentity([n; 16])
}

/// The place of frame `offset` in the first life of a log.
pub fn position(offset: u64) -> Position {
    Position::new(1, offset).expect(VALID)
}

/// What goes with the watermark when everything up to `offset` is applied.
pub fn log_state(identity: LogIdentity, offset: u64) -> LogState {
    let rolling_hash = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    LogState { identity, watermark: position(offset), time_ms: EPOCH_MS + offset, rolling_hash }
}

pub fn service_key(n: usize) -> ServiceKey {
    ServiceKey::new("default", &format!("service-{n:06}")).expect(VALID)
}

/// Instance `n`, ten to a service, with five metadata keys: what a common fleet registers.
pub fn instance(n: usize, revision: Revision) -> Row<InstanceKey, Arc<Instance>> {
    let id = InstanceId::new(&format!("10.{}.{}.{}:8080", n >> 16 & 255, n >> 8 & 255, n & 255)).expect(VALID);
    let mut spec = ProviderSpec::at(format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255), 8080);
    spec.protocol = "http".to_owned();
    spec.version = "1.4.2".to_owned();
    spec.zone = format!("eu-1{}", if n.is_multiple_of(2) { 'a' } else { 'b' });
    let pairs =
        [("team", "payments"), ("build", "2026-02-11"), ("commit", "4f2a9c1d"), ("tier", "1"), ("owner", "shop")];
    spec.metadata = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let value = Instance {
        id: id.clone(),
        provider: Provider::new(&spec).expect(VALID),
        health: Health::good(EPOCH_MS),
        operator: None,
        registered_at_ms: EPOCH_MS,
        generation: revision,
        revision,
        cell: Arc::new(LeaseCell::default()),
    };
    Row::Put(service_key(n / 10).instance(id), Arc::new(value))
}

/// Instances `first` to before `end`, all changed by one frame.
pub fn instances(first: usize, end: usize, at: Position) -> Rows {
    Rows { instances: (first..end).map(|n| instance(n, at.at(n as u16))).collect(), ..Rows::default() }
}

/// The same keys for every `at`, with other values: rows of each kind, in the shapes that a state can have, among
/// them the longest and the emptiest.
pub fn every_kind(at: Position) -> Rows {
    let key = |id: &str| service_key(1).instance(InstanceId::new(id).expect(VALID));
    let revision = at.at(7);
    let n = at.offset();
    Rows {
        namespaces: namespaces(revision, n),
        services: services(revision, n),
        instances: shapes(revision, n),
        overrides: vec![
            Row::Put(key("for-anybody"), OverrideRow { operator: operator(revision), until_ms: n, only_for: None }),
            Row::Put(
                key("for-one"),
                OverrideRow {
                    operator: short_operator(revision),
                    until_ms: u64::MAX,
                    only_for: longest_provider().process(),
                },
            ),
            Row::Put(
                key("for-a-session"),
                OverrideRow {
                    operator: operator(revision),
                    until_ms: 1,
                    only_for: Some(Process::Session(SessionId([0xfe; 16]))),
                },
            ),
        ],
        tombstones: vec![
            Row::Put(key("gone"), Tombstone { revision, generation: position(1).at(0) }),
            Row::Put(key("gone-too"), Tombstone { revision: at.last(), generation: Revision::ZERO }),
        ],
        sessions: sessions(revision, n),
        suspicions: suspicions(revision, n),
        freezes: freezes(revision, n),
        origins: vec![
            Row::Put(NodeIncarnation(0), OriginRow { highest: n, gaps: vec![], last_seen: at }),
            Row::Put(
                NodeIncarnation(u64::MAX),
                OriginRow { highest: u64::MAX, gaps: vec![1, 5, n + 100, u64::MAX - 1], last_seen: at },
            ),
            Row::Put(
                NodeIncarnation(1 << 63),
                OriginRow { highest: 90_000, gaps: (10_000..14_000).collect(), last_seen: at },
            ),
        ],
        members: members(revision, at),
    }
}

fn namespaces(revision: Revision, n: u64) -> Vec<Row<Namespace, NamespaceRow>> {
    let row = |name: &str, description: &str, metadata| {
        let settings = NamespaceSettings { description: description.into(), metadata };
        Row::Put(Namespace::new(name).expect(VALID), NamespaceRow { settings, created_at_ms: n, revision })
    };
    let longest = "n".repeat(NAME_BYTES_MAX);
    vec![
        row("default", "", Metadata::default()),
        row("team:a/b@c$d#e", "line one\n\tline two — «ü» \u{1f980}", metadata(3)),
        row(&longest, &"d".repeat(NOTE_BYTES_MAX), metadata(METADATA_KEYS_MAX)),
    ]
}

fn services(revision: Revision, n: u64) -> Vec<Row<ServiceKey, ServiceRow>> {
    let empty = ServiceRow {
        settings: ServiceSettings::default(),
        created_at_ms: 0,
        revision,
        settings_revision: Revision::ZERO,
        implicit: true,
        last_removal: None,
        digest: Digest::default(),
    };
    let full = ServiceRow {
        settings: ServiceSettings {
            description: "d".repeat(NOTE_BYTES_MAX).into(),
            owner: "payments, ü".into(),
            metadata: metadata(METADATA_KEYS_MAX),
            protect_threshold: 0.1 + 0.2,
        },
        created_at_ms: n,
        settings_revision: revision,
        implicit: false,
        last_removal: Some(removal(RemovalReason::Expired, revision)),
        digest: Digest::from_bytes([0xff; 16]),
        ..empty.clone()
    };
    let removed = |reason| ServiceRow { last_removal: Some(removal(reason, revision)), ..empty.clone() };
    let longest = "s".repeat(NAME_BYTES_MAX);
    vec![
        Row::Put(service_key(1), empty.clone()),
        Row::Put(service_key(2), removed(RemovalReason::Deregistered)),
        Row::Put(service_key(3), removed(RemovalReason::Operator)),
        Row::Put(ServiceKey::new(&longest, &longest).expect(VALID), full),
    ]
}

fn removal(reason: RemovalReason, revision: Revision) -> Removal {
    Removal { at_ms: EPOCH_MS, reason, author: Author::new("deploy-token", "http"), revision }
}

fn shapes(revision: Revision, n: u64) -> Vec<Row<InstanceKey, Arc<Instance>>> {
    let check = |kind| Check::new(kind, 5_000, 1_000, 3, 1, Some(9_000)).expect(VALID);
    let bare = Check::new(CheckKind::Tcp, 3_600_000, 60_000, 100, 100, None).expect(VALID);
    let long_path = format!("/{}", "p".repeat(CHECK_TARGET_BYTES_MAX - 1));
    let http = CheckKind::http(&long_path).expect(VALID);
    let grpc = |service| CheckKind::grpc(service).expect(VALID);
    let session = SessionId([0xab; 16]);
    let leases = [
        ("ttl", Lease::DEFAULT),
        ("ttl-longest", Lease::ttl(86_400_000, 86_400_000).expect(VALID)),
        ("stream", Lease::stream(session, 1_000).expect(VALID)),
        ("http", Lease::checked(check(http), Some(30_000)).expect(VALID)),
        ("tcp", Lease::checked(bare, None).expect(VALID)),
        ("grpc", Lease::checked(check(grpc("")), None).expect(VALID)),
        ("grpc-named", Lease::checked(check(grpc("shop.Orders")), Some(1_000)).expect(VALID)),
        ("permanent", Lease::Permanent),
    ];
    let plain = |name: &str, provider: Provider| Instance {
        id: InstanceId::new(name).expect(VALID),
        provider,
        health: Health::good(n),
        operator: None,
        registered_at_ms: n,
        generation: position(1).at(1),
        revision,
        cell: Arc::new(LeaseCell::new(n)),
    };
    let spec = ProviderSpec::at("10.0.0.7", 8080);
    let leased = |(name, lease): (&str, Lease)| {
        plain(name, Provider::new(&ProviderSpec { lease, ..spec.clone() }).expect(VALID))
    };
    let mut all: Vec<Instance> = leases.into_iter().map(leased).collect();
    let unhealthy = |name: &str, reason| {
        let health = Health { reason: Some(reason), since_ms: u64::MAX };
        Instance { health, ..plain(name, Provider::new(&spec).expect(VALID)) }
    };
    all.push(unhealthy("lapsed", HealthReason::LeaseLapsed));
    all.push(unhealthy("lost", HealthReason::SessionLost));
    all.push(unhealthy("failed", HealthReason::CheckFailed("503 — «no»".into())));
    all.push(unhealthy("failed-silently", HealthReason::CheckFailed("".into())));
    all.push(Instance { operator: Some(Box::new(operator(revision))), ..plain("operated", longest_provider()) });
    all.push(Instance { operator: Some(Box::new(short_operator(revision))), ..plain("noted", longest_provider()) });
    all.push(plain(&"ü".repeat(NAME_BYTES_MAX / 2), emptiest_provider()));
    all.into_iter().map(|i| Row::Put(service_key(1).instance(i.id.clone()), Arc::new(i))).collect()
}

fn emptiest_provider() -> Provider {
    Provider::new(&ProviderSpec { weight: 0, ..ProviderSpec::at("::1", 0) }).expect(VALID)
}

fn longest_provider() -> Provider {
    let mut spec = ProviderSpec::at(format!("{}.a", vec!["h".repeat(62); 4].join(".")), u16::MAX);
    assert!(spec.host.len() <= HOST_BYTES_MAX, "{VALID}");
    spec.ports = (0..PORTS_MAX).map(|n| (format!("port {n} ü"), n as u64 * 4_000)).collect();
    spec.protocol = "p".repeat(LABEL_BYTES_MAX);
    spec.version = "v".repeat(LABEL_BYTES_MAX);
    spec.zone = "z".repeat(LABEL_BYTES_MAX);
    spec.region = "ü".repeat(LABEL_BYTES_MAX / 2);
    spec.weight = u64::from(WEIGHT_MAX);
    spec.metadata = pairs(METADATA_KEYS_MAX);
    spec.incarnation = Some("boot-1".to_owned());
    Provider::new(&spec).expect(VALID)
}

fn pairs(count: usize) -> BTreeMap<String, String> {
    let value = |n: usize| if n == 0 { String::new() } else { format!("value «{n}»\n{}", "v".repeat(n)) };
    (0..count).map(|n| (format!("key.{n:02}"), value(n))).collect()
}

fn metadata(count: usize) -> Metadata {
    Metadata::new(&pairs(count)).expect(VALID)
}

fn operator(revision: Revision) -> Operator {
    Operator {
        isolated: Some(true),
        weight: Some(0),
        note: Some("n".repeat(NOTE_BYTES_MAX).into()),
        expires_at_ms: Some(EPOCH_MS),
        keep_ms: 7 * 86_400_000,
        author: Author::new("anonymous", "grpc"),
        set_at_ms: EPOCH_MS,
        revision,
    }
}

/// Says little, and what it says is not what a missing word means.
fn short_operator(revision: Revision) -> Operator {
    let said = Operator { weight: None, expires_at_ms: None, keep_ms: 0, set_at_ms: 0, ..operator(revision) };
    Operator { isolated: Some(false), note: Some("".into()), ..said }
}

fn sessions(revision: Revision, n: u64) -> Vec<Row<SessionId, Session>> {
    let session = Session {
        epoch: n as u32,
        node: NodeIncarnation(u64::MAX),
        grace_ms: 10_000,
        client: "shop-client/1.0".into(),
        opened_at_ms: EPOCH_MS,
        revision,
    };
    let longest = Session {
        epoch: u32::MAX,
        node: NodeIncarnation(3),
        grace_ms: 300_000,
        client: "c".repeat(CLIENT_NAME_BYTES_MAX).into(),
        ..session.clone()
    };
    vec![
        Row::Put(SessionId([0; 16]), session.clone()),
        Row::Put(SessionId([0xff; 16]), longest),
        Row::Put(SessionId([0xab; 16]), Session { client: "".into(), ..session }),
    ]
}

fn suspicions(revision: Revision, n: u64) -> Vec<Row<InstanceKey, Suspicion>> {
    let row = |id: &str, cause| {
        let key = service_key(1).instance(InstanceId::new(id).expect(VALID));
        Row::Put(key, Suspicion { revision, generation: position(1).at(1), age_ms: n, cause })
    };
    vec![
        row("ttl", Cause::Lapse),
        row("stream", Cause::Session { session: SessionId([0xab; 16]), epoch: u32::MAX }),
        row("http", Cause::Check { detail: "connection refused «ü»".into() }),
        row("tcp", Cause::Check { detail: "".into() }),
    ]
}

fn freezes(revision: Revision, n: u64) -> Vec<Row<FreezeScope, Freeze>> {
    let freeze = Freeze { revision, node: NodeIncarnation(u64::MAX), since_ms: n, lapsed: u32::MAX, of: u32::MAX };
    // Names may hold what others would part them with.
    let one = ServiceKey::new("a/b", "c").expect(VALID);
    let other = ServiceKey::new("a", "b/c").expect(VALID);
    vec![
        Row::Put(FreezeScope::Node(NodeIncarnation(0)), freeze.clone()),
        Row::Put(FreezeScope::Node(NodeIncarnation(u64::MAX)), freeze.clone()),
        Row::Put(FreezeScope::Service(one), Freeze { lapsed: 3, of: 4, ..freeze.clone() }),
        Row::Put(FreezeScope::Service(other), freeze),
    ]
}

fn members(revision: Revision, at: Position) -> Vec<Row<NodeIncarnation, MemberRow>> {
    let member = MemberRow {
        name: "node-1".into(),
        peer: "node-1.example:7802".into(),
        joined_ms: EPOCH_MS,
        joined: position(1).at(3),
        seen: revision,
        applied: at,
        rolling_hash: u64::MAX,
        landed: Position::ZERO,
        leaving: false,
        gone: false,
    };
    let longest = MemberRow {
        name: "n".repeat(NODE_NAME_BYTES_MAX).into(),
        peer: "p".repeat(PEER_BYTES_MAX).into(),
        joined_ms: u64::MAX,
        joined: revision,
        landed: at,
        leaving: true,
        gone: true,
        ..member.clone()
    };
    let unreached = MemberRow { peer: "".into(), rolling_hash: at.offset(), leaving: true, ..member.clone() };
    vec![
        Row::Put(NodeIncarnation(0), unreached),
        Row::Put(NodeIncarnation(1 << 63), member.clone()),
        Row::Put(NodeIncarnation(7), MemberRow { gone: true, ..member }),
        Row::Put(NodeIncarnation(u64::MAX), longest),
    ]
}

/// The same keys, to be deleted.
pub fn deletes(rows: &Rows) -> Rows {
    fn of<K: Clone, V>(rows: &[Row<K, V>]) -> Vec<Row<K, V>> {
        rows.iter().map(|row| Row::Delete(row.key().clone())).collect()
    }
    Rows {
        namespaces: of(&rows.namespaces),
        services: of(&rows.services),
        instances: of(&rows.instances),
        overrides: of(&rows.overrides),
        tombstones: of(&rows.tombstones),
        sessions: of(&rows.sessions),
        suspicions: of(&rows.suspicions),
        freezes: of(&rows.freezes),
        origins: of(&rows.origins),
        members: of(&rows.members),
    }
}

/// In the order of their keys: a store may load them in any.
#[must_use]
pub fn sorted(mut rows: Rows) -> Rows {
    fn sort<K: Ord, V>(rows: &mut [Row<K, V>]) {
        rows.sort_by(|a, b| a.key().cmp(b.key()));
    }
    sort(&mut rows.namespaces);
    sort(&mut rows.services);
    sort(&mut rows.instances);
    sort(&mut rows.overrides);
    sort(&mut rows.tombstones);
    sort(&mut rows.sessions);
    sort(&mut rows.suspicions);
    sort(&mut rows.freezes);
    sort(&mut rows.origins);
    sort(&mut rows.members);
    rows
}
