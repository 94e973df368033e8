//! Attacks by those who may declare clients and policies in a namespace of their own, at a real API server. The ids are those of
//! docs/security.md.

use crate::support::await_condition;
use crate::support::installation::{Installation, Role, SecretAccess};
use crate::support::orders::{ORDERS, object};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use std::time::Duration;

/// A policy `orders` that grants its scope to whom the entry names.
fn orders_for(grantee: &str) -> String {
    ORDERS.replace("[{namespaces: Same}]", &format!("[{grantee}]"))
}

/// A client that wants the scope of the tenant's audience, and the one like it of a namespace there is not.
fn curious(owner: &str) -> String {
    let access =
        |namespace: &str| format!(r#"{{audience: "https://orders.{namespace}.svc", scopes: ["orders:read"]}}"#);
    let both = format!("[{}, {}]", access(owner), access("no-such-namespace"));
    let spec = format!("  access: {both}\n  defaultAudience: \"https://orders.{owner}.svc\"\n");
    object("OAuthClient", "curious", &spec)
}

#[tokio::test]
async fn k8s_06_another_namespaces_scopes_are_the_owners_to_give_and_to_take_back() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let owner = Tenant::new(&testbed, &installation).await;
    let other = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    owner.open(&["checkout"]);
    other.apply(&curious(&owner.namespace));

    // What is not granted and what does not exist are the same to who asks: in the status, and at the token endpoint.
    let refused = ("oac/curious", ".status.refused");
    let told = other.until(("what is refused", SOON), refused, |told| told.contains("no-such-namespace")).await;
    let told: Value = serde_json::from_str(&told).expect("a list");
    let without_name = |entry: &Value| {
        let mut entry = entry.clone();
        entry["audience"] = Value::Null;
        entry
    };
    let told: Vec<_> = told.as_array().expect("a list").iter().map(without_name).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], told[1]);
    let ask = async |namespace: &str| {
        let resource = format!("https://orders.{namespace}.svc");
        let answer = other.token_with(issuer.issuer, "curious", &[("resource", &resource)]).await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let look = async || ask("no-such-namespace").await;
    let unknown = await_condition("the issuer to know the client", SOON, look, |(status, _)| *status == 400).await;
    assert_eq!(ask(&owner.namespace).await, unknown);

    // Granted, it works; taken back, the token is dead.
    owner.apply(&orders_for(&format!("{{namespaces: Same}}, {{client: {}.curious}}", other.namespace)));
    let look = async || ask(&owner.namespace).await;
    await_condition("the grant", SOON, look, |(status, _)| *status == 200).await;
    let resource = format!("https://orders.{}.svc", owner.namespace);
    let token = other.token_with(issuer.issuer, "curious", &[("resource", &resource)]).await.access_token();
    let verdict = async || owner.ask(verifier.http, "/orders/7", Some(&token)).await.status;
    await_condition("the token to be good", SOON, verdict, |status| *status == 200).await;
    owner.apply(ORDERS);
    await_condition("the token to be dead", SOON, verdict, |status| *status == 401).await;
    let look = async || ask(&owner.namespace).await;
    assert_eq!(await_condition("no more tokens", SOON, look, |(status, _)| *status == 400).await, unknown);
}

