//! Assertions by a client's own keys, named by the ids of the threat list.

use super::*;
use crate::names::ClientId;

/// The claims most libraries send.
fn assertion() -> Value {
    json!({
        "iss": "shop.checkout", "sub": "shop.checkout", "aud": ISSUER, "jti": "f3a1", "iat": NOW, "nbf": NOW, "exp": NOW + 60,
    })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = assertion();
    let members = claims.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    claims
}

/// The key as a client registers it; by default without a name.
fn registered(algorithm: Algorithm, name: Option<&str>) -> ClientKey {
    let mut jwk = serde_json::to_value(&key(algorithm).jwk).expect("a key");
    let members = jwk.as_object_mut().expect("an object");
    members.remove("kid");
    members.remove("use");
    members.extend(name.map(|name| ("kid".to_owned(), json!(name))));
    ClientKey::read(members.clone()).expect("a public key")
}

fn second(now: i64) -> Timestamp {
    Timestamp::from_second(now).expect("a time")
}

fn client() -> ClientId {
    "shop.checkout".parse().expect("a client id")
}

fn by(keys: &[ClientKey], token: &str, now: i64) -> Result<ClientAssertion, TokenRefusal> {
    verify_client_assertion(token, keys, (&client(), ISSUER), second(now), &Timings::default())
}

fn claims(claims: &Value) -> Result<ClientAssertion, TokenRefusal> {
    let token = key(Algorithm::ES256).token(&json!({"alg": "ES256"}), claims);
    by(&[registered(Algorithm::ES256, None)], &token, NOW)
}

#[test]
fn a_good_assertion_says_what_must_not_come_again() {
    let expected = ClientAssertion { token_id: "f3a1".to_owned(), ends_at: second(NOW + 120) };
    assert_eq!(claims(&assertion()), Ok(expected.clone()));
    assert_eq!(claims(&changed("iat", Value::Null)), Ok(expected.clone()), "RFC 7523 makes it optional");
    for algorithm in Algorithm::ALL {
        for header in [
            json!({"alg": algorithm.name()}),
            json!({"alg": algorithm.name(), "kid": "mine", "typ": "JWT"}),
            json!({"alg": algorithm.name(), "kid": key(algorithm).jwk.key_id().as_str(), "typ": "client-authentication+jwt"}),
        ] {
            let token = key(algorithm).token(&header, &assertion());
            assert_eq!(by(&[registered(algorithm, Some("mine"))], &token, NOW), Ok(expected.clone()), "{header}");
        }
    }
}

#[test]
fn cla_05_the_audience_is_the_issuer_and_one_text() {
    for aud in [
        json!([ISSUER]),
        json!([ISSUER, "https://other.example"]),
        json!("https://other.example"),
        json!(format!("{ISSUER}/oauth2/token")),
        json!(format!("{ISSUER}/")),
        json!(""),
        json!(7),
    ] {
        assert_eq!(claims(&changed("aud", aud.clone())), Err(TokenRefusal::WrongAudience), "{aud}");
    }
    assert_eq!(claims(&changed("aud", Value::Null)), Err(TokenRefusal::MissingClaim));
}

#[test]
fn cla_06_it_ends_soon_begins_now_and_has_a_name() {
    for (name, value, refusal) in [
        ("exp", Value::Null, TokenRefusal::MissingClaim),
        ("exp", json!(NOW + 301), TokenRefusal::LivesTooLong),
        ("exp", json!(NOW - 60), TokenRefusal::Expired),
        ("exp", json!("1800000060"), TokenRefusal::BadClaims),
        ("iat", json!(NOW + 61), TokenRefusal::NotYetValid),
        ("nbf", json!(NOW + 61), TokenRefusal::NotYetValid),
        ("iat", json!(1.5), TokenRefusal::BadClaims),
        ("jti", Value::Null, TokenRefusal::MissingClaim),
        ("jti", json!(""), TokenRefusal::BadClaims),
        ("jti", json!(7), TokenRefusal::BadClaims),
        ("jti", json!("x".repeat(257)), TokenRefusal::BadClaims),
    ] {
        assert_eq!(claims(&changed(name, value.clone())), Err(refusal), "{name} {value}");
    }
    for (name, value) in [("exp", NOW + 300), ("exp", NOW - 59), ("iat", NOW + 60), ("nbf", NOW + 60)] {
        assert!(claims(&changed(name, json!(value))).is_ok(), "{name} {value}");
    }
}

