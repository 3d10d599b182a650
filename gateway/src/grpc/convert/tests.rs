mod fuzz;

use std::collections::BTreeMap;
use std::sync::Arc;

use compute::command::{Ack, Reached};
use compute::model::{
    Author, Check, CheckKind, Health, HealthReason, Instance, InstanceKey, Lease, LeaseCell, Operator, Provider,
    ProviderSpec, Revision, Selector, SessionId,
};
use compute::watch::Scope;
use proptest::prelude::*;
use schemas::thuban::v1 as pb;

use super::{instance, registration, scope, selector};
use crate::error::Problem;

const SESSION: SessionId = SessionId([9; 16]);

fn label() -> impl Strategy<Value = String> {
    "[ -~é]{0,24}"
}

fn check() -> impl Strategy<Value = Check> {
    let kind = prop_oneof![
        "/[a-z0-9/?=]{0,20}".prop_map(|path| CheckKind::http(&path).unwrap()),
        Just(CheckKind::Tcp),
        "[a-z.]{0,20}".prop_map(|service| CheckKind::grpc(&service).unwrap()),
    ];
    (kind, 1_000..3_600_001_u64, 50..60_001_u64, 1..101_u64, 1..101_u64, proptest::option::of(1..=u16::MAX)).prop_map(
        |(kind, interval, timeout, failures, successes, port)| {
            Check::new(kind, interval, timeout, failures, successes, port).unwrap()
        },
    )
}

fn lease() -> impl Strategy<Value = Lease> {
    let ms = || 1_000..86_400_001_u64;
    prop_oneof![
        (ms(), ms()).prop_map(|(ttl, after)| Lease::ttl(ttl, after).unwrap()),
        ms().prop_map(|after| Lease::stream(SESSION, after).unwrap()),
        (check(), proptest::option::of(ms())).prop_map(|(check, after)| Lease::checked(check, after).unwrap()),
        Just(Lease::Permanent),
    ]
}

prop_compose! {
    fn provider()(
        host in prop_oneof!["[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", Just("10.0.0.7".to_owned()), Just("fe80::7".to_owned())],
        port in any::<u16>(),
        ports in proptest::collection::btree_map("[a-z]{1,8}", 0..65_536_u64, 0..16),
        labels in [label(), label(), label(), label()],
        weight in 0..10_001_u64,
        metadata in proptest::collection::btree_map("[ -~]{1,16}", "[ -~é\n]{0,40}", 0..12),
        lease in lease(),
        incarnation in proptest::option::of("[a-z0-9-]{1,32}"),
    ) -> Provider {
        let [protocol, version, zone, region] = labels;
        let port = u64::from(port);
        let spec = ProviderSpec { host, port, ports, protocol, weight, version, zone, region, metadata, lease, incarnation };
        Provider::new(&spec).unwrap()
    }
}

fn revision() -> impl Strategy<Value = Revision> {
    (1..1_u64 << 60).prop_map(|packed| Revision::from_packed(packed).unwrap())
}

fn operator() -> impl Strategy<Value = Operator> {
    let fields = (
        any::<Option<bool>>(),
        proptest::option::of(0..10_001_u16),
        proptest::option::of("[ -~]{0,20}"),
        proptest::option::of(0..4_102_444_800_000_u64),
        0..604_800_001_u64,
        revision(),
    );
    fields.prop_map(|(isolated, weight, note, expires_at_ms, keep_ms, revision)| Operator {
        isolated,
        weight,
        note: note.map(Into::into),
        expires_at_ms,
        keep_ms,
        author: Author::new("ops", "http"),
        set_at_ms: 1_700_000_000_123,
        revision,
    })
}

fn health() -> impl Strategy<Value = Health> {
    let reason = prop_oneof![
        Just(HealthReason::LeaseLapsed),
        Just(HealthReason::SessionLost),
        "[ -~]{0,20}".prop_map(|detail| HealthReason::CheckFailed(detail.into())),
    ];
    (proptest::option::of(reason), 0..4_102_444_800_000_u64).prop_map(|(reason, since_ms)| Health { reason, since_ms })
}

