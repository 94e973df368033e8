//! Requests over TLS from a client that trusts one authority and shows a certificate, or none.

use crate::support::http::{Request, Response};
use crate::support::tls::Identity;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct SecureClient(TlsConnector);

impl SecureClient {
    pub fn new(authority: &Path, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).expect("an authority")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The answer; an error where there is none, as when the certificate is not taken.
    pub async fn send(&self, request: &Request, to: SocketAddr) -> std::io::Result<Response> {
        let name = ServerName::IpAddress(to.ip().into());
        let connect = async { self.0.connect(name, TcpStream::connect(to).await?).await };
        request.send_over(connect, to).await
    }
}
