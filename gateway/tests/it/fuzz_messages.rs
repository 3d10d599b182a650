//! Requests of every method of the gRPC door, well formed, that say anything.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use prost_types::Timestamp;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_request::Request as Kind;

use crate::fuzz::{number, text};

type Texts = [String; 3];

fn texts() -> BoxedStrategy<Texts> {
    [text(), text(), text()].boxed()
}

fn some_text() -> BoxedStrategy<Option<String>> {
    option::weighted(0.4, text()).boxed()
}

fn some_number() -> BoxedStrategy<Option<u32>> {
    option::weighted(0.4, number()).boxed()
}

fn ack() -> BoxedStrategy<i32> {
    prop_oneof![6 => 0..4_i32, 1 => 4..9_i32, 1 => any::<i32>()].boxed()
}

fn metadata() -> BoxedStrategy<BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3).boxed()
}

fn filter() -> BoxedStrategy<Option<pb::Filter>> {
    let filter = (any::<[Option<bool>; 3]>(), some_text(), some_text(), metadata()).prop_map(
        |([usable, healthy, isolated], zone, version, metadata)| pb::Filter {
            usable,
            healthy,
            isolated,
            zone,
            version,
            metadata,
        },
    );
    option::weighted(0.4, filter).boxed()
}

fn key() -> BoxedStrategy<pb::InstanceKey> {
    (texts(), some_text())
        .prop_map(|([namespace, service, id], generation)| pb::InstanceKey { namespace, service, id, generation })
        .boxed()
}

fn lease() -> BoxedStrategy<Option<pb::Lease>> {
    use pb::check::Probe;
    let probe =
        prop_oneof![text().prop_map(Probe::Http), any::<bool>().prop_map(Probe::Tcp), text().prop_map(Probe::Grpc)];
    let numbers = [some_number(), some_number(), some_number(), some_number(), some_number()];
    let check =
        (option::of(probe), numbers).prop_map(|(probe, [interval_ms, timeout_ms, failures, successes, port])| {
            pb::Check { probe, interval_ms, timeout_ms, failures, successes, port }
        });
    let lease = (0..6_i32, some_number(), some_number(), option::of(check))
        .prop_map(|(kind, ttl_ms, remove_after_ms, check)| pb::Lease { kind, ttl_ms, remove_after_ms, check });
    option::weighted(0.4, lease).boxed()
}

fn item() -> BoxedStrategy<pb::RegisterItem> {
    let labels = option::weighted(0.3, [text(), text(), text(), text()]);
    let ports = btree_map(text(), number(), 0..2);
    (key(), text(), some_number(), ports, labels, some_number(), metadata(), lease(), some_text())
        .prop_map(|(key, host, port, ports, labels, weight, metadata, lease, incarnation)| {
            let [protocol, version, zone, region] = labels.unwrap_or_default();
            let pb::InstanceKey { namespace, service, id, generation } = key;
            pb::RegisterItem {
                namespace,
                service,
                id,
                host,
                port: port.or(Some(8080)),
                ports,
                protocol,
                weight,
                version,
                zone,
                region,
                metadata,
                lease,
                incarnation,
                generation,
            }
        })
        .boxed()
}

fn register() -> BoxedStrategy<pb::RegisterRequest> {
    (vec(item(), 0..3), ack(), any::<bool>())
        .prop_map(|(items, ack, brief)| pb::RegisterRequest { items, ack, brief })
        .boxed()
}

fn deregister() -> BoxedStrategy<pb::DeregisterRequest> {
    (vec(key(), 0..3), ack()).prop_map(|(items, ack)| pb::DeregisterRequest { items, ack }).boxed()
}

fn renew() -> BoxedStrategy<pb::RenewRequest> {
    vec(key(), 0..3).prop_map(|items| pb::RenewRequest { items }).boxed()
}

fn watch() -> BoxedStrategy<pb::WatchRequest> {
    (text(), vec(text(), 0..4), filter(), some_text())
        .prop_map(|(namespace, services, filter, from_revision)| pb::WatchRequest {
            namespace,
            services,
            filter,
            from_revision,
        })
        .boxed()
}

