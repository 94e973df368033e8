//! The outer form: parts, encoding, length, JSON.

use super::*;

fn token() -> String {
    let key = key(Algorithm::ES256);
    key.token(&key.header(), &good())
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

#[test]
fn jwt_01_no_signature_no_algorithm_and_wrong_part_counts_are_refused() {
    let [header, claims, signature] = parts(&token());
    for bad in [
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}.{claims}.{signature}.x.y"),
        format!("{}.", token()),
        header.clone(),
        String::new(),
        "..".to_owned(),
        format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#),
        format!(r#"{{"payload":"{claims}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#),
    ] {
        assert_eq!(verify_now(&bad), Err(TokenRefusal::Malformed), "{bad}");
    }
    let key = key(Algorithm::ES256);
    for none in ["none", "None", "nOnE", "NONE", ""] {
        let header = json!({"alg": none, "kid": key.kid(), "typ": "at+jwt"});
        assert_eq!(verify_now(&key.token(&header, &good())), Err(TokenRefusal::WrongAlgorithm), "{none}");
        let [header, claims, _] = parts(&key.token(&header, &good()));
        assert!(verify_now(&format!("{header}.{claims}.")).is_err());
    }
}

#[test]
fn jwt_09_members_given_twice_are_refused() {
    let key = key(Algorithm::ES256);
    let (header, claims) = (key.header().to_string(), good().to_string());
    for (name, twin) in [("alg", "ES256"), ("\\u0061lg", "ES256"), ("kid", key.kid()), ("typ", "at+jwt")] {
        let twice = header.replacen('{', &format!("{{\"{name}\":\"{twin}\","), 1);
        let refused = verify_now(&key.token_of(twice.as_bytes(), claims.as_bytes()));
        assert_eq!(refused, Err(TokenRefusal::BadHeader), "{name}");
    }
    for name in ["sub", "\\u0073ub", "iss", "aud", "jti", "scope"] {
        let twice = claims.replacen('{', &format!("{{\"{name}\":\"x\","), 1);
        let refused = verify_now(&key.token_of(header.as_bytes(), twice.as_bytes()));
        assert_eq!(refused, Err(TokenRefusal::BadClaims), "{name}");
    }
    let twice = claims.replacen('{', "{\"exp\":1,", 1);
    assert_eq!(verify_now(&key.token_of(header.as_bytes(), twice.as_bytes())), Err(TokenRefusal::BadClaims));
}

#[test]
fn jwt_10_any_second_spelling_of_the_base64_is_refused() {
    let [header, claims, signature] = parts(&token());
    let last = |text: &str| {
        // The last character of 86 carries four stray bits: another one that decodes alike elsewhere.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let index = alphabet.iter().position(|byte| Some(*byte) == text.bytes().last()).expect("base64url");
        format!("{}{}", &text[..text.len() - 1], char::from(alphabet[index ^ 1]))
    };
    for bad in [
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{signature} "),
        format!(" {header}.{claims}.{signature}"),
        format!("{header}.{claims}\n.{signature}"),
        format!("{header}.{claims}.{signature}\r\n"),
        format!("{header}.{claims}.{}", last(&signature)),
        format!("{header}.{claims}.+/{}", &signature[2..]),
        format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("{header}.{claims}.{signature}\u{0}"),
        format!("{header}.{claims}.é{}", &signature[2..]),
    ] {
        let refused = verify_now(&bad);
        assert!(matches!(refused, Err(TokenRefusal::Malformed | TokenRefusal::BadSignature)), "{bad}: {refused:?}");
    }
}

#[test]
fn jwt_11_size_is_judged_before_anything_is_decoded() {
    let key = key(Algorithm::ES256);
    let long = |length: usize| {
        let mut claims = with("pad", json!(""));
        let missing = length - key.token(&key.header(), &claims).len();
        claims["pad"] = json!("a".repeat(missing * 3 / 4));
        key.token(&key.header(), &claims)
    };
    let fits = long(MAX_TOKEN - 2);
    assert!(fits.len() <= MAX_TOKEN && fits.len() > MAX_TOKEN - 8);
    assert!(verify_now(&fits).is_ok());
    for huge in [
        "a".repeat(MAX_TOKEN + 1),
        long(MAX_TOKEN + 8),
        format!("{}.{}", "a".repeat(1 << 20), token()),
        ".".repeat(1_000_000),
    ] {
        assert_eq!(verify_now(&huge), Err(TokenRefusal::TooLong));
    }
    assert_eq!(verify_now(&".".repeat(MAX_TOKEN)), Err(TokenRefusal::Malformed));
    let header = key.header().to_string();
    for claims in [
        format!("{{\"a\":{}1{}}}", "[".repeat(4000), "]".repeat(4000)),
        format!("{{\"exp\":{}}}", "9".repeat(10_000)),
        "{\"exp\":1e308}".to_owned(),
        "{\"exp\":1e309}".to_owned(),
    ] {
        let refused = verify_now(&key.token_of(header.as_bytes(), claims.as_bytes()));
        assert!(matches!(refused, Err(TokenRefusal::BadClaims | TokenRefusal::MissingClaim)), "{refused:?}");
    }
    let deep = header.replacen('{', &format!("{{\"x\":{}1{},", "[".repeat(4000), "]".repeat(4000)), 1);
    assert_eq!(verify_now(&key.token_of(deep.as_bytes(), b"{}")), Err(TokenRefusal::BadHeader));
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "[A-Za-z0-9._-]{0,200}") {
        proptest::prop_assert!(verify_now(&text).is_err());
    }

    #[test]
    fn a_token_with_any_one_byte_changed_is_refused(place in 0usize..1000, byte in 0x21u8..0x7f) {
        let good = token();
        let place = place % good.len();
        let mut bytes = good.clone().into_bytes();
        if bytes[place] != byte {
            bytes[place] = byte;
            let text = String::from_utf8(bytes).expect("ASCII");
            proptest::prop_assert!(verify_now(&text).is_err(), "{text}");
        }
    }
}
