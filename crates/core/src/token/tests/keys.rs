//! Headers and keys: which key may verify what.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::*;

fn with_header(name: &str, value: Value) -> Result<AccessToken, TokenRefusal> {
    let key = key(Algorithm::ES256);
    let mut header = key.header();
    header[name] = value;
    verify_now(&key.token(&header, &good()))
}

fn forged(header: &Value, signature: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(good().to_string()));
    format!("{signed}.{}", BASE64URL.encode(signature))
}

#[test]
fn jwt_02_a_public_key_is_never_used_as_a_shared_secret() {
    for public in KEYS.values() {
        let jwk = serde_json::to_string(&public.jwk).expect("a jwk");
        let raw = public.private.public();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64URL.encode(raw));
        for secret in [raw, jwk.as_bytes(), pem.as_bytes(), b""] {
            for algorithm in ["HS256", "HS384", "HS512", "hs256"] {
                let header = json!({"alg": algorithm, "kid": public.kid(), "typ": "at+jwt"});
                let signed = forged(&header, b"x");
                let signed = signed.rsplit_once('.').expect("a signature").0;
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
                let token = format!("{signed}.{}", BASE64URL.encode(tag));
                assert_eq!(verify_now(&token), Err(TokenRefusal::WrongAlgorithm));
            }
        }
    }
}

#[test]
fn jwt_03_a_key_verifies_its_own_algorithm_only() {
    for (algorithm, signer) in KEYS.iter() {
        for other in Algorithm::ALL.into_iter().filter(|other| other != algorithm) {
            let header = json!({"alg": other.name(), "kid": signer.kid(), "typ": "at+jwt"});
            assert_eq!(verify_now(&signer.token(&header, &good())), Err(TokenRefusal::WrongAlgorithm));
            let header = json!({"alg": algorithm.name(), "kid": key(other).kid(), "typ": "at+jwt"});
            assert_eq!(verify_now(&signer.token(&header, &good())), Err(TokenRefusal::WrongAlgorithm));
        }
    }
}

#[test]
fn jwt_03_a_jwk_that_contradicts_itself_is_no_key() {
    let text = |algorithm| serde_json::to_value(&key(algorithm).jwk).expect("a jwk");
    let read = |jwk: Value| serde_json::from_value::<PublicJwk>(jwk).is_ok();
    for algorithm in Algorithm::ALL {
        assert!(read(text(algorithm)), "{algorithm}");
        for (name, value) in [
            ("use", json!("enc")),
            ("alg", json!("HS256")),
            ("kid", json!(a_kid())),
            ("kty", json!("oct")),
            ("key_ops", json!(["sign"])),
            ("d", json!("AAAA")),
            ("k", json!("AAAA")),
            ("crv", json!("P-521")),
        ] {
            let mut jwk = text(algorithm);
            jwk[name] = value;
            assert!(!read(jwk), "{algorithm} {name}");
        }
    }
    let mut p384_as_es256 = text(Algorithm::ES384);
    p384_as_es256["alg"] = json!("ES256");
    assert!(!read(p384_as_es256.clone()));
    p384_as_es256["crv"] = json!("P-256");
    assert!(!read(p384_as_es256));
    let mut off_curve = text(Algorithm::ES256);
    off_curve["y"] = off_curve["x"].clone();
    assert!(!read(off_curve));
    let mut small = text(Algorithm::RS256);
    small["n"] = json!(BASE64URL.encode([0xc1; 128]));
    assert!(!read(small));
    let mut huge = text(Algorithm::RS256);
    huge["n"] = json!(BASE64URL.encode([0xc1; 2048]));
    assert!(!read(huge));
}

/// The order of the P-256 group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn order_minus(s: &[u8]) -> [u8; 32] {
    let (mut result, mut borrow) = ([0; 32], 0);
    for index in (0..32).rev() {
        let difference = i16::from(ORDER[index]) - i16::from(s[index]) - borrow;
        borrow = i16::from(difference < 0);
        result[index] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    result
}

