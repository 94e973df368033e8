//! Client certificates: which are taken, and the one a connection showed.
//!
//! Flows in: a PEM bundle of authorities, read again when it changes; what clients show in their handshakes. Flows out: a verifier
//! for rustls that takes connections without a certificate, unless one is required, and of those with one only such as chain to an
//! authority and are for clients; and a [`ClientCertificate`], an extension of each request of the connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use super::{RELOAD_PERIOD, TlsError, TlsMetrics, provider, read};
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// The file of authorities whose certificates clients may show.
#[derive(Debug)]
pub struct ClientAuthorities {
    path: PathBuf,
    bytes: Vec<u8>,
    judge: ClientJudge,
    metrics: TlsMetrics,
}

/// Judges certificates by the authorities of the moment.
#[derive(Clone, Debug)]
pub struct ClientJudge(Arc<Current>);

/// What becomes of a connection without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// It is served: who needs a certificate looks for it.
    Served,
    /// Its handshake fails.
    Refused,
}

#[derive(Debug)]
struct Current {
    verifier: ArcSwap<Arc<dyn ClientCertVerifier>>,
    without: Without,
}

/// What the other end of a connection showed, and proved to have the key of: a certificate, and those between it and an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(Arc<[CertificateDer<'static>]>);

// === impl ClientAuthorities ===

impl ClientAuthorities {
    /// Reads the bundle for the first time; later ones that cannot be used are counted.
    pub async fn load(path: PathBuf, without: Without, metrics: TlsMetrics) -> Result<Self, TlsError> {
        let bytes = read(&path).await?;
        let verifier = ArcSwap::from_pointee(parse(&path, &bytes)?);
        let judge = ClientJudge(Arc::new(Current { verifier, without }));
        Ok(Self { path, bytes, judge, metrics })
    }

    pub fn judge(&self) -> ClientJudge {
        self.judge.clone()
    }

    /// Reads the bundle again and again until shutdown.
    pub async fn keep_fresh(mut self, shutdown: Shutdown) -> Result<(), TlsError> {
        loop {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(RELOAD_PERIOD) => self.reload().await,
            }
        }
    }

    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(false) => {}
            Ok(true) => tracing::info!(authorities = %self.path.display(), "client authorities replaced"),
            Err(error) => {
                self.metrics.failures.inc();
                let error = chain(&error);
                tracing::warn!(error, "client authorities unusable, those before stay");
            }
        }
    }

    async fn try_reload(&mut self) -> Result<bool, TlsError> {
        let bytes = read(&self.path).await?;
        if bytes == self.bytes {
            return Ok(false);
        }
        let verifier = parse(&self.path, &bytes)?;
        self.judge.0.verifier.store(Arc::new(verifier));
        self.bytes = bytes;
        Ok(true)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|source| TlsError::Certificate { path: path.to_owned(), source })?;
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    builder.build().map(|verifier| verifier as Arc<dyn ClientCertVerifier>).map_err(TlsError::Clients)
}

// === impl ClientJudge ===

impl ClientJudge {
    /// Whether what a connection showed is good now: the connection may be older than the authorities, or than the certificate's end.
    pub fn takes(&self, shown: &ClientCertificate, now: Timestamp) -> bool {
        let Some((leaf, between)) = shown.0.split_first() else { return false };
        let since = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        self.0.verify_client_cert(leaf, between, UnixTime::since_unix_epoch(since)).is_ok()
    }

    #[cfg(test)]
    pub(crate) fn of(bundle: &[u8]) -> Self {
        let verifier = ArcSwap::from_pointee(parse(Path::new("bundle"), bundle).unwrap());
        Self(Arc::new(Current { verifier, without: Without::Served }))
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0) as Arc<dyn ClientCertVerifier>
    }
}

// === impl Current ===

impl ClientCertVerifier for Current {
    fn client_auth_mandatory(&self) -> bool {
        self.without == Without::Refused
    }

    /// No hints: they would be those of one moment, and clients with one certificate need none.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verifier.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.load().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.load().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.load().supported_verify_schemes()
    }
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// Keeps what a handshake was made with.
    pub(crate) fn new(chain: &[CertificateDer<'_>]) -> Self {
        Self(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        self.0.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// The URIs among its subject alternative names.
    pub fn uris(&self) -> Vec<String> {
        self.read(|certificate| certificate.valid_uri_names().map(str::to_owned).collect())
    }

    /// The DNS names among them.
    pub fn dns_names(&self) -> Vec<String> {
        self.read(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
    }

    /// Its subject, DER without the outermost tag.
    pub fn subject(&self) -> Vec<u8> {
        self.read(|certificate| certificate.subject().to_vec())
    }

    fn read<T: Default>(&self, read: impl FnOnce(&EndEntityCert<'_>) -> T) -> T {
        let certificate = self.0.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
        certificate.map(|certificate| read(&certificate)).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
