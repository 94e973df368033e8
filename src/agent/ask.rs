//! Asks a token endpoint: one connection a request, TLS always verified, answers bounded in time and size.
//!
//! Flows in: which token, and the credentials, read again each time. Flows out: a token or why there is none. A refusal of the
//! client itself is tried once more where the files hold other credentials by then: they were replaced in between.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use countersign_core::wanted::Wanted;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::answer::{Answer, Failure, Granted};
use super::credentials::{Endpoint, Known, Proof, Sources};
use crate::runtime::clock::Clock;
use crate::runtime::tls::client_config;

/// For one exchange.
const DEADLINE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";
/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Whoever can get a token.
pub(crate) trait Asks: Send + Sync + 'static {
    /// Asks once.
    fn ask(&self, wanted: &Wanted) -> impl Future<Output = Result<Granted, Failure>> + Send;

    /// Whether the credentials that failed are others by now.
    fn has_news(&self) -> bool;
}

/// Asks over the network.
#[derive(Debug)]
pub(crate) struct Asker {
    sources: Sources,
    plaintext: bool,
    clock: Clock,
    /// The token endpoint that metadata named, until a request fails.
    discovered: Mutex<Option<String>>,
    failed: Mutex<Failed>,
}

/// What the last request failed with.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    Nothing,
    Unreadable,
    Refused(Proof),
}

/// The URL may not be asked: what goes to it would be seen on the way.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be https, or http on a loopback address; elsewhere only with --plaintext, where something in between adds TLS"
)]
pub struct SchemeError;

/// Whether credentials may be sent to this URL.
pub fn may_be_asked(url: &str, plaintext: bool) -> Result<(), SchemeError> {
    let uri: Uri = url.parse().map_err(|_| SchemeError)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let near = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if near || (plaintext && !host.is_empty()) => Ok(()),
        _ => Err(SchemeError),
    }
}

// === impl Asker ===

impl Asks for Asker {
    async fn ask(&self, wanted: &Wanted) -> Result<Granted, Failure> {
        let known = match self.sources.read() {
            Ok(known) => known,
            Err(error) => {
                self.note(Failed::Unreadable);
                return Err(error.into());
            }
        };
        let mut outcome = self.with(&known, wanted).await;
        let mut proof = known.proof;
        if outcome.as_ref().is_err_and(Failure::is_unauthenticated)
            && let Ok(again) = self.sources.read()
            && again.proof != proof
        {
            outcome = self.with(&again, wanted).await;
            proof = again.proof;
        }
        let refused = outcome.as_ref().is_err_and(Failure::is_unauthenticated);
        self.note(if refused { Failed::Refused(proof) } else { Failed::Nothing });
        if outcome.is_err() {
            *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome
    }

    fn has_news(&self) -> bool {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Failed::Nothing => false,
            Failed::Unreadable => self.sources.read().is_ok(),
            Failed::Refused(proof) => self.sources.proof().is_ok_and(|now| now != *proof),
        }
    }
}

impl Asker {
    pub(crate) fn new(sources: Sources, plaintext: bool, clock: Clock) -> Self {
        Self { sources, plaintext, clock, discovered: Mutex::new(None), failed: Mutex::new(Failed::Nothing) }
    }

    fn note(&self, failed: Failed) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    async fn with(&self, known: &Known, wanted: &Wanted) -> Result<Granted, Failure> {
        let endpoint = self.endpoint(known).await?;
        let request = token_request(&endpoint, &known.proof, wanted);
        let (status, headers, body) = self.exchange(&endpoint, known, request).await?;
        Answer { url: &endpoint, status, headers: &headers, body: &body }.token(self.clock.now())
    }

    /// Where tokens are given: as told, or as the issuer's metadata say.
    async fn endpoint(&self, known: &Known) -> Result<String, Failure> {
        let issuer = match &known.endpoint {
            Endpoint::Token(url) => return Ok(url.clone()),
            Endpoint::Issuer(issuer) => issuer,
        };
        if let Some(url) = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(url);
        }
        let url = metadata_url(issuer);
        let request = Request::get(&url).header(header::ACCEPT, "application/json").body(Full::default());
        let (status, headers, body) = self.exchange(&url, known, request).await?;
        let answer = Answer { url: &url, status, headers: &headers, body: &body };
        let endpoint = answer.token_endpoint(issuer, self.clock.now())?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// Sends one request on a connection of its own. Redirects are not followed.
    async fn exchange(
        &self,
        url: &str,
        known: &Known,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        may_be_asked(url, self.plaintext).map_err(|_| Failure::Plaintext { url: url.to_owned() })?;
        let client = client(url, known.authorities.as_deref())?;
        let exchange = async {
            let (parts, body) = client.request(request?).await?.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
            Ok((parts.status, parts.headers, body))
        };
        let outcome = tokio::time::timeout(DEADLINE, exchange).await;
        let outcome: Result<_, Box<dyn Error + Send + Sync>> = outcome.unwrap_or_else(|late| Err(late.into()));
        outcome.map_err(|source| Failure::Unreachable { url: url.to_owned(), source })
    }
}