#[test]
fn jwt_04_degenerate_signatures_are_refused_and_the_high_s_twin_is_not_a_second_token() {
    let es256 = key(Algorithm::ES256);
    let good = es256.token(&es256.header(), &good());
    let signature = BASE64URL.decode(good.rsplit_once('.').expect("three parts").1).expect("base64");
    let (r, s) = signature.split_at(32);
    let der = [&[0x30, 68, 2, 32][..], r, &[2, 32], s].concat();
    let (zero, order) = ([0; 32], ORDER);
    for bad in [
        [&zero[..], s].concat(),
        [r, &zero].concat(),
        [zero, zero].concat(),
        [&order[..], s].concat(),
        [r, &order].concat(),
        [0xff; 64].to_vec(),
        [r, s, &[0]].concat(),
        signature[..63].to_vec(),
        der,
    ] {
        assert_eq!(verify_now(&forged(&es256.header(), &bad)), Err(TokenRefusal::BadSignature));
    }
    let twin = forged(&es256.header(), &[r, &order_minus(s)].concat());
    assert_ne!(twin, good);
    // The same token by another name: hence revocation goes by `jti`, never by the bytes.
    assert_eq!(verify_now(&twin).map(|token| token.token_id), verify_now(&good).map(|token| token.token_id));
}

#[test]
fn jwt_05_a_kid_is_looked_up_exactly_or_not_at_all() {
    for bad in [
        json!("k".repeat(64 * 1024)),
        json!("../../dev/null"),
        json!("' UNION SELECT 1 --"),
        json!("a\0b"),
        json!(7),
        json!([key(Algorithm::ES256).kid()]),
        json!(""),
        json!(null),
        json!(format!("{} ", key(Algorithm::ES256).kid())),
    ] {
        let refused = with_header("kid", bad);
        assert!(matches!(refused, Err(TokenRefusal::BadHeader | TokenRefusal::TooLong)), "{refused:?}");
    }
    assert_eq!(with_header("kid", json!(a_kid())), Err(TokenRefusal::UnknownKey));
    let es256 = key(Algorithm::ES256);
    let header = json!({"alg": "ES256", "typ": "at+jwt"});
    assert_eq!(verify_now(&es256.token(&header, &good())), Err(TokenRefusal::BadHeader));
}

#[test]
fn jwt_06_unknown_kids_of_the_right_form_are_told_apart_from_nonsense() {
    let keys = key_set();
    for index in 0..1000u32 {
        let kid = BASE64URL.encode(digest(&SHA256, &index.to_be_bytes()));
        let kid = KeyId::new(&kid).expect("a kid");
        assert_eq!(keys.find(&kid).err(), Some(TokenRefusal::UnknownKey));
    }
    assert_eq!(KeySet::default().find(&a_kid()).err(), Some(TokenRefusal::NoKeys));
}

#[test]
fn jwt_07_keys_in_or_named_by_the_header_are_never_used() {
    let attacker = TestKey::new(Algorithm::ES256);
    let jwk = serde_json::to_value(&attacker.jwk).expect("a jwk");
    for kid in [attacker.kid(), key(Algorithm::ES256).kid()] {
        let header = json!({
            "alg": "ES256", "kid": kid, "typ": "at+jwt", "jwk": jwk, "jku": "https://evil.example/jwks",
            "x5u": "https://evil.example/x5u", "x5c": ["AAAA"],
        });
        let refused = verify_now(&attacker.token(&header, &good()));
        assert!(matches!(refused, Err(TokenRefusal::UnknownKey | TokenRefusal::BadSignature)), "{refused:?}");
    }
    assert!(with_header("jku", json!("https://evil.example/jwks")).is_ok(), "ignored where the kid resolves");
}

#[test]
fn jwt_08_every_critical_extension_is_refused() {
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["alg"])),
        ("crit", json!(["b64"])),
        ("crit", json!("b64")),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
    ] {
        assert_eq!(with_header(name, value), Err(TokenRefusal::UnsupportedHeader));
    }
}

#[test]
fn jwt_17_only_access_tokens_are_access_tokens() {
    for good in ["at+jwt", "application/at+jwt", "AT+JWT", "application/AT+JWT"] {
        assert!(with_header("typ", json!(good)).is_ok(), "{good}");
    }
    for bad in [
        json!("JWT"),
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("client-authentication+jwt"),
        json!("token-introspection+jwt"),
        json!("at+jwt "),
        json!("text/at+jwt"),
        json!(""),
        json!(null),
        json!(["at+jwt"]),
    ] {
        assert_eq!(with_header("typ", bad), Err(TokenRefusal::WrongType));
    }
    let es256 = key(Algorithm::ES256);
    let header = json!({"alg": "ES256", "kid": es256.kid()});
    assert_eq!(verify_now(&es256.token(&header, &good())), Err(TokenRefusal::WrongType));
}

