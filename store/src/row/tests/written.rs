//! Parts that are written without their messages: the bytes are the messages' own.

use compute::model::{Check, CheckKind, Lease, Provider, ProviderSpec, SessionId};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn lease() -> impl Strategy<Value = Lease> {
    let ms = || 1_000..86_400_001_u64;
    let check = || {
        let check = Check::new(CheckKind::Tcp, 1_000, 50, 1, 1, Some(7));
        check.expect("a good check")
    };
    prop_oneof![
        (ms(), ms()).prop_map(|(ttl, after)| Lease::ttl(ttl, after).expect("in range")),
        (any::<[u8; 16]>(), ms()).prop_map(|(id, after)| Lease::stream(SessionId(id), after).expect("in range")),
        proptest::option::of(ms()).prop_map(move |after| Lease::checked(check(), after).expect("in range")),
        Just(Lease::Permanent),
    ]
}

prop_compose! {
    fn provider()(
        host in "[a-z]{1,60}",
        port in any::<u16>(),
        ports in proptest::collection::btree_map("[a-z]{1,100}", 0..65_536_u64, 0..16),
        labels in proptest::array::uniform4("[ -~é]{0,60}"),
        weight in 0..10_001_u64,
        metadata in proptest::collection::btree_map("[ -~]{1,64}", "[ -~é]{0,200}", 0..12),
        lease in lease(),
        incarnation in proptest::option::of("[a-z0-9-]{1,32}"),
    ) -> Provider {
        let [protocol, version, zone, region] = labels;
        let port = u64::from(port);
        let spec = ProviderSpec { host, port, ports, protocol, weight, version, zone, region, metadata, lease, incarnation };
        Provider::new(&spec).expect("within the limits")
    }
}

proptest! {
    #[test]
    fn a_provider(provider in provider()) {
        let blob = provider.to_blob();
        prop_assert_eq!(&blob, &provider.to_message().encode_to_vec());
        prop_assert_eq!(Provider::from_blob(&blob), Ok(provider));
    }
}
