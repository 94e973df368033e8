//! A server certificate that is replaced while connections are served, who may connect, and how others are connected to.
//!
//! Flows in: a PEM pair, read again every 10 s (polled, because the kubelet swaps a symlink that file events miss). Flows
//! out: a rustls configuration whose resolver hands out the current pair. A pair that cannot be used is counted and the
//! one before it stays.

mod client;
mod outbound;
mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

pub use client::{ClientAuthorities, ClientCertificate, ClientJudge, Without};
pub use outbound::client_config;
pub use validity::Validity;

/// How often the files are read again.
pub const RELOAD_PERIOD: Duration = Duration::from_secs(10);

/// Where the pair lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("read a PEM certificate chain from {path}")]
    Certificate { path: PathBuf, source: PemError },
    #[error("find a certificate in {path}")]
    NoCertificate { path: PathBuf },
    #[error("read a PEM private key from {path}")]
    Key { path: PathBuf, source: PemError },
    #[error("match certificate and private key")]
    Pair(#[source] rustls::Error),
    #[error("set up TLS versions")]
    Versions(#[source] rustls::Error),
    #[error("take a certificate of {path} for an authority")]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("check client certificates")]
    Clients(#[source] rustls::server::VerifierBuilderError),
}

/// The current pair and where it comes from.
#[derive(Debug)]
pub struct ServerCertificate {
    files: PairFiles,
    current: Arc<Current>,
    bytes: Bytes,
    metrics: TlsMetrics,
}

/// What is told of the certificate a process serves, whatever the number of its ports.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    failures: Counter,
    not_after: Gauge,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

#[derive(PartialEq, Eq)]
struct Bytes {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

// === impl TlsMetrics ===

impl TlsMetrics {
    /// Registers them; once a process.
    pub fn register(metrics: &Metrics) -> Self {
        let help = "Certificate pairs that could not be used; the pair before stays in force";
        let failures = metrics.counter("tls_reload_failures", help);
        let help = "When the certificate that is served ends, in seconds since 1970; 0 without TLS";
        Self { failures, not_after: metrics.gauge("tls_certificate_not_after_seconds", help) }
    }

    fn serves(&self, pair: &CertifiedKey) {
        let end = pair.end_entity_cert().ok().and_then(|leaf| Validity::of(leaf));
        self.not_after.set(end.map_or(0, |validity| validity.not_after.as_second()));
    }
}

// === impl ServerCertificate ===

impl ServerCertificate {
    /// Reads the pair for the first time; later pairs that cannot be used are counted.
    pub async fn load(files: PairFiles, metrics: TlsMetrics) -> Result<Self, TlsError> {
        let bytes = Bytes::read(&files).await?;
        let pair = bytes.parse(&files)?;
        metrics.serves(&pair);
        Ok(Self { files, current: Arc::new(Current(ArcSwap::from_pointee(pair))), bytes, metrics })
    }

    /// A configuration that serves whatever pair is current, HTTP/1.1 and, where wanted, HTTP/2; it asks for a certificate where
    /// there is somebody to judge it.
    pub fn server_config(&self, http2: bool, clients: Option<&ClientJudge>) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?;
        let builder = match clients {
            Some(judge) => builder.with_client_cert_verifier(judge.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        if clients.is_some() {
            // A resumed session would bring back a certificate that nobody judges again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Reads the files again and again until shutdown.
    pub async fn keep_fresh(mut self, period: Duration, shutdown: Shutdown) -> Result<(), TlsError> {
        loop {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(period) => self.reload().await,
            }
        }
    }

    /// Reads the files again now.
    pub(crate) async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(false) => {}
            Ok(true) => tracing::info!(certificate = %self.files.certificate.display(), "TLS certificate replaced"),
            Err(error) => {
                self.metrics.failures.inc();
                tracing::warn!(error = chain(&error), "TLS pair unusable, the one before it stays");
            }
        }
    }

    async fn try_reload(&mut self) -> Result<bool, TlsError> {
        let bytes = Bytes::read(&self.files).await?;
        if bytes == self.bytes {
            return Ok(false);
        }
        let pair = bytes.parse(&self.files)?;
        self.metrics.serves(&pair);
        self.current.0.store(Arc::new(pair));
        self.bytes = bytes;
        Ok(true)
    }
}

impl Bytes {
    async fn read(files: &PairFiles) -> Result<Self, TlsError> {
        Ok(Self { certificate: read(&files.certificate).await?, key: Zeroizing::new(read(&files.key).await?) })
    }

    fn parse(&self, files: &PairFiles) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::Certificate { path: files.certificate.clone(), source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: files.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
        // Also refuses a key that is not the certificate's: what a swap between the two reads looks like.
        CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Pair)
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bytes(…)")
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

// === impl Current ===

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests;
