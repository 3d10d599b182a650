use std::collections::BTreeMap;

use schemas::thuban::change::v1::*;

use super::check;
use super::frame_1::{NODE, REVISION, service, session};

pub(super) fn author() -> Author {
    Author { name: "anonymous".into(), door: "http".into() }
}

pub(super) fn operator() -> Operator {
    Operator {
        isolated: Some(false),
        weight: Some(0),
        note: Some("being looked at".into()),
        expires_at_ms: Some(1_790_000_600_000),
        keep_ms: 3_600_000,
        author: Some(author()),
        set_at_ms: 1_790_000_000_000,
        revision: REVISION,
    }
}

pub(super) fn provider(lease: lease::Kind) -> Provider {
    Provider {
        host: "10.0.0.7".into(),
        port: 8_080,
        weight: 100,
        protocol: "http".into(),
        version: "1.4.2".into(),
        zone: "eu-1a".into(),
        region: "eu-1".into(),
        ports: BTreeMap::from([("admin".into(), 0), ("metrics".into(), 9_090)]),
        metadata: BTreeMap::from([("empty".into(), String::new()), ("team".into(), "zahlung 💶".into())]),
        incarnation: Some("7f".into()),
        lease: Some(Lease { kind: Some(lease) }),
    }
}

fn removal() -> Option<Removal> {
    let reason = RemovalReason::Expired.into();
    Some(Removal { at_ms: 1_790_000_000_000, reason, author: Some(author()), revision: REVISION })
}

fn health(kind: health_reason::Kind) -> Option<Health> {
    Some(Health { reason: Some(HealthReason { kind: Some(kind) }), since_ms: 1_790_000_000_000 })
}

/// The lines of `rows_1.hex` that begin with `name`, without it.
fn kept(name: &str) -> String {
    let lines = include_str!("rows_1.hex").lines();
    let found: Vec<_> = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
    assert_eq!(found.len(), 1, "lines for {name}");
    found.concat()
}

#[test]
fn names_and_services_of_format_1_read_for_ever() {
    let metadata = BTreeMap::from([("team".into(), "payments".into())]);
    let settings = NamespaceSettings { description: "the first".into(), metadata: metadata.clone() };
    check(
        &kept("namespace"),
        &NamespaceRow { settings: Some(settings), created_at_ms: 1_790_000_000_000, revision: REVISION },
    );
    let settings =
        ServiceSettings { description: "takes orders".into(), owner: "shop".into(), metadata, protect_threshold: 0.5 };
    check(
        &kept("service"),
        &ServiceRow {
            settings: Some(settings),
            created_at_ms: 1_790_000_000_000,
            revision: REVISION + 1,
            settings_revision: REVISION,
            implicit: true,
            last_removal: removal(),
            digest: (0xa0..0xb0).collect(),
        },
    );
}

#[test]
fn instances_of_format_1_read_for_ever() {
    let ttl = || lease::Kind::Ttl(TtlLease { ttl_ms: 15_000, remove_after_ms: 30_000 });
    let row = |health, operator| InstanceRow {
        provider: Some(provider(ttl())),
        health,
        operator,
        registered_at_ms: 1_790_000_000_000,
        generation: REVISION,
        revision: REVISION + 1,
    };
    check(&kept("instance"), &row(Some(Health { reason: None, since_ms: 1 }), Some(operator())));
    check(&kept("instance_lapsed"), &row(health(health_reason::Kind::LeaseLapsed(LeaseLapsed {})), None));
    check(&kept("instance_lost"), &row(health(health_reason::Kind::SessionLost(SessionLost {})), None));
    let failed = CheckFailed { detail: "connection refused".into() };
    check(&kept("instance_failed"), &row(health(health_reason::Kind::CheckFailed(failed)), None));
    let only_for = Some(provider(lease::Kind::Stream(StreamLease { session: session(), remove_after_ms: 30_000 })));
    check(&kept("override"), &OverrideRow { operator: Some(operator()), until_ms: 1_790_000_600_000, only_for });
    check(&kept("tombstone"), &TombstoneRow { revision: REVISION + 1, generation: REVISION });
}

#[test]
fn what_guards_leases_of_format_1_reads_for_ever() {
    let session_row = SessionRow {
        epoch: 7,
        node: NODE,
        grace_ms: 10_000,
        client: "till".into(),
        opened_at_ms: 1_790_000_000_000,
        revision: REVISION,
    };
    check(&kept("session"), &session_row);
    let cause = cause::Kind::Session(SessionCause { session: session(), epoch: 7 });
    let suspicion = SuspicionRow {
        revision: REVISION + 1,
        generation: REVISION,
        age_ms: 10_000,
        cause: Some(Cause { kind: Some(cause) }),
    };
    check(&kept("suspicion"), &suspicion);
    let freeze = FreezeRow { revision: REVISION, node: NODE, since_ms: 1_790_000_000_000, lapsed: 20, of: 100 };
    check(&kept("freeze"), &freeze);
    check(&kept("scope"), &FreezeScope { scope: Some(freeze_scope::Scope::Service(service())) });
}

#[test]
fn the_logs_own_state_of_format_1_reads_for_ever() {
    let origin = OriginRow { highest: 1_000, gaps: vec![3, 500], last_seen: 1 << 40 | 57 };
    check(&kept("origin"), &origin);
    let state = LogState {
        identity: (0xa0..0xb0).collect(),
        watermark: 1 << 40 | 57,
        time_ms: 1_790_000_000_123,
        rolling_hash: u64::MAX,
    };
    check(&kept("log"), &state);
}
