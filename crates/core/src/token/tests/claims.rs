//! Claims: presence, types, exact values.

use super::*;

#[test]
fn jwt_12_times_are_whole_numbers_and_nothing_else() {
    for name in ["exp", "nbf", "iat"] {
        for bad in [
            json!("1800000000"),
            json!(-1),
            json!(1_800_000_000.0),
            json!(1_800_000_000.5),
            json!([NOW]),
            json!({"t": NOW}),
            json!(9_223_372_036_854_775_808_u64),
            json!(i64::MAX),
            json!(true),
        ] {
            assert_eq!(judge(&with(name, bad.clone())), Err(TokenRefusal::BadClaims), "{name} {bad}");
        }
        let mut null = good();
        null[name] = Value::Null;
        assert_eq!(judge(&null), Err(TokenRefusal::BadClaims), "{name} null");
    }
}

#[test]
fn jwt_13_each_required_claim_is_required() {
    for name in ["exp", "iat", "iss", "aud", "sub", "jti", "client_id", "scope", "cuid", "cep"] {
        assert_eq!(judge(&with(name, Value::Null)), Err(TokenRefusal::MissingClaim), "{name}");
    }
    let mut anonymous = with("cuid", Value::Null);
    anonymous.as_object_mut().expect("an object").remove("cep");
    assert!(judge(&anonymous).is_ok(), "both or neither");
}

#[test]
fn jwt_15_the_audience_is_one_exact_member() {
    let audience = |value: Value| judge(&with("aud", value)).map(|token| token.audience.to_string());
    assert_eq!(audience(json!("https://orders.shop.svc")), Ok("https://orders.shop.svc".to_owned()));
    assert_eq!(audience(json!(["https://orders.shop.svc"])), Ok("https://orders.shop.svc".to_owned()));
    assert_eq!(audience(json!("https://ORDERS.shop.svc")), Ok("https://ORDERS.shop.svc".to_owned()), "never folded");
    for bad in [json!([]), json!(["https://orders.shop.svc", "https://a.example"])] {
        assert_eq!(audience(bad), Err(TokenRefusal::WrongAudience));
    }
    for bad in [json!(""), json!(1), json!({}), json!(["https://orders.shop.svc#x"]), json!([["https://a.example"]])] {
        assert_eq!(audience(bad), Err(TokenRefusal::BadClaims));
    }
}

#[test]
fn jwt_16_the_issuer_is_equal_byte_by_byte() {
    for bad in [
        "https://issuer.example/",
        "http://issuer.example",
        "https://ISSUER.example",
        "https://issuer.example.evil",
        "https://issuer.exampl",
        "",
    ] {
        assert_eq!(judge(&with("iss", json!(bad))), Err(TokenRefusal::WrongIssuer), "{bad}");
    }
    assert_eq!(judge(&with("iss", json!([ISSUER]))), Err(TokenRefusal::BadClaims));
}

#[test]
fn jwt_20_text_that_could_mean_two_things_is_refused() {
    for bad in ["a\u{0}b", "a b", "\u{202e}nimda", "ü", "", "a\r\nx: y", "a\u{7f}"] {
        assert_eq!(judge(&with("sub", json!(bad))), Err(TokenRefusal::BadClaims), "sub {bad:?}");
        assert_eq!(judge(&with("jti", json!(bad))), Err(TokenRefusal::BadClaims), "jti {bad:?}");
        assert_eq!(judge(&with("client_id", json!(bad))), Err(TokenRefusal::BadClaims), "client_id {bad:?}");
    }
    assert_eq!(judge(&with("sub", json!("s".repeat(513)))), Err(TokenRefusal::BadClaims));
    for bad in
        [json!(["orders:read"]), json!("orders:read  orders:write"), json!(" orders:read"), json!(""), json!("a\0")]
    {
        assert_eq!(judge(&with("scope", bad)), Err(TokenRefusal::BadClaims));
    }
    let key = key(Algorithm::ES256);
    let header = key.header().to_string();
    for bad in
        [&b"{\"sub\":\"\\ud800\"}"[..], b"{\"sub\":\"\xc0\xaf\"}", b"\xef\xbb\xbf{}", b"null", b"\"x\"", b"[]", b""]
    {
        let refused = verify_now(&key.token_of(header.as_bytes(), bad));
        assert!(matches!(refused, Err(TokenRefusal::BadClaims | TokenRefusal::Malformed)), "{refused:?}");
    }
}

#[test]
fn identifiers_of_client_and_epoch_have_their_own_types() {
    for (name, bad) in [
        ("cuid", json!("a b")),
        ("cuid", json!(1)),
        ("cep", json!("3")),
        ("cep", json!(-1)),
        ("cep", json!(3.0)),
        ("sep", json!("1")),
    ] {
        assert_eq!(judge(&with(name, bad)), Err(TokenRefusal::BadClaims), "{name}");
    }
}

#[test]
fn cla_09_a_token_bound_to_anything_but_one_certificate_is_none() {
    let thumbprint = BASE64URL.encode([7; 32]);
    for cnf in [
        json!({"x5t#S256": "A"}),
        json!({"x5t#S256": format!("{thumbprint}=")}),
        json!({"x5t#S256": thumbprint, "jkt": "A"}),
        json!({"jkt": thumbprint}),
        json!({"x5t#S256": [thumbprint]}),
        json!({"x5t": thumbprint}),
        json!({}),
        json!("A"),
        json!(7),
    ] {
        assert_eq!(judge(&with("cnf", cnf.clone())), Err(TokenRefusal::BadClaims), "{cnf}");
    }
    let mut null = good();
    null["cnf"] = Value::Null;
    assert_eq!(judge(&null), Err(TokenRefusal::BadClaims));
}

#[test]
fn cla_09_a_bound_token_is_good_for_its_holder_alone() {
    let (own, other) = (Thumbprint::of(b"a certificate"), Thumbprint::of(b"another"));
    let written = serde_json::to_value(Confirmation::from(own)).expect("a claim");
    assert_eq!(written, json!({"x5t#S256": own.to_string()}));
    let bound = judge(&with("cnf", written)).expect("a token");
    assert_eq!(bound.bound_to, Some(own));
    assert_eq!(bound.check_holder(|| Some(own)), Ok(()));
    assert_eq!(bound.check_holder(|| Some(other)), Err(TokenRefusal::WrongCertificate));
    assert_eq!(bound.check_holder(|| None), Err(TokenRefusal::NoCertificate));
    let free = judge(&good()).expect("a token");
    assert_eq!((free.check_holder(|| None), free.check_holder(|| Some(other))), (Ok(()), Ok(())));
}
