//! Attacks on the admission webhook, and by way of what it lets pass. The ids are those of docs/security.md.

use super::Bed;
use crate::secure_client::SecureClient;
use crate::support::http::Request;
use crate::support::installation::{Installation, Replica, Role};
use crate::support::tenant::Tenant;
use crate::support::testbed::Testbed;
use crate::support::tls::Certificates;
use serde_json::{Value, json};

fn review(operation: &str, object: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "countersign.dev", "version": "v1alpha1", "kind": "ScopePolicy"},
        "operation": operation,
        "namespace": "shop",
        "name": "orders",
        "object": object,
        "oldObject": null,
    }})
}

fn policy(issuer: &str) -> Value {
    json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "ScopePolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"issuer": issuer, "audience": "https://orders.shop.svc"},
    })
}

/// A webhook that serves with a certificate of a private authority.
async fn webhook(testbed: &Testbed, flags: &[&str]) -> (Installation, Replica) {
    let installation = Installation::new(testbed, &[]).with_tls();
    let mut admission = installation.spawn_with(Role::Admission, flags);
    admission.process.ready(admission.admin).await;
    (installation, admission)
}

fn post(body: &[u8]) -> Request {
    Request::new("POST", "/validate?timeout=5s").body("application/json", body)
}

#[tokio::test]
async fn k8s_01_what_is_no_review_is_refused_and_the_webhook_goes_on() {
    let testbed = Testbed::shared();
    let (installation, admission) = webhook(&testbed, &[]).await;
    let client = SecureClient::new(&installation.issuer_authority(), None);
    let good = review("CREATE", &policy(&installation.issuer_name));
    let with = |path: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(path).unwrap() = value;
        review.to_string()
    };
    let without = |member: &str| {
        let mut review = good.clone();
        review["request"].as_object_mut().unwrap().remove(member);
        review.to_string()
    };
    let text = good.to_string();
    let unreadable = [
        with("/apiVersion", json!("admission.k8s.io/v1beta1")),
        with("/apiVersion", json!(1)),
        without("uid"),
        without("operation"),
        with("/request", Value::Null),
        with("/request/object/metadata/name", json!("x".repeat(3 << 20))),
        text[..text.len() - 1].to_owned(),
        format!("{text} {text}"),
        "[".repeat(100_000),
        String::new(),
        text.replacen("\"spec\":{", "\"spec\":{\"audience\":\"https://x\",", 1),
        text.replacen("\"uid\":", "\"uid\":\"another\",\"uid\":", 1),
    ];
    for body in unreadable {
        let answer = client.send(&post(body.as_bytes()), admission.issuer).await.unwrap();
        assert_eq!(answer.status, 400, "{} {}", body.chars().take(200).collect::<String>(), answer.text());
    }
    let refused = [
        (with("/request/object", Value::Null), "the review holds no object"),
        (with("/request/object", json!([])), "the review holds no object"),
        (with("/request/object/metadata", json!("text")), "it cannot be read"),
        (with("/request/operation", json!("UPDATE")), "the review of an update holds no oldObject"),
        (with("/request/operation", json!("DELETE")), "the review of a deletion holds no oldObject"),
        (with("/request/operation", json!("CONNECT")), "take it out of the webhook's rules"),
        (with("/request/kind/kind", json!("Pod")), "take it out of the webhook's rules"),
        (with("/request/kind/group", json!("apps")), "take it out of the webhook's rules"),
    ];
    for (body, why) in refused {
        let answer = client.send(&post(body.as_bytes()), admission.issuer).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let response = &answer.json()["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&good["request"]["uid"], &json!(false)), "{response}");
        assert!(response["status"]["message"].as_str().unwrap().contains(why), "{response}");
    }
    let answer = client.send(&post(text.as_bytes()), admission.issuer).await.unwrap();
    assert_eq!(answer.json()["response"]["allowed"], json!(true), "{}", answer.text());
    assert!(!admission.process.output().contains("panic"), "{}", admission.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_02_only_the_api_server_is_answered_where_it_shows_a_certificate() {
    let testbed = Testbed::shared();
    let authority = format!("--client-ca={}", testbed.authority().display());
    let (installation, admission) = webhook(&testbed, &[&authority]).await;
    let strangers = Certificates::new(&["DNS:unused"]);
    let stranger = strangers.client("pod", "/CN=kube-apiserver", None);
    let body = review("CREATE", &policy(&installation.issuer_name)).to_string();
    for shown in [None, Some(&stranger)] {
        let client = SecureClient::new(&installation.issuer_authority(), shown);
        let answer = client.send(&post(body.as_bytes()), admission.issuer).await;
        assert!(answer.is_err(), "{shown:?}: {answer:?}");
    }

    // The real API server shows what its --admission-control-config-file says, and must be answered.
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let bed = Bed::with(&testbed, &installation, "Fail", &[&authority]).await;
    bed.asked().await;
}

#[tokio::test]
async fn aut_03_redirect_uris_that_lead_astray_are_refused_by_the_api_server() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let tenant = Tenant::new(&testbed, &installation).await;
    let client = |uri: &str| {
        json!({
            "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": "app", "namespace": tenant.namespace},
            "spec": {
                "issuer": installation.issuer_name, "grantTypes": ["AuthorizationCode"], "redirectUris": [uri],
                "authentication": {"methods": [{"type": "None"}]},
            },
        })
    };
    let try_out = |uri: &str| {
        let folder = crate::support::scratch::Scratch::new("redirect");
        let file = folder.join("client.json");
        std::fs::write(&file, client(uri).to_string()).unwrap();
        let output =
            tenant.kubectl().run(&["apply", "--server-side", "--dry-run=server", "-f", file.to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for uri in [
        "https://app.example.com/cb",
        "https://[2001:db8::1]:8443/cb",
        "http://127.0.0.1:8400/cb",
        "com.example.app:/cb",
    ] {
        let (taken, said) = try_out(uri);
        assert!(taken, "{uri}: {said}");
    }
    let astray = [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "data:text/html,x",
        "http://app.example.com/cb",
        "http://localhost/cb",
        "http://127.0.0.1.evil.example/cb",
        "https://*.example.com/cb",
        "https://user@app.example.com/cb",
        "https://app.example.com\\@evil.example/cb",
        "https://app.example.com/cb#fragment",
        "https:///cb",
        "x https://app.example.com/cb",
        "app:/cb",
        "",
    ];
    for uri in astray {
        let (taken, said) = try_out(uri);
        assert!(!taken && said.contains("should match"), "{uri}: {said}");
    }
}
