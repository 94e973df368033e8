//! One bare signature verification: nothing of the token is read but the bytes that are signed.

use crate::usage::own_cpu_time;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::time::Duration;

/// A token's signature, and what it is over.
pub struct Signed {
    message: String,
    signature: Vec<u8>,
}

impl Signed {
    pub fn read(token: &str) -> Self {
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        Self { message: message.to_owned(), signature: decode(signature) }
    }
}

/// A key, parsed.
pub struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// The one that signed this token.
    pub fn of(token: &str, jwks: &Value) -> Self {
        let header: Value = serde_json::from_slice(&decode(token.split('.').next().expect("a header"))).expect("JSON");
        Self(key(&header, jwks))
    }

    pub fn verify(&self, signed: &Signed) {
        self.0.verify_sig(signed.message.as_bytes(), &signed.signature).expect("a good signature");
    }
}

/// CPU microseconds to check one signature. On all cores at once, since that is how a server under load does it, and cores that share parts
/// slow each other down. Each parses the key once: one for each token would not stay near the core.
pub fn bare_verification(signed: &[Signed], key: impl Fn() -> PublicKey + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let verify_all = || {
        let key = key();
        for signed in signed {
            key.verify(signed);
        }
        own_cpu_time()
    };
    let spent: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(verify_all)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread ends well")).sum()
    });
    spent.as_secs_f64() * 1e6 / (signed.len() * cores) as f64
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

fn key(header: &Value, jwks: &Value) -> ParsedPublicKey {
    let jwk = jwks["keys"].as_array().expect("keys").iter().find(|jwk| jwk["kid"] == header["kid"]).expect("the key");
    let part = |name: &str| decode(jwk[name].as_str().expect("a coordinate"));
    if jwk["kty"] == "EC" {
        let point = [vec![4], part("x"), part("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).parse().expect("a key")
    } else {
        UnparsedPublicKey::new(&ED25519, part("x")).parse().expect("a key")
    }
}
