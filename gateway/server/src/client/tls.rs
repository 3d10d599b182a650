use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::Failure;

/// Where systems keep the certificates that they trust; `SSL_CERT_FILE` goes before them.
const SYSTEM_FILES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, Failure> {
    let path = match ca_file {
        Some(path) => path.to_owned(),
        None => system_file().ok_or_else(|| {
            Failure::Usage("no certificates of this system were found: name them with --ca-file FILE".to_owned())
        })?,
    };
    let unusable = |why: String| Failure::Usage(format!("--ca-file {}: {why}", path.display()));
    let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unusable(format!("not PEM: {error}")))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(unusable("no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_file() -> Option<PathBuf> {
    let stated = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    stated.into_iter().chain(SYSTEM_FILES.iter().map(PathBuf::from)).find(|path| path.is_file())
}
