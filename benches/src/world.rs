//! What is measured: the release binary over a folder with one policy, and the messages it is asked with.
//!
//! Flows in: flags. Flows out: a `countersign standalone` that is ready, tokens of its clients, `CheckRequest`s as Envoy sends them, and
//! what a floor needs to sign the same tokens with the same key.

use crate::stream::{Target, answers};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::ports::free_address;
use crate::support::processes::{self, Process};
use crate::support::scratch::Scratch;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::Address;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, SocketAddress, address, socket_address};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Asked};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: countersign.dev/v1alpha1
kind: SigningKey
metadata: {name: eddsa, namespace: countersign-system}
spec: {algorithm: EdDSA}
---
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: shop}
spec:
  audience: https://orders.shop.svc
  targetRefs: [{group: "", kind: Service, name: orders}]
  scopes: [{name: "orders:read"}]
  grants: [{scopes: ["orders:read"], to: [{namespaces: Same}]}]
  rules:
  - name: read-one-order
    matches: [{methods: [GET, HEAD], path: {type: Template, value: "/orders/{id}"}}]
    protection: Scoped
    allow: [{scopes: ["orders:read"]}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: es256, namespace: shop}
spec:
  access: [{audience: "https://orders.shop.svc", scopes: ["orders:read"]}]
---
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: eddsa, namespace: shop}
spec:
  access: [{audience: "https://orders.shop.svc", scopes: ["orders:read"]}]
  tokens: {signingKey: eddsa}
"#;

/// The clients, each named after the algorithm of its tokens.
pub const ALGORITHMS: [(&str, &str); 2] = [("ES256", "es256"), ("EdDSA", "eddsa")];

pub struct World {
    pub process: Process,
    pub issuer: SocketAddr,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    folder: Scratch,
}

impl World {
    /// Ready, with both clients able to get tokens.
    pub async fn start(flags: &[&str]) -> Self {
        let folder = Scratch::new("world");
        let manifests = folder.join("manifests");
        fs::create_dir(&manifests).expect("make the folder of manifests");
        fs::write(manifests.join("world.yaml"), MANIFESTS).expect("write the manifests");
        let [issuer, grpc, http, admin] = [(); 4].map(|()| free_address());
        let args = [
            format!("--manifests={}", manifests.display()),
            format!("--data={}", folder.join("data").display()),
            format!("--listen={issuer}"),
            format!("--grpc-listen={grpc}"),
            format!("--http-listen={http}"),
            format!("--admin-listen={admin}"),
        ];
        let args = args.into_iter().chain(flags.iter().map(|&flag| flag.to_owned()));
        let mut process = processes::start("standalone", args);
        process.ready(admin).await;
        let it = Self { process, issuer, grpc, admin, folder };
        for (_, client) in ALGORITHMS {
            let look = async || match it.secret(client) {
                Some(_) => Request::new("POST", "/oauth2/token")
                    .body("application/x-www-form-urlencoded", it.form(client).as_bytes())
                    .send(it.issuer)
                    .await
                    .map_or(0, |answer| answer.status),
                None => 0,
            };
            await_condition("a token", Duration::from_secs(20), look, |status| *status == 200).await;
        }
        it
    }

    fn secret(&self, client: &str) -> Option<(String, String)> {
        let folder = self.folder.join("data/secrets/shop").join(format!("{client}-oauth"));
        let value = |key| fs::read_to_string(folder.join(key)).ok();
        value("client_id").zip(value("client_secret"))
    }

    /// The body of a token request.
    pub fn form(&self, client: &str) -> String {
        let (id, secret) = self.secret(client).expect("the client has credentials");
        let fields = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    }

    /// So many tokens of a client, all different.
    pub async fn tokens(&self, client: &str, count: usize) -> Vec<String> {
        let bodies = Arc::new(vec![Bytes::from(self.form(client)); count]);
        let content_type = "application/x-www-form-urlencoded";
        let target = Target { address: self.issuer, path: "/oauth2/token", content_type, connections: 2, streams: 16 };
        let token = |answer: Bytes| {
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            answer["access_token"].as_str().expect("a token").to_owned()
        };
        answers(target, &bodies).await.into_iter().map(token).collect()
    }

