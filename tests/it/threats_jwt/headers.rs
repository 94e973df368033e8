//! Headers that ask for what is not done here, or say something twice: JWT-08, -09, -17.

use super::{all_accepted, all_refused};
use crate::support::forge::Forge;
use crate::support::standalone::Standalone;
use serde_json::{Value, json};

#[tokio::test]
async fn jwt_08_critical_extensions_are_not_understood() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let with = |crit: Value, extra: Value| {
        let mut header = forge.header.clone();
        header["crit"] = crit;
        for (name, value) in extra.as_object().unwrap() {
            header[name] = value.clone();
        }
        forge.sign(&header.to_string(), &forge.claims.to_string())
    };
    all_refused(
        &it,
        [
            ("unknown", with(json!(["x-new"]), json!({"x-new": 1}))),
            ("empty", with(json!([]), json!({}))),
            ("registered", with(json!(["alg"]), json!({}))),
            ("not a list", with(json!("exp"), json!({"exp": 1}))),
            ("b64", with(json!(["b64"]), json!({"b64": false}))),
            ("b64 without crit", forge.with_header("b64", json!(false))),
        ],
    )
    .await;
}

#[tokio::test]
async fn jwt_09_no_member_twice() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let add = |object: &str, member: &str| format!("{{{member},{}", &object[1..]);
    let alg = r#""alg":"ES256""#;
    all_refused(
        &it,
        [
            ("alg", forge.sign(&add(&header, alg), &claims)),
            ("alg escaped", forge.sign(&add(&header, r#""\u0061lg":"ES256""#), &claims)),
            ("exp", forge.sign(&header, &add(&claims, r#""exp":99999999999"#))),
            ("sub", forge.sign(&header, &add(&claims, r#""sub":"shop.other""#))),
            ("sub escaped", forge.sign(&header, &add(&claims, r#""s\u0075b":"shop.checkout""#))),
            ("aud", forge.sign(&header, &add(&claims, r#""aud":"https://rival.rival.svc""#))),
        ],
    )
    .await;
}

#[tokio::test]
async fn jwt_17_only_access_tokens() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let types = [
        "JWT",
        "jwt",
        "logout+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "secevent+jwt",
        "at+jwt ",
        "application/at",
    ];
    let mut tokens: Vec<_> = types.into_iter().map(|typ| (typ, forge.with_header("typ", json!(typ)))).collect();
    tokens.push(("missing", forge.with_header("typ", Value::Null)));
    tokens.push(("list", forge.with_header("typ", json!(["at+jwt"]))));
    all_refused(&it, tokens).await;
    let good = ["at+jwt", "AT+JWT", "application/at+jwt", "application/AT+jwt"];
    all_accepted(&it, good.map(|typ| (typ, forge.with_header("typ", json!(typ))))).await;
}