prop_compose! {
    pub(in crate::grpc) fn an_instance()(
        id in "[a-zé0-9:.#-]{1,30}x",
        provider in provider(),
        health in health(),
        operator in proptest::option::of(operator()),
        registered_at_ms in 0..4_102_444_800_000_u64,
        generation in revision(),
        revision in revision(),
    ) -> (InstanceKey, Instance) {
        let key = InstanceKey::new("team-a", "orders", &id).unwrap();
        let operator = operator.map(Box::new);
        let cell = Arc::new(LeaseCell::default());
        let id = key.id.clone();
        (key, Instance { id, provider, health, operator, registered_at_ms, generation, revision, cell })
    }
}

/// What its provider would have to send to register it again as it is shown.
fn again(shown: &pb::Instance) -> pb::RegisterItem {
    let shown = shown.clone();
    pb::RegisterItem {
        namespace: shown.namespace,
        service: shown.service,
        id: shown.id,
        host: shown.host,
        port: Some(shown.port),
        ports: shown.ports,
        protocol: shown.protocol,
        weight: Some(shown.provider_weight.unwrap_or(shown.weight)),
        version: shown.version,
        zone: shown.zone,
        region: shown.region,
        metadata: shown.metadata,
        lease: shown.lease,
        incarnation: Some(shown.incarnation).filter(|incarnation| !incarnation.is_empty()),
        generation: Some(shown.generation),
    }
}

fn ms(at: Option<&prost_types::Timestamp>) -> Option<u64> {
    at.map(|at| at.seconds as u64 * 1_000 + at.nanos as u64 / 1_000_000)
}

fn operator_again(shown: &pb::Operator) -> Operator {
    Operator {
        isolated: shown.isolated,
        weight: shown.weight.map(|weight| weight as u16),
        note: shown.note.as_deref().map(Into::into),
        expires_at_ms: ms(shown.expires_at.as_ref()),
        keep_ms: u64::from(shown.keep_ms.unwrap_or(0)),
        author: Author::new(&shown.author, &shown.door),
        set_at_ms: ms(shown.set_at.as_ref()).unwrap(),
        revision: shown.revision.parse().unwrap(),
    }
}

fn health_again(shown: &pb::Instance) -> Health {
    let reason = match shown.health_reason.as_str() {
        "" => None,
        "lease_lapsed" => Some(HealthReason::LeaseLapsed),
        "session_lost" => Some(HealthReason::SessionLost),
        "check_failed" => Some(HealthReason::CheckFailed(shown.health_detail.as_str().into())),
        other => panic!("unknown reason {other}"),
    };
    Health { reason, since_ms: ms(shown.health_since.as_ref()).unwrap() }
}

proptest! {
    #[test]
    fn an_instance_comes_back_as_it_went((key, whole) in an_instance()) {
        let shown = instance(&key.service, &whole);
        let ((same_key, generation), provider) = registration((&again(&shown)).into(), Some(SESSION)).unwrap();
        prop_assert_eq!(same_key, key);
        prop_assert_eq!(generation, Some(whole.generation));
        prop_assert_eq!(&*provider, &whole.provider);
        prop_assert_eq!(health_again(&shown), whole.health.clone());
        prop_assert_eq!(shown.operator.as_ref().map(operator_again), whole.operator.as_deref().cloned());
        prop_assert_eq!(ms(shown.registered_at.as_ref()), Some(whole.registered_at_ms));
        prop_assert_eq!(shown.revision.parse::<Revision>().unwrap(), whole.revision);
        prop_assert_eq!(u16::try_from(shown.weight).unwrap(), whole.weight());
        prop_assert_eq!((shown.healthy, shown.isolated), (whole.is_healthy(), whole.is_isolated()));
    }

    #[test]
    fn a_selector_comes_back_as_it_went(
        usable in any::<Option<bool>>(),
        healthy in any::<Option<bool>>(),
        isolated in any::<Option<bool>>(),
        zone in proptest::option::of(label()),
        version in proptest::option::of(label()),
        metadata in proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{0,8}", 0..8),
    ) {
        let filter = pb::Filter { usable, healthy, isolated, zone: zone.clone(), version: version.clone(), metadata: metadata.clone() };
        let wanted = Selector {
            usable,
            healthy,
            isolated,
            zone: zone.map(Into::into),
            version: version.map(Into::into),
            metadata: metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        };
        prop_assert_eq!(selector(Some(filter)).unwrap(), wanted);
    }

    #[test]
    fn no_item_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // Whatever decodes is taken or refused with a field to blame.
        if let Ok(item) = <pb::RegisterItem as prost::Message>::decode(&bytes[..])
            && let Err(problem) = registration((&item).into(), None)
        {
            prop_assert!(problem.parts().field.is_some(), "{problem:?}");
        }
    }
}

