//! Tokens as an attacker, or a broken issuer, would make them: any header and claims, signed with the issuer's real key.
//!
//! Written against the RFCs and aws-lc-rs alone, so that a mistake in the product's own token code is not repeated here.

use super::standalone::Standalone;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use std::fs;

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// A good token's parts, and the key that signed it.
pub struct Forge {
    pub token: String,
    pub header: Value,
    pub claims: Value,
    key: EcdsaKeyPair,
}

impl Forge {
    /// Takes a token of `shop.checkout` and the private half of the active key from the data folder.
    pub async fn new(standalone: &Standalone) -> Self {
        let token = standalone.token().await;
        let mut parts = token.split('.').map(|part| serde_json::from_slice(&decode(part)).unwrap_or_default());
        let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
        let folder = standalone.data().join("objects");
        let key = private_keys(&folder)
            .into_iter()
            .find(|key| is_of(key, &header))
            .expect("the data folder holds the key that signed the token");
        Self { token, header, claims, key }
    }

    /// Signs these texts as they are.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_bytes(header, claims.as_bytes())
    }

    /// Signs what need not be text.
    pub fn sign_bytes(&self, header: &str, claims: &[u8]) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", encode(self.signature(&message)))
    }

    /// The P1363 signature of a message.
    pub fn signature(&self, message: &str) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("sign").as_ref().to_vec()
    }

    /// A token whose claims were changed, signed well.
    pub fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        self.sign(&self.header.to_string(), &claims.to_string())
    }

    /// A token with a member of the claims replaced, or removed where the value is null.
    pub fn with_claim(&self, name: &str, value: Value) -> String {
        self.with_claims(|claims| set(claims, name, value))
    }

    /// A token with a member of the header replaced, or removed where the value is null.
    pub fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        set(&mut header, name, value);
        self.sign(&header.to_string(), &self.claims.to_string())
    }

    /// The good header with one more member.
    pub fn with_header_text(&self, name: &str, value: &str) -> String {
        let mut header = self.header.clone();
        set(&mut header, name, value.into());
        header.to_string()
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

/// Every P-256 private key among the stored Secrets.
fn private_keys(folder: &std::path::Path) -> Vec<EcdsaKeyPair> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        if entry.path().is_dir() {
            keys.extend(private_keys(&entry.path()));
            continue;
        }
        // A file may be replaced while we look.
        let Ok(text) = fs::read(entry.path()) else { continue };
        let object: Value = serde_json::from_slice(&text).unwrap_or_default();
        let der = find(&object, "private.der").and_then(|text| STANDARD.decode(text).ok());
        keys.extend(der.and_then(|der| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok()));
    }
    keys
}

fn find<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    match value {
        Value::Object(members) => {
            members.get(name).and_then(Value::as_str).or_else(|| members.values().find_map(|value| find(value, name)))
        }
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// Whether this is the key a token names: its public point is the one of the token's `kid`, whose thumbprint (RFC 7638) that is.
fn is_of(key: &EcdsaKeyPair, header: &Value) -> bool {
    use aws_lc_rs::digest::{SHA256, digest};
    use aws_lc_rs::signature::KeyPair;
    let point = key.public_key().as_ref();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    header["kid"] == encode(digest(&SHA256, members.as_bytes()))
}
