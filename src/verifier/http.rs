//! The HTTP wires on 9002: Envoy `ext_authz`, forward auth (Traefik, Caddy), nginx `auth_request`.
//!
//! ```text
//! /ext-authz/policy/{ns}/{name}/…   /ext-authz/by-host/…    the request itself, behind Envoy's path prefix
//! /forward-auth/{ns}/{name}                                 the request in X-Forwarded-*, from a trusted proxy
//! /auth-request/{ns}/{name}                                 the request in X-Original-*, from a trusted proxy
//! ```
//!
//! Flows in: the proxy's request; its path names the policy and is the proxy's configuration. Flows out: 200 with identity
//! headers, or the refusal. The path is taken apart as it was received: nothing is decoded before core reads it. That is why
//! this port speaks HTTP/1.1 alone: over HTTP/2 a `#` in the path would be gone before it could be refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_core::policy::{Reason, Refusal, Status};
use countersign_core::request::{Ambiguity, Headers, RequestParts};

use super::counters::Wire;
use super::forwarded::{self, Original, read_forwarded, read_original};
use super::identity::{CLIENT, DECISION, Pass, SCOPE, SUBJECT};
use super::judge::Ask;
use super::{REALM, Verifier, body_of};
use crate::runtime::serve::Peer;

const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

pub(super) fn router(verifier: &Arc<Verifier>) -> Router {
    Router::new().fallback(answer).with_state(Arc::clone(verifier))
}

/// What a path of ours asks.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    wire: Wire,
    /// As the proxy's configuration names it.
    policy: String,
    /// How much of the path is ours; what follows is the request's own.
    length: usize,
}

async fn answer(State(verifier): State<Arc<Verifier>>, request: Request) -> Response {
    // The body is never read, and its type would keep the answer from moving between threads.
    let (request, _body) = request.into_parts();
    let target = request.uri.path_and_query().map_or("", |target| target.as_str());
    let Some(route) = read_route(target) else { return StatusCode::NOT_FOUND.into_response() };
    let own_target = target.get(route.length..).unwrap_or_default();
    match route.wire {
        Wire::ForwardAuth | Wire::AuthRequest => verifier.ask_for_original(&route, &request).await,
        Wire::Http | Wire::Grpc => verifier.ask_for_itself(&route, own_target, &request).await,
    }
}

/// Reads `/wire/ns/name` off a target.
fn read_route(target: &str) -> Option<Route> {
    let path = target.split('?').next().unwrap_or_default();
    if let Some(rest) = path.strip_prefix("/ext-authz/by-host") {
        let whole = rest.is_empty() || rest.starts_with('/');
        return whole.then(|| Route {
            wire: Wire::Http,
            policy: "by-host".to_owned(),
            length: path.len() - rest.len(),
        });
    }
    let wires = [
        ("/ext-authz/policy/", Wire::Http),
        ("/forward-auth/", Wire::ForwardAuth),
        ("/auth-request/", Wire::AuthRequest),
    ];
    let (rest, wire) = wires.into_iter().find_map(|(prefix, wire)| Some((path.strip_prefix(prefix)?, wire)))?;
    let mut parts = rest.splitn(3, '/');
    let (namespace, name) = (parts.next()?, parts.next()?);
    let own = parts.next();
    // Only Envoy has the request's own path behind ours.
    if own.is_some() && wire != Wire::Http {
        return None;
    }
    let length = path.len() - own.map_or(0, |own| own.len() + 1);
    Some(Route { wire, policy: format!("{namespace}/{name}"), length })
}

// === impl Verifier ===

impl Verifier {
    /// Envoy asks with the request itself: its method, host, headers, and path behind the prefix.
    async fn ask_for_itself(&self, route: &Route, target: &str, request: &Parts) -> Response {
        let headers = HttpHeaders { map: &request.headers, own_host: true };
        let host = request.uri.authority().map(Authority::as_str).or_else(|| only(&request.headers, &header::HOST));
        let parts = RequestParts {
            method: request.method.as_str(),
            scheme: "",
            host: host.unwrap_or_default(),
            target,
            headers: &headers,
        };
        match self.judge(Ask { wire: route.wire, policy: Some(&route.policy), parts, certificate: None }).await {
            Ok(pass) => allowed_by_envoy(&pass, &headers),
            Err(refusal) => denied(&refusal, route.wire),
        }
    }