    /// Writes what the token floor signs with: the key that signed `token`, and its claims.
    pub fn signing(&self, token: &str) -> PathBuf {
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
        let [header, claims] = [(); 2].map(|()| parts.next().expect("three parts"));
        let [header, claims]: [Value; 2] = [header, claims].map(|part| serde_json::from_slice(&part).expect("JSON"));
        let pkcs8 = private_halves(&self.folder.join("data/objects"))
            .into_iter()
            .find(|(name, _)| is_for(name, &header))
            .map(|(_, pkcs8)| pkcs8)
            .expect("the data folder holds the key that signed the token");
        let file = self.folder.join(format!("{}.json", header["alg"].as_str().expect("an algorithm")));
        fs::write(&file, json!({"header": header, "claims": claims, "pkcs8": pkcs8}).to_string()).expect("write");
        file
    }

    /// A file of this world's own.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, contents).expect("write a file");
        file
    }

    /// The value of a counter on the admin port.
    pub async fn counter(&self, name: &str) -> f64 {
        counter(self.admin, name).await
    }
}

/// The value of a counter, named with its labels, on an admin port.
pub async fn counter(admin: SocketAddr, name: &str) -> f64 {
    let text = Request::get("/metrics").send(admin).await.expect("metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("countersign_{name}")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

/// Names of Secrets with private halves, and the halves in base64.
fn private_halves(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(private_halves(&entry.path()));
        } else if let Ok(object) = serde_json::from_slice::<Value>(&fs::read(entry.path()).unwrap_or_default())
            && let Some(half) =
                object.pointer("/data/private.der").or_else(|| object.pointer("/object/data/private.der"))
        {
            found.push((entry.path().display().to_string(), half.as_str().expect("base64").to_owned()));
        }
    }
    found
}

/// The first key of a ring is the one that signs; the second waits.
fn is_for(name: &str, header: &Value) -> bool {
    name.ends_with(if header["alg"] == "EdDSA" { "/eddsa-1.json" } else { "/default-1.json" })
}

/// A `CheckRequest` as Envoy 1.40 sends it for `GET /orders/42`, with gRPC's length prefix: peers, raw headers (the setting the README
/// asks for), and the policy the proxy's configuration names.
pub fn check(policy: &str, (host, path): (&str, &str), token: &str) -> Bytes {
    let headers = [
        (":authority", host),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("accept", "*/*"),
        ("user-agent", "h2load nghttp2/1.52.0"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "6f0c2f6e-3d7d-4d4a-9a39-0b8f4a5f1c11"),
        ("authorization", &format!("Bearer {token}")),
    ];
    let raw = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec(),
    };
    let http = HttpRequest {
        id: "12345678901234567890".to_owned(),
        method: "GET".to_owned(),
        header_map: Some(HeaderMap { headers: headers.iter().map(raw).collect() }),
        path: path.to_owned(),
        host: host.to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        source: Some(peer(40_000)),
        destination: Some(peer(8080)),
        request: Some(Asked { http: Some(http), ..Asked::default() }),
        context_extensions: [("countersign.dev/policy".to_owned(), policy.to_owned())].into(),
        ..AttributeContext::default()
    };
    let message = CheckRequest { attributes: Some(attributes) };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut framed).expect("there is room");
    framed.freeze()
}

/// The check of the world's own policy.
pub fn order(token: &str) -> Bytes {
    check("shop/orders", ("orders.shop.svc", "/orders/42"), token)
}

fn peer(port: u32) -> Peer {
    let specifier = socket_address::PortSpecifier::PortValue(port);
    let socket =
        SocketAddress { address: "127.0.0.1".to_owned(), port_specifier: Some(specifier), ..SocketAddress::default() };
    Peer { address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }), ..Peer::default() }
}
