use compute::model::{CheckKind, Lease, LeaseKind};
use proptest::prelude::*;

use super::{key_of_item, provider};
use crate::error::Problem;
use crate::http::json::Object;

fn read(body: &str) -> Result<compute::model::Provider, Problem> {
    let mut object = Object::of_body(body.as_bytes())?;
    let provider = provider(&mut object)?;
    object.finish()?;
    Ok(provider)
}

#[test]
fn the_contracts_example_is_read_whole() {
    let provider = read(
        r#"{"host":"10.0.0.7","port":8080,"ports":{"metrics":9090},"protocol":"http","weight":100,"version":"1.4.2",
         "zone":"eu-1a","region":"eu-1","metadata":{"team":"payments"},
         "lease":{"kind":"ttl","ttl_ms":15000,"remove_after_ms":30000}}"#,
    )
    .unwrap();
    assert_eq!((provider.host(), provider.port(), provider.weight()), ("10.0.0.7", 8080, 100));
    assert_eq!((provider.protocol(), provider.version()), ("http", "1.4.2"));
    assert_eq!((provider.zone(), provider.region()), ("eu-1a", "eu-1"));
    assert_eq!(provider.ports().collect::<Vec<_>>(), [("metrics", 9090)]);
    assert_eq!(provider.metadata().collect::<Vec<_>>(), [("team", "payments")]);
    assert_eq!(*provider.lease(), Lease::Ttl { ttl_ms: 15_000, remove_after_ms: 30_000 });
}

