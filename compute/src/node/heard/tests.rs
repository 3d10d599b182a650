use super::{Heard, ISOLATED_MS};
use crate::model::limits::TTL_MS_DEFAULT;
use crate::model::{InstanceKey, NodeIncarnation, Revision};

fn key(id: &str) -> InstanceKey {
    InstanceKey::new("default", "orders", id).expect("valid")
}

/// How long it may hear nobody before it is isolated.
fn patience(heard: &Heard) -> u64 {
    (0..).find(|silent| heard.is_isolated(*silent)).expect("at some time")
}

#[test]
fn who_renews_a_short_ttl_is_isolated_sooner_as_long_as_somebody_does() {
    let heard = Heard::new(NodeIncarnation(1), 0);
    let long = u64::from(TTL_MS_DEFAULT) / 3 + 1;
    assert_eq!(patience(&heard), long);
    heard.note(&key("a"), Revision::ZERO, 6_000);
    assert_eq!(patience(&heard), 2_001);
    heard.note(&key("b"), Revision::ZERO, 3_000);
    assert_eq!(patience(&heard), ISOLATED_MS + 1);
    heard.turn();
    heard.note(&key("a"), Revision::ZERO, 6_000);
    assert_eq!(patience(&heard), ISOLATED_MS + 1, "it may renew once in two windows");
    heard.turn();
    assert_eq!(patience(&heard), 2_001, "nobody renews the shorter one any more");
    heard.turn();
    assert_eq!(patience(&heard), long);
}
