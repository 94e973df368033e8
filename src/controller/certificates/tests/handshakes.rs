//! Lives of seconds through several authorities: real servers that reload late, real clients that read the bundle late and
//! whose clocks are off. No handshake fails.

use std::collections::VecDeque;

use rustls::client::{ClientConfig, ClientConnection};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use super::*;
use crate::runtime::tls::{PairFiles, ServerCertificate, TlsMetrics};

/// How late servers serve what their Secret holds, and clients trust what the bundle holds, in seconds.
pub(super) const SERVER_LAG: usize = 3;
pub(super) const CLIENT_LAG: usize = 4;
const SKEW: i64 = 1;

/// A server whose files are what the Secret was so many seconds ago.
pub(super) struct Late {
    lag: usize,
    seen: VecDeque<Secret>,
    _folder: tempfile::TempDir,
    files: PairFiles,
    certificate: ServerCertificate,
    pub(super) config: Arc<ServerConfig>,
}

impl Late {
    pub(super) async fn start(lag: usize, secret: &Secret) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        write(&files, secret);
        let certificate = ServerCertificate::load(files.clone(), TlsMetrics::default()).await.unwrap();
        let config = certificate.server_config(true, None).unwrap();
        Self { lag, seen: VecDeque::new(), _folder: folder, files, certificate, config }
    }

    pub(super) async fn see(&mut self, secret: Secret) {
        self.seen.push_back(secret);
        if self.seen.len() > self.lag {
            write(&self.files, &self.seen.pop_front().unwrap());
            self.certificate.reload().await;
        }
    }
}

fn write(files: &PairFiles, secret: &Secret) {
    let data = secret.data.as_ref().unwrap();
    std::fs::write(&files.certificate, &data[CERTIFICATE_DATA].0).unwrap();
    std::fs::write(&files.key, &data[CERTIFICATE_KEY_DATA].0).unwrap();
}

#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.0.as_second()).unwrap())))
    }
}

/// A client that trusts this bundle and whose clock says this.
pub(super) fn client(bundle: &str, now: Timestamp, name: &'static str) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(now)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap()
}

pub(super) fn shake_hands(mut client: ClientConnection, config: &Arc<ServerConfig>) -> anyhow::Result<()> {
    let mut server = ServerConnection::new(Arc::clone(config))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes)?;
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read)?;
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes)?;
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read)?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_handshake_fails_while_authorities_and_leaves_follow_each_other() {
    let (bed, process) = Bed::begun().await;
    let secret = bed.secret().await.unwrap();
    let mut servers = [Late::start(0, &secret).await, Late::start(SERVER_LAG, &secret).await];
    let mut bundles: VecDeque<String> = VecDeque::new();
    let (mut leaves, mut handshakes) = (BTreeSet::new(), 0);
    for second in 0..600 {
        bed.pass(1);
        // Somebody else leads now and then, and remembers nothing.
        let another = (second % 50 == 0).then(|| bed.process(Gate::always()));
        look(another.as_ref().unwrap_or(&process)).await;
        bundles.push_back(bed.bundle().await.certificates());
        if bundles.len() > CLIENT_LAG + 1 {
            bundles.pop_front();
        }
        let secret = bed.secret().await.unwrap();
        leaves.insert(secret.data.as_ref().unwrap()[CERTIFICATE_DATA].0.clone());
        for server in &mut servers {
            server.see(secret.clone()).await;
            for (bundle, skew, name) in [(bundles.front(), -SKEW, NAMES[0]), (bundles.back(), SKEW, NAMES[1])] {
                let now = bed.clock.now() + jiff::SignedDuration::from_secs(skew);
                let client = client(bundle.unwrap(), now, name);
                shake_hands(client, &server.config).unwrap_or_else(|error| {
                    panic!("second {second}, server {} s late, clock {skew} s off: {error}", server.lag)
                });
                handshakes += 1;
            }
        }
    }
    let (trusted, signs) = bed.authorities().await;
    assert_eq!((trusted.last().copied(), handshakes), (signs, 2_400));
    assert!(signs >= Some(6) && leaves.len() > 24, "{signs:?} {}", leaves.len());
}

#[tokio::test]
async fn a_client_of_another_authority_or_another_name_is_no_friend() {
    let (bed, _) = Bed::begun().await;
    let server = Late::start(0, &bed.secret().await.unwrap()).await;
    let (own, other) = (bed.bundle().await.certificates(), Bed::begun().await.0.bundle().await.certificates());
    let now = bed.clock.now();
    assert!(shake_hands(client(&own, now, NAMES[0]), &server.config).is_ok());
    assert!(shake_hands(client(&other, now, NAMES[0]), &server.config).is_err());
    assert!(shake_hands(client(&own, now, "tokens.other.svc"), &server.config).is_err());
    let over = now + jiff::SignedDuration::from_secs(40);
    assert!(shake_hands(client(&own, over, NAMES[0]), &server.config).is_err());
}
