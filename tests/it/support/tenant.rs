//! A tenant of an installation: namespaces with policies and clients, and what a person would look at.
//!
//! Flows in: manifests as in [`super::orders`]. Flows out: fields of objects, versions of everything there is, answers to requests for tokens.

use super::await_condition;
use super::http::{Request, Response};
use super::installation::Installation;
use super::kubectl::Kubectl;
use super::orders::{self, ORDERS, client};
use super::testbed::Testbed;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long what takes a few writes may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Tenant<'a> {
    pub installation: &'a Installation,
    pub namespace: String,
    client: Client,
}

impl<'a> Tenant<'a> {
    pub async fn new(testbed: &Testbed, installation: &'a Installation) -> Self {
        let namespace = testbed.namespace("tenant").await;
        Self { installation, namespace, client: testbed.client().await }
    }

    pub fn kubectl(&self) -> &Kubectl {
        &self.installation.kubectl
    }

    pub fn api_client(&self) -> Client {
        self.client.clone()
    }

    /// Runs kubectl in the tenant's namespace.
    pub fn run(&self, args: &[&str]) -> String {
        let mut args = args.to_vec();
        args.extend(["-n", &self.namespace]);
        self.kubectl().must(&args)
    }

    pub fn apply(&self, manifest: &str) {
        self.kubectl().apply(&self.fill(manifest));
    }

    pub fn fill(&self, manifest: &str) -> String {
        orders::fill(manifest, self.installation, &self.namespace)
    }

    /// Applies [`ORDERS`] and clients of it, and waits until they are ready.
    pub fn open(&self, clients: &[&str]) {
        let manifests: Vec<_> = clients.iter().map(|name| client(name, "")).collect();
        self.apply(&[ORDERS, &manifests.concat()].concat());
        self.wait_ready(clients);
    }

    /// Waits until these clients are ready.
    pub fn wait_ready(&self, clients: &[&str]) {
        let mut args = vec!["wait", "--for=condition=Ready", "--timeout=20s", "oac"];
        args.extend(clients);
        self.run(&args);
    }

    /// A field of an object, empty where there is none.
    pub fn field(&self, object: &str, path: &str) -> String {
        self.run(&["get", object, "--ignore-not-found", "-o", &format!("jsonpath={{{path}}}")])
    }

    /// Waits until a field is as `accept` wants it.
    pub async fn until(
        &self,
        (what, patience): (&str, Duration),
        (object, path): (&str, &str),
        accept: impl Fn(&String) -> bool,
    ) -> String {
        await_condition(what, patience, async || self.field(object, path), accept).await
    }

    /// The reason a client's condition gives.
    pub fn reason(&self, client: &str, condition: &str) -> String {
        self.field(&format!("oac/{client}"), &format!(r#".status.conditions[?(@.type=="{condition}")].reason"#))
    }

    /// Asks for a token with what lies in the client's Secret now.
    pub async fn token(&self, issuer: SocketAddr, client: &str) -> Response {
        self.token_with(issuer, client, &[]).await
    }

    /// The same with more parameters.
    pub async fn token_with(&self, issuer: SocketAddr, client: &str, more: &[(&str, &str)]) -> Response {
        let secret = format!("{client}-oauth");
        let [id, value] =
            ["client_id", "client_secret"].map(|key| self.installation.secret_value(&self.namespace, &secret, key));
        request_token(issuer, (&id, &value), more).await
    }

    /// Waits until what lies in the client's Secret gets a token.
    pub async fn until_token(&self, issuer: SocketAddr, client: &str) {
        let look = async || self.token(issuer, client).await;
        await_condition(&format!("a token for {client}"), SOON, look, |answer| answer.status == 200).await;
    }

    /// Asks the verifier as Envoy does over HTTP about a path of `orders`.
    pub async fn ask(&self, verifier: SocketAddr, path: &str, token: Option<&str>) -> Response {
        let (host, target) = orders::question(&self.namespace, path);
        let request = Request::get(&target).header("host", &host);
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.send(verifier).await.expect("an answer of the verifier")
    }

    /// The resourceVersion of everything of the tenant's and the installation's but Leases.
    pub async fn versions(&self) -> BTreeMap<String, String> {
        let system = self.installation.system_namespace();
        let namespaces = [self.namespace.clone(), format!("{system}-keys"), format!("{system}-replicas"), system];
        let mut versions = BTreeMap::new();
        for (group, kind) in KINDS {
            for namespace in &namespaces {
                let resource = resource(group, kind);
                let objects: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
                let list = objects.list(&ListParams::default()).await.expect("list");
                versions.extend(list.into_iter().map(|object| entry(kind, object)));
            }
        }
        // Of what has no namespace, and of the Events about it, only what carries the tenant's name.
        for (group, kind) in [("", "Namespace"), ("countersign.dev", "NamespaceAllowance"), ("events.k8s.io", "Event")]
        {
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(group, kind));
            let list = objects.list(&ListParams::default()).await.expect("list");
            let ours = |object: &DynamicObject| {
                object.metadata.name.as_deref().is_some_and(|name| name.starts_with(&self.namespace))
            };
            versions.extend(list.into_iter().filter(ours).map(|object| entry(kind, object)));
        }
        versions
    }

    /// Waits until two looks some time apart see the same versions, and returns them.
    pub async fn at_rest(&self) -> BTreeMap<String, String> {
        let look = async || {
            let before = self.versions().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let after = self.versions().await;
            (before == after).then_some(after).ok_or(before)
        };
        await_condition("rest", SOON, look, Result::is_ok).await.expect("accepted as resting")
    }
}

const KINDS: [(&str, &str); 6] = [
    ("", "ConfigMap"),
    ("", "Secret"),
    ("events.k8s.io", "Event"),
    ("countersign.dev", "OAuthClient"),
    ("countersign.dev", "ScopePolicy"),
    ("countersign.dev", "SigningKey"),
];

fn resource(group: &str, kind: &str) -> ApiResource {
    let version = if group == "countersign.dev" { "v1alpha1" } else { "v1" };
    let plural = match kind {
        "ScopePolicy" => "scopepolicies".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}

fn entry(kind: &str, object: DynamicObject) -> (String, String) {
    let metadata = object.metadata;
    let name = [metadata.namespace, metadata.name].map(Option::unwrap_or_default).join("/");
    (format!("{kind} {name}"), metadata.resource_version.unwrap_or_default())
}

/// Asks for a token.
pub async fn token(issuer: SocketAddr, client_id: &str, client_secret: &str) -> Response {
    request_token(issuer, (client_id, client_secret), &[]).await
}

async fn request_token(issuer: SocketAddr, (id, secret): (&str, &str), more: &[(&str, &str)]) -> Response {
    let fields = [&[("grant_type", "client_credentials")], more].concat();
    Request::form("/oauth2/token", &fields).basic(id, secret).send(issuer).await.expect("an answer of the issuer")
}