#[test]
fn host_and_port_are_enough() {
    let provider = read(r#"{"host":"a","port":0}"#).unwrap();
    assert_eq!(*provider.lease(), Lease::DEFAULT);
    assert_eq!(provider.weight(), 100);
    assert_eq!(provider.incarnation(), None);
}

#[test]
fn a_lease_says_what_its_kind_has() {
    let kind = |lease: &str| read(&format!(r#"{{"host":"a","port":1,"lease":{lease}}}"#));
    assert_eq!(kind(r#"{"kind":"permanent"}"#).unwrap().lease().kind(), LeaseKind::Permanent);
    assert_eq!(kind("{}").unwrap().lease(), &Lease::DEFAULT);
    let checked = kind(r#"{"kind":"checked","check":{"http":"/health","failures":5},"remove_after_ms":2000}"#).unwrap();
    let Lease::Checked { check, remove_after_ms } = checked.lease() else { panic!("{checked:?}") };
    assert_eq!((check.failures, check.interval_ms, *remove_after_ms), (5, 5_000, Some(2_000)));
    let tcp = kind(r#"{"kind":"checked","check":{"tcp":true,"port":81}}"#).unwrap();
    let Lease::Checked { check, remove_after_ms } = tcp.lease() else { panic!("{tcp:?}") };
    assert_eq!((&check.kind, check.port, *remove_after_ms), (&CheckKind::Tcp, Some(81), None));
    assert!(kind(r#"{"kind":"checked","check":{"grpc":""}}"#).is_ok());
}

/// Each bad body with the field that is to blame.
const WRONG: &[(&str, &str)] = &[
    (r#"{}"#, "host"),
    (r#"{"host":"a"}"#, "port"),
    (r#"{"host":null,"port":1}"#, "host"),
    (r#"{"host":"","port":1}"#, "host"),
    (r#"{"host":"a b","port":1}"#, "host"),
    (r#"{"host":"a","port":"1"}"#, "port"),
    (r#"{"host":"a","port":65536}"#, "port"),
    (r#"{"host":"a","port":-1}"#, "port"),
    (r#"{"host":"a","port":1.5}"#, "port"),
    (r#"{"host":"a","port":1,"weight":10001}"#, "weight"),
    (r#"{"host":"a","port":1,"weight":true}"#, "weight"),
    (r#"{"host":"a","port":1,"zone":7}"#, "zone"),
    (r#"{"host":"a","port":1,"zone":"\u0000"}"#, "zone"),
    (r#"{"host":"a","port":1,"incarnation":""}"#, "incarnation"),
    (r#"{"host":"a","port":1,"ports":[]}"#, "ports"),
    (r#"{"host":"a","port":1,"ports":{"m":"x"}}"#, "ports.m"),
    (r#"{"host":"a","port":1,"ports":{"m":65536}}"#, "ports.m"),
    (r#"{"host":"a","port":1,"ports":{"":1}}"#, "ports"),
    (r#"{"host":"a","port":1,"metadata":{"k":1}}"#, "metadata.k"),
    (r#"{"host":"a","port":1,"metadata":{"k":"v","k":"w"}}"#, "metadata.k"),
    (r#"{"host":"a","port":1,"metadata":{"":"v"}}"#, "metadata"),
    (r#"{"host":"a","port":1,"metadata":"k=v"}"#, "metadata"),
    (r#"{"host":"a","port":1,"lease":"ttl"}"#, "lease"),
    (r#"{"host":"a","port":1,"lease":null}"#, "lease"),
    (r#"{"host":"a","port":1,"lease":{"kind":"stream"}}"#, "lease.kind"),
    (r#"{"host":"a","port":1,"lease":{"kind":"TTL"}}"#, "lease.kind"),
    (r#"{"host":"a","port":1,"lease":{"kind":7}}"#, "lease.kind"),
    (r#"{"host":"a","port":1,"lease":{"ttl_ms":999}}"#, "lease.ttl_ms"),
    (r#"{"host":"a","port":1,"lease":{"ttl_ms":86400001}}"#, "lease.ttl_ms"),
    (r#"{"host":"a","port":1,"lease":{"remove_after_ms":0}}"#, "lease.remove_after_ms"),
    (r#"{"host":"a","port":1,"lease":{"ttl":15000}}"#, "lease.ttl"),
    (r#"{"host":"a","port":1,"lease":{"kind":"ttl","check":{"tcp":true}}}"#, "lease.check"),
    (r#"{"host":"a","port":1,"lease":{"kind":"permanent","ttl_ms":15000}}"#, "lease.ttl_ms"),
    (r#"{"host":"a","port":1,"lease":{"kind":"permanent","remove_after_ms":15000}}"#, "lease.remove_after_ms"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked"}}"#, "lease.check"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","ttl_ms":15000,"check":{"tcp":true}}}"#, "lease.ttl_ms"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{}}}"#, "lease.check"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":true,"http":"/"}}}"#, "lease.check"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":false}}}"#, "lease.check.tcp"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"http":"health"}}}"#, "lease.check.http"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"http":7}}}"#, "lease.check.http"),
    (
        r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":true,"interval_ms":1}}}"#,
        "lease.check.interval_ms",
    ),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":true,"failures":0}}}"#, "lease.check.failures"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":true,"port":0}}}"#, "lease.check.port"),
    (r#"{"host":"a","port":1,"lease":{"kind":"checked","check":{"tcp":true,"every":1}}}"#, "lease.check.every"),
    (r#"{"host":"a","port":1,"healthy":true}"#, "healthy"),
];

#[test]
fn what_is_wrong_is_named() {
    for (body, field) in WRONG {
        let problem = read(body).expect_err(body);
        assert_eq!(problem.parts().field.as_deref(), Some(*field), "{body}: {problem:?}");
        assert!(problem.parts().allowed.is_some(), "{body}: {problem:?}");
    }
}

#[test]
fn limits_of_many_things_together() {
    let many = |name: &str, count: usize, value: &str| {
        let pairs: Vec<_> = (0..count).map(|n| format!("\"k{n}\":{value}")).collect();
        format!(r#"{{"host":"a","port":1,"{name}":{{{}}}}}"#, pairs.join(","))
    };
    assert!(read(&many("ports", 16, "1")).is_ok());
    assert_eq!(read(&many("ports", 17, "1")).expect_err("17").parts().field.as_deref(), Some("ports"));
    assert!(read(&many("metadata", 64, "\"v\"")).is_ok());
    assert_eq!(read(&many("metadata", 65, "\"v\"")).expect_err("65").parts().field.as_deref(), Some("metadata"));
    let long = format!("\"{}\"", "v".repeat(1_000));
    assert_eq!(read(&many("metadata", 17, &long)).expect_err("17 kB").parts().field.as_deref(), Some("metadata"));
}

#[test]
fn an_item_names_itself() {
    let key = |body: &str, id: Option<&str>| {
        let mut object = Object::of_body(body.as_bytes())?;
        key_of_item(&mut object, id.map(str::to_owned))
    };
    assert_eq!(key(r#"{"service":"s"}"#, Some("a:1")).unwrap().to_string(), "default/s/a:1");
    assert_eq!(key(r#"{"namespace":"n","service":"a/b@@c","id":"ä"}"#, None).unwrap().to_string(), "n/a/b@@c/ä");
    for (body, field) in [
        (r#"{"service":"s"}"#, "id"),
        (r#"{"id":"a"}"#, "service"),
        (r#"{"service":"","id":"a"}"#, "service"),
        (r#"{"service":"..","id":"a"}"#, "service"),
        (r#"{"service":"s","id":"\n"}"#, "id"),
        (r#"{"namespace":"a b","service":"s","id":"a"}"#, "namespace"),
        (r#"{"namespace":null,"service":"s","id":"a"}"#, "namespace"),
    ] {
        assert_eq!(key(body, None).expect_err(body).parts().field.as_deref(), Some(field), "{body}");
    }
}

/// JSON of any shape, with the names that a registration knows among its keys.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|n| serde_json::Number::from_f64(n).map_or(serde_json::Value::Null, Into::into)),
        "\\PC{0,20}".prop_map(Into::into),
        prop_oneof![Just("ttl"), Just("checked"), Just("permanent"), Just("/health"), Just("10.0.0.1")]
            .prop_map(Into::into),
    ];
    let names = prop_oneof![
        Just("host".to_owned()),
        Just("port".to_owned()),
        Just("ports".to_owned()),
        Just("weight".to_owned()),
        Just("metadata".to_owned()),
        Just("lease".to_owned()),
        Just("kind".to_owned()),
        Just("check".to_owned()),
        Just("http".to_owned()),
        Just("tcp".to_owned()),
        Just("ttl_ms".to_owned()),
        "[a-z]{0,6}",
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_a_registration_or_a_problem_with_a_field(value in any_json()) {
        match read(&value.to_string()) {
            Ok(provider) => prop_assert!(!provider.host().is_empty()),
            Err(problem) => prop_assert!(problem.parts().field.is_some(), "{problem:?}"),
        }
    }
}
