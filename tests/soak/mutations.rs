//! F19: each single change of a valid object comes to what creating it so comes to, or is refused with a message.
//!
//! ```text
//! namespace a: the good tenant ─► at rest ─► one field changed ─► state
//! namespace b:                    the changed tenant created fresh ─► the same state
//! ```
//! Flows in: merge patches, one field each, of every kind. Flows out: how many came to the same, how many were refused.

use crate::crash_points::state::{client_state, conditions, secret_state};
use crate::report::Case;
use crate::support::await_condition;
use crate::support::installation::{Installation, Role};
use crate::support::testbed::Testbed;
use countersign_api::{OAuthClient, ScopePolicy};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const TRIED: &str = "One field of a valid OAuthClient or ScopePolicy is changed in one namespace, and in another the changed
    object is created fresh: conditions, grants, refusals and Secrets must come to the same, or both be refused by the API server
    with a message. A client that is not ready keeps the Secret it has until there is another, and one whose value was replaced
    accepts the older for an overlap: these two may differ.";
const SETTLED: Duration = Duration::from_secs(40);

/// One change: of which kind, and what is merged into its spec.
fn changes() -> Vec<(&'static str, Value)> {
    let method = |secret: Value| json!({"authentication": {"methods": [{"type": "ClientSecret", "secret": secret}]}});
    let rule = |rule: Value| json!({"rules": [rule]});
    let path = json!({"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}});
    vec![
        ("OAuthClient", json!({"displayName": "Checkout"})),
        ("OAuthClient", json!({"state": "Suspended"})),
        ("OAuthClient", json!({"state": "Sleeping"})),
        ("OAuthClient", json!({"clientId": "another"})),
        ("OAuthClient", json!({"issuer": "another"})),
        ("OAuthClient", json!({"grantTypes": ["ClientCredentials", "RefreshToken"]})),
        ("OAuthClient", json!({"grantTypes": ["Password"]})),
        ("OAuthClient", json!({"access": []})),
        (
            "OAuthClient",
            json!({"access": [{"audience": "https://orders.$NS.svc", "scopes": ["orders:read", "orders:none"]}]}),
        ),
        ("OAuthClient", json!({"access": [{"audience": "https://none.$NS.svc", "scopes": ["orders:read"]}]})),
        ("OAuthClient", json!({"access": [{"audience": "no uri", "scopes": ["orders:read"]}]})),
        ("OAuthClient", json!({"defaultAudience": "https://orders.$NS.svc"})),
        ("OAuthClient", json!({"defaultAudience": "https://none.$NS.svc"})),
        ("OAuthClient", json!({"redirectUris": ["https://shop.example.com/back"]})),
        ("OAuthClient", json!({"redirectUris": ["http://shop.example.com/back"]})),
        ("OAuthClient", method(json!({"name": "elsewhere"}))),
        ("OAuthClient", method(json!({"mode": "Reference", "name": "theirs"}))),
        ("OAuthClient", method(json!({"keys": {"clientSecret": "password"}}))),
        ("OAuthClient", method(json!({"template": {"labels": {"team": "web"}}}))),
        ("OAuthClient", method(json!({"template": {"labels": {"kubernetes.io/x": "web"}}}))),
        ("OAuthClient", method(json!({"rotation": {"period": "720h"}}))),
        ("OAuthClient", method(json!({"rotation": {"period": "1h", "overlap": "2h"}}))),
        ("OAuthClient", json!({"authentication": {"methods": [{"type": "None"}]}})),
        (
            "OAuthClient",
            json!({"authentication": {"methods": [{"type": "ServiceAccount", "serviceAccounts": [{"name": "checkout"}]}]}}),
        ),
        ("OAuthClient", json!({"tokens": {"accessTokenLifetime": "5m"}})),
        ("OAuthClient", json!({"tokens": {"accessTokenLifetime": "soon"}})),
        ("OAuthClient", json!({"tokens": {"signingKey": "none"}})),
        ("OAuthClient", json!({"tokens": {"claims": {"iss": "me"}}})),
        ("OAuthClient", json!({"tokens": {"format": "Opaque"}})),
        ("OAuthClient", json!({"deletionPolicy": "Retain"})),
        ("ScopePolicy", json!({"audience": "https://other.$NS.svc"})),
        ("ScopePolicy", json!({"audience": "https://example.com"})),
        ("ScopePolicy", json!({"mode": "Shadow"})),
        ("ScopePolicy", json!({"routes": [{"hosts": ["elsewhere.example.com"]}]})),
        ("ScopePolicy", json!({"targetRefs": []})),
        ("ScopePolicy", json!({"scopes": []})),
        ("ScopePolicy", json!({"scopes": [{"name": "orders:read"}, {"name": "orders:write"}]})),
        ("ScopePolicy", json!({"grants": []})),
        ("ScopePolicy", json!({"grants": [{"scopes": ["orders:none"], "to": [{"namespaces": "Same"}]}]})),
        ("ScopePolicy", json!({"grants": [{"scopes": ["orders:read"], "to": [{"client": "$NS.checkout"}]}]})),
        ("ScopePolicy", json!({"unmatched": "Authenticated"})),
        ("ScopePolicy", json!({"corsPreflight": "Allow"})),
        ("ScopePolicy", json!({"tokenSources": ["Header", "Cookie"]})),
        ("ScopePolicy", rule(json!({"name": "a", "matches": [path], "protection": "Public"}))),
        ("ScopePolicy", rule(json!({"name": "a", "matches": [path], "protection": "Scoped"}))),
        (
            "ScopePolicy",
            rule(json!({"name": "a", "matches": [path], "protection": "Scoped", "allow": [{"scopes": ["none:such"]}]})),
        ),
        (
            "ScopePolicy",
            rule(
                json!({"name": "a", "matches": [path], "protection": "Scoped", "allow": [{"scopes": ["orders:read"], "when": "path.id =="}]}),
            ),
        ),
        (
            "ScopePolicy",
            rule(
                json!({"name": "a", "matches": [{"methods": ["GET"], "path": {"type": "Exact", "value": "orders"}}], "protection": "Public"}),
            ),
        ),
    ]
}

/// A tenant's objects, by kind.
fn tenant(issuer: &str, namespace: &str) -> BTreeMap<&'static str, Value> {
    let audience = format!("https://orders.{namespace}.svc");
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let policy = json!({
        "issuer": issuer, "audience": audience, "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}],
        "scopes": [{"name": "orders:read"}], "grants": [{"scopes": ["orders:read"], "to": [{"namespaces": "Same"}]}],
        "rules": [{"name": "read", "matches": [{"methods": ["GET"], "path": {"type": "Template", "value": "/orders/{id}"}}],
            "protection": "Scoped", "allow": [{"scopes": ["orders:read"]}]}],
    });
    let client = json!({"issuer": issuer, "access": [{"audience": audience, "scopes": ["orders:read"]}]});
    [
        ("ScopePolicy", object("ScopePolicy", "orders", policy)),
        ("OAuthClient", object("OAuthClient", "checkout", client)),
    ]
    .into()
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let (Some(members), Some(changes)) = (into.as_object_mut(), patch.as_object()) else {
        *into = patch.clone();
        return;
    };
    for (name, change) in changes {
        merge(members.entry(name.clone()).or_insert(Value::Null), change);
    }
}

struct Bench {
    client: Client,
    issuer_name: String,
    testbed: Testbed,
}

impl Bench {
    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = if kind == "OAuthClient" {
            ApiResource::erase::<OAuthClient>(&())
        } else {
            ApiResource::erase::<ScopePolicy>(&())
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn create(&self, object: &Value) -> Result<(), String> {
        let kind = object["kind"].as_str().expect("a kind");
        let namespace = object["metadata"]["namespace"].as_str().expect("a namespace").to_owned();
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let created = self.api(kind, &namespace).create(&PostParams::default(), &object).await;
        created.map(drop).map_err(|error| message(&error, &namespace))
    }

    /// The tenant as it is, once it is the same at two looks and every object was seen to by the controller.
    async fn settled(&self, namespace: &str) -> Value {
        let look = async || {
            let before = self.state(namespace).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            let (state, current) = self.state(namespace).await;
            (current && state == before.0).then_some(state).ok_or(before)
        };
        await_condition("rest", SETTLED, look, Result::is_ok).await.expect("accepted as rest")
    }

    async fn state(&self, namespace: &str) -> (Value, bool) {
        let clients: Api<OAuthClient> = Api::namespaced(self.client.clone(), namespace);
        let policies: Api<ScopePolicy> = Api::namespaced(self.client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let parameters = ListParams::default();
        let mut state = BTreeMap::new();
        let mut current = true;
        for client in clients.list(&parameters).await.expect("list") {
            let mut seen = client_state(&client);
            let ours = client.spec.issuer == self.issuer_name;
            current &= !ours || seen["observed"] == json!(client.metadata.generation);
            seen["observed"] = Value::Null;
            state.insert(format!("client {}", client.name_any()), seen);
        }
        for policy in policies.list(&parameters).await.expect("list") {
            let status = serde_json::to_value(&policy.status).expect("JSON");
            current &= status["observedGeneration"] == json!(policy.metadata.generation);
            state.insert(format!("policy {}", policy.name_any()), json!([conditions(&status), status["problems"]]));
        }
        for secret in secrets.list(&parameters).await.expect("list") {
            state.insert(format!("secret {}", secret.name_any()), secret_state(&secret));
        }
        let text = serde_json::to_string(&state)
            .expect("JSON")
            .replace(namespace, "$NS")
            .replace("True Rotating", "True Written");
        (serde_json::from_str(&text).expect("JSON"), current)
    }

    /// What changing it, and creating it changed, come to.
    async fn both(&self, kind: &str, change: &Value) -> [Result<Value, String>; 2] {
        let [changed, fresh] = [self.testbed.namespace("changed").await, self.testbed.namespace("fresh").await];
        for object in tenant(&self.issuer_name, &changed).values() {
            self.create(object).await.expect("a good object");
        }
        self.settled(&changed).await;
        let fill = |namespace: &str| -> Value {
            serde_json::from_str(&change.to_string().replace("$NS", namespace)).expect("JSON")
        };
        let name = if kind == "OAuthClient" { "checkout" } else { "orders" };
        let patch = Patch::Merge(json!({"spec": fill(&changed)}));
        let patched = self.api(kind, &changed).patch(name, &PatchParams::default(), &patch).await;
        let first = match patched {
            Ok(_) => Ok(self.settled(&changed).await),
            Err(error) => Err(message(&error, &changed)),
        };
        let mut objects = tenant(&self.issuer_name, &fresh);
        merge(&mut objects.get_mut(kind).expect("a kind of the tenant")["spec"], &fill(&fresh));
        let mut created = Ok(());
        for object in objects.values() {
            created = created.and(self.create(object).await);
        }
        let second = match created {
            Ok(()) => Ok(self.settled(&fresh).await),
            Err(why) => Err(why),
        };
        [first, second]
    }
}

/// The state, less what a client that is not ready still has.
fn comparable(state: &Value) -> Value {
    let mut state = state.clone();
    let client = &state["client checkout"]["conditions"];
    let ready = client.as_array().is_some_and(|all| all.iter().any(|one| one == "Ready=True Ready"));
    if !ready {
        for left in ["granted", "refused", "secret"] {
            state["client checkout"][left] = Value::Null;
        }
        let members = state.as_object_mut().expect("a map");
        members.retain(|name, _| !name.starts_with("secret "));
    }
    state
}

fn message(error: &kube::Error, namespace: &str) -> String {
    error.to_string().replace(namespace, "$NS")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_single_change_comes_to_what_creating_it_so_comes_to() {
    let mut case = Case::begin("F19 spec mutation", TRIED, "OAuthClient, ScopePolicy");
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let _controller = installation.start(Role::Controller).await;
    let bench = Bench { client: testbed.client().await, issuer_name: installation.issuer_name.clone(), testbed };
    let (mut same, mut refused, mut only_in_place, mut wrong) = (0, 0, 0, Vec::new());
    for (kind, change) in changes() {
        let [first, second] = bench.both(kind, &change).await;
        match (&first, &second) {
            (Ok(first), Ok(second)) if comparable(first) == comparable(second) => same += 1,
            (Err(_), Err(_)) => refused += 1,
            // What cannot change once it is there.
            (Err(why), Ok(_)) if why.contains("cannot change") => only_in_place += 1,
            _ => {
                println!("{kind} {change}: {first:#?} but {second:#?}");
                wrong.push(change.to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    case.figure("changes", changes().len());
    case.figure("same state", same);
    case.figure("refused both ways", refused);
    case.figure("refused as immutable", only_in_place);
    case.held();
}
