//! Attacks by way of the Kubernetes API, at a real API server with the permissions of `deploy/`. The ids are those of docs/security.md.

use crate::support::await_condition;
use crate::support::installation::{Installation, Role};
use crate::support::orders::{ORDERS, client};
use crate::support::standalone::assert_error;
use crate::support::tenant::{SOON, Tenant, token};
use crate::support::testbed::Testbed;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use std::time::Duration;

/// A Secret's name in the spec of a client.
fn named(secret: &str) -> String {
    format!("  authentication: {{methods: [{{type: ClientSecret, secret: {{name: {secret}}}}}]}}\n")
}

fn secrets(tenant: &Tenant<'_>) -> Api<Secret> {
    Api::namespaced(tenant.api_client(), &tenant.namespace)
}

#[tokio::test]
async fn k8s_03_more_than_anyone_needs_is_refused_by_the_api_server() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let scopes: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
    let uris: Vec<String> =
        (0..20).map(|number| format!("https://a.example/{number}/{}", "x".repeat(50_000))).collect();
    let access = |scopes: Value| json!({"access": [{"audience": "https://a.b", "scopes": scopes}]});
    let cases = [
        ("10,000 scopes", access(json!(scopes)), "must have at most"),
        ("a megabyte of redirect URIs", json!({"redirectUris": uris}), "Too long"),
        ("a control character in a scope", access(json!(["a\u{1}b"])), "should match"),
        ("a line end in a scope", access(json!(["a\nb"])), "should match"),
        ("a control character in a client id", json!({"clientId": "a\u{0}b"}), "should match"),
    ];
    for (what, spec, said) in cases {
        let object = json!({
            "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": "large", "namespace": tenant.namespace}, "spec": spec,
        });
        let file = crate::support::scratch::Scratch::new("large");
        let path = file.join("large.json");
        std::fs::write(&path, object.to_string()).unwrap();
        let refused = tenant.kubectl().refused(&["apply", "--server-side", "-f", path.to_str().unwrap()]);
        assert!(refused.contains(said), "{what}: {}", refused.chars().take(600).collect::<String>());
    }
}

/// What is still allowed hurts nobody: the largest annotation there may be, and expressions that would be bombs.
#[tokio::test]
async fn k8s_03_what_is_large_but_allowed_is_dealt_with() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    let bombs = [
        "token.sub.matches('(a+)+$')",
        "token.a.all(x, token.a.all(y, token.a.all(z, x == y)))",
        "'aaaaaaaaaaaaaaaa'.matches('(a|aa)+$')",
    ];
    let rule = |(number, bomb): (usize, &str)| {
        format!(
            "  - {{name: bomb-{number}, matches: [{{path: {{type: Exact, value: /bomb/{number}}}}}], protection: Scoped, allow: [{{scopes: ['orders:read'], when: \"{bomb}\"}}]}}\n"
        )
    };
    let rules: String = bombs.into_iter().enumerate().map(rule).collect();
    let large = "x".repeat(262_000 - 256);
    let object = client("annotated", "").replace(
        "metadata: {name: annotated, ",
        &format!("metadata: {{name: annotated, annotations: {{example.com/large: {large}}}, "),
    );
    tenant.apply(&[ORDERS, &rules, &object].concat());
    tenant.wait_ready(&["annotated"]);
    tenant.until_token(issuer.issuer, "annotated").await;
    let problems = || tenant.field("scp/orders", ".status.problems[*].reason");
    await_condition(
        "every bomb to be told",
        SOON,
        async || problems(),
        |reasons| reasons == "InvalidCondition InvalidCondition InvalidCondition",
    )
    .await;
    let beyond = object.replace(&large, &"x".repeat(262_145));
    let file = crate::support::scratch::Scratch::new("annotation");
    std::fs::write(file.join("a.yaml"), tenant.fill(&beyond)).unwrap();
    let refused = tenant.kubectl().refused(&["apply", "--server-side", "-f", file.join("a.yaml").to_str().unwrap()]);
    assert!(refused.contains("Too long"), "{}", refused.chars().take(300).collect::<String>());
}

