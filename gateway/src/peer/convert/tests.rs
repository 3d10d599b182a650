use compute::model::{InstanceKey, LogIdentity, NodeIncarnation, Position, Revision};
use compute::port::peers::{Age, Reading, Reply};
use compute::watch::{Subscriber, Subscription};
use proptest::prelude::*;
use schemas::thuban::peer::v1 as pb;

use super::{from_reply, from_services, from_subscription, to_reply, to_services, to_subscription};
use crate::peer::AGES_MAX;

prop_compose! {
    fn age()(service in "[a-c]", id in "[a-z0-9:.]{1,20}x", packed in 0..u64::MAX >> 1, age_ms: u64) -> Age {
        let instance = InstanceKey::new("default", &service, &id).unwrap();
        Age { instance, generation: Revision::from_packed(packed).unwrap(), age_ms }
    }
}

proptest! {
    #[test]
    fn ages_come_back_as_they_were(ages in prop::collection::vec(age(), 0..50)) {
        prop_assert_eq!(from_services(&to_services(&ages)).unwrap(), ages);
    }

    #[test]
    fn no_message_is_more_than_odd(
        namespace in ".{0,3}", service in ".{0,3}", ids in prop::collection::vec(".{0,3}", 0..3),
        generations in prop::collection::vec(any::<u64>(), 0..3), ages_ms in prop::collection::vec(any::<u64>(), 0..3),
    ) {
        let (counts, count) = ((generations.len(), ages_ms.len()), ids.len());
        let read = from_services(&[pb::ServiceAges { namespace, service, ids, generations, ages_ms }]);
        prop_assert!(read.is_err() || counts == (count, count));
    }

    #[test]
    fn subscriptions_come_back_as_they_were(name in ".{0,9}", port: u16, sent in 0..u64::MAX >> 1, has in 0..3_u8) {
        let there = Subscription {
            subscriber: Subscriber {
                name: name.as_str().into(),
                address: (has > 0).then(|| ([10, 0, 0, has], port).into()),
                door: "http".into(),
            },
            sent: Revision::from_packed(sent).unwrap(),
            acknowledged: (has > 1).then(|| Revision::from_packed(sent / 2).unwrap()),
        };
        prop_assert_eq!(from_subscription(to_subscription(&there)).unwrap(), there);
    }
}

#[test]
fn what_is_odd_names_its_field() {
    let good = pb::ServiceAges {
        namespace: "default".into(),
        service: "s".into(),
        ids: vec!["a".into()],
        generations: vec![1],
        ages_ms: vec![1],
    };
    let odd = |wrong: pb::ServiceAges| from_services(&[good.clone(), wrong]).unwrap_err().to_string();
    assert!(odd(pb::ServiceAges { namespace: "a b".into(), ..good.clone() }).contains("namespace"));
    assert!(odd(pb::ServiceAges { ids: vec!["\n".into()], ..good.clone() }).contains("id"));
    assert!(odd(pb::ServiceAges { ages_ms: Vec::new(), ..good.clone() }).contains("as many of each"));
    assert!(odd(pb::ServiceAges { generations: vec![u64::MAX], ..good.clone() }).contains("generations"));
    let many = pb::ServiceAges { ids: vec!["a".into(); AGES_MAX], ..good.clone() };
    assert!(odd(many).contains("8193 ages"));
}

#[test]
fn a_reply_comes_back_as_it_was() {
    let position = |offset| Position::new(127, offset).unwrap();
    let (node, log) = (NodeIncarnation(u64::MAX), LogIdentity([9; 16]));
    let at = |reading| Reply { node, log, reading, applied: position((1 << 40) - 1), landed: position(0) };
    for reading in [Reading::Reads, Reading::Away, Reading::Stopped] {
        assert_eq!(from_reply(&to_reply(&at(reading))).unwrap(), at(reading));
    }
    let reply = at(Reading::Reads);
    let wrong = pb::AskReply { reading: 4, ..to_reply(&reply) };
    assert!(from_reply(&wrong).unwrap_err().to_string().contains("reading is 4"));
    let wrong = pb::AskReply { log: vec![1], ..to_reply(&reply) };
    assert!(from_reply(&wrong).unwrap_err().to_string().contains("log is 1 bytes"));
    let wrong = pb::AskReply { landed: u64::MAX, ..to_reply(&reply) };
    assert!(from_reply(&wrong).unwrap_err().to_string().contains("landed"));
}
