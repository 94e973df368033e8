//! The few HTTP requests the command line makes itself: ask for a token, call an issuer or a verifier.
//!
//! Flows in: a method, a URL, headers and a body. Flows out: status, headers and at most one MiB of body, within ten seconds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::runtime::tls::client_config;

const DEADLINE: Duration = Duration::from_secs(10);
const LARGEST_BODY: usize = 1 << 20;

/// A client for http, and for https under the given authorities.
#[derive(Clone)]
pub(crate) struct Fetch(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// One header's text, if it is there once and readable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the answer ({}) is not JSON", self.status))
    }
}

/// The authorities of a PEM text; one at least.
pub(crate) fn authorities(text: &[u8]) -> Result<RootCertStore> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates.context("it is not PEM")?);
    ensure!(usable > 0, "it holds no certificate (PEM, -----BEGIN CERTIFICATE-----) of an authority");
    Ok(roots)
}

impl Fetch {
    /// Trusts these authorities for https, and no others; an empty store leaves http alone.
    pub(crate) fn new(roots: RootCertStore) -> Result<Self> {
        let tls = client_config(roots).context("no TLS version left to speak")?;
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let target = format!("{} {}", request.method(), request.uri());
        let exchange = async {
            let (parts, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .context("no answer within 10 s")
            .and_then(|answer| answer)
            .with_context(|| target)
    }

    /// Asks a token endpoint for a client_credentials token (RFC 6749 section 4.4), authenticated with `client_secret_basic`.
    pub(crate) async fn token(
        &self,
        endpoint: &str,
        credentials: &Credentials,
        parameters: &[(&str, &str)],
    ) -> Result<Answer> {
        let grant = [("grant_type", "client_credentials")];
        let body =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(grant).extend_pairs(parameters).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint)
            .header(header::AUTHORIZATION, credentials.basic())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(body))?;
        self.send(request).await
    }
}

/// A client's id and secret. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    client_id: String,
    client_secret: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("client_id", &self.client_id).field("client_secret", &"…").finish()
    }
}

impl Credentials {
    /// From the two values.
    pub(crate) fn new(client_id: String, client_secret: String) -> Self {
        Self { client_id, client_secret: client_secret.into() }
    }

    /// The `Authorization` header: both halves form-encoded, then Basic (RFC 6749 section 2.3.1).
    pub(crate) fn basic(&self) -> String {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = zeroize::Zeroizing::new(format!("{}:{}", encode(&self.client_id), encode(&self.client_secret)));
        format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))
    }
}