#[test]
fn jwt_18_nested_encrypted_and_compressed_tokens_are_refused() {
    for (name, value) in
        [("cty", json!("JWT")), ("cty", json!("json")), ("zip", json!("DEF")), ("enc", json!("A256GCM"))]
    {
        assert_eq!(with_header(name, value), Err(TokenRefusal::UnsupportedHeader));
    }
    let inner = forged(&json!({"alg": "none"}), b"");
    for jwe in [
        format!("{}.AAAA.AAAA.{}.AAAA", BASE64URL.encode(r#"{"alg":"dir","enc":"A256GCM"}"#), BASE64URL.encode(inner)),
        format!("{}..AAAA.AAAA.AAAA", BASE64URL.encode(r#"{"alg":"dir","enc":"A256GCM","typ":"at+jwt"}"#)),
    ] {
        assert_eq!(verify_now(&jwe), Err(TokenRefusal::Malformed));
    }
}

#[test]
fn jwt_19_a_key_out_of_service_refuses_tokens_cached_as_good() {
    let es256 = key(Algorithm::ES256);
    let text = es256.token(&es256.header(), &good());
    let cached = verify_now(&text).expect("a good token");
    let now = Timestamp::from_second(NOW).expect("a time");
    let revoked = crate::revocation::Revoked::default();
    for (state, expected) in [
        (KeyState::Published, Ok(())),
        (KeyState::Active, Ok(())),
        (KeyState::Retiring, Ok(())),
        (KeyState::Removed, Err(TokenRefusal::KeyRetired)),
        (KeyState::Revoked, Err(TokenRefusal::KeyRevoked)),
    ] {
        let ring = ring([(es256.jwk.clone(), state)]);
        let keys = KeySet::build([&ring], []);
        assert_eq!(cached.check(&keys, &revoked, NOW, 60), expected, "{state:?}");
        assert_eq!(verify(&text, &keys, ISSUER, now, &Timings::default()).map(drop), expected, "{state:?}");
        assert_eq!(keys.jwks().is_empty(), expected.is_err());
        let declared = KeySet::build([&ring], BTreeSet::from([es256.jwk.key_id().clone()]));
        assert_eq!(cached.check(&declared, &revoked, NOW, 60), Err(TokenRefusal::KeyRevoked), "{state:?}");
    }
}

#[test]
fn jwt_19_the_same_kid_for_another_key_is_no_key() {
    let mut text = serde_json::to_value(&TestKey::new(Algorithm::ES256).jwk).expect("a jwk");
    text["kid"] = json!(key(Algorithm::ES256).kid());
    assert!(serde_json::from_value::<PublicJwk>(text).is_err());
}

#[test]
fn a_key_in_two_rings_is_in_its_later_state() {
    let jwk = &key(Algorithm::ES256).jwk;
    let rings = [KeyState::Revoked, KeyState::Active].map(|state| ring([(jwk.clone(), state)]));
    for order in [[&rings[0], &rings[1]], [&rings[1], &rings[0]]] {
        let found = KeySet::build(order, []).find(jwk.key_id()).err();
        assert_eq!(found, Some(TokenRefusal::KeyRevoked));
    }
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o\
             knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6\
             qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awap\
             JzKnqDKgw";
    let jwk = json!({"alg": "RS256", "e": "AQAB", "kid": a_kid(), "kty": "RSA", "n": n, "use": "sig"});
    assert!(serde_json::from_value::<PublicJwk>(jwk).is_ok());
}

#[test]
fn the_jwks_is_sorted_and_holds_public_members_only() {
    let text = serde_json::to_value(key_set().jwks()).expect("a document");
    let keys = text["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), Algorithm::ALL.len());
    let kids: Vec<_> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    assert!(kids.is_sorted());
    let allowed = BTreeSet::from(["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"]);
    for key in keys {
        assert!(key.as_object().expect("a key").keys().all(|name| allowed.contains(name.as_str())));
    }
}