#[tokio::test]
async fn k8s_09_what_a_status_says_gives_nothing() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let rival = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);
    rival.open(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;
    let audience = format!("https://orders.{}.svc", tenant.namespace);
    let claims = json!({"status": {
        "clientId": format!("{}.checkout", rival.namespace),
        "granted": [{"audience": audience, "scopes": ["orders:read", "orders:admin"]}],
        "refused": [],
    }});
    let lie =
        || tenant.run(&["patch", "oac/checkout", "--subresource=status", "--type=merge", "-p", &claims.to_string()]);
    // As somebody who may write status could, again and again while it is put right.
    for _ in 0..5 {
        lie();
        let answer = tenant.token(issuer.issuer, "checkout").await;
        assert_eq!((answer.status, answer.json()["scope"].clone()), (200, json!("orders:read")));
        let asked = tenant.token_with(issuer.issuer, "checkout", &[("scope", "orders:admin")]).await;
        assert_eq!(asked.status, 400, "orders:admin is granted to nobody");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let token = tenant.token(issuer.issuer, "checkout").await.access_token();
    let look = async || tenant.ask(verifier.http, "/orders/7", Some(&token)).await.status;
    await_condition("its own token to be good", SOON, look, |status| *status == 200).await;
    assert_eq!(rival.ask(verifier.http, "/orders/7", Some(&token)).await.status, 401, "another's audience");
    let right = format!("{}.checkout", tenant.namespace);
    tenant.until(("the status to be put right", SOON), ("oac/checkout", ".status.clientId"), |id| *id == right).await;
}

const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
/// What a role would need to become more than it is.
const NEVER: [(&str, &str); 8] = [
    ("escalate", "clusterroles.rbac.authorization.k8s.io"),
    ("bind", "clusterroles.rbac.authorization.k8s.io"),
    ("escalate", "roles.rbac.authorization.k8s.io"),
    ("bind", "roles.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
    ("impersonate", "serviceaccounts"),
    ("create", "serviceaccounts/token"),
    ("create", "pods/exec"),
];

#[tokio::test]
async fn k8s_13_a_stolen_token_of_a_role_opens_little() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]).with_secret_access(SecretAccess::Named);
    let tenant = Tenant::new(&testbed, &installation).await;
    let system = installation.system_namespace();
    let [keys, replicas] = ["keys", "replicas"].map(|part| format!("{system}-{part}"));
    let may = async |role: Role, verb: &str, resource: &str, place: &str| {
        may(&tenant, &installation.account(role), (verb, resource), place).await
    };
    for role in [Role::Controller, Role::Issuer, Role::Verifier] {
        for (verb, resource) in NEVER {
            assert!(!may(role, verb, resource, "").await, "{role:?} may {verb} {resource}");
            assert!(!may(role, verb, resource, &system).await, "{role:?} may {verb} {resource} in its own namespace");
        }
        for place in ["", "kube-system", &tenant.namespace] {
            for verb in ["list", "watch", "deletecollection"] {
                assert!(!may(role, verb, "secrets", place).await, "{role:?} may {verb} secrets in {place:?}");
            }
        }
    }
    for place in ["", "kube-system", &tenant.namespace, &system, &keys, &replicas] {
        for verb in VERBS {
            assert!(!may(Role::Verifier, verb, "secrets", place).await, "the verifier may {verb} secrets in {place:?}");
            let may_lease = may(Role::Verifier, verb, "leases.coordination.k8s.io", place).await;
            assert!(!may_lease || place == replicas, "the verifier may {verb} leases in {place:?}");
            let may_secret = may(Role::Issuer, verb, "secrets", place).await;
            let reads = ["get", "list", "watch"].contains(&verb);
            assert!(!may_secret || (place == keys && reads), "the issuer may {verb} secrets in {place:?}");
        }
    }
    // What each is there for, so that the questions are known to be asked rightly.
    assert!(may(Role::Controller, "get", "secrets", &tenant.namespace).await);
    assert!(may(Role::Issuer, "list", "secrets", &keys).await);
    assert!(may(Role::Verifier, "list", "scopepolicies.countersign.dev", "").await);
    assert!(may(Role::Verifier, "update", "leases.coordination.k8s.io", &replicas).await);
}

/// Whether a user may do this in a namespace, or everywhere; the resource as `plural.group/subresource`.
async fn may(tenant: &Tenant<'_>, user: &str, (verb, resource): (&str, &str), namespace: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (_, of) = user.rsplit_once(':').and_then(|(start, _)| start.rsplit_once(':')).expect("a ServiceAccount");
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{of}"), "system:authenticated"];
    let attributes = json!({
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
    });
    let review = json!({"metadata": {}, "spec": {"user": user, "groups": groups, "resourceAttributes": attributes}});
    let review: SubjectAccessReview = serde_json::from_value(review).expect("a review");
    let reviews: Api<SubjectAccessReview> = Api::all(tenant.api_client());
    let answer = reviews.create(&PostParams::default(), &review).await.expect("the API server answers");
    answer.status.expect("it says").allowed
}