#[test]
fn cla_07_it_is_of_the_client_by_one_of_its_keys_with_that_keys_algorithm() {
    for (name, value) in [("iss", "shop.orders"), ("sub", "shop.orders"), ("iss", ISSUER), ("sub", "")] {
        assert_eq!(claims(&changed(name, json!(value))), Err(TokenRefusal::WrongIssuer), "{name} {value}");
    }
    let ours = [registered(Algorithm::ES256, Some("mine")), registered(Algorithm::RS256, Some("old"))];
    let signed = |algorithm: Algorithm, header: Value| by(&ours, &key(algorithm).token(&header, &assertion()), NOW);
    assert_eq!(signed(Algorithm::EdDSA, json!({"alg": "EdDSA"})), Err(TokenRefusal::WrongAlgorithm));
    assert_eq!(signed(Algorithm::RS256, json!({"alg": "PS256", "kid": "old"})), Err(TokenRefusal::WrongAlgorithm));
    assert_eq!(signed(Algorithm::RS256, json!({"alg": "RS256", "kid": "mine"})), Err(TokenRefusal::WrongAlgorithm));
    assert_eq!(signed(Algorithm::ES256, json!({"alg": "ES256", "kid": "other"})), Err(TokenRefusal::UnknownKey));
    assert_eq!(signed(Algorithm::EdDSA, json!({"alg": "ES256", "kid": "mine"})), Err(TokenRefusal::BadSignature));
    assert_eq!(
        by(&[], &key(Algorithm::ES256).token(&json!({"alg": "ES256"}), &assertion()), NOW),
        Err(TokenRefusal::UnknownKey)
    );
    for alg in ["none", "None", "HS256", "ES256K", ""] {
        assert_eq!(signed(Algorithm::ES256, json!({"alg": alg})), Err(TokenRefusal::WrongAlgorithm), "{alg}");
    }
    assert_eq!(signed(Algorithm::ES256, json!({"alg": "ES256", "typ": "at+jwt"})), Err(TokenRefusal::WrongType));
    assert_eq!(signed(Algorithm::ES256, json!({"alg": "ES256", "kid": 7})), Err(TokenRefusal::BadHeader));
    assert_eq!(signed(Algorithm::ES256, json!({"alg": "ES256", "crit": []})), Err(TokenRefusal::UnsupportedHeader));
}

#[test]
fn a_key_is_registered_with_its_algorithm_and_public() {
    let jwk = serde_json::to_value(&key(Algorithm::ES256).jwk).expect("a key");
    let with = |name: &str, value: Value| {
        let mut jwk = jwk.as_object().expect("an object").clone();
        if value.is_null() {
            jwk.remove(name)
        } else {
            jwk.insert(name.to_owned(), value)
        };
        ClientKey::read(jwk)
    };
    for (name, value) in [
        ("alg", Value::Null),
        ("alg", json!("HS256")),
        ("alg", json!("ES384")),
        ("use", json!("enc")),
        ("x", Value::Null),
        ("kty", json!("oct")),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} {value}");
    }
    for (modulus, exponent) in [("A".repeat(684), "AQAB"), ("A".repeat(342), "AQABAQ")] {
        let Value::Object(costly) = json!({"kty": "RSA", "alg": "RS256", "n": modulus, "e": exponent}) else {
            panic!()
        };
        assert_eq!(ClientKey::read(costly), Err(JwkError::Costly));
    }
    assert_eq!(
        with("kid", json!("mine")).map(|key| key.thumbprint().to_owned()),
        Ok(key(Algorithm::ES256).jwk.key_id().as_str().to_owned())
    );
}

#[test]
fn whoever_names_no_key_is_tried_with_four() {
    let another = || {
        let pair = EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let jwk = PublicJwk::from_public_key(Algorithm::ES256, pair.public_key().as_ref()).expect("a key");
        let Ok(Value::Object(members)) = serde_json::to_value(jwk) else { panic!("no object") };
        ClientKey::read(members).expect("a key")
    };
    let token = |header: Value| key(Algorithm::ES256).token(&header, &assertion());
    for (before, found) in [(3, true), (4, false)] {
        let mut keys: Vec<_> = std::iter::repeat_with(another).take(before).collect();
        keys.push(registered(Algorithm::ES256, Some("mine")));
        assert_eq!(by(&keys, &token(json!({"alg": "ES256"})), NOW).is_ok(), found, "{before} before it");
        assert!(by(&keys, &token(json!({"alg": "ES256", "kid": "mine"})), NOW).is_ok());
    }
}
