//! Replacing the pair on disk, seen through the resolver's state and by a client that connects.

use std::sync::Mutex;

use axum::Router;
use axum::routing::get;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::runtime::serve::{Limits, Port};

/// A certificate and its key, of `tests/certificates`.
macro_rules! pair {
    ($name:literal) => {
        (
            include_str!(concat!("../../../tests/certificates/", $name, ".crt.pem")),
            include_str!(concat!("../../../tests/certificates/", $name, ".key.pem")),
        )
    };
}

const ONE: (&str, &str) = pair!("one");
const TWO: (&str, &str) = pair!("two");

struct Served {
    _folder: tempfile::TempDir,
    certificate: ServerCertificate,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        write(&files, ONE);
        let certificate = ServerCertificate::load(files, TlsMetrics::default()).await.unwrap();
        Self { _folder: folder, certificate }
    }

    fn serves(&self, pair: (&str, &str)) -> bool {
        let wanted = CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
        self.certificate.current.0.load().cert == [wanted]
    }
}

fn write(files: &PairFiles, (certificate, key): (&str, &str)) {
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
}

#[tokio::test]
async fn a_new_pair_is_served_and_an_equal_one_changes_nothing() {
    let mut served = Served::start().await;
    assert!(!served.certificate.try_reload().await.unwrap());
    write(&served.certificate.files, TWO);
    assert!(served.certificate.try_reload().await.unwrap());
    assert!(served.serves(TWO));
    let ends = Validity::of(&CertificateDer::from_pem_slice(TWO.0.as_bytes()).unwrap()).unwrap().not_after;
    assert_eq!(served.certificate.metrics.not_after.get(), ends.as_second());
    served.certificate.server_config(true, None).unwrap();
}

#[tokio::test]
async fn a_bad_pair_is_counted_and_the_old_one_stays() {
    let mut served = Served::start().await;
    for bad in [(TWO.0, ONE.1), ("", ONE.1), (ONE.0, ""), ("garbage", "garbage")] {
        write(&served.certificate.files, bad);
        served.certificate.reload().await;
        assert!(served.serves(ONE));
    }
    std::fs::remove_file(&served.certificate.files.key).unwrap();
    served.certificate.reload().await;
    assert_eq!(served.certificate.metrics.failures.get(), 5);
    write(&served.certificate.files, TWO);
    served.certificate.reload().await;
    assert!(served.serves(TWO));
}

#[test]
fn key_bytes_are_not_shown() {
    let bytes = Bytes { certificate: vec![1], key: Zeroizing::new(vec![2]) };
    assert_eq!(format!("{bytes:?}"), "Bytes(…)");
}

/// Takes any certificate and remembers it.
#[derive(Debug, Default)]
struct Witness(Mutex<Option<CertificateDer<'static>>>);

impl Witness {
    fn note(&self, certificate: &CertificateDer<'_>) {
        *self.0.lock().unwrap() = Some(certificate.clone().into_owned());
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.note(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate and protocol a client that offers these protocols gets.
async fn connect(address: std::net::SocketAddr, offered: &[&[u8]]) -> (CertificateDer<'static>, Option<Vec<u8>>) {
    let witness = Arc::new(Witness::default());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as _)
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("one.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let certificate = witness.0.lock().unwrap().clone().unwrap();
    (certificate, protocol)
}

#[tokio::test]
async fn new_connections_see_the_new_pair_and_both_protocols_are_spoken() {
    let mut served = Served::start().await;
    let config = served.certificate.server_config(true, None).unwrap();
    let port = Port::bind("127.0.0.1:0".parse().unwrap(), Some(config), Limits::default()).await.unwrap();
    let address = port.local_address().unwrap();
    tokio::spawn(port.serve(Router::new().route("/", get(async || "ok")), Shutdown::new()));

    let der = |pair: (&str, &str)| CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
    assert_eq!(connect(address, &[b"h2", b"http/1.1"]).await, (der(ONE), Some(b"h2".to_vec())));
    assert_eq!(connect(address, &[b"http/1.1"]).await, (der(ONE), Some(b"http/1.1".to_vec())));
    write(&served.certificate.files, TWO);
    served.certificate.reload().await;
    assert_eq!(connect(address, &[]).await, (der(TWO), None));
}
