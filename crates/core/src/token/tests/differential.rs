//! The same tokens, made and read by somebody else's code.

use jsonwebtoken as other;

use super::*;

fn theirs(algorithm: Algorithm) -> other::Algorithm {
    match algorithm {
        Algorithm::ES256 => other::Algorithm::ES256,
        Algorithm::ES384 => other::Algorithm::ES384,
        Algorithm::EdDSA => other::Algorithm::EdDSA,
        Algorithm::RS256 => other::Algorithm::RS256,
        Algorithm::PS256 => other::Algorithm::PS256,
    }
}

fn encoding_key(private: &Private) -> other::EncodingKey {
    use aws_lc_rs::encoding::AsDer;
    match private {
        Private::Ec(key) => other::EncodingKey::from_ec_der(key.to_pkcs8v1().expect("PKCS#8").as_ref()),
        Private::Ed(key) => other::EncodingKey::from_ed_der(key.to_pkcs8().expect("PKCS#8").as_ref()),
        // They take PKCS#1, which a PKCS#8 of this size holds after 26 bytes of wrapping.
        Private::Rsa(key, _) => other::EncodingKey::from_rsa_der(&key.as_der().expect("PKCS#8").as_ref()[26..]),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the other implementation is what we compare with")]
fn tokens_made_by_another_library_are_read_alike() {
    for (algorithm, key) in KEYS.iter() {
        let mut header = other::Header::new(theirs(*algorithm));
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(key.kid().to_owned());
        let Ok(token) = other::encode(&header, &good(), &encoding_key(&key.private)) else {
            panic!("{algorithm}: the other library does not sign with this key");
        };
        assert_eq!(verify_now(&token).map(|token| Value::Object(token.claims)), Ok(good()), "{algorithm}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the other implementation is what we compare with")]
fn our_jwks_and_tokens_are_read_by_another_library() {
    for (algorithm, key) in KEYS.iter() {
        let jwk = serde_json::to_value(&key.jwk).expect("a jwk");
        let jwk: other::jwk::Jwk = serde_json::from_value(jwk).expect("their jwk");
        let mut validation = other::Validation::new(theirs(*algorithm));
        validation.set_audience(&["https://orders.shop.svc"]);
        validation.validate_exp = false;
        let decoding = other::DecodingKey::from_jwk(&jwk).expect("their key");
        let read = other::decode::<Value>(key.token(&key.header(), &good()), &decoding, &validation);
        assert_eq!(read.map(|token| token.claims).ok(), Some(good()), "{algorithm}");
    }
}
