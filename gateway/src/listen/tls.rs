//! Encryption from certificate files, which are reread when they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use compute::port::Clock;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{BindError, Config, Named};
use crate::reread;

/// Whether a listener encrypts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Tls {
    #[default]
    Off,
    /// PEM files: the chain, the server's own certificate first, and its key.
    Files { certificate: PathBuf, key: PathBuf },
}

impl Tls {
    /// Whether a listener could use the files; nothing is opened.
    pub async fn check(&self, named: Named) -> Result<(), BindError> {
        match self {
            Self::Off => Ok(()),
            Self::Files { certificate, key } => load(named, certificate, key).await.map(drop),
        }
    }
}

/// Accepts handshakes with the newest certificate that could be read.
pub(super) struct Acceptor {
    pub(super) inner: TlsAcceptor,
    _rereader: AbortOnDropHandle<()>,
}

impl Acceptor {
    pub(super) async fn open(
        named: Named,
        tls: &Tls,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, BindError> {
        let Tls::Files { certificate, key } = tls else { return Ok(None) };
        let (contents, first) = load(named, certificate, key).await?;
        let paths = vec![certificate.clone(), key.clone()];
        let wrong = |path: &PathBuf, wrong: String| BindError::Certificate { named, path: path.clone(), wrong };
        let newest = Arc::new(Newest(ArcSwap::from_pointee(first)));
        let server =
            server_config(Arc::clone(&newest), config.is_h2_only).map_err(|e| wrong(certificate, e.to_string()))?;
        let following = follow(named, paths, contents, newest, Arc::clone(clock), config.reread);
        let rereader = AbortOnDropHandle::new(tokio::spawn(following));
        Ok(Some(Self { inner: TlsAcceptor::from(Arc::new(server)), _rereader: rereader }))
    }
}

/// The contents of both files, and what they come to.
async fn load(named: Named, certificate: &PathBuf, key: &PathBuf) -> Result<(Vec<Vec<u8>>, CertifiedKey), BindError> {
    let wrong = |path: &PathBuf, wrong: String| BindError::Certificate { named, path: path.clone(), wrong };
    let mut contents = Vec::new();
    for path in [certificate, key] {
        contents.push(reread::read(path).await.map_err(|e| wrong(path, e.to_string()))?);
    }
    let certified = certified(&contents[0], &contents[1]).map_err(|e| wrong(certificate, e))?;
    Ok((contents, certified))
}

fn server_config(newest: Arc<Newest>, is_h2_only: bool) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(newest);
    config.alpn_protocols = vec![b"h2".to_vec()];
    if !is_h2_only {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Ok(config)
}

async fn follow(
    named: Named,
    paths: Vec<PathBuf>,
    seen: Vec<Vec<u8>>,
    newest: Arc<Newest>,
    clock: Arc<dyn Clock>,
    period: std::time::Duration,
) {
    let failures = metrics::counter!("thuban_certificate_failures_total", "door" => named.door);
    reread::follow(paths, seen, clock, period, |contents| {
        let new = contents.map_err(|e| e.to_string()).and_then(|contents| certified(&contents[0], &contents[1]));
        match new {
            Ok(new) => {
                newest.0.store(Arc::new(new));
                tracing::info!(door = named.door, "certificate reread");
            }
            // The two files are never replaced at the same moment: the next look finds the pair.
            Err(error) => {
                failures.increment(1);
                tracing::warn!(door = named.door, error, "certificate not taken, the old one stays");
            }
        }
    })
    .await;
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|e| format!("not a PEM certificate: {e}"))?;
    if chain.is_empty() {
        return Err("there is no PEM certificate in the file".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("not a PEM private key: {e}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| e.to_string())
}

struct Newest(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newest")
    }
}
