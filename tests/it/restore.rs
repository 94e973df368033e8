//! Everything exported, everything lost, everything applied again: in whatever order, without any status.
//!
//! The export is `kubectl get`, less what belongs to the cluster it came from. Two kinds of loss: the tenant's objects under
//! the eyes of a running installation, and the installation's own with them while nothing runs.

use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::{Installation, Role};
use crate::support::kubectl::Kubectl;
use crate::support::orders::{ORDERS, allowance, client, object};
use crate::support::scratch::Scratch;
use crate::support::tenant::{SOON, Tenant, token};
use crate::support::testbed::Testbed;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A tenant with something of every kind, and a client of every kind of standing.
fn everything() -> String {
    let rotation =
        "  authentication: {methods: [{type: ClientSecret, secret: {rotation: {period: 720h, overlap: 24h}}}]}\n";
    let legacy = r#"  clientId: $NS-legacy
  access: [{audience: "https://$NS.example.com", scopes: ["front:read"]}]
"#;
    [
        allowance(ALLOWED),
        ORDERS.to_owned(),
        object("ScopePolicy", "front", FRONT),
        object("OAuthClient", "legacy", legacy),
        client("plain", ""),
        client("rotating", rotation),
        client("keeping", "  deletionPolicy: Retain\n"),
    ]
    .concat()
}

const ALLOWED: &str = r#"  hosts: [$NS.example.com, "*.$NS.example.com"]
  audiences: [https://$NS.example.com]
  clientIds: [$NS-legacy]
"#;

const FRONT: &str = r#"  audience: https://$NS.example.com
  routes: [{hosts: [$NS.example.com]}, {hosts: ["*.$NS.example.com"]}]
  scopes: [{name: "front:read"}]
  grants: [{scopes: ["front:read"], to: [{namespaces: Same}]}]
"#;

/// Ages of objects and times of secret values count seconds.
const SECOND: Duration = Duration::from_millis(1100);
const CLIENTS: [&str; 4] = ["plain", "legacy", "rotating", "keeping"];

/// A tenant's export, and what must be the same after the restore.
struct Saved {
    objects: String,
    secrets: String,
    /// What was accepted of each object, and under which client id.
    standing: BTreeMap<String, Value>,
    /// Client id and secret of each client.
    credentials: BTreeMap<String, (String, String)>,
}

impl Saved {
    fn of(tenant: &Tenant<'_>) -> Self {
        let name = tenant.namespace.as_str();
        let cluster = export(tenant.kubectl(), &[&format!("namespace/{name}"), &format!("nsa/{name}")]);
        let own = export(tenant.kubectl(), &["scp,oac", "-n", name]);
        let objects = [cluster, own].concat();
        let secrets = export(tenant.kubectl(), &["secrets", "-n", name]);
        let credentials = CLIENTS.map(|client| (client.to_owned(), credentials(tenant, client))).into();
        Self { objects: manifest(&objects), secrets: manifest(&secrets), standing: standing(tenant), credentials }
    }

    /// Every client has its id and a value that gets a token, and nobody lost anything.
    async fn holds_again(&self, tenant: &Tenant<'_>, issuer: SocketAddr) {
        let look = async || standing(tenant);
        await_condition("everything to stand as before", SOON, look, |standing| *standing == self.standing).await;
        for client in CLIENTS {
            tenant.until_token(issuer, client).await;
            assert_eq!(credentials(tenant, client).0, self.credentials[client].0, "the id of {client}");
        }
    }

    /// And the values of before are those of now.
    async fn values_hold(&self, tenant: &Tenant<'_>, issuer: SocketAddr) {
        for (client, (id, secret)) in &self.credentials {
            let look = async || token(issuer, id, secret).await;
            await_condition(&format!("the old value of {client} to be good"), SOON, look, |answer| {
                answer.status == 200
            })
            .await;
            assert_eq!(credentials(tenant, client).1, *secret, "{client}");
        }
    }
}

fn credentials(tenant: &Tenant<'_>, client: &str) -> (String, String) {
    let value = |key| tenant.installation.secret_value(&tenant.namespace, &format!("{client}-oauth"), key);
    (value("client_id"), value("client_secret"))
}

/// Objects as a person exports them, less what belongs to this cluster and to status.
fn export(kubectl: &Kubectl, what: &[&str]) -> Vec<Value> {
    let args = [&["get", "-o", "json"], what].concat();
    let list: Value = serde_json::from_str(&kubectl.must(&args)).expect("kubectl prints JSON");
    let mut items: Vec<_> = list["items"].as_array().expect("a list").clone();
    for item in &mut items {
        item.as_object_mut().expect("an object").remove("status");
        let metadata = item["metadata"].as_object_mut().expect("metadata");
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(key);
        }
    }
    items
}

