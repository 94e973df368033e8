//! What the API server sends, and what others may send instead.

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_is_no_review_is_refused_and_nothing_falls_over() {
    let world = World::new(&[orders()]);
    let good = review("CREATE", Some(&orders()), None);
    let with = |path: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(path).unwrap() = value;
        review.to_string()
    };
    let twice = good.to_string().replacen("\"spec\":{", "\"spec\":{\"audience\":\"https://x\",", 1);
    let large = format!("{{\"a\":\"{}\"}}", "a".repeat(3 * 1024 * 1024));
    for (body, status) in [
        (with("/apiVersion", json!("admission.k8s.io/v1beta1")), 400),
        (with("/kind", json!("Pod")), 400),
        (with("/request", Value::Null), 400),
        (with("/request/uid", json!("")), 400),
        (with("/request/uid", Value::Null), 400),
        (with("/request/kind", Value::Null), 400),
        (with("/request/operation", json!(7)), 400),
        ("[".repeat(100_000), 400),
        (String::new(), 400),
        ("garbage".to_owned(), 400),
        (twice, 400),
        (large, 400),
        (with("/request/uid", json!(7)), 400),
    ] {
        let said = world.send("application/json", body.clone()).await;
        assert_eq!(said.status.as_u16(), status, "{} {}", body.get(..200.min(body.len())).unwrap(), said.body);
    }
    for (body, why) in [
        (with("/request/object", Value::Null), "the review holds no object"),
        (with("/request/object", json!("text")), "the review holds no object"),
        (with("/request/object/spec", json!(7)), "it cannot be read"),
        (with("/request/kind/kind", json!("Pod")), "take it out of the webhook's rules"),
        (with("/request/kind/group", json!("apps")), "take it out of the webhook's rules"),
        (with("/request/operation", json!("CONNECT")), "take it out of the webhook's rules"),
        (with("/request/operation", json!("UPDATE")), "holds no oldObject"),
        (with("/request/operation", json!("DELETE")), "holds no oldObject"),
    ] {
        let refusal = world.send("application/json", body).await.refusal().expect("a refusal");
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    assert_eq!(world.send("text/plain", good.to_string()).await.status, StatusCode::BAD_REQUEST);
    world.listed.set(false);
    assert_eq!(world.send("application/json", good.to_string()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_never_ends_is_answered_before_the_api_server_gives_up() {
    let world = World::new(&[]);
    let endless = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>());
    let patience = Duration::from_secs(5);
    let said = tokio::time::timeout(patience, world.send("application/json", endless)).await.expect("an answer");
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn where_callers_are_known_by_certificate_nobody_else_is_answered() {
    let certificate = |pem: &[u8]| ClientCertificate::new(&[CertificateDer::from_pem_slice(pem).unwrap()]);
    let [authority, client, stranger] = [
        &include_bytes!("../../../tests/certificates/clients.crt.pem")[..],
        include_bytes!("../../../tests/certificates/client.crt.pem"),
        include_bytes!("../../../tests/certificates/one.crt.pem"),
    ];
    let world = World::asked_by(Some(ClientJudge::of(authority)), &[]);
    let good = review("CREATE", Some(&orders()), None).to_string();
    let asked =
        async |shown: Option<&[u8]>| world.send_showing(shown.map(certificate), "application/json", good.clone()).await;
    assert_eq!(asked(Some(client)).await.refusal(), None);
    for shown in [None, Some(stranger)] {
        assert_eq!(asked(shown).await.status, StatusCode::FORBIDDEN);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_sent_is_answered(at in 0usize..2_000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = review("UPDATE", Some(&orders()), Some(&orders())).to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(World::new(&[orders()]).send("application/json", bytes));
        prop_assert!(said.status == StatusCode::OK || said.status == StatusCode::BAD_REQUEST, "{:?}", said);
        prop_assert!(said.status != StatusCode::OK || said.response()["uid"].is_string());
    }
}
