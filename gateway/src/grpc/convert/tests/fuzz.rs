//! Messages that are well formed and say anything: what the domain gets of them is within its limits, or they are
//! refused by field.

use std::collections::HashSet;

use compute::model::limits::{LABEL_BYTES_MAX, METADATA_KEYS_MAX, WAIT_MS_MAX};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::sample::select;
use prost::Message;

use super::super::{ack, instance_key, namespace, revision as read_revision, service, wait};
use super::*;

fn text() -> impl Strategy<Value = String> {
    let known = select(vec![
        "", ".", "..", "default", "orders", "a", "b", "a/b", "a b", "ü", "\0", "\n", "1.1.0", "128.0.0", "*",
    ]);
    prop_oneof![
        6 => known.prop_map(str::to_owned),
        2 => "\\PC{0,8}",
        1 => select(vec![127_usize, 128, 129, 255, 256, 1_024, 1_025]).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

fn blames(problem: &Problem, begins: &[&str]) -> Result<(), TestCaseError> {
    let parts = problem.parts();
    prop_assert_eq!(parts.code.as_str(), "invalid_argument");
    let field = parts.field.as_deref().unwrap_or_default();
    prop_assert!(begins.iter().any(|begin| field.starts_with(begin)), "{:?}", problem);
    prop_assert!(parts.allowed.as_ref().is_some_and(|allowed| !allowed.is_empty()), "{:?}", problem);
    Ok(())
}

fn filter() -> impl Strategy<Value = pb::Filter> {
    let metadata =
        prop_oneof![9 => btree_map(text(), text(), 0..4), 1 => btree_map("[a-z]{1,4}", "[a-z]{0,2}", 60..70)];
    (any::<[Option<bool>; 3]>(), option::of(text()), option::of(text()), metadata).prop_map(
        |([usable, healthy, isolated], zone, version, metadata)| pb::Filter {
            usable,
            healthy,
            isolated,
            zone,
            version,
            metadata,
        },
    )
}

proptest! {
    #[test]
    fn a_filter_is_a_selector_within_the_limits(filter in filter()) {
        match selector(Some(filter.clone())) {
            Ok(selector) => {
                let label = |label: &Option<Box<str>>| label.as_deref().map(str::to_owned);
                prop_assert_eq!((label(&selector.zone), label(&selector.version)), (filter.zone, filter.version));
                prop_assert!(selector.zone.is_none_or(|zone| zone.len() <= LABEL_BYTES_MAX));
                prop_assert!(selector.metadata.len() <= METADATA_KEYS_MAX);
                let pairs: BTreeMap<_, _> =
                    selector.metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
                prop_assert_eq!(pairs, filter.metadata);
            }
            Err(problem) => blames(&problem, &["filter."])?,
        }
    }

    #[test]
    fn a_scope_is_what_was_named_each_once(name in text(), services in vec(text(), 0..6)) {
        match scope(&name, &services) {
            Ok(Scope::Namespace(namespace)) => {
                prop_assert!(services.is_empty());
                prop_assert!(namespace.as_str() == name || name.is_empty());
            }
            Ok(Scope::Services(keys)) => {
                let named: Vec<_> = keys.iter().map(|key| key.service.as_str()).collect();
                prop_assert_eq!(&named, &services);
                prop_assert_eq!(services.iter().collect::<HashSet<_>>().len(), services.len());
            }
            Err(problem) => blames(&problem, &["services[", "namespace"])?,
        }
    }

    #[test]
    fn names_and_numbers_are_refused_by_field(texts in [text(), text(), text(), text()], number in any::<u32>(), level in -2..9_i32) {
        let [one, two, three, four] = texts;
        let checked = [
            namespace(&one).map(drop),
            service(&one, &two).map(drop),
            read_revision("min_revision", Some(&four)).map(drop),
            ack(level).map(drop),
            wait(number % 70_000, number.is_multiple_of(2)).map(|wait| assert!(wait.as_millis() <= u128::from(WAIT_MS_MAX))),
        ];
        for problem in checked.into_iter().filter_map(Result::err) {
            blames(&problem, &["namespace", "service", "min_revision", "ack", "wait_ms"])?;
        }
        let key = pb::InstanceKey { namespace: one, service: two, id: three, generation: Some(four) };
        match instance_key(&key) {
            Ok((named, generation)) => {
                prop_assert_eq!((named.service.service.as_str(), named.id.as_str()), (&*key.service, &*key.id));
                let again = read_revision("generation", generation.map(|token| token.to_string()).as_deref()).unwrap();
                prop_assert_eq!(again, generation);
            }
            Err(problem) => blames(&problem, &["namespace", "service", "id", "generation"])?,
        }
    }

    /// Whatever bytes are taken for a message, none of what is made of it does harm.
    #[test]
    fn no_bytes_are_too_strange_to_convert(bytes in vec(prop_oneof![any::<u8>(), Just(0x0a), 0..24_u8], 0..60)) {
        if let Ok(item) = pb::RegisterItem::decode(&bytes[..])
            && let Ok(((key, generation), provider)) = registration((&item).into(), Some(SESSION))
        {
            prop_assert_eq!(generation.is_some_and(|generation| generation.packed() >= 1 << 63), false);
            prop_assert_eq!(Provider::new(&provider.spec()), Ok(*provider), "{}", key);
        }
        if let Ok(filter) = pb::Filter::decode(&bytes[..]) {
            let _ = selector(Some(filter));
        }
        if let Ok(key) = pb::InstanceKey::decode(&bytes[..]) {
            let _ = instance_key(&key);
        }
        if let Ok(watch) = pb::WatchRequest::decode(&bytes[..]) {
            let _ = scope(&watch.namespace, &watch.services);
        }
    }
}