fn item() -> pb::RegisterItem {
    pb::RegisterItem {
        service: "orders".into(),
        host: "10.0.0.7".into(),
        port: Some(80),
        ..pb::RegisterItem::default()
    }
}

fn refused(item: pb::RegisterItem) -> Problem {
    registration((&item).into(), None).expect_err("it is wrong")
}

#[test]
fn what_is_left_out_has_its_default() {
    let ((key, generation), provider) = registration((&item()).into(), None).unwrap();
    assert_eq!(key, InstanceKey::new("default", "orders", "10.0.0.7:80").unwrap());
    assert_eq!(generation, None);
    assert_eq!(provider.weight(), 100);
    assert_eq!(provider.lease(), &Lease::ttl(15_000, 30_000).unwrap());
    let (_, inside) = registration((&item()).into(), Some(SESSION)).unwrap();
    assert_eq!(inside.lease(), &Lease::stream(SESSION, 30_000).unwrap());
}

#[test]
fn each_field_that_is_wrong_is_named() {
    let lease = |lease: pb::Lease| pb::RegisterItem { lease: Some(lease), ..item() };
    let kind = |kind: pb::lease::Kind| pb::Lease { kind: kind.into(), ..pb::Lease::default() };
    use pb::lease::Kind;
    let check = |check: pb::Check| lease(pb::Lease { check: Some(check), ..kind(Kind::Checked) });
    let tcp = || pb::Check { probe: Some(pb::check::Probe::Tcp(true)), ..pb::Check::default() };
    let one_port = |port| BTreeMap::from([("metrics".to_owned(), port)]);
    let one_pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let wrong = [
        ("service", pb::RegisterItem { service: String::new(), ..item() }),
        ("service", pb::RegisterItem { service: "a b".into(), ..item() }),
        ("namespace", pb::RegisterItem { namespace: "..".into(), ..item() }),
        ("id", pb::RegisterItem { id: "a\n".into(), ..item() }),
        ("host", pb::RegisterItem { host: String::new(), ..item() }),
        ("host", pb::RegisterItem { host: "-bad-".into(), ..item() }),
        ("port", pb::RegisterItem { port: None, ..item() }),
        ("port", pb::RegisterItem { port: Some(70_000), ..item() }),
        ("ports.metrics", pb::RegisterItem { ports: one_port(65_536), ..item() }),
        ("weight", pb::RegisterItem { weight: Some(10_001), ..item() }),
        ("zone", pb::RegisterItem { zone: "z".repeat(129), ..item() }),
        ("version", pb::RegisterItem { version: "\u{7}".into(), ..item() }),
        ("metadata", pb::RegisterItem { metadata: one_pair("", "x"), ..item() }),
        ("metadata.k", pb::RegisterItem { metadata: one_pair("k", &"x".repeat(1_025)), ..item() }),
        ("incarnation", pb::RegisterItem { incarnation: Some(String::new()), ..item() }),
        ("generation", pb::RegisterItem { generation: Some("7".into()), ..item() }),
        ("lease.kind", lease(pb::Lease { kind: 77, ..pb::Lease::default() })),
        ("lease.kind", lease(kind(Kind::Stream))),
        ("lease.ttl_ms", lease(pb::Lease { ttl_ms: Some(999), ..kind(Kind::Ttl) })),
        ("lease.ttl_ms", lease(pb::Lease { ttl_ms: Some(5_000), ..kind(Kind::Permanent) })),
        ("lease.remove_after_ms", lease(pb::Lease { remove_after_ms: Some(86_400_001), ..kind(Kind::Ttl) })),
        ("lease.remove_after_ms", lease(pb::Lease { remove_after_ms: Some(5_000), ..kind(Kind::Permanent) })),
        ("lease.check", lease(pb::Lease { check: Some(tcp()), ..kind(Kind::Ttl) })),
        ("lease.check", lease(kind(Kind::Checked))),
        ("lease.check", check(pb::Check::default())),
        ("lease.check.tcp", check(pb::Check { probe: Some(pb::check::Probe::Tcp(false)), ..tcp() })),
        ("lease.check.http", check(pb::Check { probe: Some(pb::check::Probe::Http("x".into())), ..tcp() })),
        ("lease.check.interval_ms", check(pb::Check { interval_ms: Some(1), ..tcp() })),
        ("lease.check.timeout_ms", check(pb::Check { timeout_ms: Some(1), ..tcp() })),
        ("lease.check.failures", check(pb::Check { failures: Some(0), ..tcp() })),
        ("lease.check.successes", check(pb::Check { successes: Some(101), ..tcp() })),
        ("lease.check.port", check(pb::Check { port: Some(70_000), ..tcp() })),
        ("lease.check.port", check(pb::Check { port: Some(0), ..tcp() })),
    ];
    for (field, item) in wrong {
        let problem = refused(item.clone());
        assert_eq!(problem.parts().field.as_deref(), Some(field), "{item:?}");
        assert!(problem.parts().detail.contains("allowed"), "{problem}");
    }
}

