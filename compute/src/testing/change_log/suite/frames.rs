//! Frames to write.

use std::sync::Arc;

use crate::model::limits::{FRAME_CHANGES_MAX, METADATA_VALUE_BYTES_MAX};
use crate::model::{
    Author, Base, Cause, Change, Frame, FreezeScope, InstanceKey, LogIdentity, Namespace, NamespaceSettings,
    NodeIncarnation, Op, Origin, Position, Provider, ProviderSpec, RemovalReason, ServiceKey, ServiceSettings,
    SessionId,
};

/// A frame of a few changes; another seed gives another frame.
pub fn frame(identity: LogIdentity, seed: u64) -> Arc<Frame> {
    let changes = (0..seed % 4).map(|place| change(seed, place)).collect();
    Arc::new(Frame { identity, writer: NodeIncarnation(seed), time_ms: 1_700_000_000_000 + seed, changes })
}

/// A frame of this many small changes.
pub fn wide_frame(identity: LogIdentity, changes: usize) -> Arc<Frame> {
    let changes = (0..changes as u64).map(|place| change(0, place)).collect();
    Arc::new(Frame { identity, writer: NodeIncarnation(7), time_ms: 1_700_000_000_000, changes })
}

/// A frame of this many changes of 16 KiB each.
pub fn heavy_frame(identity: LogIdentity, changes: usize) -> Arc<Frame> {
    let mut spec = ProviderSpec::at("10.0.0.1", 80);
    spec.metadata = (0..15).map(|key| (format!("key-{key}"), "v".repeat(METADATA_VALUE_BYTES_MAX))).collect();
    let provider = Provider::new(&spec).expect("within the limits");
    let heavy = |counter: u64| Change {
        origin: Origin { node: NodeIncarnation(9), counter },
        author: Author::new("suite", "test"),
        op: Op::Register {
            instance: instance(counter),
            provider: Box::new(provider.clone()),
            base: Base::Absent(Position::ZERO),
            epoch: None,
        },
    };
    let changes = (1..=changes.min(FRAME_CHANGES_MAX) as u64).map(heavy).collect();
    Arc::new(Frame { identity, writer: NodeIncarnation(9), time_ms: 1_700_000_000_000, changes })
}

fn instance(n: u64) -> InstanceKey {
    InstanceKey::new("default", &format!("service-{}", n % 10), &format!("10.0.0.1:{n}")).expect("within the limits")
}

fn change(seed: u64, place: u64) -> Change {
    let at = Position::from_packed(1 << 40 | seed).unwrap_or(Position::ZERO).at(place as u16);
    let namespace = Namespace::default_namespace();
    let service = ServiceKey::new("default", "service").expect("within the limits");
    let (instance, session) = (instance(seed), SessionId([seed as u8; 16]));
    let op = match (seed / 4 + place) % 8 {
        0 => {
            let provider = Provider::new(&ProviderSpec::at("10.0.0.1", 8080)).expect("within the limits");
            Op::Register { instance, provider: Box::new(provider), base: Base::Absent(at.position()), epoch: None }
        }
        1 => Op::Deregister { instance, generation: at, reason: RemovalReason::Deregistered },
        2 => Op::Suspect { instance, generation: at, age_ms: seed, cause: Cause::Session { session, epoch: 3 } },
        3 => Op::Refute { instance, suspicion: at, age_ms: seed },
        4 => Op::PutNamespace { namespace, settings: NamespaceSettings::default(), base: Base::At(at) },
        5 => Op::PutService { service, settings: ServiceSettings::default(), base: Base::At(at) },
        6 => Op::OpenSession { session, node: NodeIncarnation(seed), grace_ms: 10_000, client: "suite".into() },
        _ => Op::Freeze { scope: FreezeScope::Service(service), lapsed: 3, of: 4 },
    };
    Change {
        origin: Origin { node: NodeIncarnation(seed), counter: place + 1 },
        author: Author::new("suite", "test"),
        op,
    }
}
