//! The authorization server: `/oauth2/*` and discovery.
//!
//! ```text
//! request ─► form ─► who presented what ─► authenticate ─► grant (core) ─► claims ─► signer ─► token
//!                                               ▲                ▲                      ▲
//!                                               └─ Live<Snapshot> ┴──────── Live<Signers> (keeper rebuilds)
//! ```
//!
//! Flows in: form requests, the snapshot, the parsed private keys, the time. Flows out: tokens, what a token means to a
//! resource server that may know, and revocations written before they are confirmed.

mod assertions;
mod authenticate;
mod call;
mod certificates;
mod exchange;
mod introspect;
mod jwks;
pub mod keeper;
mod metadata;
mod own_keys;
mod proven;
pub mod published_keys;
mod revoke;
mod seats;
mod secrets;
pub mod signer;
#[cfg(test)]
mod tests;
mod token;
pub mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use countersign_core::names::IssuerName;
use countersign_core::revocation::Sink;
use countersign_core::timings::Timings;
use tokio::sync::Semaphore;

use crate::http::body::BodyLimits;
use crate::http::limiter::Limiter;
use crate::issuer::authenticate::{Authenticator, MOST_WAITING};
use crate::issuer::call::Outcomes;
use crate::issuer::jwks::JwksDocument;
use crate::issuer::metadata::{Metadata, Methods};
use crate::issuer::published_keys::PublishedKeys;
use crate::issuer::signer::Signers;
use crate::issuer::token::Issued;
use crate::issuer::usage::SecretUsage;
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::tls::ClientJudge;
use crate::snapshot::Snapshot;
use crate::snapshot::cluster_keys::ClusterKeys;
use crate::snapshot::pods::Pods;
use crate::store::Store;

/// What the installation says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub issuer_name: IssuerName,
    /// The `iss` of tokens and the base of every URL in the metadata.
    pub issuer_url: String,
    pub timings: Timings,
    pub body: BodyLimits,
}

/// What the issuer is given to work with.
pub struct Parts {
    pub settings: Settings,
    pub snapshot: Live<Snapshot>,
    pub signers: Live<Signers>,
    pub clock: Clock,
    /// When the API server was last heard from; bounds how long tokens are signed without it.
    pub contact: Contact,
    /// Where revocations are written.
    pub sink: Arc<dyn Sink>,
    /// Where uses of secrets are noted for the heartbeat.
    pub usage: SecretUsage,
    /// What ServiceAccount tokens are checked with; none where there is no cluster.
    pub cluster_keys: Option<ClusterKeys>,
    /// The pods whose tokens are good; none: they are until they end.
    pub pods: Option<Pods>,
    /// Judges client certificates; none where clients are not asked for one.
    pub clients: Option<ClientJudge>,
    /// Where uses of assertions are noted; none: no client proves itself by one of its own.
    pub store: Option<Arc<dyn Store>>,
    /// The keys that clients publish; none: no such client is believed.
    pub published_keys: Option<PublishedKeys>,
}

/// Everything a request needs, behind one pointer.
struct Issuer {
    parts: Parts,
    authenticator: Authenticator,
    jwks: JwksDocument,
    metadata: Metadata,
    /// Counts tokens an authenticated client asked about in vain.
    scans: Limiter,
    /// Requests that wait for a client's object to become as new as its revocations.
    unsettled: Semaphore,
    outcomes: Outcomes,
    issued: Issued,
}

/// The issuer's routes. An issuer URL with a path is served below that path too, for proxies that keep it.
pub fn router(parts: Parts, metrics: &Metrics) -> Router {
    let path = path_of(&parts.settings.issuer_url).to_owned();
    let issuer = Arc::new(Issuer {
        authenticator: Authenticator::new(&parts),
        jwks: JwksDocument::new(parts.settings.timings.jwks_max_age),
        metadata: Metadata::new(
            &parts.settings.issuer_url,
            Methods { own_keys: parts.store.is_some(), certificates: parts.clients.is_some() },
        ),
        scans: introspect::scans(),
        unsettled: Semaphore::new(MOST_WAITING),
        outcomes: Outcomes::new(metrics),
        issued: Issued::new(metrics),
        parts,
    });
    let routes = routes();
    let routes = if path.is_empty() {
        routes
    } else {
        // RFC 8414 section 3.1 puts the path of the issuer behind the well-known part.
        let below = format!("/.well-known/oauth-authorization-server{path}");
        routes.clone().nest(&path, routes).route(&below, get(authorization_server))
    };
    routes.with_state(issuer)
}

fn routes() -> Router<Arc<Issuer>> {
    Router::new()
        .route("/oauth2/token", post(token::endpoint))
        .route("/oauth2/introspect", post(introspect::endpoint))
        .route("/oauth2/revoke", post(revoke::endpoint))
        .route("/oauth2/jwks", get(jwks))
        .route("/.well-known/oauth-authorization-server", get(authorization_server))
        .route("/.well-known/openid-configuration", get(openid_configuration))
}

async fn jwks(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> axum::response::Response {
    issuer.jwks.answer(&issuer.parts.snapshot.load().keys, &headers)
}

async fn authorization_server(State(issuer): State<Arc<Issuer>>) -> axum::response::Response {
    metadata::answer(&issuer.metadata.authorization_server)
}

async fn openid_configuration(State(issuer): State<Arc<Issuer>>) -> axum::response::Response {
    metadata::answer(&issuer.metadata.openid_configuration)
}

/// The path of a URL without a trailing slash; empty for most issuers.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').and_then(|slash| after_scheme.get(slash..)).unwrap_or_default().trim_end_matches('/')
}