#[tokio::test]
async fn k8s_04_secrets_of_others_are_never_written_whatever_they_look_like() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let record = format!("{}/{}/somebody-else", installation.issuer_name, tenant.namespace);
    let theirs = [
        ("plain", "Opaque", json!({})),
        ("typed", "kubernetes.io/basic-auth", json!({})),
        // What we label: not a sign of whose it is.
        ("labelled", "Opaque", json!({"labels": {"app.kubernetes.io/managed-by": "countersign"}})),
        ("consenting-to-another", "Opaque", json!({"annotations": {"countersign.dev/client": "another"}})),
        ("of-another-client", "Opaque", json!({"annotations": {"countersign.dev/owner": record}})),
        (
            "of-another-issuer",
            "Opaque",
            json!({"annotations": {"countersign.dev/owner": format!("other/{}/of-another-issuer", tenant.namespace)}}),
        ),
    ];
    let mut before = Vec::new();
    for (name, kind, metadata) in &theirs {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind,
            "stringData": {"client_secret": "kept", "username": "u", "password": "p"},
        });
        object["metadata"]["name"] = json!(format!("{name}-oauth"));
        before.push(
            secrets(&tenant).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap(),
        );
    }
    let _controller = installation.start(Role::Controller).await;
    let clients = theirs.each_ref().map(|(name, ..)| client(name, ""));
    tenant.apply(&[ORDERS.to_owned(), clients.concat()].concat());
    for (name, ..) in &theirs {
        let look = async || tenant.reason(name, "Ready");
        await_condition(&format!("{name} to be refused"), SOON, look, |reason| reason == "SecretNotOwned").await;
    }
    let names = theirs.each_ref().map(|(name, ..)| *name);
    tenant.run(&[&["delete", "oac"], &names[..]].concat());
    tokio::time::sleep(Duration::from_secs(3)).await;
    for secret in before {
        let name = secret.metadata.name.as_deref().unwrap();
        assert_eq!(secrets(&tenant).get(name).await.unwrap(), secret, "{name} as it was");
    }
}

#[tokio::test]
async fn k8s_05_clients_of_one_secret_do_not_fight_even_for_minutes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    tenant.apply(&[ORDERS.to_owned(), client("older", &named("shared"))].concat());
    tenant.wait_ready(&["older"]);
    // Ages are told in seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    tenant.apply(&client("a-younger", &named("shared")));
    let look = async || tenant.reason("a-younger", "Ready");
    await_condition("the younger to be told", SOON, look, |reason| reason == "SecretNameConflict").await;
    let versions = tenant.at_rest().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(tenant.versions().await, versions, "written although nothing changed");
    let id = installation.secret_value(&tenant.namespace, "shared", "client_id");
    assert_eq!(id, format!("{}.older", tenant.namespace));
    let secret = installation.secret_value(&tenant.namespace, "shared", "client_secret");
    assert_eq!(token(issuer.issuer, &id, &secret).await.status, 200);

    tenant.run(&["delete", "oac", "older"]);
    // A Secret that is not one's own is looked at every half minute.
    let look = async || tenant.reason("a-younger", "Ready");
    await_condition("the younger to have it", Duration::from_secs(90), look, |reason| reason == "Ready").await;
    assert_eq!(
        installation.secret_value(&tenant.namespace, "shared", "client_id"),
        format!("{}.a-younger", tenant.namespace)
    );
    assert_error(&token(issuer.issuer, &id, &secret).await, 401, "invalid_client");
}

#[tokio::test]
async fn k8s_08_owner_references_and_copies_lose_nobody_data() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let other = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);
    tenant.apply(&client("kept", "  deletionPolicy: Retain\n"));
    tenant.wait_ready(&["kept"]);
    let original = secrets(&tenant).get("checkout-oauth").await.unwrap();
    assert_eq!(original.metadata.owner_references, None, "nothing a garbage collector could act on");

    // A copy, label, owner record and all.
    let mut copy = original.clone();
    copy.metadata.namespace = Some(other.namespace.clone());
    (copy.metadata.uid, copy.metadata.resource_version, copy.metadata.managed_fields) = (None, None, None);
    let copy = secrets(&other).create(&PostParams::default(), &copy).await.unwrap();
    // An owner that is not there.
    let owner = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-4000-8000-000000000000"
    }]}});
    tenant.run(&["patch", "secret", "kept-oauth", "--type=merge", "-p", &owner.to_string()]);
    tenant.until_token(issuer.issuer, "kept").await;
    let kept = tenant.field("secret/kept-oauth", ".data.client_secret");

    tenant.run(&["delete", "oac", "checkout", "kept"]);
    tenant.until(("the Secret to go", SOON), ("secret/checkout-oauth", ".metadata.name"), String::is_empty).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(secrets(&other).get("checkout-oauth").await.unwrap(), copy, "the copy is its owner's");
    assert_eq!(tenant.field("secret/kept-oauth", ".data.client_secret"), kept);
    tenant.apply(&client("kept", "  deletionPolicy: Retain\n"));
    tenant.wait_ready(&["kept"]);
    assert_eq!(tenant.field("secret/kept-oauth", ".data.client_secret"), kept);
}