fn manifest(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// `kubectl apply`, the plain one, as a restore by hand does it.
fn apply(kubectl: &Kubectl, manifest: &str) {
    let folder = Scratch::new("restore");
    let file = folder.join("list.json");
    std::fs::write(&file, manifest).expect("write a manifest");
    kubectl.must(&["apply", "-f", file.to_str().expect("the clone's path is text")]);
}

/// What the controller says of each object, without times and reasons.
fn standing(tenant: &Tenant<'_>) -> BTreeMap<String, Value> {
    let name = tenant.namespace.as_str();
    let get = |kind: &str| -> Vec<Value> {
        let list = tenant.kubectl().must(&["get", kind, "-n", name, "-o", "json"]);
        serde_json::from_str::<Value>(&list).expect("JSON")["items"].as_array().expect("a list").clone()
    };
    let of = |object: Value| {
        let status = &object["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let conditions: BTreeMap<_, _> =
            conditions.map(|one| (one["type"].to_string(), one["status"].clone())).collect();
        let stands = json!({
            "clientId": status["clientId"], "granted": status["granted"], "problems": status["problems"],
            "conditions": conditions,
        });
        (object["metadata"]["name"].to_string(), stands)
    };
    ["scp", "oac"].into_iter().flat_map(get).map(of).collect()
}

/// Removes the tenant's objects as a person would; the running controller removes what follows from them.
async fn lose(tenant: &Tenant<'_>) {
    tenant.run(&["delete", "oac,scp", "--all", "--timeout=5s"]);
    tenant.kubectl().must(&["delete", "nsa", &tenant.namespace]);
    let ours = || tenant.run(&["get", "secret", "-o", "name"]);
    await_condition("the clients' Secrets to go", SOON, async || ours(), |left| left == "secret/keeping-oauth\n").await;
    tenant.run(&["delete", "secrets", "--all", "--timeout=5s"]);
}

/// A tenant of a running installation whose clients are ready.
async fn begin<'a>(testbed: &Testbed, installation: &'a Installation) -> (Tenant<'a>, Saved) {
    let tenant = Tenant::new(testbed, installation).await;
    tenant.apply(&everything());
    tenant.wait_ready(&CLIENTS);
    for client in CLIENTS {
        tenant.until_token(installation.issuer, client).await;
    }
    let saved = Saved::of(&tenant);
    // What is made after this is not made in the same one.
    tokio::time::sleep(SECOND).await;
    (tenant, saved)
}

/// A tenant's objects are lost and restored under the eyes of a running installation.
async fn restored(restore: impl AsyncFnOnce(&Tenant<'_>, &Saved)) {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let _roles = installation.start_all().await;
    let (tenant, saved) = begin(&testbed, &installation).await;
    lose(&tenant).await;
    restore(&tenant, &saved).await;
    saved.holds_again(&tenant, installation.issuer).await;
}

#[tokio::test]
async fn restore_of_secrets_before_clients_keeps_every_value() {
    restored(async |tenant, saved| {
        apply(tenant.kubectl(), &saved.secrets);
        apply(tenant.kubectl(), &saved.objects);
        saved.holds_again(tenant, tenant.installation.issuer).await;
        saved.values_hold(tenant, tenant.installation.issuer).await;
    })
    .await;
}

#[tokio::test]
async fn restore_of_clients_alone_ends_with_values_that_get_tokens() {
    restored(async |tenant, saved| apply(tenant.kubectl(), &saved.objects)).await;
}

#[tokio::test]
async fn restore_of_secrets_over_the_top_of_clients_ends_with_values_that_get_tokens() {
    restored(async |tenant, saved| {
        apply(tenant.kubectl(), &saved.objects);
        // At once, while the controller makes new ones.
        apply(tenant.kubectl(), &saved.secrets);
        saved.holds_again(tenant, tenant.installation.issuer).await;

        lose(tenant).await;
        apply(tenant.kubectl(), &saved.objects);
        saved.holds_again(tenant, tenant.installation.issuer).await;
        // Last, when all had come to rest.
        apply(tenant.kubectl(), &saved.secrets);
        let versions = tenant.at_rest().await;
        saved.holds_again(tenant, tenant.installation.issuer).await;
        assert_eq!(tenant.versions().await, versions, "rest was rest");
    })
    .await;
}

#[tokio::test]
async fn restore_after_the_loss_of_the_installation_itself() {
    for with_secrets in [true, false] {
        let testbed = Testbed::shared();
        let installation = Installation::new(&testbed, &[]);
        let roles = installation.start_all().await;
        let (tenant, saved) = begin(&testbed, &installation).await;
        let system = installation.system_namespace();
        let namespaces = [system.clone(), format!("{system}-keys"), format!("{system}-replicas")];
        let save = |what: &str, namespace: &str| manifest(&export(tenant.kubectl(), &[what, "-n", namespace]));
        let rings = save("sgk", &system);
        let secrets = [save("secrets", &namespaces[0]), save("secrets", &namespaces[1])];

        drop(roles);
        tenant.run(&["delete", "oac,scp,secrets", "--all"]);
        tenant.kubectl().must(&["delete", "nsa", &tenant.namespace]);
        for namespace in &namespaces {
            let all = "sgk,secrets,configmaps,leases,events.events.k8s.io";
            tenant.kubectl().must(&["delete", all, "--all", "-n", namespace]);
        }

        if with_secrets {
            // The installation's own keys before anything runs that would make new ones.
            for secrets in &secrets {
                apply(tenant.kubectl(), secrets);
            }
            apply(tenant.kubectl(), &saved.secrets);
        }
        apply(tenant.kubectl(), &rings);
        let mut roles = [Role::Controller, Role::Issuer, Role::Verifier].map(|role| installation.spawn(role));
        apply(tenant.kubectl(), &saved.objects);
        for role in &mut roles {
            role.process.ready(role.admin).await;
        }
        let issuer = roles[1].issuer;
        saved.holds_again(&tenant, issuer).await;
        if with_secrets {
            saved.values_hold(&tenant, issuer).await;
        }
    }
}

/// Claims a host of its own and one that a rival claims as well. Its one open path tells whose policy answers.
fn claims() -> String {
    let policy = r#"  audience: https://open.$NS.svc
  routes: [{hosts: [$NS.example.com]}, {hosts: [$ISSUER-shared.example.com]}]
  scopes: [{name: "open:read"}]
  rules:
  - {name: open, matches: [{methods: [GET], path: {type: Exact, value: "/of-$NS"}}], protection: Public}
"#;
    let allowed = "  hosts: [$NS.example.com, $ISSUER-shared.example.com]\n";
    [allowance(allowed), object("ScopePolicy", "open", policy)].concat()
}

/// Whether the tenant's policy answers for the host.
async fn owns(tenant: &Tenant<'_>, host: &str, verifier: SocketAddr) -> bool {
    let target = format!("/ext-authz/by-host/of-{}", tenant.namespace);
    Request::get(&target).header("host", host).send(verifier).await.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test]
async fn restore_gives_no_uncontested_host_to_another() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let [_controller, _issuer, verifier] = installation.start_all().await;
    let tenants = [Tenant::new(&testbed, &installation).await, Tenant::new(&testbed, &installation).await];
    let [first, second] = &tenants;
    let hosts =
        [first.fill("$NS.example.com"), second.fill("$NS.example.com"), first.fill("$ISSUER-shared.example.com")];
    // For the first one's host, the second one's and the shared one: whether the first and the second answer.
    let owners = async || {
        let mut owners = Vec::new();
        for host in &hosts {
            owners.push([owns(first, host, verifier.http).await, owns(second, host, verifier.http).await]);
        }
        owners
    };
    let until = async |what: &str, expected: [[bool; 2]; 3]| {
        await_condition(what, SOON, async || owners().await, |owners| *owners == expected).await;
    };

    first.apply(&claims());
    tokio::time::sleep(SECOND).await;
    second.apply(&claims());
    until("the oldest to have the shared one", [[true, false], [false, true], [true, false]]).await;
    let saved = [second, first].map(|tenant| {
        let name = tenant.namespace.as_str();
        let kubectl = tenant.kubectl();
        manifest(
            &[export(kubectl, &[&format!("nsa/{name}"), &format!("ns/{name}")]), export(kubectl, &["scp", "-n", name])]
                .concat(),
        )
    });
    for tenant in &tenants {
        tenant.run(&["delete", "scp", "--all"]);
        tenant.kubectl().must(&["delete", "nsa", &tenant.namespace]);
    }
    until("nobody to have any", [[false; 2]; 3]).await;
    for one in &saved {
        apply(first.kubectl(), one);
        tokio::time::sleep(SECOND).await;
    }
    until("only the contested one to move", [[true, false], [false, true], [false, true]]).await;
}
