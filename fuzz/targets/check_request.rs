//! Envoy's question, through the verifier's own gRPC route. `T` has lines of policy, method, scheme, host and path, then
//! header lines, those with a leading `>` among the raw ones, `$TOKEN` standing for the one good token; anything else is
//! the message's bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use countersign::runtime::clock::Clock;
use countersign::runtime::live::Live;
use countersign::runtime::metrics::Metrics;
use countersign::runtime::readiness::Readiness;
use countersign::snapshot::Snapshot;
use countersign::verifier::{Settings, Verifier};
use countersign_api::ScopePolicy;
use countersign_core::directory::{Change, Directory, NamespaceObject, PolicyObject, Settings as Installation};
use countersign_core::names::{IssuerName, Namespace};
use countersign_core::request::is_identity_header;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, OkHttpResponse};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::world::{AUDIENCE, ISSUER, KEYS, now, token};

const POLICY: &str = "countersign.dev/policy";
const SET: [&str; 4] =
    ["x-countersign-subject", "x-countersign-client", "x-countersign-scope", "x-countersign-decision"];

static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| {
    let clock = Clock::system();
    clock.set_correction(now().duration_since(clock.now()));
    let listed = Readiness::new().condition("first-listing");
    listed.ready();
    Verifier::new((Live::new(snapshot()), listed), clock, &Metrics::new(), Settings::default())
});

thread_local! {
    // Waits end at once: nothing but time passes here.
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
    );
}

pub fn run(data: &[u8]) {
    let message = match data.split_first() {
        Some((b'T', rest)) => match question(rest) {
            Some(question) => question.encode_to_vec(),
            None => return,
        },
        _ => data.to_vec(),
    };
    let answer = RUNTIME.with_borrow(|runtime| runtime.block_on(ask(&message)));
    let code = answer.status.expect("a status").code;
    match answer.http_response.expect("an HTTP answer") {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            let set = overwritten(&ok);
            // What is unreadable in parts no verdict rests on was stepped over.
            if let Ok(question) = CheckRequest::decode(&*message) {
                may_pass(&question, &ok, &set);
            }
        }
        HttpResponse::DeniedResponse(denied) => {
            let status = denied.status.expect("a status").code;
            assert!(code != 0 && matches!(status, 400 | 401 | 403), "{status}: no client's doing is our failure");
            assert!(denied.body.len() < 256 && denied.headers.len() <= 2);
        }
        HttpResponse::ErrorResponse(_) => panic!("a client's doing is never an error of ours"),
    }
}

async fn ask(message: &[u8]) -> CheckResponse {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a short message"));
    frame.put_slice(message);
    let request = http::Request::post("/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(frame.freeze()))
        .expect("a request");
    let response = VERIFIER.grpc_service().oneshot(request).await.expect("an answer");
    assert_eq!(response.headers().get("grpc-status"), None, "never a gRPC error");
    let body: Bytes = response.into_body().collect().await.expect("a body").to_bytes();
    CheckResponse::decode(&body[5..]).expect("a CheckResponse")
}

/// The headers of an answer that passes, whatever was asked: each of ours is set or removed, and nobody but the one client is named.
fn overwritten(ok: &OkHttpResponse) -> BTreeMap<String, String> {
    let set: BTreeMap<String, String> = ok
        .headers
        .iter()
        .map(|option| (option.append_action, option.header.clone().expect("a header")))
        .map(|(action, header)| (action == 2).then_some((header.key, header.value)).expect("it overwrites"))
        .collect();
    assert_eq!(set.len(), ok.headers.len(), "a header is set twice");
    for name in SET {
        assert!(set.contains_key(name) || ok.headers_to_remove.iter().any(|removed| removed == name), "{name}");
    }
    match set["x-countersign-decision"].as_str() {
        "public" => assert_eq!(set.len(), 1, "nobody is named on a public path"),
        decision => assert_eq!((decision, set["x-countersign-client"].as_str()), ("allow", "shop.checkout")),
    }
    set
}

/// A request passes because it is for the public path, or because it brings the one good token where it opens something.
fn may_pass(asked: &CheckRequest, ok: &OkHttpResponse, set: &BTreeMap<String, String>) {
    let attributes = asked.attributes.as_ref().expect("attributes");
    let policy = attributes.context_extensions.get(POLICY).expect("a policy that was named");
    assert!(["shop/orders", "shop/*", "by-host"].contains(&policy.as_str()), "{policy}");
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref()).expect("a request");
    let raw = http.header_map.iter().flat_map(|map| &map.headers);
    let value = |header: &HeaderValue| {
        if header.raw_value.is_empty() { header.value.clone().into_bytes() } else { header.raw_value.clone() }
    };
    let merged = http.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes()));
    let headers: Vec<(String, Vec<u8>)> = merged.chain(raw.map(|header| (header.key.clone(), value(header)))).collect();
    let path = http.path.split('?').next().unwrap_or_default();
    if http.method == "GET" && path == "/health" {
        assert_eq!(set["x-countersign-decision"], "public");
    } else {
        assert!(http.method == "GET" && path.starts_with("/orders/"), "{} {path}", http.method);
        let sent: Vec<_> = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1.get(7..), Some(token().as_bytes()));
        assert_eq!(set["x-countersign-decision"], "allow");
    }
    for (name, _) in headers.iter().filter(|(name, _)| is_identity_header(name.as_bytes())) {
        let name = name.to_ascii_lowercase();
        assert!(set.contains_key(&name) || ok.headers_to_remove.contains(&name), "{name} reaches the backend");
    }
}