/// A Secret that is there in another type, or hollowed out and sealed, is made anew; nothing is written for ever.
#[tokio::test]
async fn k8s_10_a_secret_of_the_wrong_shape_is_made_right_in_few_writes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, _verifier] = installation.start_all().await;
    let names = ["typed", "sealed", "emptied", "keyless"];
    tenant.open(&names);
    for name in names {
        let api = secrets(&tenant);
        let secret_name = format!("{name}-oauth");
        let mut secret = api.get(&secret_name).await.unwrap();
        secret.metadata.managed_fields = None;
        let data = secret.data.as_mut().unwrap();
        match name {
            "typed" => secret.type_ = Some("example.com/credentials".to_owned()),
            "sealed" => secret.immutable = Some(true),
            "emptied" => drop(data.insert("client_secret".to_owned(), k8s_openapi::ByteString(Vec::new()))),
            _ => drop(data.remove("client_secret")),
        }
        if name == "typed" {
            // A type never changes: whoever wants another deletes and makes it again.
            api.delete(&secret_name, &DeleteParams::default()).await.unwrap();
            (secret.metadata.uid, secret.metadata.resource_version) = (None, None);
            // We may have been faster, which is as good.
            drop(api.create(&PostParams::default(), &secret).await);
        } else {
            secret.metadata.resource_version = None;
            api.replace(&secret_name, &PostParams::default(), &secret).await.unwrap();
        }
        let look = async || api.get_opt(&secret_name).await.unwrap();
        let right = |secret: &Option<Secret>| {
            let Some(secret) = secret else { return false };
            let value = secret.data.as_ref().and_then(|data| data.get("client_secret"));
            let whole = value.is_some_and(|value| value.0.starts_with(b"cs1_"));
            whole && secret.immutable != Some(true) && secret.type_.as_deref() == Some("Opaque")
        };
        await_condition(&format!("{name} to be made right"), SOON, look, right).await;
        tenant.until_token(issuer.issuer, name).await;
    }
    let versions = tenant.at_rest().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(tenant.versions().await, versions, "it ends");
}

/// Another namespace's client id cannot be had by writing it down, and the name of a client that is gone brings nothing back.
#[tokio::test]
async fn k8s_12_names_are_nobody_elses_and_a_new_object_is_a_new_client() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let rival = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    let longest = "n".repeat(200);
    tenant.open(&["checkout", &longest]);
    let id = format!("{}.checkout", tenant.namespace);
    rival.apply(&client("thief", &format!("  clientId: {id}\n")));
    let look = async || rival.reason("thief", "Ready");
    await_condition("the thief to be refused", SOON, look, |reason| reason == "NotAllowed").await;
    assert_eq!(rival.field("secret/thief-oauth", ".metadata.name"), "", "nothing is written for it");
    let old_token = tenant.token(issuer.issuer, "checkout").await.access_token();
    let old_secret = installation.secret_value(&tenant.namespace, "checkout-oauth", "client_secret");
    let verdict = async |token: &str| tenant.ask(verifier.http, "/orders/7", Some(token)).await.status;
    let look = async || verdict(&old_token).await;
    await_condition("the token to be accepted", SOON, look, |status| *status == 200).await;

    tenant.run(&["delete", "oac", "checkout"]);
    await_condition("the token to be dead", SOON, look, |status| *status == 401).await;
    tenant.until(("its Secret to go", SOON), ("secret/checkout-oauth", ".metadata.name"), String::is_empty).await;
    tenant.apply(&client("checkout", ""));
    tenant.wait_ready(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;
    assert_error(&token(issuer.issuer, &id, &old_secret).await, 401, "invalid_client");
    assert_eq!(verdict(&old_token).await, 401);
    let fresh = tenant.token(issuer.issuer, "checkout").await.access_token();
    assert_eq!(verdict(&fresh).await, 200);
}