/// A client_credentials request (RFC 6749 section 4.4.2), authenticated with `client_secret_basic` (section 2.3.1) or with an
/// assertion (RFC 7521 section 4.2).
fn token_request(endpoint: &str, proof: &Proof, wanted: &Wanted) -> http::Result<Request<Full<Bytes>>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials").extend_pairs(wanted.parameters());
    let request = Request::builder().method(Method::POST).uri(endpoint).header(header::CONTENT_TYPE, FORM);
    let request = match proof {
        Proof::Secret { client_id, secret } => request.header(header::AUTHORIZATION, basic(client_id, secret)),
        Proof::Assertion { client_id, assertion } => {
            form.extend_pairs(client_id.iter().map(|id| ("client_id", id)));
            form.append_pair("client_assertion_type", JWT_BEARER).append_pair("client_assertion", assertion);
            request
        }
    };
    request.header(header::ACCEPT, "application/json").body(Full::from(form.finish()))
}

/// Both halves form-encoded, then Basic.
fn basic(client_id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encode(client_id), encode(secret)));
    format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))
}

/// Where an issuer's metadata are: the well-known part comes before its path (RFC 8414 section 3.1).
fn metadata_url(issuer: &str) -> String {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    let origin = issuer.strip_suffix(rest).map_or(0, str::len) + rest.split('/').next().map_or(0, str::len);
    let origin = issuer.get(..origin).unwrap_or(issuer);
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{origin}/.well-known/oauth-authorization-server{slash}{path}")
}

/// Trusts these authorities for https and no others.
fn client(
    url: &str,
    authorities: Option<&[u8]>,
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Failure> {
    let unusable = |why| Failure::Authorities { url: url.to_owned(), why };
    let mut roots = RootCertStore::empty();
    if let Some(text) = authorities {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let (usable, _) = roots.add_parsable_certificates(certificates.map_err(|_| unusable("they are not PEM"))?);
        if usable == 0 {
            return Err(unusable("there is no certificate (PEM, -----BEGIN CERTIFICATE-----) among them"));
        }
    } else if url.starts_with("https:") {
        return Err(unusable("none is known: give --ca-file, or --credentials with a folder that has ca.crt"));
    }
    let tls = client_config(roots).map_err(|_| unusable("no TLS version is left to speak"))?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_over_tls_or_stay_on_this_machine() {
        for (url, plaintext, fine) in [
            ("https://auth.example.com/t", false, true),
            ("http://127.0.0.1:8080/t", false, true),
            ("http://[::1]:8080/t", false, true),
            ("http://localhost/t", false, true),
            ("http://auth.example.com/t", false, false),
            ("http://auth.example.com/t", true, true),
            ("http://127.0.0.1.example.com/t", false, false),
            ("http://10.0.0.1/t", false, false),
            ("ftp://127.0.0.1/t", true, false),
            ("/t", true, false),
        ] {
            assert_eq!(may_be_asked(url, plaintext).is_ok(), fine, "{url} {plaintext}");
        }
    }

    #[test]
    fn metadata_lie_where_rfc_8414_says() {
        for (issuer, url) in [
            ("https://auth", "https://auth/.well-known/oauth-authorization-server"),
            ("https://auth:1/t1", "https://auth:1/.well-known/oauth-authorization-server/t1"),
            ("https://auth/a/b", "https://auth/.well-known/oauth-authorization-server/a/b"),
        ] {
            assert_eq!(metadata_url(issuer), url);
        }
    }

    async fn sent(proof: Proof) -> (Option<String>, String) {
        let wanted: Wanted = "orders=https://orders orders:read".parse().unwrap();
        let request = token_request("https://auth/t", &proof, &wanted).unwrap();
        let header = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_secret_goes_into_the_header_and_an_assertion_into_the_form() {
        let asks = "grant_type=client_credentials&resource=https%3A%2F%2Forders&scope=orders%3Aread";
        let (client_id, secret) = ("a:b".to_owned(), "c d".to_owned().into());
        let basic = format!("Basic {}", BASE64_STANDARD.encode("a%3Ab:c+d"));
        assert_eq!(sent(Proof::Secret { client_id, secret }).await, (Some(basic), asks.to_owned()));
        let assertion = Proof::Assertion { client_id: Some("a".to_owned()), assertion: "x.y.z".to_owned().into() };
        let expected = format!(
            "{asks}&client_id=a&client_assertion_type={}&client_assertion=x.y.z",
            "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        );
        assert_eq!(sent(assertion).await, (None, expected));
    }

    #[test]
    fn https_needs_authorities() {
        for authorities in [None, Some(&b"no PEM"[..])] {
            assert!(matches!(client("https://auth/t", authorities), Err(Failure::Authorities { .. })));
        }
        assert!(client("http://127.0.0.1/t", None).is_ok());
    }
}