#[test]
fn every_ack_has_its_word() {
    assert_eq!(super::ack(0).unwrap(), Ack::Log);
    assert_eq!(super::ack(pb::Ack::Memory.into()).unwrap(), Ack::Memory);
    assert_eq!(super::ack(pb::Ack::Store.into()).unwrap(), Ack::Store);
    for wrong in [pb::Ack::Overlay.into(), 9, -1] {
        assert_eq!(super::ack(wrong).unwrap_err().parts().field.as_deref(), Some("ack"));
    }
    let words = [Reached::Overlay, Reached::Memory, Reached::Log, Reached::Store].map(super::reached);
    assert_eq!(words, [pb::Ack::Overlay, pb::Ack::Memory, pb::Ack::Log, pb::Ack::Store]);
}

#[test]
fn a_watch_names_each_service_once() {
    assert!(matches!(scope("", &[]).unwrap(), Scope::Namespace(namespace) if namespace.as_str() == "default"));
    let twice = scope("", &["a".into(), "b".into(), "a".into()]).unwrap_err();
    assert_eq!(twice.parts().field.as_deref(), Some("services[2]"));
    let wrong = scope("", &["a".into(), "b c".into()]).unwrap_err();
    assert_eq!(wrong.parts().field.as_deref(), Some("services[1]"));
    let many: Vec<_> = (0..10_001).map(|n| format!("s{n}")).collect();
    assert_eq!(scope("", &many).unwrap_err().parts().field.as_deref(), Some("services"));
    assert!(scope("", &many[..10_000]).is_ok());
}

#[test]
fn a_filter_can_ask_only_for_what_can_be() {
    let long = pb::Filter { zone: Some("z".repeat(129)), ..pb::Filter::default() };
    assert_eq!(selector(Some(long)).unwrap_err().parts().field.as_deref(), Some("filter.zone"));
    let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
    let many = pb::Filter { metadata: many, ..pb::Filter::default() };
    assert_eq!(selector(Some(many)).unwrap_err().parts().field.as_deref(), Some("filter.metadata"));
    assert!(selector(None).unwrap().is_everything());
}
