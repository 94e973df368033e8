//! What is no compact JWS, or not the one spelling of it: JWT-01, -10, -11, -18.

use super::all_refused;
use crate::ext_authz::{check, question};
use crate::support::forge::{Forge, decode, encode};
use crate::support::standalone::Standalone;
use serde_json::{Value, json};

#[tokio::test]
async fn jwt_01_unsigned_and_misshapen() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let parts: Vec<_> = forge.token.split('.').collect();
    let claims = forge.claims.to_string();
    let none = |alg: &str| format!("{}.{}.", encode(json!({"alg": alg, "typ": "at+jwt"}).to_string()), encode(&claims));
    let json = json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string();
    all_refused(
        &it,
        [
            ("alg none", none("none")),
            ("alg None", none("None")),
            ("alg nOnE", none("nOnE")),
            ("alg none with a signature", forge.with_header("alg", json!("none"))),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("two parts", format!("{}.{}", parts[0], parts[1])),
            ("four parts", format!("{}.AA", forge.token)),
            ("five parts", format!("{}.AA.AA", forge.token)),
            ("JSON serialization", json),
            ("only dots", "..".to_owned()),
        ],
    )
    .await;
}

/// The ways of `C2SP/wycheproof:json_web_signature`, made here: a signature that is none, a header that is none.
#[tokio::test]
async fn jwt_01_vectors_of_broken_signatures_and_headers() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let (message, signature) = forge.token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let with = |bytes: &[u8]| format!("{message}.{}", encode(bytes));
    let mut cases = vec![
        ("all zero", with(&[0; 64])),
        ("all ones", with(&[0xff; 64])),
        ("first half", with(&signature[..32])),
        ("twice", with(&[&signature[..], &signature].concat())),
        (
            "of other claims",
            forge
                .sign(&forge.header.to_string(), "{}")
                .rsplit_once('.')
                .map(|(_, s)| format!("{message}.{s}"))
                .unwrap(),
        ),
        ("halves changed over", with(&[&signature[32..], &signature[..32]].concat())),
    ];
    for at in [0, 1, 31, 32, 63] {
        let mut bytes = signature.clone();
        bytes[at] ^= 1;
        cases.push(("a bit of the signature", with(&bytes)));
    }
    let claims = forge.claims.to_string();
    let header = forge.header.to_string();
    let headers = [
        ("a BOM before the header", format!("\u{feff}{header}")),
        ("something after the header", format!("{header}x")),
        ("two headers", format!("{header}{header}")),
        ("a list", format!("[{header}]")),
        ("null", "null".to_owned()),
        ("a number", "7".to_owned()),
        ("empty", "{}".to_owned()),
        ("a comment", header.replacen('{', "{/* */", 1)),
        ("a comma at the end", header.replacen('}', ",}", 1)),
        ("single quotes", header.replace('"', "'")),
        ("cut off", header[..header.len() - 1].to_owned()),
        ("an upper case name", header.replacen("\"alg\"", "\"ALG\"", 1)),
    ];
    cases.extend(headers.map(|(what, header)| (what, forge.sign(&header, &claims))));
    let algorithms = [
        json!(""),
        json!("es256"),
        json!("ES256 "),
        json!("ES256K"),
        json!("HS256"),
        json!("RS1"),
        json!(7),
        json!(["ES256"]),
        Value::Null,
    ];
    cases.extend(algorithms.map(|alg| ("an algorithm", forge.with_header("alg", alg))));
    all_refused(&it, cases).await;
}

#[tokio::test]
async fn jwt_10_base64_has_one_spelling() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let parts: Vec<_> = forge.token.split('.').collect();
    let join = |header: &str, claims: &str, signature: &str| format!("{header}.{claims}.{signature}");
    let last = parts[2].chars().last().unwrap();
    // 64 bytes leave four unused bits in the last character.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sloppy = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let trailing = format!("{}{sloppy}", &parts[2][..parts[2].len() - 1]);
    let mut cases = vec![
        ("padded", join(parts[0], parts[1], &format!("{}==", parts[2]))),
        ("trailing bits", join(parts[0], parts[1], &trailing)),
        ("space", join(parts[0], &format!("{} ", parts[1]), parts[2])),
        ("tab", join(parts[0], &format!("{}\t", parts[1]), parts[2])),
    ];
    let plain = forge.token.replace('-', "+").replace('_', "/");
    if plain != forge.token {
        cases.push(("plus and slash", plain));
    }
    all_refused(&it, cases).await;
}

#[tokio::test]
async fn jwt_11_size_is_judged_first() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let digits = format!(r#"{{"exp":{}}}"#, "9".repeat(10_000));
    all_refused(
        &it,
        [
            ("over 16 KiB", forge.with_claim("filler", json!("x".repeat(16 << 10)))),
            ("dots", ".".repeat(20_000)),
            ("no dots", "x".repeat(60_000)),
            ("deep", forge.sign(&forge.header.to_string(), &nested)),
            ("digits", forge.sign(&forge.header.to_string(), &digits)),
            ("large exponent", forge.sign(&forge.header.to_string(), r#"{"exp":1e308}"#)),
        ],
    )
    .await;
}

/// As much as a proxy could ever pass on, past every limit of HTTP.
#[tokio::test]
async fn jwt_11_a_million_dots_cost_nothing_over_grpc() {
    let it = Standalone::start().await;
    let good = it.token().await;
    for text in [".".repeat(1_000_000), "a".repeat(900_000), format!("{good}.{}", "a.".repeat(450_000))] {
        let asked = question("GET", "/orders/7", &[("authorization", &format!("Bearer {text}"))]);
        let seen = check(it.grpc, &asked).await;
        assert!(matches!(seen.status, 400 | 401), "{} bytes: {seen:?}", text.len());
    }
    let asked = question("GET", "/orders/7", &[("authorization", &format!("Bearer {good}"))]);
    assert_eq!(check(it.grpc, &asked).await.status, 200);
}

#[tokio::test]
async fn jwt_18_nothing_nested_or_encrypted() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let jwe = format!("{}.AA.AA.AA.AA", encode(r#"{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}"#));
    all_refused(
        &it,
        [
            ("nested", forge.sign(&forge.with_header_text("cty", "JWT"), &forge.token)),
            ("cty", forge.with_header("cty", json!("JWT"))),
            ("JWE", jwe),
            ("zip", forge.with_header("zip", json!("DEF"))),
            ("enc", forge.with_header("enc", json!("A256GCM"))),
        ],
    )
    .await;
}
