use std::path::PathBuf;

use compute::testing::change_log::suite::suite;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::super::broker::{Broker, Way};
use super::super::place::Place;
use super::{PASSWORD, USER, as_another, refusal};

/// An authority, and files of what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// One file with a key and a certificate of this name, as a broker and the client library read it.
    fn sign(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let file = self.file(&format!("{name}.pem"));
        std::fs::write(PathBuf::from(&file), key.serialize_pem() + &certificate).unwrap();
        file
    }

    /// A broker that has a certificate of this name.
    fn broker(&self, protocol: &'static str, name: &str, more: &[String], users: &[String]) -> Way {
        let store = [
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.sign(name)),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.file("ca.pem")),
        ];
        Way { protocol, properties: [&store, more].concat(), users: users.to_vec() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_a_certificate_passes() {
    let (authority, other) = (Authority::new(), Authority::new());
    let asks = ["ssl.client.auth=required".to_owned()];
    let Some(broker) = Broker::start_for(&authority.broker("SSL", "127.0.0.1", &asks, &[])) else { return };
    let shown = |by: &Authority| by.sign("node");
    let place = || {
        let place = Place::on(&broker.address).setting("security.protocol", "ssl");
        let place = place.setting("ssl.ca.location", &authority.file("ca.pem"));
        let node = shown(&authority);
        place.setting("ssl.certificate.location", &node).setting("ssl.key.location", &node)
    };
    suite(&place()).await.unwrap();

    let said = refusal(as_another(place(), "ssl.ca.location", &other.file("ca.pem"))).await;
    assert!(said.contains("certificate verify failed"), "{said}");
    let node = shown(&other);
    let said = refusal(as_another(place().setting("ssl.key.location", &node), "ssl.certificate.location", &node)).await;
    assert!(said.contains("SSL") || said.contains("Disconnected"), "{said}");
    // It is not spoken to in clear instead.
    let said = refusal(as_another(Place::on(&broker.address), "security.protocol", "plaintext")).await;
    assert!(said.contains("Disconnected: connection closed by peer"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_asks_for_a_password_over_tls_passes() {
    let authority = Authority::new();
    // Called by its address, which its certificate has not.
    let scram = ["listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(), {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule required";
        format!("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={module};")
    }];
    let users = [format!("SCRAM-SHA-512=[name={USER},password={PASSWORD_OF_SCRAM}]")];
    let Some(broker) = Broker::start_for(&authority.broker("SASL_SSL", "localhost", &scram, &users)) else { return };
    let place = || {
        let place = Place::on(&broker.address).setting("security.protocol", "sasl_ssl");
        let place = place.setting("ssl.endpoint.identification.algorithm", "none");
        let place = place.setting("ssl.ca.location", &authority.file("ca.pem")).setting("sasl.username", USER);
        place.setting("sasl.mechanism", "SCRAM-SHA-512").setting("sasl.password", PASSWORD_OF_SCRAM)
    };
    suite(&place()).await.unwrap();
    let said = refusal(as_another(place(), "sasl.password", PASSWORD)).await;
    assert!(said.contains("Authentication failed"), "{said}");
    // By default it must be who it says it is.
    let said = refusal(as_another(place(), "ssl.endpoint.identification.algorithm", "https")).await;
    assert!(said.contains("certificate verify failed"), "{said}");
}

/// Of letters: the broker's own tool reads it from a list with commas.
const PASSWORD_OF_SCRAM: &str = "secret";
