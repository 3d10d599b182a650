//! Brokers that ask who comes, and those that are spoken to over TLS: the settings go through to the client library, what
//! is written is read, and who is wrong is told so.

#[cfg(feature = "kafka-tls")]
mod tls;

use std::time::Duration;

use cache_sync::kafka::OpenError;
use compute::model::LogIdentity;
use compute::testing::change_log::suite::suite;

use super::broker::{Broker, Way};
use super::place::Place;

const USER: &str = "thuban";
const PASSWORD: &str = "w0rd,;='";

/// Who the broker lets in by name and password, as this listener of it asks.
fn plain(protocol: &str) -> Vec<String> {
    let listener = format!("listener.name.{}", protocol.to_lowercase());
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    vec![
        format!("{listener}.sasl.enabled.mechanisms=PLAIN"),
        format!("{listener}.plain.sasl.jaas.config={module} user_{USER}=\"{PASSWORD}\";"),
    ]
}

/// The same topics of the same broker for one who says something else of himself.
fn as_another(place: Place, name: &str, value: &str) -> Place {
    // Who is not let in is not let in later: no test waits for that.
    place.setting(name, value).with(|config| config.connect_wait_max = Duration::from_secs(3))
}

/// What he is told who is not let in.
async fn refusal(place: Place) -> String {
    match place.log("a", LogIdentity([1; 16])).await.map(drop).expect_err("it was let in") {
        OpenError::Away { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_asks_for_a_password_passes() {
    let way = Way { protocol: "SASL_PLAINTEXT", properties: plain("SASL_PLAINTEXT"), ..Way::default() };
    let Some(broker) = Broker::start_for(&way) else { return };
    let place = || {
        let place = Place::on(&broker.address).setting("security.protocol", "sasl_plaintext");
        place.setting("sasl.mechanism", "PLAIN").setting("sasl.username", USER).setting("sasl.password", PASSWORD)
    };
    suite(&place()).await.unwrap();
    let said = refusal(as_another(place(), "sasl.password", "hunter2")).await;
    assert!(said.contains("Authentication failed: Invalid username or password"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
