use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn an_item() -> impl Strategy<Value = pb::RegisterItem> {
    let text = || prop_oneof![Just(String::new()), "\\PC{0,9}", "[a-z]{120,140}"];
    let lease = (0..6_i32, option::of(any::<u32>()), option::of(any::<u32>()));
    let lease = lease.prop_map(|(kind, ttl_ms, remove_after_ms)| {
        let check = (kind == 2).then(|| pb::Check { port: ttl_ms, ..pb::Check::default() });
        pb::Lease { kind, ttl_ms, remove_after_ms, check }
    });
    let labels = [text(), text(), text(), text(), text(), text(), text(), text()];
    let pairs = btree_map(text(), text(), 0..5);
    let ports = btree_map(text(), any::<u32>(), 0..4);
    let numbers = (option::of(any::<u32>()), option::of(any::<u32>()));
    (labels, pairs, ports, option::of(lease), numbers, option::of(text()), option::of(text())).prop_map(
        |(labels, metadata, ports, lease, (port, weight), incarnation, generation)| {
            let [namespace, service, id, host, protocol, version, zone, region] = labels;
            pb::RegisterItem {
                namespace,
                service,
                id,
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
                generation,
            }
        },
    )
}

fn a_message() -> impl Strategy<Value = (u64, pb::RegisterRequest)> {
    let asked = (vec(an_item(), 0..3), -1..6_i32, any::<bool>());
    (1..u64::MAX, asked.prop_map(|(items, ack, brief)| pb::RegisterRequest { items, ack, brief }))
}

fn written(request_id: u64, register: pb::RegisterRequest) -> Vec<u8> {
    let request = Some(pb::session_request::Request::Register(register));
    pb::SessionRequest { request_id, request }.encode_to_vec()
}

/// What is read is what the generated messages read of the same bytes. Maps have an order there.
fn is_as_generated(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(mut read) = Register::read(bytes) else { return Ok(false) };
    let generated = pb::SessionRequest::decode(bytes);
    prop_assert!(generated.is_ok(), "{generated:?}");
    let Ok(pb::SessionRequest { request_id, request: Some(pb::session_request::Request::Register(register)) }) =
        generated
    else {
        return Err(TestCaseError::fail("it is no register"));
    };
    for item in &mut read.items {
        item.ports = item.ports.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
        item.metadata = item.metadata.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
    }
    prop_assert_eq!(read, Register::of(request_id, &register));
    Ok(true)
}

proptest! {
    #[test]
    fn a_register_is_read_as_the_generated_messages_read_it((request_id, register) in a_message()) {
        prop_assert!(is_as_generated(&written(request_id, register))?);
    }

    /// Bytes that were damaged, or joined: what is read of them is the same, or it is left to the generated messages.
    #[test]
    fn damage_is_left_to_the_generated_messages(
        (request_id, register) in a_message(),
        (_, more) in a_message(),
        at in any::<prop::sample::Index>(),
        put in option::of(any::<u8>()),
        joins in any::<bool>(),
    ) {
        let mut bytes = written(request_id, register);
        if joins {
            bytes.extend(written(0, more));
        }
        let at = at.index(bytes.len());
        match put {
            Some(byte) => bytes[at] = byte,
            None => bytes.truncate(at),
        }
        is_as_generated(&bytes)?;
    }
}

#[test]
fn another_request_is_not_read_here() {
    let ping = Some(pb::session_request::Request::Ping(pb::Ping { nonce: 1 }));
    assert_eq!(Register::read(&pb::SessionRequest { request_id: 1, request: ping }.encode_to_vec()), None);
    assert_eq!(Register::read(&written(0, pb::RegisterRequest::default())), None, "it has no name to be answered by");
    assert_eq!(Register::read(b""), None);
}
