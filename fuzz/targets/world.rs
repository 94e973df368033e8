//! The fixed world the targets live in: one issuer, one key anybody may know, one moment.
//!
//! Flows in: nothing. Flows out: keys, a key set, and tokens signed as the real issuer would sign them; Ed25519, so that
//! the same input always gives the same bytes.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::ObjectName;
use countersign_core::token::{Algorithm, KeySet, PublicJwk};
use jiff::{SignedDuration, Timestamp};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "https://orders.shop.svc";
pub const NOW: i64 = 1_800_000_000;

static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed"));
static JWK: LazyLock<PublicJwk> = LazyLock::new(|| {
    PublicJwk::from_public_key(Algorithm::EdDSA, public_key()).expect("the public half of a key pair is a key")
});
/// The issuer's public keys.
pub static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::build([&ring()], []));

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

/// The public half of the only key.
pub fn public_key() -> &'static [u8] {
    PAIR.public_key().as_ref()
}

/// The bytes of a signature by the only key.
pub fn sign(message: &[u8]) -> [u8; 64] {
    PAIR.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
}

/// A compact JWS over these bytes as they are.
pub fn jws(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The header of a good token.
pub fn header() -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"at+jwt"}}"#, JWK.key_id())
}

/// The one good token there is, for the first hour of a run.
pub fn token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| {
        let exp = NOW + 3600;
        let claims = format!(
            r#"{{"iss":"{ISSUER}","sub":"shop.checkout","client_id":"shop.checkout","aud":"{AUDIENCE}","iat":{NOW},"exp":{exp},"jti":"t1","scope":"orders:read","cuid":"u1","cep":1}}"#
        );
        jws(header().as_bytes(), claims.as_bytes())
    });
    &TOKEN
}

fn ring() -> Keyring {
    let published_at = Timestamp::from_second(NOW - 86_400).expect("a time");
    let key = RingKey {
        state: KeyState::Active,
        activated_at: Some(published_at),
        longest_lifetime: SignedDuration::from_hours(1),
        ..RingKey::published(1, JWK.clone(), (published_at, 1))
    };
    let ring = ObjectName::new("default").expect("a name");
    Keyring { serial: 1, next_key: 2, keys: vec![key], ..Keyring::empty(ring) }
}

/// The text up to a line end, and what follows.
pub fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}
