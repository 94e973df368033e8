//! Attacks on the checks of access tokens, tried at the verifier and at introspection. The ids are those of the threat list in SECURITY.md.
//!
//! Every case starts from a good token; where only the signature would give a forgery away, it is signed with the real key.

use crate::support::echo::Echo;
use crate::support::forge::{Forge, decode, encode};
use crate::support::http::Request;
use crate::support::standalone::{AUDIENCE, Standalone, assert_invalid_token, now};
use aws_lc_rs::hmac;
use serde_json::{Value, json};

/// Both places refuse every one of these.
async fn all_refused(it: &Standalone, tokens: impl IntoIterator<Item = (&'static str, String)>) {
    for (what, token) in tokens {
        let answer = it.check(&token).await;
        let refused = answer.status == 401
            && answer.header("www-authenticate").is_some_and(|value| value.contains(r#"error="invalid_token""#));
        // What HTTP itself cannot carry, or no scheme allows in a credential, may be told as malformed.
        let malformed = matches!(answer.status, 400 | 431);
        assert!(refused || malformed, "{what}: {answer:?}");
        let answer = it.introspection(&token).await;
        let inactive = answer.status == 200 && answer.json() == json!({"active": false});
        assert!(inactive || answer.status == 413, "{what}: {answer:?}");
    }
    let good = it.token().await;
    assert_eq!(it.check(&good).await.status, 200, "a good token still passes");
}

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
    let jwks = it.send(Request::get("/oauth2/jwks")).await.json();
    let rsa =
        jwks["keys"].as_array().unwrap().iter().find(|key| key["kty"] == "RSA").expect("a ring of RSA keys is served");
    all_refused(
        &it,
        [
            ("ES256 with the kid of an RSA key", forge.with_header("kid", rsa["kid"].clone())),
            ("ES384 with a P-256 key", forge.with_header("alg", json!("ES384"))),
            ("RS256 with a P-256 key", forge.with_header("alg", json!("RS256"))),
            ("EdDSA with a P-256 key", forge.with_header("alg", json!("EdDSA"))),
        ],
    )
    .await;
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `ORDER - s`, the other signature that holds for the same message.
fn twin(s: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; 32];
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

#[tokio::test]
async fn jwt_04_psychic_and_misformed_signatures() {
    let it = Standalone::start().await;
    let forge = Forge::new(&it).await;
    let (message, signature) = forge.token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let signed = |r: &[u8], s: &[u8]| format!("{message}.{}", encode([r, s].concat()));
    let integer = |value: &[u8]| {
        let padded = if value[0] >= 0x80 { [&[0], value].concat() } else { value.to_vec() };
        [&[2, u8::try_from(padded.len()).unwrap()], &padded[..]].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    all_refused(
        &it,
        [
            ("r and s zero", signed(&[0; 32], &[0; 32])),
            ("r zero", signed(&[0; 32], s)),
            ("s zero", signed(r, &[0; 32])),
            ("r the order", signed(&ORDER, s)),
            ("s the order", signed(r, &ORDER)),
            ("r and s the order", signed(&ORDER, &ORDER)),
            ("DER", format!("{message}.{}", encode(der))),
            ("too short", format!("{message}.{}", encode(&signature[..63]))),
            ("too long", format!("{message}.{}", encode([&signature[..], &[0]].concat()))),
        ],
    )
    .await;
    assert_eq!(
        it.check(&signed(r, &twin(s))).await.status,
        200,
        "the twin of a signature is as good: token bytes are no identity"
    );
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
    assert_eq!(it.check(&forge.token).await.status, 200);
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
            ("deep", forge.sign(&forge.header.to_string(), &nested)),
            ("digits", forge.sign(&forge.header.to_string(), &digits)),
            ("large exponent", forge.sign(&forge.header.to_string(), r#"{"exp":1e308}"#)),
        ],
    )
    .await;
}

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
    assert_eq!(it.check(&good).await.status, 200, "within the leeway");
    assert_eq!(it.check(&at(now + 45, now + 45, now + 600)).await.status, 200, "within the leeway");
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
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "application/AT+jwt"] {
        assert_eq!(it.check(&forge.with_header("typ", json!(typ))).await.status, 200, "{typ}");
    }
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
            ("scope as a list", forge.with_claim("scope", json!(["orders:read"]))),
            ("scope with two spaces", forge.with_claim("scope", json!("orders:read  orders:write"))),
            ("scope with a leading space", forge.with_claim("scope", json!(" orders:read"))),
            ("scope empty", forge.with_claim("scope", json!(""))),
        ],
    )
    .await;
}
