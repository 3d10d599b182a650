//! Connections to peers: found by name, encrypted where their doors are.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{Config, Timeouts};
use crate::reread;

/// Whether the doors of the others encrypt, and whom to believe then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    #[default]
    Plain,
    /// They encrypt, and show a certificate for the host of their address that one in this PEM file has signed, or is.
    /// Read again for each connection.
    Roots(PathBuf),
}

impl Trust {
    /// Whether the file could be used; nothing is opened.
    pub async fn check(&self) -> Result<(), String> {
        match self {
            Self::Plain => Ok(()),
            Self::Roots(path) => roots(path).await.map(drop).map_err(|error| error.to_string()),
        }
    }
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A way to `address` that is connected when it is first used, and again when it was lost.
pub(super) fn channel(address: &str, config: &Config) -> Result<Channel, String> {
    let Timeouts { connect, ping_interval, ping_timeout, .. } = config.timeouts;
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|_| format!("\"{address}\" is no address; allowed: HOST:PORT"))?;
    let host = match (endpoint.uri().host(), endpoint.uri().port()) {
        (Some(host), Some(_)) => host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        _ => return Err(format!("\"{address}\" is no address; allowed: HOST:PORT")),
    };
    let endpoint = endpoint
        .connect_timeout(connect)
        .http2_keep_alive_interval(ping_interval)
        .keep_alive_timeout(ping_timeout)
        .keep_alive_while_idle(true);
    let (address, trust) = (Arc::<str>::from(address), config.trust.clone());
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (address, host, trust) = (Arc::clone(&address), host.clone(), trust.clone());
        async move { connect_to(&address, host, &trust).await.map(TokioIo::new) }
    })))
}

async fn connect_to(address: &str, host: String, trust: &Trust) -> io::Result<Pin<Box<dyn Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Trust::Roots(path) = trust else { return Ok(Box::pin(stream)) };
    let odd = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| odd(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots(path).await?).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host).map_err(|error| odd(error.to_string()))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]) {
        Ok(Box::pin(stream))
    } else {
        Err(odd("the other end does not offer HTTP/2".to_owned()))
    }
}

async fn roots(path: &Path) -> io::Result<RootCertStore> {
    let odd = |wrong: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {wrong}", path.display()));
    let pem = reread::read(path)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| odd(format!("not a PEM certificate: {error}")))?;
        roots.add(certificate).map_err(|error| odd(error.to_string()))?;
    }
    if roots.is_empty() { Err(odd("there is no PEM certificate in the file".to_owned())) } else { Ok(roots) }
}
