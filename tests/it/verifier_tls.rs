//! Envoy asks a verifier over TLS, on both wires, and trusts only the authority it was given.

use crate::support::await_condition;
use crate::support::echo::Echo;
use crate::support::envoy::{Envoy, Wire};
use crate::support::http::Request;
use crate::support::installation::{Installation, Replica};
use crate::support::orders::question;
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use crate::support::tls::Certificates;

fn wires(verifier: &Replica, policy: &str) -> [Wire; 2] {
    [
        Wire::Grpc { verifier: verifier.grpc, policy: Some(policy.to_owned()) },
        Wire::Http { verifier: verifier.http, prefix: format!("/ext-authz/policy/{policy}") },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks_over_tls_on_both_wires_and_trusts_only_its_authority() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]).with_verifier_tls();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, issuer, verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);
    tenant.until_token(issuer.issuer, "checkout").await;
    let token = tenant.token(issuer.issuer, "checkout").await.access_token();

    let (echo, policy) = (Echo::start().await, format!("{}/orders", tenant.namespace));
    let (host, _) = question(&tenant.namespace, "");
    let ask = || Request::get("/orders/7").header("host", &host);
    let wires = wires(&verifier, &policy);
    let envoy = Envoy::start_tls(&wires, echo.address, &installation.verifier_authority()).await;
    for wire in 0..2 {
        let look = async || ask().bearer(&token).send(envoy.listener(wire)).await.map(|answer| answer.status);
        await_condition("a call to pass over TLS", SOON, look, |status| matches!(status, Ok(200))).await.unwrap();
        let refused = ask().send(envoy.listener(wire)).await.unwrap();
        assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true), "{refused:?}");
    }

    // Neither an Envoy that trusts another authority nor one that speaks in the clear gets an answer, and nothing passes.
    let before = echo.requests();
    let stranger = Certificates::new(&["IP:127.0.0.1"]);
    let distrusting = Envoy::start_tls(&wires, echo.address, &stranger.authority()).await;
    let plain = Envoy::start(&wires, echo.address).await;
    for envoy in [distrusting, plain] {
        for wire in 0..2 {
            let answer = ask().bearer(&token).send(envoy.listener(wire)).await.unwrap();
            assert_eq!(answer.status, 503, "{answer:?}");
        }
    }
    assert_eq!(echo.requests(), before);
}