fn question(data: &[u8]) -> Option<CheckRequest> {
    let text = std::str::from_utf8(data).ok()?;
    let mut lines = text.split('\n');
    let mut next = || lines.next().map(str::to_owned);
    let (policy, method, scheme, host, path) = (next()?, next()?, next()?, next()?, next()?);
    let mut http = HttpRequest { method, scheme, host, path, ..HttpRequest::default() };
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let value = value.replace("$TOKEN", token());
        match name.strip_prefix('>') {
            None => drop(http.headers.insert(name.to_owned(), value)),
            Some(name) => http.header_map.get_or_insert_with(HeaderMap::default).headers.push(HeaderValue {
                key: name.to_owned(),
                value: String::new(),
                raw_value: value.into_bytes(),
            }),
        }
    }
    let request = Some(Request { http: Some(http), ..Request::default() });
    let context_extensions = [(POLICY.to_owned(), policy)].into();
    Some(CheckRequest { attributes: Some(AttributeContext { request, context_extensions, ..Default::default() }) })
}

fn snapshot() -> Snapshot {
    let policy = json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "ScopePolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "audience": AUDIENCE, "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}],
            "scopes": [{"name": "orders:read"}, {"name": "orders:admin"}],
            "rules": [
                {"name": "read", "protection": "Scoped", "allow": [{"scopes": ["orders:read"]}],
                 "matches": [{"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}}]},
                {"name": "delete", "protection": "Scoped", "allow": [{"scopes": ["orders:admin"]}],
                 "matches": [{"methods": ["DELETE"], "path": {"type": "Template", "value": "/orders/{id}"}}]},
                {"name": "mine", "protection": "Scoped",
                 "allow": [{"scopes": ["orders:read"], "when": "request.headers['x-tenant'] == path.id && token.sub != request.query"}],
                 "matches": [{"methods": ["GET"], "path": {"type": "Template", "value": "/orders/of/{id}"}}]},
                {"name": "health", "protection": "Public",
                 "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "/health"}}]},
            ],
        },
    });
    let policy: ScopePolicy = serde_json::from_value(policy).expect("a policy");
    let policy = PolicyObject::try_from(&policy).expect("a policy with a name");
    let shop = Namespace::new("shop").expect("a name");
    let namespace = NamespaceObject { name: shop.clone(), labels: BTreeMap::new(), is_ending: false };
    let issuer = IssuerName::new("default").expect("a name");
    let settings = Arc::new(Installation::new(issuer, ISSUER, "cluster.local", Vec::new()));
    let changes = [
        Change::Namespace(shop, Some(Arc::new(namespace))),
        Change::Policy(policy.object.clone(), Some(Arc::new(policy))),
    ];
    let directory = Directory::empty(Arc::clone(&settings)).apply(changes);
    Snapshot { directory: Arc::new(directory), keys: Arc::new(KEYS.clone()), ..Snapshot::empty(settings) }
}