pub(crate) fn session() -> BoxedStrategy<Vec<Vec<u8>>> {
    let bytes = prop_oneof![vec(any::<u8>(), 16), vec(any::<u8>(), 0..20)];
    let open = (option::weighted(0.3, bytes), some_number(), text(), any::<bool>());
    let open = open.prop_map(|(token, grace_ms, client, ping)| pb::Open { token, grace_ms, client, ping });
    let id = || prop_oneof![1..4_u64, any::<u64>()];
    let request = prop_oneof![
        open.clone().prop_map(Kind::Open),
        register().prop_map(Kind::Register),
        deregister().prop_map(Kind::Deregister),
        renew().prop_map(Kind::Renew),
        (id(), option::weighted(0.9, watch()))
            .prop_map(|(watch_id, watch)| Kind::Watch(pb::SessionWatch { watch_id, watch })),
        id().prop_map(|watch_id| Kind::Unwatch(pb::Unwatch { watch_id })),
        (id(), texts()).prop_map(|(watch_id, [namespace, service, revision])| {
            Kind::Acknowledge(pb::Acknowledge { watch_id, namespace, service, revision })
        }),
        id().prop_map(|nonce| Kind::Ping(pb::Ping { nonce })),
        id().prop_map(|nonce| Kind::Pong(pb::Pong { nonce })),
        any::<bool>().prop_map(|deregister| Kind::Goodbye(pb::Goodbye { deregister })),
    ];
    let asked = |(request_id, request)| pb::SessionRequest { request_id, request };
    let first = prop_oneof![
        4 => Just(Kind::Open(pb::Open::default())),
        2 => open.prop_map(Kind::Open),
        1 => request.clone(),
    ];
    let first = (0..2_u64, first.prop_map(Some)).prop_map(move |first| asked((first.0 + 1, first.1)));
    let others = vec((0..20_u64, option::weighted(0.95, request)).prop_map(asked), 0..8);
    (first, others)
        .prop_map(|(first, others)| {
            std::iter::once(first).chain(others).map(|request| request.encode_to_vec()).collect()
        })
        .boxed()
}

/// One message of one type.
macro_rules! call {
    ($path:literal, $message:expr) => {
        $message.prop_map(|message| ($path, message.encode_to_vec())).boxed()
    };
}

