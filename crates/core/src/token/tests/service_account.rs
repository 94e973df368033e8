//! Assertions by ServiceAccount tokens, named by the ids of the threat list.

use super::*;

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// The claims the API server gives the token of a pod.
fn projected() -> Value {
    json!({
        "iss": CLUSTER, "aud": [ISSUER], "sub": "system:serviceaccount:shop:checkout",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": "5a1d4d2c",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "u-node"},
            "pod": {"name": "checkout-7d9", "uid": "u-pod"},
            "serviceaccount": {"name": "checkout", "uid": "u-sa"},
        },
    })
}

/// The claims with the member at a JSON pointer changed; null removes it.
fn changed(pointer: &str, value: Value) -> Value {
    let mut claims = projected();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let members = claims.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.replace("~1", "/"), value)
    };
    claims
}

/// The JWKS of a cluster: members of their own, and a `kid` that is no thumbprint of ours.
fn jwks(keys: &[&TestKey]) -> Vec<u8> {
    let listed = keys.iter().map(|key| {
        let mut jwk = serde_json::to_value(&key.jwk).expect("a key");
        jwk["kid"] = json!(format!("cluster {}", key.jwk.algorithm()));
        jwk["x5t"] = json!("stepped over");
        jwk
    });
    json!({"keys": listed.collect::<Vec<_>>()}).to_string().into_bytes()
}

fn cluster() -> ClusterIssuer {
    ClusterIssuer::read(CLUSTER, &jwks(&[key(Algorithm::RS256), key(Algorithm::ES256)])).expect("keys")
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": format!("cluster {algorithm}")})
}

fn second(now: i64) -> Timestamp {
    Timestamp::from_second(now).expect("a time")
}

fn at(token: &str, now: i64) -> Result<ServiceAccountToken, TokenRefusal> {
    cluster().verify(token, ISSUER, second(now), &Timings::default())
}

fn claims(claims: &Value) -> Result<ServiceAccountToken, TokenRefusal> {
    at(&key(Algorithm::RS256).token(&header(Algorithm::RS256), claims), NOW)
}

#[test]
fn the_token_of_a_pod_says_who_runs_there() {
    let expected = ServiceAccountToken {
        namespace: "shop".parse().expect("a namespace"),
        name: "checkout".parse().expect("a name"),
        uid: "u-sa".parse().expect("a uid"),
        pod: "checkout-7d9".parse().expect("a name"),
        pod_uid: "u-pod".parse().expect("a uid"),
        issued_at: NOW,
        expires_at: NOW + 3600,
    };
    assert_eq!(claims(&projected()), Ok(expected.clone()));
    assert_eq!(claims(&changed("/aud", json!(ISSUER))), Ok(expected.clone()));
    assert_eq!(at(&key(Algorithm::ES256).token(&header(Algorithm::ES256), &projected()), NOW), Ok(expected));
}

#[test]
fn cla_05_only_a_token_for_this_issuer_alone_is_taken() {
    for aud in [
        json!(["https://kubernetes.default.svc"]),
        json!([ISSUER, "https://kubernetes.default.svc"]),
        json!([ISSUER, ISSUER]),
        json!([]),
        json!(format!("{ISSUER}/")),
        json!(format!("{ISSUER}/oauth2/token")),
        json!([[ISSUER]]),
        json!({"aud": ISSUER}),
    ] {
        assert_eq!(claims(&changed("/aud", aud.clone())), Err(TokenRefusal::WrongAudience), "{aud}");
    }
    assert_eq!(claims(&changed("/aud", Value::Null)), Err(TokenRefusal::MissingClaim));
}

