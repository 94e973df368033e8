//! A client's JWK Set as somebody else serves it (RFC 7517 section 5).
//!
//! Flows in: bytes. Flows out: the keys in it that can be used. Those of other uses or algorithms are stepped over, as RFC 7517 says.

use serde_json::{Map, Value};

use super::{ClientKey, json};

/// The most bytes of a set.
const MAX_BYTES: usize = 64 * 1024;
/// The most keys in it.
const MAX_KEYS: usize = 32;

/// Why a set is not used; the one before it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than anybody needs.
    #[error("the key set is too large: at most 64 KiB and 32 keys")]
    Size,
    /// Not a JWK Set.
    #[error("the answer is no JWK Set")]
    Malformed,
    /// No key in it can be used.
    #[error("the key set holds no public key for signatures by ES256, ES384, EdDSA, RS256 or PS256")]
    Empty,
}

/// Reads a set.
pub fn read_key_set(bytes: &[u8]) -> Result<Vec<ClientKey>, KeySetError> {
    if bytes.len() > MAX_BYTES {
        return Err(KeySetError::Size);
    }
    let document = json::object(bytes).ok_or(KeySetError::Malformed)?;
    let Some(Value::Array(listed)) = document.get("keys") else { return Err(KeySetError::Malformed) };
    if listed.len() > MAX_KEYS {
        return Err(KeySetError::Size);
    }
    let keys: Vec<_> = listed.iter().filter_map(|jwk| key(jwk.as_object()?)).collect();
    if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(keys) }
}

/// A key, if it can be used. Many sets name no algorithm: where the curve leaves one choice, that is it.
fn key(jwk: &Map<String, Value>) -> Option<ClientKey> {
    let mut jwk = jwk.clone();
    if !jwk.contains_key("alg") {
        let algorithm = match jwk.get("crv")?.as_str()? {
            "P-256" => "ES256",
            "P-384" => "ES384",
            "Ed25519" => "EdDSA",
            _ => return None,
        };
        jwk.insert("alg".to_owned(), algorithm.into());
    }
    ClientKey::read(jwk).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
    use crate::token::{Algorithm, PublicJwk};

    fn jwk() -> Value {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let jwk = PublicJwk::from_public_key(Algorithm::ES256, pair.public_key().as_ref()).expect("a key");
        serde_json::to_value(jwk).expect("JSON")
    }

    fn read(document: &Value) -> Result<usize, KeySetError> {
        read_key_set(document.to_string().as_bytes()).map(|keys| keys.len())
    }

    #[test]
    fn keys_of_other_uses_and_algorithms_are_stepped_over() {
        let mut unnamed = jwk();
        let members = unnamed.as_object_mut().expect("an object");
        members.retain(|name, _| !["alg", "use", "kid"].contains(&name.as_str()));
        members.insert("x5t".to_owned(), json!("something"));
        let mut encrypts = jwk();
        encrypts["use"] = json!("enc");
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let set = json!({"keys": [jwk(), unnamed, encrypts, rsa, {"kty": "oct", "k": "AA"}, {"kty": "XYZ"}, 7], "more": true});
        assert_eq!(read(&set), Ok(2));
    }

    #[test]
    fn cla_08_what_is_no_small_set_of_keys_is_refused() {
        let many: Vec<_> = (0..33).map(|_| jwk()).collect();
        for (document, error) in [
            (json!({}), KeySetError::Malformed),
            (json!([]), KeySetError::Malformed),
            (json!({"keys": {}}), KeySetError::Malformed),
            (json!({"keys": []}), KeySetError::Empty),
            (json!({"keys": [{"kty": "oct", "k": "AA"}]}), KeySetError::Empty),
            (json!({"keys": many}), KeySetError::Size),
            (json!({"keys": [jwk()], "more": "x".repeat(MAX_BYTES)}), KeySetError::Size),
        ] {
            assert_eq!(read(&document), Err(error));
        }
        assert_eq!(read_key_set(b"<html>"), Err(KeySetError::Malformed));
    }
}
