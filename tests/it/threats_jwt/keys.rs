//! The wrong key, or one that is nobody's: JWT-02, -03, -05, -06, -07, -19.

use super::{SOON, all_accepted, all_refused};
use crate::support::await_condition;
use crate::support::echo::Echo;
use crate::support::forge::{Forge, decode, encode};
use crate::support::http::Request;
use crate::support::standalone::{Standalone, assert_invalid_token};
use aws_lc_rs::hmac;
use serde_json::{Value, json};

#[tokio::test]
async fn jwt_02_public_key_as_hmac_key() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let jwks = it.send(Request::get("/oauth2/jwks")).await.json();
    let jwk = key(&jwks, &forge.header["kid"]);
    let point = [vec![4], decode(jwk["x"].as_str().unwrap()), decode(jwk["y"].as_str().unwrap())].concat();
    let prefix = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [&prefix[..], &point].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&der)
    });
    let sign = |secret: &[u8]| {
        let mut header = forge.header.clone();
        header["alg"] = json!("HS256");
        let message = format!("{}.{}", encode(header.to_string()), encode(forge.claims.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", encode(tag))
    };
    all_refused(
        &it,
        [
            ("PEM", sign(pem.as_bytes())),
            ("DER", sign(&der)),
            ("JWK", sign(jwk.to_string().as_bytes())),
            ("point", sign(&point)),
            ("empty", sign(b"")),
        ],
    )
    .await;
}

fn key(jwks: &Value, kid: &Value) -> Value {
    jwks["keys"].as_array().and_then(|keys| keys.iter().find(|key| key["kid"] == *kid)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn jwt_03_key_of_another_kind() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let ring = "apiVersion: countersign.dev/v1alpha1\nkind: SigningKey\nmetadata: {name: p384, namespace: countersign-system}\nspec: {algorithm: ES384}\n";
    std::fs::write(it.manifests().join("ring.yaml"), ring).unwrap();
    let look = async || it.send(Request::get("/oauth2/jwks")).await.json();
    let jwks = await_condition("a P-384 key", SOON, look, |jwks| jwks.to_string().contains("ES384")).await;
    let of = |alg: &str| {
        let keys = jwks["keys"].as_array().unwrap().iter();
        keys.clone().find(|key| key["alg"] == alg).unwrap_or_else(|| panic!("no ring of {alg} in {jwks}"))["kid"]
            .clone()
    };
    all_refused(
        &it,
        [
            ("ES256 with the kid of an RSA key", forge.with_header("kid", of("RS256"))),
            ("ES256 with the kid of a P-384 key", forge.with_header("kid", of("ES384"))),
            ("ES384 with a P-256 key", forge.with_header("alg", json!("ES384"))),
            ("RS256 with a P-256 key", forge.with_header("alg", json!("RS256"))),
            ("EdDSA with a P-256 key", forge.with_header("alg", json!("EdDSA"))),
        ],
    )
    .await;
}

#[tokio::test]
async fn jwt_05_key_ids_are_looked_up_exactly() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let kid = forge.header["kid"].as_str().unwrap().to_owned();
    let cases = [
        ("missing", Value::Null),
        ("unknown", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("huge", json!("k".repeat(64 << 10))),
        ("path", json!("../../dev/null")),
        ("SQL", json!("' UNION SELECT 1 --")),
        ("NUL", json!(format!("{kid}\0"))),
        ("prefix", json!(&kid[..kid.len() - 1])),
        ("case", json!(kid.to_uppercase())),
        ("number", json!(7)),
        ("list", json!([kid])),
        ("empty", json!("")),
    ];
    all_refused(&it, cases.map(|(what, kid)| (what, forge.with_header("kid", kid)))).await;
}

#[tokio::test]
async fn jwt_06_a_flood_of_key_ids_slows_nobody() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let flood = (0..500_u32).map(|number| {
        let token = forge.with_header(
            "kid",
            json!(encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_be_bytes()))),
        );
        let it = &it;
        async move { it.check(&token).await }
    });
    let answers = futures::future::join_all(flood).await;
    answers.iter().for_each(assert_invalid_token);
    // Unlike verifiers, introspection is asked by clients one knows, and tells them to slow down.
    for number in 0..300_u32 {
        let unknown = encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_le_bytes()));
        let answer = it.introspection(&forge.with_header("kid", json!(unknown))).await;
        assert!(matches!(answer.status, 200 | 429) && !answer.text().contains("true"), "{answer:?}");
    }
    all_accepted(&it, [("a known key", forge.token.clone())]).await;
}

#[tokio::test]
async fn jwt_07_keys_from_the_token_are_never_used() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let trap = Echo::start().await;
    let own = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let with = |name: &str, value: Value| {
        let mut header = forge.header.clone();
        header["kid"] = json!(unknown);
        header[name] = value;
        forge.sign(&header.to_string(), &forge.claims.to_string())
    };
    all_refused(
        &it,
        [
            ("jku", with("jku", json!(format!("http://{}/keys", trap.address)))),
            ("x5u", with("x5u", json!(format!("http://{}/certificate", trap.address)))),
            ("jwk", with("jwk", own)),
            ("x5c", with("x5c", json!(["MIIB"]))),
        ],
    )
    .await;
    assert_eq!(trap.requests(), 0, "a key was fetched");
}

#[tokio::test]
async fn jwt_19_a_revoked_key_is_dead_even_for_known_tokens() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    assert_eq!(it.check(&forge.token).await.status, 200);
    let kid = forge.header["kid"].as_str().unwrap();
    let key = format!(
        "apiVersion: countersign.dev/v1alpha1\nkind: SigningKey\nmetadata: {{name: default, namespace: countersign-system}}\nspec: {{revokedKeyIds: [\"{kid}\"]}}\n"
    );
    std::fs::write(it.manifests().join("key.yaml"), key).unwrap();
    assert_invalid_token(&it.refused(&forge.token).await);
    assert_eq!(it.introspect(&forge.token).await, json!({"active": false}));
}