#[test]
fn cla_06_times_are_required_and_the_life_is_an_hour_at_most() {
    for (pointer, value, refusal) in [
        ("/exp", Value::Null, TokenRefusal::MissingClaim),
        ("/iat", Value::Null, TokenRefusal::MissingClaim),
        ("/exp", json!(NOW + 3601), TokenRefusal::LivesTooLong),
        ("/exp", json!(NOW), TokenRefusal::BadClaims),
        ("/exp", json!("soon"), TokenRefusal::BadClaims),
        ("/nbf", json!(NOW + 61), TokenRefusal::NotYetValid),
        ("/nbf", json!(0.5), TokenRefusal::BadClaims),
    ] {
        assert_eq!(claims(&changed(pointer, value.clone())), Err(refusal), "{pointer} {value}");
    }
    let token = key(Algorithm::RS256).token(&header(Algorithm::RS256), &projected());
    for (now, expected) in [
        (NOW - 61, Some(TokenRefusal::NotYetValid)),
        (NOW - 60, None),
        (NOW + 3659, None),
        (NOW + 3660, Some(TokenRefusal::Expired)),
    ] {
        assert_eq!(at(&token, now).err(), expected, "{}", now - NOW);
    }
}

#[test]
fn cla_07_another_issuer_subject_key_or_algorithm_is_refused() {
    let rsa = key(Algorithm::RS256);
    assert_eq!(claims(&changed("/iss", json!("https://evil.example"))), Err(TokenRefusal::WrongIssuer));
    for sub in ["system:serviceaccount:shop:other", "system:serviceaccount:web:checkout", "checkout", ""] {
        assert_eq!(claims(&changed("/sub", json!(sub))), Err(TokenRefusal::BadClaims), "{sub}");
    }
    for (header, refusal) in [
        (json!({"alg": "PS256", "kid": "cluster RS256"}), TokenRefusal::WrongAlgorithm),
        (json!({"alg": "HS256", "kid": "cluster RS256"}), TokenRefusal::WrongAlgorithm),
        (json!({"alg": "none", "kid": "cluster RS256"}), TokenRefusal::WrongAlgorithm),
        (json!({"alg": "RS256", "kid": "cluster ES256"}), TokenRefusal::WrongAlgorithm),
        (json!({"alg": "RS256", "kid": "unknown"}), TokenRefusal::UnknownKey),
        (json!({"alg": "RS256"}), TokenRefusal::BadHeader),
        (json!({"alg": "RS256", "kid": "cluster RS256", "typ": "at+jwt"}), TokenRefusal::WrongType),
        (json!({"alg": "RS256", "kid": "cluster RS256", "crit": ["b64"]}), TokenRefusal::UnsupportedHeader),
    ] {
        assert_eq!(at(&rsa.token(&header, &projected()), NOW), Err(refusal), "{header}");
    }
    let forged = TestKey::new(Algorithm::ES256).token(&header(Algorithm::ES256), &projected());
    assert_eq!(at(&forged, NOW), Err(TokenRefusal::BadSignature));
}

#[test]
fn a_token_that_is_bound_to_no_pod_is_refused() {
    for pointer in ["/kubernetes.io", "/kubernetes.io/pod", "/kubernetes.io/serviceaccount", "/kubernetes.io/pod/uid"] {
        assert_eq!(claims(&changed(pointer, Value::Null)), Err(TokenRefusal::MissingClaim), "{pointer}");
    }
    for (pointer, value) in [
        ("/kubernetes.io/pod", json!("checkout")),
        ("/kubernetes.io/namespace", json!("Shop")),
        ("/kubernetes.io/serviceaccount/name", json!("../checkout")),
    ] {
        assert_eq!(claims(&changed(pointer, value.clone())), Err(TokenRefusal::BadClaims), "{pointer} {value}");
    }
}

#[test]
fn a_key_set_without_a_usable_key_is_no_key_set() {
    let foreign = json!({"keys": [{"kty": "EC", "crv": "P-521", "alg": "ES512", "kid": "k", "use": "sig"}, {}]});
    let many = json!({"keys": vec![json!({}); 65]});
    for (document, expected) in [
        (foreign.to_string(), ClusterKeysError::Empty),
        (json!({"keys": []}).to_string(), ClusterKeysError::Empty),
        (many.to_string(), ClusterKeysError::Size),
        (" ".repeat(300_000), ClusterKeysError::Size),
        (json!({}).to_string(), ClusterKeysError::Malformed),
        ("<html>".to_owned(), ClusterKeysError::Malformed),
    ] {
        assert_eq!(ClusterIssuer::read(CLUSTER, document.as_bytes()).err(), Some(expected));
    }
}
