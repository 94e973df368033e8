//! Reviews of the router, and the world they are judged in.

#![expect(clippy::needless_pass_by_value, reason = "objects are written where they are used")]

use std::collections::BTreeMap;

use axum::http::Method;
use countersign_api::reasons::{Place, Reason};
use countersign_api::{NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey};
use countersign_core::bounds::AllowanceObject;
use countersign_core::client::ClientObject;
use countersign_core::directory::{Change, Directory, NamespaceObject, PolicyObject, RingObject, Settings, reason};
use countersign_core::keyring::{KeyState, Keyring};
use countersign_core::names::{IssuerName, ObjectName};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

mod deletions;
mod objects;
mod reviews;

use super::*;
use crate::runtime::readiness::Readiness;
use crate::runtime::tls::ClientCertificate;

const NOW: i64 = 1_800_000_000;

struct World {
    router: Router,
    clock: Clock,
    listed: Condition,
    rings: RingUse,
    live: Live<Snapshot>,
}

#[derive(Debug)]
struct Said {
    status: StatusCode,
    body: String,
}

impl Said {
    fn response(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        serde_json::from_str::<Value>(&self.body).unwrap()["response"].clone()
    }

    fn refusal(&self) -> Option<String> {
        let response = self.response();
        assert_eq!(response["uid"], "review-1");
        let message = response["status"]["message"].as_str().map(str::to_owned);
        assert_eq!(response["allowed"], json!(message.is_none()), "{response}");
        message
    }

    fn warnings(&self) -> Vec<String> {
        let response = self.response();
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
    }
}

fn meta(namespace: &str, name: &str) -> Value {
    let created = Timestamp::from_second(NOW - 100).unwrap();
    json!({"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "creationTimestamp": created, "generation": 1})
}

fn object(kind: &str, metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    let mut whole = json!({"audience": format!("https://{name}.{namespace}.svc")});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object("ScopePolicy", meta(namespace, name), whole)
}

fn orders() -> Value {
    let grants = json!([{"scopes": ["orders:read"], "to": [{"namespaces": "Same"}]}]);
    policy("shop", "orders", json!({"scopes": [{"name": "orders:read"}], "grants": grants}))
}

fn client(name: &str, spec: Value) -> Value {
    object("OAuthClient", meta("shop", name), spec)
}

fn reading() -> Value {
    json!({"access": [{"audience": "https://orders.shop.svc", "scopes": ["orders:read"]}]})
}

fn ring(name: &str, spec: Value) -> Value {
    object("SigningKey", meta("countersign-system", name), spec)
}

/// Two namespaces that may both claim one audience and host.
fn allowance() -> Value {
    let metadata = json!({"name": "both", "uid": "both", "creationTimestamp": Timestamp::from_second(1).unwrap()});
    let spec = json!({
        "namespaceSelector": {"matchLabels": {"public": "yes"}},
        "hosts": ["api.example.com"],
        "audiences": ["https://api.example.com"],
    });
    object("NamespaceAllowance", metadata, spec)
}

fn change(object: &Value) -> Change {
    fn read<K: serde::de::DeserializeOwned>(object: &Value) -> K {
        serde_json::from_value(object.clone()).unwrap()
    }
    match object["kind"].as_str().unwrap() {
        "OAuthClient" => {
            let client = ClientObject::try_from(&read::<OAuthClient>(object)).unwrap();
            Change::Client(client.object.clone(), Some(Arc::new(client)))
        }
        "ScopePolicy" => {
            let policy = PolicyObject::try_from(&read::<ScopePolicy>(object)).unwrap();
            Change::Policy(policy.object.clone(), Some(Arc::new(policy)))
        }
        "NamespaceAllowance" => {
            let allowance = AllowanceObject::try_from(&read::<NamespaceAllowance>(object)).unwrap();
            let name = object["metadata"]["name"].as_str().unwrap().parse().unwrap();
            Change::Allowance(name, Some(Arc::new(allowance)))
        }
        _ => {
            let ring = RingObject::try_from(&read::<SigningKey>(object)).unwrap();
            Change::Ring(ring.name.clone(), Some(Arc::new(ring)))
        }
    }
}

impl World {
    fn new(there: &[Value]) -> Self {
        Self::asked_by(None, there)
    }

    /// One that only these may ask.
    fn asked_by(callers: Option<ClientJudge>, there: &[Value]) -> Self {
        let settings = Arc::new(Settings::new(
            IssuerName::new("default").unwrap(),
            "https://a.example",
            "cluster.local",
            Vec::new(),
        ));
        let namespaces = ["shop", "other"].map(|name| {
            let name = Namespace::new(name).unwrap();
            let labels = [("public".to_owned(), "yes".to_owned())].into();
            Change::Namespace(name.clone(), Some(Arc::new(NamespaceObject { name, labels, is_ending: false })))
        });
        let rings = [ring("default", json!({})), ring("batch", json!({}))];
        let changes = rings.iter().chain(there).map(change);
        let directory = Directory::empty(Arc::clone(&settings)).apply(namespaces.into_iter().chain(changes));
        let live = Live::new(Snapshot { directory: Arc::new(directory), ..Snapshot::empty(settings) });
        let clock = Clock::fixed(Timestamp::from_second(NOW).unwrap());
        let (listed, rings) = (Readiness::new().condition("listed"), RingUse::since(clock.now()));
        listed.ready();
        let parts = Parts {
            snapshot: live.clone(),
            listed: listed.clone(),
            clock: clock.clone(),
            system_namespace: Namespace::new("countersign-system").unwrap(),
            rings: rings.clone(),
            callers,
            agents: None,
        };
        Self { router: router(parts, &Metrics::new()), clock, listed, rings, live }
    }

    async fn send(&self, kind: &str, body: impl Into<Body>) -> Said {
        self.send_showing(None, kind, body).await
    }

    /// The same over a connection that showed a certificate.
    async fn send_showing(&self, shown: Option<ClientCertificate>, kind: &str, body: impl Into<Body>) -> Said {
        let request = Request::builder().method(Method::POST).uri("/validate?timeout=5s");
        let mut request = request.header(header::CONTENT_TYPE, kind).body(body.into()).unwrap();
        if let Some(shown) = shown {
            request.extensions_mut().insert(shown);
        }
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Said { status, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn ask(&self, operation: &str, object: Option<&Value>, old: Option<&Value>) -> Said {
        self.send("application/json", review(operation, object, old).to_string()).await
    }

    async fn create(&self, object: &Value) -> Said {
        self.ask("CREATE", Some(object), None).await
    }

    async fn delete(&self, object: &Value) -> Said {
        self.ask("DELETE", None, Some(object)).await
    }
}

fn review(operation: &str, object: Option<&Value>, old: Option<&Value>) -> Value {
    let about = object.or(old).unwrap();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "review-1",
        "kind": {"group": "countersign.dev", "version": "v1alpha1", "kind": about["kind"]},
        "operation": operation,
        "namespace": about["metadata"]["namespace"],
        "name": about["metadata"]["name"],
        "userInfo": {"username": "alice"},
        "object": object,
        "oldObject": old,
        "dryRun": false,
    }})
}
