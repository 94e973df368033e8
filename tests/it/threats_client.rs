//! Attacks on client authentication other than by secrets, at the real binary. The ids are those of docs/security.md.
//!
//! Assertions here are of nobody the issuer knows; pods' tokens are tried in `service_accounts`. Certificates are not built yet: what
//! is tested is that nothing of them is taken for proof meanwhile.

use crate::support::await_condition;
use crate::support::echo::Echo;
use crate::support::forge::{Forge, encode};
use crate::support::http::Request;
use crate::support::standalone::{Standalone, assert_error, assert_invalid_token};
use serde_json::json;
use std::time::Duration;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const TYPE: (&str, &str) = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

#[tokio::test]
async fn cla_07_no_assertion_proves_anything() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let claims = json!({
        "iss": "shop.checkout", "sub": "shop.checkout", "aud": it.issuer_url(), "jti": "1", "iat": forge.claims["iat"], "exp": forge.claims["exp"]
    });
    let none = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims.to_string()));
    let signed = forge.sign(&forge.header.to_string(), &claims.to_string());
    for assertion in [&*none, &*signed, &forge.token, "a.b.c", "."] {
        for id in [None, Some(("client_id", "shop.checkout"))] {
            let fields: Vec<_> = [GRANT, TYPE, ("client_assertion", assertion)].into_iter().chain(id).collect();
            assert_error(&it.send(Request::form("/oauth2/token", &fields)).await, 401, "invalid_client");
        }
    }
    let metadata = it.send(Request::get("/.well-known/oauth-authorization-server")).await.json();
    let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
    assert!(!methods.contains("none") && !methods.contains("tls"), "{methods}");
}

/// Without a cluster there is nobody whose word for a pod could be checked: nothing is taken, and the client's owner is told.
#[tokio::test]
async fn cla_07_without_a_cluster_no_service_account_proves_anything() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let manifest = "apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: cart, namespace: shop}
spec:
  access: [{audience: 'https://orders.shop.svc', scopes: ['orders:read']}]
  authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: cart}]}]}
";
    std::fs::write(it.manifests().join("cart.yaml"), manifest).unwrap();
    told_about(&it, "cart", "NoCluster").await;
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:shop:cart", "aud": [it.issuer_url()],
        "iat": forge.claims["iat"], "exp": forge.claims["exp"], "jti": "1",
        "kubernetes.io": {
            "namespace": "shop", "pod": {"name": "cart-0", "uid": "1"}, "serviceaccount": {"name": "cart", "uid": "2"}
        }
    });
    let signed = forge.sign(&forge.header.to_string(), &claims.to_string());
    for id in [None, Some(("client_id", "shop.cart"))] {
        let fields: Vec<_> = [GRANT, TYPE, ("client_assertion", &*signed)].into_iter().chain(id).collect();
        assert_error(&it.send(Request::form("/oauth2/token", &fields)).await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn cla_08_no_key_is_fetched_from_where_a_client_says() {
    let it = Standalone::start().await;
    let trap = Echo::start().await;
    let manifest = |uri: &str| {
        format!(
            "apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {{name: asserting, namespace: shop}}
spec:
  access: [{{audience: 'https://orders.shop.svc', scopes: ['orders:read']}}]
  authentication: {{methods: [{{type: PrivateKeyJwt, keys: {{jwksUri: '{uri}'}}}}]}}
"
        )
    };
    let file = it.manifests().join("asserting.yaml");
    for (uri, reason) in [
        (format!("https://{}/keys", trap.address), "NotAllowed"),
        ("https://keys.shop.svc/keys".to_owned(), "NotAllowed"),
        ("https://me@keys.example.com/keys".to_owned(), "Invalid"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "NotAllowed"),
    ] {
        std::fs::write(&file, manifest(&uri)).unwrap();
        told_about(&it, "asserting", reason).await;
        let fields = [GRANT, TYPE, ("client_assertion", "a.b.c"), ("client_id", "shop.asserting")];
        assert_error(&it.send(Request::form("/oauth2/token", &fields)).await, 401, "invalid_client");
    }
    assert_eq!(trap.requests(), 0, "a key was fetched");
}

/// Waits until the status of an object of this name says this.
async fn told_about(it: &Standalone, name: &str, reason: &str) {
    let status = async || {
        let mut texts = Vec::new();
        read_all(&it.data().join("objects"), &mut texts);
        texts.into_iter().any(|text| text.contains(name) && text.contains(reason))
    };
    await_condition(&format!("{name} to be {reason}"), Duration::from_secs(15), status, |told| *told).await;
}

fn read_all(folder: &std::path::Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => read_all(&path, into),
            path => into.extend(std::fs::read_to_string(path).ok()),
        }
    }
}

/// A token bound to a certificate or key is no bearer token: where nobody says which certificate was shown it is refused.
#[tokio::test]
async fn cla_09_bound_tokens_are_no_bearer_tokens() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let certificate = json!({"x5t#S256": encode([7; 32])});
    assert_invalid_token(&it.check(&forge.with_claim("cnf", certificate.clone())).await);
    let told = it.introspect(&forge.with_claim("cnf", certificate.clone())).await;
    assert_eq!(
        (&told["active"], &told["cnf"]),
        (&json!(true), &certificate),
        "a resource server may know who presents it"
    );
    for cnf in [json!({"jkt": encode([7; 32])}), json!({}), json!("x")] {
        let bound = forge.with_claim("cnf", cnf);
        assert_invalid_token(&it.check(&bound).await);
        assert_eq!(it.introspect(&bound).await, json!({"active": false}));
    }
    // What a caller says of its own certificate says nothing.
    let forwarded = "By=spiffe://a;Hash=00;Subject=\"CN=shop.checkout\";URI=spiffe://shop/checkout";
    let answer = it.verdict("GET", "/orders/7", |request| request.header("x-forwarded-client-cert", forwarded)).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let fields = [GRANT, ("client_id", "shop.checkout")];
    let request = Request::form("/oauth2/token", &fields).header("x-forwarded-client-cert", forwarded);
    assert_error(&it.send(request).await, 401, "invalid_client");
}
