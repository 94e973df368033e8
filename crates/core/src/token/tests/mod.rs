//! Attacks on tokens, named by the ids of the threat list, and the tokens that must pass.

mod claims;
mod client_assertion;
mod differential;
mod exchanged;
mod keys;
mod service_account;
mod structure;
mod times;
mod unsigned;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::keyring::{KeyState, Keyring, RingKey};
use crate::names::{KeyId, ObjectName};
use crate::timings::Timings;

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) enum Private {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn lc::RsaEncoding),
}

pub(crate) struct TestKey {
    pub(super) private: Private,
    pub(super) jwk: PublicJwk,
}

impl TestKey {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => {
                Private::Ec(EcdsaKeyPair::generate(&lc::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::ES384 => {
                Private::Ec(EcdsaKeyPair::generate(&lc::ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::EdDSA => Private::Ed(Ed25519KeyPair::generate().expect("a key")),
            Algorithm::RS256 => Private::Rsa(rsa(), &lc::RSA_PKCS1_SHA256),
            Algorithm::PS256 => Private::Rsa(rsa(), &lc::RSA_PSS_SHA256),
        };
        let jwk = PublicJwk::from_public_key(algorithm, private.public()).expect("a public key");
        Self { private, jwk }
    }

    pub(crate) fn kid(&self) -> &str {
        self.jwk.key_id().as_str()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ec(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Private::Ed(key) => key.sign(message).as_ref().to_vec(),
            Private::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// A token of any header and claims text, truly signed.
    pub(super) fn token_of(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        format!("{signed}.{}", BASE64URL.encode(self.sign(signed.as_bytes())))
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.jwk.algorithm().name(), "kid": self.kid(), "typ": "at+jwt"})
    }

    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }
}

impl Private {
    fn public(&self) -> &[u8] {
        match self {
            Self::Ec(key) => key.public_key().as_ref(),
            Self::Ed(key) => key.public_key().as_ref(),
            Self::Rsa(key, _) => key.public_key().as_ref(),
        }
    }
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key")
}

/// One key of each algorithm, shared by all tests.
pub(crate) static KEYS: LazyLock<BTreeMap<Algorithm, TestKey>> =
    LazyLock::new(|| Algorithm::ALL.into_iter().map(|algorithm| (algorithm, TestKey::new(algorithm))).collect());

pub(crate) fn key(algorithm: Algorithm) -> &'static TestKey {
    &KEYS[&algorithm]
}

pub(super) fn ring(keys: impl IntoIterator<Item = (PublicJwk, KeyState)>) -> Keyring {
    let ring_key = |(index, (jwk, state)): (usize, (PublicJwk, KeyState))| RingKey {
        state,
        ..RingKey::published(index as u64 + 1, jwk, (Timestamp::UNIX_EPOCH, 1))
    };
    let keys: Vec<_> = keys.into_iter().enumerate().map(ring_key).collect();
    let next_key = keys.len() as u64 + 1;
    let name = ObjectName::new("default").expect("a name");
    Keyring { serial: 1, next_key, keys, ..Keyring::empty(name) }
}

/// All test keys in service.
pub(crate) fn key_set() -> KeySet {
    KeySet::build([&ring(KEYS.values().map(|key| (key.jwk.clone(), KeyState::Retiring)))], [])
}

/// Claims of a good token, issued now for ten minutes.
pub(super) fn good() -> Value {
    json!({
        "iss": ISSUER, "sub": "shop.checkout", "aud": "https://orders.shop.svc", "exp": NOW + 600, "iat": NOW,
        "jti": "t1", "client_id": "shop.checkout", "scope": "orders:read orders:write", "cuid": "u-1", "cep": 3,
    })
}

/// Good claims with one member changed; null removes it.
pub(super) fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    let members = claims.as_object_mut().expect("an object");
    members.remove(name);
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
    claims
}

pub(super) fn verify_at(text: &str, now: i64) -> Result<AccessToken, TokenRefusal> {
    verify(text, &key_set(), ISSUER, Timestamp::from_second(now).unwrap_or_default(), &Timings::default())
}

pub(super) fn verify_now(text: &str) -> Result<AccessToken, TokenRefusal> {
    verify_at(text, NOW)
}

/// What becomes of truly signed claims.
pub(super) fn judge(claims: &Value) -> Result<AccessToken, TokenRefusal> {
    let key = key(Algorithm::ES256);
    verify_now(&key.token(&key.header(), claims))
}

#[test]
fn a_good_token_of_each_algorithm_is_read_whole() {
    for (algorithm, key) in KEYS.iter() {
        let token = verify_now(&key.token(&key.header(), &good())).expect("a good token");
        assert_eq!(token.key_id.as_str(), key.kid(), "{algorithm}");
        assert_eq!(
            (&*token.subject, token.audience.as_str(), token.client_id.as_str(), token.token_id.as_str()),
            ("shop.checkout", "https://orders.shop.svc", "shop.checkout", "t1")
        );
        assert_eq!(token.scope.to_string(), "orders:read orders:write");
        assert_eq!((token.issued_at, token.expires_at, token.not_before), (NOW, NOW + 600, None));
        assert_eq!((token.client_uid.as_ref().map(AsRef::as_ref), token.client_epoch), (Some("u-1"), 3));
        assert_eq!(Value::Object(token.claims), good());
    }
}

#[test]
fn what_the_issuer_writes_is_what_a_verifier_reads() {
    let key = key(Algorithm::EdDSA);
    let private = json!({"tier": "gold", "exp": 9, "iss": "https://evil.example"});
    let claims = Claims {
        iss: ISSUER,
        sub: "shop.checkout",
        aud: &"https://orders.shop.svc".parse().expect("an audience"),
        exp: NOW + 600,
        iat: NOW,
        jti: &"t1".parse().expect("a jti"),
        client_id: &"shop.checkout".parse().expect("a client id"),
        scope: &crate::scope::ScopeSet::parse("orders:read orders:write").expect("scopes"),
        cuid: &"u-1".parse().expect("a uid"),
        cep: 3,
        cnf: None,
        delegation: Delegation::default(),
        private: private.as_object().expect("an object"),
    };
    let header = compact_header(Algorithm::EdDSA, key.jwk.key_id());
    let signed = claims.signing_input(&header).expect("claims serialize");
    let token = format!("{signed}.{}", BASE64URL.encode(key.sign(signed.as_bytes())));
    let read = verify_now(&token).expect("our own token");
    assert_eq!(Value::Object(read.claims), with("tier", json!("gold")), "registered names cannot be overwritten");
    assert_eq!(read.key_id, *key.jwk.key_id());
}

#[test]
fn refusals_have_distinct_names_equal_to_their_variants() {
    assert_eq!(TokenRefusal::KeyRevoked.name(), format!("{:?}", TokenRefusal::KeyRevoked));
    assert_eq!(TokenRefusal::NotYetValid.name(), format!("{:?}", TokenRefusal::NotYetValid));
}

pub(super) fn a_kid() -> KeyId {
    KeyId::new("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").expect("a kid")
}
