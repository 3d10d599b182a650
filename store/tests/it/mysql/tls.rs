//! A server that speaks TLS, and one that does not: whom a store trusts, and that it does not fall back in clear.

use std::path::{Path, PathBuf};

use compute::model::Position;
use compute::port::PresenceStore;
use compute::testing::store::sample::{every_kind, identity, position, sorted};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use store::mysql::{OpenError, Settings, Tls, TlsMode, open};
use tempfile::TempDir;

use super::base::Base;
use super::server::{Server, USER};
use crate::place::at;

/// What the server's certificate is of. Its address is not in it.
const NAME: &str = "localhost";

/// An authority, and files of what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A certificate of this name and its key.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let (at, key_at) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&at, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_at, key.serialize_pem()).unwrap();
        (at, key_at)
    }
}

/// A server that takes nobody in clear. `None`: this machine has none.
fn secure(authority: &Authority) -> Option<Server> {
    let (certificate, key) = authority.sign(NAME);
    let option = |name: &str, file: &Path| format!("--{name}={}", file.display());
    Server::start_with(&[
        option("ssl-ca", &authority.ca()),
        option("ssl-cert", &certificate),
        option("ssl-key", &key),
        "--require-secure-transport=ON".to_owned(),
    ])
}

fn with(settings: &Settings, host: &str, mode: TlsMode, ca: Option<PathBuf>) -> Settings {
    Settings { host: host.to_owned(), tls: Tls { mode, ca, ..Tls::default() }, ..settings.clone() }
}

async fn refused(settings: &Settings) -> String {
    match open(settings).await {
        Err(OpenError::Denied(why)) => why,
        Err(other) => panic!("{settings:?}: {other:?}"),
        Ok(_) => panic!("{settings:?} was taken"),
    }
}

#[tokio::test]
async fn who_the_server_is_matters_as_much_as_was_said() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let Some(server) = secure(&authority) else { return };
    let base = Base::on(&server.address()).await;
    let settings = base.settings();
    let (ca, others) = (authority.ca(), other.ca());
    for (host, mode, ca) in [
        ("127.0.0.1", TlsMode::Preferred, None),
        ("127.0.0.1", TlsMode::Required, None),
        // Required alone is against listeners, whoever the server is.
        ("127.0.0.1", TlsMode::Required, Some(&others)),
        ("127.0.0.1", TlsMode::VerifyCa, Some(&ca)),
        (NAME, TlsMode::VerifyIdentity, Some(&ca)),
    ] {
        let settings = with(&settings, host, mode, ca.cloned());
        let store = open(&settings).await.unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        store.close().await;
    }
    let unknown = "name the authority that it is of with ssl-ca=FILE";
    for (host, mode, ca, wanted) in [
        // As MariaDB tells whom it does not take in clear.
        ("127.0.0.1", TlsMode::Disabled, None, "Access denied"),
        (NAME, TlsMode::VerifyCa, None, unknown),
        (NAME, TlsMode::VerifyCa, Some(&others), unknown),
        (NAME, TlsMode::VerifyIdentity, Some(&others), unknown),
        ("127.0.0.1", TlsMode::VerifyIdentity, Some(&ca), "call the server by a name that its certificate has"),
    ] {
        let settings = with(&settings, host, mode, ca.cloned());
        let said = refused(&settings).await;
        assert!(said.contains(wanted) && said.contains(host), "{settings:?}: {said}");
    }
    for file in ["nobody.pem", "server.log"] {
        std::fs::write(authority.file("server.log"), "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
        let said = refused(&with(&settings, NAME, TlsMode::VerifyCa, Some(authority.file(file)))).await;
        assert!(said.contains(file), "{said}");
    }

    // And what is said over it is what is said otherwise.
    let rows = sorted(every_kind(position(1)));
    let store = open(&with(&settings, NAME, TlsMode::VerifyIdentity, Some(ca))).await.unwrap();
    let epoch = store.lead(identity(1)).await.unwrap();
    store.land(epoch, rows.clone(), Position::ZERO, at(1)).await.unwrap();
    assert!(sorted(store.load().await.unwrap().rows) == rows);
}

#[tokio::test]
async fn a_server_may_ask_who_the_store_is() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let Some(server) = secure(&authority) else { return };
    let base = Base::on(&server.address()).await;
    base.meddle(&format!("ALTER USER {USER}@127.0.0.1 REQUIRE SUBJECT '/CN=node'")).await;
    let shown = |(certificate, key): (PathBuf, PathBuf)| {
        let settings = with(&base.settings(), NAME, TlsMode::VerifyIdentity, Some(authority.ca()));
        let tls = Tls { certificate: Some(certificate), key: Some(key), ..settings.tls };
        Settings { tls, ..settings }
    };
    open(&shown(authority.sign("node"))).await.unwrap().close().await;
    let nobody = with(&base.settings(), NAME, TlsMode::VerifyIdentity, Some(authority.ca()));
    assert!(refused(&nobody).await.contains("Access denied"));
    assert!(refused(&shown(authority.sign("another"))).await.contains("Access denied"));
    // Of another authority the server hears nothing at all, and says so only by hanging up.
    assert!(open(&shown(other.sign("node"))).await.is_err());
}

#[tokio::test]
async fn nobody_falls_back_in_clear_who_wants_tls() {
    let Some(server) = Server::start() else { return };
    let base = Base::on(&server.address()).await;
    let settings = base.settings();
    for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let said = refused(&with(&settings, &settings.host, mode, None)).await;
        assert!(said.contains("does not support TLS; give it a certificate, or say ssl-mode=disabled"), "{said}");
    }
    for mode in [TlsMode::Disabled, TlsMode::Preferred] {
        open(&with(&settings, &settings.host, mode, None)).await.unwrap().close().await;
    }
}
