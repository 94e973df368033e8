//! Fetches a document from an address that a tenant chose: public addresses only, one request, small, soon or not at all.
//!
//! ```text
//! URL ─► resolve ─► every address but public ones left out ─► connect to one of these very addresses ─► TLS for that host ─► GET
//! ```
//! Flows in: a URL, and the hosts the operator allows though they are internal. Flows out: at most 64 KiB, or why not. Addresses
//! are looked at after the name was resolved and before one is connected to, with nothing in between that could resolve it again.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_core::client::{Hosts, KeysUri, is_public};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tower::Service;

use crate::runtime::tls::client_config;

/// For everything together, so that nobody gains by being slow.
const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST: usize = 64 * 1024;
/// Of headers.
const LARGEST_HEAD: usize = 16 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("its host is no public address, and is not among the internal hosts the operator allows")]
    Internal,
    #[error("no answer within 5 s")]
    Late,
    #[error("the answer is {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("ask for it")]
    Request(#[source] Box<dyn Error + Send + Sync>),
    #[error("read at most 64 KiB of an answer")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Resolves names; the system's resolver but in tests.
pub(crate) type Resolve = Arc<dyn Fn(String) -> Resolving + Send + Sync>;
pub(crate) type Resolving = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

type Connectable = Pin<Box<dyn Future<Output = std::io::Result<std::vec::IntoIter<SocketAddr>>> + Send>>;

/// Fetches. A clone is another handle to the same.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector<Guard>>, Empty<Bytes>>,
    allowed: Hosts,
}

/// Resolves a name to addresses that may be connected to.
#[derive(Clone)]
struct Guard {
    resolve: Resolve,
    allowed: Hosts,
}

/// The system's resolver. The dot makes the name a whole one: without it, names of the cluster's own search domains are tried.
pub(crate) fn system() -> Resolve {
    Arc::new(|host| Box::pin(async move { Ok(tokio::net::lookup_host(format!("{host}.:0")).await?.collect()) }))
}

/// The addresses of a name that may be connected to; an error where none is left.
pub(super) fn connectable(resolve: &Resolve, allowed: &Hosts, host: &str) -> Connectable {
    let (resolving, exempt) = (resolve(host.to_owned()), allowed.contains(host));
    Box::pin(async move {
        let mut addresses = resolving.await?;
        addresses.retain(|address| exempt || is_public(address.ip()));
        if addresses.is_empty() {
            return Err(std::io::Error::other(FetchError::Internal));
        }
        Ok(addresses.into_iter())
    })
}

// === impl Fetcher ===

impl Fetcher {
    /// Trusts these authorities, and calls these hosts whatever their addresses are.
    pub(crate) fn new(roots: RootCertStore, allowed: Hosts, resolve: Resolve) -> Result<Self, FetchError> {
        let tls = client_config(roots).map_err(FetchError::Tls)?;
        let mut http = HttpConnector::new_with_resolver(Guard { resolve, allowed: allowed.clone() });
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(http);
        let mut client = Client::builder(TokioExecutor::new());
        // A connection of its own for each: what is asked next is resolved and looked at anew.
        client.pool_max_idle_per_host(0).http1_max_buf_size(LARGEST_HEAD);
        Ok(Self { client: client.build(https), allowed })
    }

    /// The document.
    pub(crate) async fn fetch(&self, uri: &KeysUri) -> Result<Bytes, FetchError> {
        // An address is not resolved, so no guard would see it.
        if uri.address().is_some_and(|address| !is_public(address)) && !self.allowed.contains(uri.host()) {
            return Err(FetchError::Internal);
        }
        tokio::time::timeout(DEADLINE, self.exchange(uri)).await.map_err(|_| FetchError::Late)?
    }

    async fn exchange(&self, uri: &KeysUri) -> Result<Bytes, FetchError> {
        let request = Request::get(uri.as_str())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, "countersign")
            .body(Empty::new())
            .map_err(|error| FetchError::Request(error.into()))?;
        let answer = self.client.request(request).await.map_err(refused)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        Ok(Limited::new(answer.into_body(), LARGEST).collect().await.map_err(FetchError::Body)?.to_bytes())
    }
}

/// Whether it was the guard that refused.
fn refused(error: hyper_util::client::legacy::Error) -> FetchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        // An io::Error shows what it was made of, and is it no further.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(<dyn Error + Send + Sync>::is::<FetchError>) {
            return FetchError::Internal;
        }
        cause = error.source();
    }
    FetchError::Request(error.into())
}

// === impl Guard ===

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Connectable;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        connectable(&self.resolve, &self.allowed, name.as_str())
    }
}