#[expect(clippy::too_many_lines, reason = "a table: an entry for each method")]
pub(crate) fn reads() -> Vec<BoxedStrategy<(&'static str, Vec<u8>)>> {
    let page = || (number(), text(), some_text());
    let of_one = || (texts(), some_text());
    vec![
        call!(
            "/thuban.v1.Registry/Discover",
            (texts(), filter(), some_text(), number(), some_text(), some_number()).prop_map(
                |([namespace, service, _], filter, if_none_match, wait_ms, min_revision, limit)| pb::DiscoverRequest {
                    namespace,
                    service,
                    filter,
                    if_none_match,
                    wait_ms,
                    min_revision,
                    limit,
                },
            )
        ),
        call!("/thuban.v1.Registry/Watch", watch()),
        call!(
            "/thuban.v1.Admin/ListNamespaces",
            page().prop_map(|(limit, cursor, min_revision)| {
                pb::ListNamespacesRequest { limit, cursor, min_revision }
            })
        ),
        call!(
            "/thuban.v1.Admin/GetNamespace",
            (text(), some_text()).prop_map(|(name, min_revision)| { pb::GetNamespaceRequest { name, min_revision } })
        ),
        call!(
            "/thuban.v1.Admin/ListServices",
            (texts(), page()).prop_map(|([namespace, prefix, _], (limit, cursor, min_revision))| {
                pb::ListServicesRequest { namespace, prefix, limit, cursor, min_revision }
            },)
        ),
        call!(
            "/thuban.v1.Admin/GetService",
            (of_one(), some_text(), number()).prop_map(
                |(([namespace, name, _], min_revision), if_none_match, wait_ms)| pb::GetServiceRequest {
                    namespace,
                    name,
                    min_revision,
                    if_none_match,
                    wait_ms,
                },
            )
        ),
        call!(
            "/thuban.v1.Admin/GetInstance",
            (of_one(), some_text(), number()).prop_map(
                |(([namespace, service, id], min_revision), if_none_match, wait_ms)| pb::GetInstanceRequest {
                    namespace,
                    service,
                    id,
                    min_revision,
                    if_none_match,
                    wait_ms,
                },
            )
        ),
        call!(
            "/thuban.v1.Admin/ListOverrides",
            (texts(), page()).prop_map(|([namespace, service, _], (limit, cursor, min_revision))| {
                pb::ListOverridesRequest { namespace, service, limit, cursor, min_revision }
            },)
        ),
        call!(
            "/thuban.v1.Admin/GetOverride",
            of_one().prop_map(|([namespace, service, id], min_revision)| {
                pb::GetOverrideRequest { namespace, service, id, min_revision }
            })
        ),
        call!(
            "/thuban.v1.Admin/ListSubscribers",
            (texts(), page()).prop_map(|([namespace, service, _], (limit, cursor, min_revision))| {
                pb::ListSubscribersRequest { namespace, service, limit, cursor, min_revision }
            },)
        ),
        call!(
            "/thuban.v1.Admin/ListNodes",
            page().prop_map(|(limit, cursor, min_revision)| { pb::ListNodesRequest { limit, cursor, min_revision } })
        ),
        call!("/thuban.v1.Admin/GetStatus", some_text().prop_map(|min_revision| pb::GetStatusRequest { min_revision })),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table: an entry for each method")]
pub(crate) fn writes() -> Vec<BoxedStrategy<(&'static str, Vec<u8>)>> {
    let time = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    let time = prop_oneof![time, Just(Timestamp { seconds: 1_900_000_000, nanos: 0 })];
    let part = prop_oneof![any::<f64>(), Just(0.5), Just(-0.0), Just(f64::NAN), Just(1.5)];
    let word = (any::<Option<bool>>(), some_number(), some_text(), option::of(time.clone()), some_number());
    let (set, until) = (word.clone(), option::of(time));
    vec![
        call!("/thuban.v1.Registry/Register", register()),
        call!("/thuban.v1.Registry/Deregister", deregister()),
        call!("/thuban.v1.Registry/Renew", renew()),
        call!(
            "/thuban.v1.Admin/PutNamespace",
            (texts(), metadata(), ack()).prop_map(|([name, description, _], metadata, ack)| pb::PutNamespaceRequest {
                name,
                description,
                metadata,
                ack
            },)
        ),
        call!(
            "/thuban.v1.Admin/DeleteNamespace",
            (text(), ack()).prop_map(|(name, ack)| { pb::DeleteNamespaceRequest { name, ack } })
        ),
        call!(
            "/thuban.v1.Admin/PutService",
            (texts(), text(), metadata(), part.clone(), some_text(), ack()).prop_map(
                |([namespace, name, description], owner, metadata, protect_threshold, if_match, ack)| {
                    pb::PutServiceRequest {
                        namespace,
                        name,
                        description,
                        owner,
                        metadata,
                        protect_threshold,
                        if_match,
                        ack,
                    }
                },
            )
        ),
        call!(
            "/thuban.v1.Admin/UpdateService",
            (texts(), [some_text(), some_text(), some_text()], option::of(part), option::of(metadata()), ack(),)
                .prop_map(
                    |([namespace, name, _], [description, owner, if_match], protect_threshold, metadata, ack)| {
                        let metadata = metadata.map(|entries| pb::Metadata { entries });
                        pb::UpdateServiceRequest {
                            namespace,
                            name,
                            description,
                            owner,
                            protect_threshold,
                            metadata,
                            if_match,
                            ack,
                        }
                    }
                )
        ),
        call!(
            "/thuban.v1.Admin/DeleteService",
            (texts(), some_text(), ack()).prop_map(|([namespace, name, _], if_match, ack)| pb::DeleteServiceRequest {
                namespace,
                name,
                if_match,
                ack
            },)
        ),
        call!(
            "/thuban.v1.Admin/PatchOperator",
            (texts(), set, vec(text(), 0..3), some_text(), ack()).prop_map(
                |([namespace, service, id], (isolated, weight, note, expires_at, keep_ms), clear, generation, ack)| {
                    pb::PatchOperatorRequest {
                        namespace,
                        service,
                        id,
                        isolated,
                        weight,
                        note,
                        expires_at,
                        keep_ms,
                        clear,
                        generation,
                        ack,
                    }
                },
            )
        ),
        call!(
            "/thuban.v1.Admin/PutOverride",
            (texts(), word, until, some_text(), ack()).prop_map(
                |(
                    [namespace, service, id],
                    (isolated, weight, note, expires_at, keep_ms),
                    kept_until,
                    incarnation,
                    ack,
                )| {
                    pb::PutOverrideRequest {
                        namespace,
                        service,
                        id,
                        isolated,
                        weight,
                        note,
                        expires_at,
                        keep_ms,
                        kept_until,
                        incarnation,
                        ack,
                    }
                },
            )
        ),
        call!(
            "/thuban.v1.Admin/DeleteOverride",
            (texts(), ack()).prop_map(|([namespace, service, id], ack)| {
                pb::DeleteOverrideRequest { namespace, service, id, ack }
            })
        ),
        // None of these texts is the node's name.
        call!("/thuban.v1.Admin/DrainNode", text().prop_map(|node| pb::DrainNodeRequest { node })),
        call!("/thuban.v1.Admin/ReleaseFreeze", text().prop_map(|node| pb::ReleaseFreezeRequest { node })),
    ]
}
