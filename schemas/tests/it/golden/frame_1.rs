use std::collections::BTreeMap;

use prost::Message;
use schemas::thuban::change::v1::change::Op;
use schemas::thuban::change::v1::*;

use super::rows_1::{author, operator, provider};
use super::{bytes, check};

pub(super) const NODE: u64 = 0x0123_4567_89ab_cdef;
/// `1.57.2` and `1.57`, packed.
pub(super) const REVISION: u64 = 1 << 56 | 57 << 16 | 2;
const POSITION: u64 = 1 << 40 | 57;

pub(super) fn service() -> ServiceKey {
    ServiceKey { namespace: "default".into(), service: "orders".into() }
}

fn instance() -> Option<InstanceKey> {
    Some(InstanceKey { namespace: "default".into(), service: "orders".into(), id: "10.0.0.7:8080".into() })
}

fn at() -> Option<Base> {
    Some(Base { seen: Some(base::Seen::At(REVISION)) })
}

fn absent(position: u64) -> Option<Base> {
    Some(Base { seen: Some(base::Seen::Absent(position)) })
}

pub(super) fn session() -> Vec<u8> {
    (1..=16).collect()
}

fn suspect(kind: cause::Kind) -> Op {
    let cause = Some(Cause { kind: Some(kind) });
    Op::Suspect(Suspect { instance: instance(), generation: REVISION, age_ms: 10_000, cause })
}

fn freeze(scope: freeze_scope::Scope) -> Option<FreezeScope> {
    Some(FreezeScope { scope: Some(scope) })
}

fn names_and_services() -> Vec<Op> {
    let metadata = BTreeMap::from([("team".into(), "payments".into()), ("tier".into(), String::new())]);
    let namespace = NamespaceSettings { description: "the first".into(), metadata: metadata.clone() };
    let settings =
        ServiceSettings { description: "takes orders".into(), owner: "shop".into(), metadata, protect_threshold: 0.5 };
    vec![
        Op::PutNamespace(PutNamespace { namespace: "one".into(), settings: Some(namespace), base: absent(POSITION) }),
        Op::DeleteNamespace(DeleteNamespace { namespace: "one".into(), base: REVISION }),
        Op::PutService(PutService { service: Some(service()), settings: Some(settings), base: at() }),
        Op::DeleteService(DeleteService { service: Some(service()), base: REVISION }),
        Op::CollectService(CollectService { service: Some(service()), base: REVISION }),
    ]
}

fn providers_and_operators() -> Vec<Op> {
    let leases = [
        lease::Kind::Ttl(TtlLease { ttl_ms: 15_000, remove_after_ms: 30_000 }),
        lease::Kind::Stream(StreamLease { session: session(), remove_after_ms: 30_000 }),
        lease::Kind::Checked(CheckedLease {
            check: Some(Check {
                kind: Some(check::Kind::Http(HttpCheck { path: "/health".into() })),
                interval_ms: 5_000,
                timeout_ms: 1_000,
                failures: 3,
                successes: 1,
                port: Some(9_090),
            }),
            remove_after_ms: Some(60_000),
        }),
        lease::Kind::Checked(CheckedLease {
            check: Some(Check { kind: Some(check::Kind::Tcp(TcpCheck {})), ..Check::default() }),
            remove_after_ms: None,
        }),
        lease::Kind::Checked(CheckedLease {
            check: Some(Check { kind: Some(check::Kind::Grpc(GrpcCheck::default())), ..Check::default() }),
            remove_after_ms: None,
        }),
        lease::Kind::Permanent(PermanentLease {}),
    ];
    let register = |(place, lease): (usize, lease::Kind)| {
        let epoch = matches!(lease, lease::Kind::Stream(_)).then_some(0);
        let base = if place == 0 { absent(0) } else { at() };
        Op::Register(Register { instance: instance(), provider: Some(provider(lease)), base, epoch })
    };
    let mut ops: Vec<Op> = leases.into_iter().enumerate().map(register).collect();
    for reason in [RemovalReason::Deregistered, RemovalReason::Expired, RemovalReason::Operator] {
        ops.push(Op::Deregister(Deregister { instance: instance(), generation: REVISION, reason: reason.into() }));
    }
    for operator in [Some(operator()), None] {
        ops.push(Op::Operate(Operate { instance: instance(), generation: REVISION, base: REVISION, operator }));
    }
    ops.push(Op::EndOverride(EndOverride { instance: instance(), operator: REVISION }));
    ops
}

fn leases_and_sessions() -> Vec<Op> {
    let node = || freeze(freeze_scope::Scope::Node(NODE));
    vec![
        suspect(cause::Kind::Lapse(LapseCause {})),
        suspect(cause::Kind::Session(SessionCause { session: session(), epoch: 7 })),
        suspect(cause::Kind::Check(CheckCause { detail: "503 from /health".into() })),
        Op::Refute(Refute { instance: instance(), suspicion: REVISION, age_ms: 1_200 }),
        Op::Confirm(Confirm { instance: instance(), suspicion: REVISION }),
        Op::Unhealthy(Unhealthy { instance: instance(), suspicion: REVISION }),
        Op::Expire(Expire { instance: instance(), suspicion: REVISION }),
        Op::OpenSession(OpenSession { session: session(), node: NODE, grace_ms: 10_000, client: "till".into() }),
        Op::AttachSession(AttachSession { session: session(), node: NODE, epoch: 7 }),
        Op::CloseSession(CloseSession { session: session(), epoch: 7, deregister: true }),
        Op::Freeze(Freeze { scope: node(), lapsed: 20, of: 100 }),
        Op::Freeze(Freeze { scope: freeze(freeze_scope::Scope::Service(service())), lapsed: 3, of: 3 }),
        Op::Release(Release { scope: node(), freeze: REVISION }),
    ]
}

fn frame() -> Frame {
    let ops = [names_and_services(), providers_and_operators(), leases_and_sessions()].concat();
    let change = |(place, op)| Change {
        node: (place % 7 == 3).then_some(NODE - 1),
        counter: 1_000 + place as u64,
        author: (place % 2) as u32,
        op: Some(op),
    };
    Frame {
        format_version: 1,
        identity: (0xa0..0xb0).collect(),
        generation: 1,
        writer: NODE,
        time_ms: 1_790_000_000_123,
        authors: vec![author(), Author { name: "node".into(), door: "lease".into() }],
        changes: ops.into_iter().enumerate().map(change).collect(),
    }
}

const KEPT: &str = include_str!("frame_1.hex");

#[test]
fn a_frame_of_format_1_reads_for_ever() {
    check(KEPT, &frame());
}

#[test]
fn a_damaged_frame_is_an_error_or_another_frame() {
    let whole = bytes(KEPT);
    for end in 0..whole.len() {
        // A cut between two fields leaves a frame with less in it; never one that looks whole.
        assert_ne!(Frame::decode(&whole[..end]).as_ref(), Ok(&frame()), "cut at {end}");
    }
    let mut refused = 0;
    for place in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[place / 8] ^= 1 << (place % 8);
        refused += usize::from(Frame::decode(&*damaged).is_err());
    }
    assert!(refused > whole.len(), "only {refused} flipped bits were noticed");
}
