//! A client's own key: to sign with, and as it is registered.

use super::forge::encode;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A client's key pair.
pub struct Key(EcdsaKeyPair);

impl Key {
    pub fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("make a key"))
    }

    /// The lines of a client's spec that register it.
    pub fn registered(&self) -> String {
        let jwk = self.public();
        let methods = json!([{"type": "PrivateKeyJwt", "keys": {"jwks": {"keys": [jwk]}}}]);
        format!("  authentication: {{methods: {methods}}}\n")
    }

    pub fn public(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "mine", "x": encode(x), "y": encode(y)})
    }

    pub fn sign(&self, claims: &str) -> String {
        self.sign_with(r#"{"alg":"ES256","kid":"mine"}"#, claims)
    }

    pub fn sign_with(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("sign");
        format!("{signed}.{}", encode(signature))
    }

    /// As the private half is handed to a program.
    pub fn pkcs8(&self) -> String {
        STANDARD.encode(self.0.to_pkcs8v1().expect("encode the key"))
    }
}
