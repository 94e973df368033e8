//! A host at which a client publishes its keys.

use crate::support::tls::Certificates;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A host over TLS that says the same to everybody and then nothing.
pub struct Host {
    pub address: SocketAddr,
    certificates: Certificates,
    asked: Arc<AtomicU32>,
}

impl Host {
    pub async fn that_says(answer: String) -> Self {
        let certificates = Certificates::new(&["IP:127.0.0.1"]);
        let chain = CertificateDer::pem_file_iter(certificates.certificate()).expect("a chain");
        let key = PrivateKeyDer::from_pem_file(certificates.key()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(chain.map(|one| one.expect("a certificate")).collect(), key)
            .expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a loopback port");
        let (address, asked) = (listener.local_addr().expect("an address"), Arc::new(AtomicU32::new(0)));
        let (acceptor, count) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&asked));
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                drop(tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    // Who has heard enough hangs up.
                    stream.read_u8().await.and(stream.write_all(answer.as_bytes()).await).ok();
                    stream.flush().await.ok();
                    std::future::pending::<()>().await;
                }));
            }
        }));
        Self { address, certificates, asked }
    }

    /// The lines of a client's spec that say its keys are here.
    pub fn published(&self) -> String {
        let methods = json!([{"type": "PrivateKeyJwt", "keys": {"jwksUri": format!("https://{}/jwks", self.address)}}]);
        format!("  authentication: {{methods: {methods}}}\n")
    }

    /// With which an issuer calls it.
    pub fn flags(&self) -> [String; 2] {
        let authority = self.certificates.authority();
        ["--client-keys-host=127.0.0.1".to_owned(), format!("--client-keys-ca-file={}", authority.display())]
    }

    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An answer of HTTP, whole.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
