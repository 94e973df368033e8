//! Fetches from a host that answers as it is told: what is refused before anything is sent, and what of an answer is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::fetch::*;
use super::*;

const HOST: &str = "keys.example";

/// A TLS server on loopback that says the same to everybody and then nothing.
struct Host {
    port: u16,
    roots: RootCertStore,
    connections: Arc<AtomicUsize>,
}

impl Host {
    async fn that_says(answer: impl Into<Vec<u8>>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (acceptor, answer, count) =
            (TlsAcceptor::from(Arc::new(config)), Arc::new(answer.into()), connections.clone());
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
                drop(tokio::spawn(async move { serve(acceptor, stream, &answer).await }));
            }
        }));
        Self { port, roots, connections }
    }

    fn fetcher(&self, allowed: &[&str], resolve: Resolve) -> Fetcher {
        Fetcher::new(self.roots.clone(), allowed.iter().map(|host| (*host).to_owned()).collect(), resolve).unwrap()
    }

    /// What is fetched from it where the operator allows it.
    async fn fetched(&self) -> Result<String, FetchError> {
        let document = self.fetcher(&[HOST], to("127.0.0.1")).fetch(&self.uri(HOST)).await?;
        Ok(String::from_utf8(document.to_vec()).unwrap())
    }

    fn uri(&self, host: &str) -> KeysUri {
        format!("https://{host}:{}/jwks", self.port).parse().unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(acceptor: TlsAcceptor, stream: tokio::net::TcpStream, answer: &[u8]) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    // Who has heard enough hangs up.
    stream.write_all(answer).await.and(stream.flush().await).ok();
    std::future::pending::<()>().await;
}

/// Resolves every name to these addresses.
fn to(addresses: &str) -> Resolve {
    let addresses: Vec<_> = addresses.split(' ').map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect();
    Arc::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))))
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn a_document_is_fetched() {
    let host = Host::that_says(answer("200 OK", "", "{}")).await;
    assert_eq!(host.fetched().await.unwrap(), "{}");
}

#[tokio::test]
async fn cla_08_nothing_internal_is_connected_to() {
    let host = Host::that_says(answer("200 OK", "", "{}")).await;
    for addresses in
        ["127.0.0.1", "10.0.0.1 127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0", "fd00::1"]
    {
        let fetched = host.fetcher(&["other.example"], to(addresses)).fetch(&host.uri(HOST)).await;
        assert!(matches!(fetched, Err(FetchError::Internal)), "{addresses}: {fetched:?}");
    }
    for address in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let fetched = host.fetcher(&[HOST], to("127.0.0.1")).fetch(&host.uri(address)).await;
        assert!(matches!(fetched, Err(FetchError::Internal)), "{address}: {fetched:?}");
    }
    assert_eq!(host.connections(), 0);
}

/// Each connection resolves the name once, and goes to an address that was looked at.
#[tokio::test]
async fn cla_08_of_what_a_name_resolves_to_only_public_addresses_are_left() {
    let answers = Mutex::new(vec!["8.8.8.8 127.0.0.1 2001:4860:4860::8888 fd00::1", "127.0.0.1"].into_iter());
    let resolve: Resolve = Arc::new(move |host| {
        assert_eq!(host, HOST);
        to(answers.lock().unwrap().next().unwrap())(host)
    });
    let left = async || connectable(&resolve, &countersign_core::client::Hosts::default(), HOST).await;
    let addresses: Vec<_> = left().await.unwrap().map(|address| address.ip().to_string()).collect();
    assert_eq!(addresses, ["8.8.8.8", "2001:4860:4860::8888"]);
    assert!(left().await.is_err(), "the name means something else by now");
}

#[tokio::test]
async fn cla_08_redirects_are_not_followed() {
    let other = Host::that_says(answer("200 OK", "", "{}")).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: {}\r\n", other.uri(HOST));
        let host = Host::that_says(answer(status, &location, "")).await;
        assert!(matches!(host.fetched().await, Err(FetchError::Status(_))), "{status}");
        assert_eq!(host.connections(), 1);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn cla_08_answers_are_small() {
    let large = "x".repeat(64 * 1024 + 1);
    let chunks =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n".to_owned() + &large;
    for said in [answer("200 OK", "", &large), chunks, announced] {
        assert!(matches!(Host::that_says(said).await.fetched().await, Err(FetchError::Body(_))));
    }
    let headers = format!("x-more: {}\r\n", "y".repeat(100)).repeat(400);
    let fetched = Host::that_says(answer("200 OK", &headers, "{}")).await.fetched().await;
    assert!(matches!(fetched, Err(FetchError::Request(_))), "{fetched:?}");
}

#[tokio::test(start_paused = true)]
async fn cla_08_an_answer_that_does_not_end_is_not_waited_for() {
    for said in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"] {
        assert!(matches!(Host::that_says(said).await.fetched().await, Err(FetchError::Late)), "{said:?}");
    }
}

#[tokio::test]
async fn whose_certificate_is_not_trusted_is_not_asked() {
    let (host, other) = (Host::that_says(answer("200 OK", "", "{}")).await, Host::that_says("").await);
    let fetcher = other.fetcher(&[HOST], to("127.0.0.1"));
    assert!(matches!(fetcher.fetch(&host.uri(HOST)).await, Err(FetchError::Request(_))));
    let misnamed = host.fetcher(&["other.example"], to("127.0.0.1"));
    assert!(matches!(misnamed.fetch(&host.uri("other.example")).await, Err(FetchError::Request(_))));
}
