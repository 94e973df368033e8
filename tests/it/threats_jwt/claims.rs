//! Claims of the wrong type, time, audience or issuer: JWT-12 to -16, -20.

use super::{all_accepted, all_refused};
use crate::support::forge::Forge;
use crate::support::standalone::{AUDIENCE, Standalone, assert_invalid_token, now};
use serde_json::{Value, json};

#[tokio::test]
async fn jwt_12_times_are_whole_numbers() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let exp = forge.claims["exp"].clone();
    for name in ["exp", "nbf", "iat"] {
        let values =
            [json!(exp.to_string()), json!(-1), json!([exp]), json!({}), json!(true), json!(1e300), json!(u64::MAX)];
        let mut tokens: Vec<_> = values.into_iter().map(|value| (name, forge.with_claim(name, value))).collect();
        let null = forge.with_claims(|claims| claims[name] = Value::Null);
        let fraction = forge.with_claims(|claims| claims[name] = json!(exp.as_f64().unwrap() + 0.5));
        tokens.extend([(name, null), (name, fraction)]);
        // A negative nbf is a time long past, but no issuer of ours writes one.
        all_refused(&it, tokens).await;
    }
}

#[tokio::test]
async fn jwt_13_required_claims() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let names = ["exp", "iat", "iss", "aud", "sub", "jti", "client_id"];
    all_refused(&it, names.map(|name| (name, forge.with_claim(name, Value::Null)))).await;
}

#[tokio::test]
async fn jwt_14_times_hold_with_one_leeway() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let now = now().as_second();
    let at = |iat: i64, nbf: i64, exp: i64| {
        forge.with_claims(|claims| {
            claims["iat"] = json!(iat);
            claims["nbf"] = json!(nbf);
            claims["exp"] = json!(exp);
        })
    };
    // Exact to the second in core's own tests; here with room for the seconds the test takes.
    let (good, early, late) =
        (at(now - 600, now - 600, now - 45), at(now - 600, now + 75, now + 600), at(now - 600, now - 600, now - 62));
    all_accepted(&it, [("just ended", good), ("about to begin", at(now + 45, now + 45, now + 600))]).await;
    all_refused(
        &it,
        [
            ("expired", late),
            ("not yet", early),
            ("issued in the future", at(now + 75, now, now + 600)),
            ("longer than allowed", at(now, now, now + 7 * 24 * 3600)),
        ],
    )
    .await;
}

#[tokio::test]
async fn jwt_15_audience_is_an_exact_member() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let cases = [
        ("other", json!("https://rival.rival.svc")),
        ("list without", json!(["https://rival.rival.svc"])),
        ("empty list", json!([])),
        ("empty", json!("")),
        ("prefix", json!(&AUDIENCE[..AUDIENCE.len() - 1])),
        ("longer", json!(format!("{AUDIENCE}.evil.example"))),
        ("slash", json!(format!("{AUDIENCE}/"))),
        ("case", json!(AUDIENCE.to_uppercase())),
        ("list of numbers", json!([7])),
        ("object", json!({AUDIENCE: true})),
    ];
    let tokens = cases.map(|(what, aud)| (what, forge.with_claim("aud", aud)));
    for (what, token) in &tokens {
        assert_invalid_token(&it.check(token).await);
        assert_eq!(it.introspect(token).await, json!({"active": false}), "{what}");
    }
}

#[tokio::test]
async fn jwt_16_issuer_is_exact() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let issuer = it.issuer_url();
    let cases = [
        ("slash", json!(format!("{issuer}/"))),
        ("https", json!(issuer.replace("http:", "https:"))),
        ("case", json!(issuer.to_uppercase())),
        ("list", json!([issuer])),
        ("missing", Value::Null),
        ("other", json!("https://evil.example")),
    ];
    all_refused(&it, cases.map(|(what, iss)| (what, forge.with_claim("iss", iss)))).await;
}

#[tokio::test]
async fn jwt_20_text_is_plain() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let header = forge.header.to_string();
    let claims = forge.claims.to_string();
    let sub = |text: &str| claims.replacen("\"sub\":\"shop.checkout\"", &format!("\"sub\":\"{text}\""), 1);
    assert_ne!(sub("x"), claims);
    all_refused(
        &it,
        [
            ("NUL", forge.sign(&header, &sub(r"shop\u0000checkout"))),
            ("newline", forge.sign(&header, &sub(r"shop\r\nx-countersign-client: admin"))),
            ("lone surrogate", forge.sign(&header, &sub(r"shop\ud800"))),
            ("right to left", forge.sign(&header, &sub(r"shop\u202ecod"))),
            ("overlong", forge.sign_bytes(&header, &spoil(&sub("shop@checkout"), &[0xc0, 0xaf]))),
            ("no UTF-8", forge.sign_bytes(&header, &spoil(&sub("shop@checkout"), &[0xff]))),
            ("beyond ASCII", forge.sign(&header, &sub("shöp"))),
            ("scope right to left", forge.with_claim("scope", json!("orders:\u{202e}read"))),
            ("scope with NUL", forge.with_claim("scope", json!("orders:read\0"))),
            ("scope as a list", forge.with_claim("scope", json!(["orders:read"]))),
            ("scope with two spaces", forge.with_claim("scope", json!("orders:read  orders:write"))),
            ("scope with a leading space", forge.with_claim("scope", json!(" orders:read"))),
            ("scope empty", forge.with_claim("scope", json!(""))),
        ],
    )
    .await;
}

/// The text with other bytes where it has `@`.
fn spoil(text: &str, bytes: &[u8]) -> Vec<u8> {
    let (before, after) = text.split_once('@').expect("a place");
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}