    /// Other proxies ask with a request of their own that says in headers what the original one was.
    async fn ask_for_original(&self, route: &Route, request: &Parts) -> Response {
        let peer: Option<IpAddr> = request.extensions.get::<Peer>().map(|peer| peer.address.ip());
        if !peer.is_some_and(|peer| self.trusted_proxies.iter().any(|network| network.contains(peer))) {
            self.warn_of_stranger(route.wire, peer);
            return denied(&self.refuse(route.wire, Refusal::forbidden(Reason::UntrustedProxy)), route.wire);
        }
        let original = match route.wire {
            Wire::ForwardAuth => read_forwarded(&request.headers),
            _ => read_original(&request.headers),
        };
        let Some(Original { method, scheme, host, target }) = original else {
            self.warn_of_incomplete(route.wire);
            return denied(&self.refuse(route.wire, Refusal::ambiguous(Ambiguity::Header)), route.wire);
        };
        let headers = HttpHeaders { map: &request.headers, own_host: false };
        let parts = RequestParts { method, scheme, host, target, headers: &headers };
        match self.judge(Ask { wire: route.wire, policy: Some(&route.policy), parts, certificate: None }).await {
            Ok(pass) => allowed(&pass),
            Err(refusal) => denied(&refusal, route.wire),
        }
    }

    /// Whoever forgot a flag finds nothing else in the log.
    fn warn_of_stranger(&self, wire: Wire, peer: Option<IpAddr>) {
        if self.counters.strangers.may_say(self.clock.now().as_second()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(wire = wire.name(), peer, "refused, since no --trusted-proxy holds the address that asks");
        }
    }

    /// Whoever forgot a header neither. Only trusted proxies come so far.
    fn warn_of_incomplete(&self, wire: Wire) {
        if self.counters.incomplete.may_say(self.clock.now().as_second()) {
            let wanted = if wire == Wire::ForwardAuth { forwarded::FORWARDED.as_slice() } else { &forwarded::ORIGINAL };
            tracing::warn!(
                wire = wire.name(),
                ?wanted,
                "refused, since a proxy does not send each of these headers once"
            );
        }
    }
}

/// The headers of the request asked about. `Host` is the verifier's own where the request came in headers.
struct HttpHeaders<'m> {
    map: &'m HeaderMap,
    own_host: bool,
}

impl Headers for HttpHeaders<'_> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.map {
            if self.own_host || name != header::HOST {
                each(name.as_str(), value.as_bytes());
            }
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

/// Envoy sets what it finds and removes what it is told to.
fn allowed_by_envoy(pass: &Pass, headers: &dyn Headers) -> Response {
    let mut response = StatusCode::OK.into_response();
    set_identity(&mut response, pass);
    if let Ok(names) = HeaderValue::from_str(&pass.removals(headers).join(",")) {
        response.headers_mut().insert(REMOVE, names);
    }
    response
}

/// Other proxies copy headers they are told to copy; an empty value takes the place of one the caller sent.
fn allowed(pass: &Pass) -> Response {
    let mut response = StatusCode::OK.into_response();
    for name in [SUBJECT, CLIENT, SCOPE, DECISION] {
        response.headers_mut().insert(name, HeaderValue::from_static(""));
    }
    set_identity(&mut response, pass);
    response
}

fn set_identity(response: &mut Response, pass: &Pass) {
    for (name, value) in pass.headers() {
        // A subject is visible ASCII; should one not be, an empty value says nobody.
        let value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert(name, value);
    }
}

/// nginx understands 2xx, 401 and 403 alone; a 503 becomes its `error_page` for 500.
fn denied(refusal: &Refusal, wire: Wire) -> Response {
    let status = match (refusal.status, wire) {
        (Status::BadRequest, Wire::AuthRequest) => StatusCode::FORBIDDEN,
        (status, _) => StatusCode::from_u16(status.code()).unwrap_or(StatusCode::FORBIDDEN),
    };
    let mut response = (status, Body::from(body_of(refusal))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(challenge) = refusal.challenge(REALM).and_then(|challenge| HeaderValue::from_str(&challenge).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if refusal.status == Status::Unavailable {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_ours_names_the_policy_and_the_rest_is_the_requests_own() {
        let read = |target: &str| {
            read_route(target).map(|route| (route.wire, route.policy, target[route.length..].to_owned()))
        };
        let http = |policy: &str, own: &str| Some((Wire::Http, policy.to_owned(), own.to_owned()));
        assert_eq!(read("/ext-authz/policy/shop/orders/orders/7?a=b"), http("shop/orders", "/orders/7?a=b"));
        assert_eq!(read("/ext-authz/policy/shop/*//x"), http("shop/*", "//x"));
        assert_eq!(read("/ext-authz/policy/shop/orders"), http("shop/orders", ""));
        assert_eq!(read("/ext-authz/by-host/a"), http("by-host", "/a"));
        assert_eq!(
            read("/forward-auth/shop/orders?x"),
            Some((Wire::ForwardAuth, "shop/orders".to_owned(), "?x".to_owned()))
        );
        for target in [
            "",
            "/",
            "/ext-authz/by-hosts/a",
            "/ext-authz/policy/shop",
            "/forward-auth/shop/orders/x",
            "/auth-request/shop",
        ] {
            assert_eq!(read(target), None, "{target}");
        }
    }
}
