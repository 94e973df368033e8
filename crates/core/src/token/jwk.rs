//! Public keys as JSON Web Keys (RFC 7517), their thumbprints (RFC 7638) and the document that lists them.
//!
//! Flows in: raw public keys from key generation, or the text of a keyring. Flows out: the `kid`, the key parsed for
//! verification, and the JWKS. A value of [`PublicJwk`] holds public members only: a text with any other is refused.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature as lc;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use super::Algorithm;
use crate::names::KeyId;

/// Why a key is not one a ring may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not the members, or not the encoding, of a public key of this algorithm.
    #[error("the key is not a public key for its algorithm")]
    Malformed,
    /// The point or the modulus is not valid.
    #[error("the key is not a valid one")]
    Invalid,
    /// An RSA modulus outside 2048 to 8192 bits.
    #[error("the RSA key must have 2048 to 8192 bits")]
    Size,
    /// A client's RSA key that would cost an issuer more than a request is worth.
    #[error("a client's RSA key must have at most 4096 bits, and an exponent of at most 3 bytes (65537 is usual)")]
    Costly,
    /// The `kid` in the text is not the thumbprint of the key.
    #[error("the kid is not the thumbprint of the key")]
    WrongKeyId,
}

/// A public key with its algorithm; the `kid` is its thumbprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct PublicJwk {
    algorithm: Algorithm,
    material: Material,
    key_id: KeyId,
}

/// The public members, in base64url as they stand in the JWK.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Ec { x: String, y: String },
    Okp { x: String },
    Rsa { n: String, e: String },
}

/// The members of [`Text`].
const MEMBERS: [&str; 9] = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];

/// A JWK as it is written: the only members a public key of ours has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    alg: Algorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    kid: String,
    kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(rename = "use")]
    usage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

// === impl PublicJwk ===

impl PublicJwk {
    /// From the bytes key generation gives: an uncompressed point, 32 bytes of Ed25519, or a PKCS#1 `RSAPublicKey`.
    pub fn from_public_key(algorithm: Algorithm, public: &[u8]) -> Result<Self, JwkError> {
        let material = match (algorithm, public) {
            (Algorithm::ES256, [4, point @ ..]) if point.len() == 64 => ec(point),
            (Algorithm::ES384, [4, point @ ..]) if point.len() == 96 => ec(point),
            (Algorithm::EdDSA, key) if key.len() == 32 => Material::Okp { x: BASE64URL.encode(key) },
            (Algorithm::RS256 | Algorithm::PS256, der) => {
                let (n, e) = pkcs1(der).ok_or(JwkError::Malformed)?;
                Material::Rsa { n: BASE64URL.encode(n), e: BASE64URL.encode(e) }
            }
            _ => return Err(JwkError::Malformed),
        };
        Self::new(algorithm, material)
    }

    /// From a JWK of another issuer: its `kid` is theirs, and members we do not know are stepped over.
    pub(super) fn foreign(mut jwk: serde_json::Map<String, serde_json::Value>) -> Result<(String, Self), JwkError> {
        jwk.retain(|name, _| MEMBERS.contains(&name.as_str()));
        let text: Text = serde_json::from_value(jwk.into()).map_err(|_| JwkError::Malformed)?;
        Ok((text.kid.clone(), text.key()?))
    }

    fn new(algorithm: Algorithm, material: Material) -> Result<Self, JwkError> {
        let key_id = thumbprint(algorithm, &material).ok_or(JwkError::Malformed)?;
        let key = Self { algorithm, material, key_id };
        key.parsed()?;
        Ok(key)
    }

    /// What the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The RFC 7638 thumbprint.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The key in the form that verifies without parsing again.
    pub(super) fn parsed(&self) -> Result<lc::ParsedPublicKey, JwkError> {
        match &self.material {
            Material::Ec { x, y } => {
                let mut point = vec![4];
                point.extend(member(x)?);
                point.extend(member(y)?);
                let (algorithm, length): (&'static dyn lc::VerificationAlgorithm, _) = match self.algorithm {
                    Algorithm::ES384 => (&lc::ECDSA_P384_SHA384_FIXED, 97),
                    _ => (&lc::ECDSA_P256_SHA256_FIXED, 65),
                };
                if point.len() != length || member(x)?.len() * 2 + 1 != length {
                    return Err(JwkError::Malformed);
                }
                lc::ParsedPublicKey::new(algorithm, point).map_err(|_| JwkError::Invalid)
            }
            Material::Okp { x } => {
                let key = member(x)?;
                if key.len() != 32 {
                    return Err(JwkError::Malformed);
                }
                lc::ParsedPublicKey::new(&lc::ED25519, key).map_err(|_| JwkError::Invalid)
            }
            Material::Rsa { n, e } => {
                let key = PublicKeyComponents { n: member(n)?, e: member(e)? };
                if !(256..=1024).contains(&key.n.len()) || key.e.len() > 4 {
                    return Err(JwkError::Size);
                }
                let algorithm = match self.algorithm {
                    Algorithm::PS256 => &lc::RSA_PSS_2048_8192_SHA256,
                    _ => &lc::RSA_PKCS1_2048_8192_SHA256,
                };
                key.to_parsed_public_key(algorithm).map_err(|_| JwkError::Invalid)
            }
        }
    }
}

impl TryFrom<Text> for PublicJwk {
    type Error = JwkError;
    fn try_from(text: Text) -> Result<Self, JwkError> {
        let kid = text.kid.clone();
        let key = text.key()?;
        if key.key_id.as_str() == kid { Ok(key) } else { Err(JwkError::WrongKeyId) }
    }
}

impl Text {
    fn key(self) -> Result<PublicJwk, JwkError> {
        let Self { alg, crv, e, kid: _, kty, n, usage, x, y } = self;
        let material = match (alg, kty.as_str(), crv.as_deref(), x, y, n, e) {
            (Algorithm::ES256, "EC", Some("P-256"), Some(x), Some(y), None, None)
            | (Algorithm::ES384, "EC", Some("P-384"), Some(x), Some(y), None, None) => Material::Ec { x, y },
            (Algorithm::EdDSA, "OKP", Some("Ed25519"), Some(x), None, None, None) => Material::Okp { x },
            (Algorithm::RS256 | Algorithm::PS256, "RSA", None, None, None, Some(n), Some(e)) => Material::Rsa { n, e },
            _ => return Err(JwkError::Malformed),
        };
        if usage == "sig" { PublicJwk::new(alg, material) } else { Err(JwkError::Malformed) }
    }
}

impl From<PublicJwk> for Text {
    fn from(key: PublicJwk) -> Self {
        let PublicJwk { algorithm, material, key_id } = key;
        let (kty, crv, x, y, n, e) = match material {
            Material::Ec { x, y } => ("EC", Some(curve(algorithm)), Some(x), Some(y), None, None),
            Material::Okp { x } => ("OKP", Some(curve(algorithm)), Some(x), None, None, None),
            Material::Rsa { n, e } => ("RSA", None, None, None, Some(n), Some(e)),
        };
        let kid = key_id.as_str().to_owned();
        Self {
            alg: algorithm,
            crv: crv.map(str::to_owned),
            e,
            kid,
            kty: kty.to_owned(),
            n,
            usage: "sig".to_owned(),
            x,
            y,
        }
    }
}

fn ec(point: &[u8]) -> Material {
    let (x, y) = point.split_at(point.len() / 2);
    Material::Ec { x: BASE64URL.encode(x), y: BASE64URL.encode(y) }
}

const fn curve(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES384 => "P-384",
        Algorithm::EdDSA => "Ed25519",
        _ => "P-256",
    }
}

fn member(text: &str) -> Result<Vec<u8>, JwkError> {
    if text.len() > 1400 {
        return Err(JwkError::Size);
    }
    BASE64URL.decode(text).map_err(|_| JwkError::Malformed)
}

/// The required members in lexical order, without white space (RFC 7638 section 3).
fn thumbprint(algorithm: Algorithm, material: &Material) -> Option<KeyId> {
    let text = match material {
        Material::Ec { x, y } => format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, curve(algorithm)),
        Material::Okp { x } => format!(r#"{{"crv":"{}","kty":"OKP","x":"{x}"}}"#, curve(algorithm)),
        Material::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
    };
    KeyId::new(&BASE64URL.encode(digest(&SHA256, text.as_bytes()))).ok()
}

/// The two integers of a DER `RSAPublicKey`, without their sign octets.
fn pkcs1(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inner, rest) = element(0x30, der)?;
    let (n, after) = element(0x02, inner)?;
    let (e, end) = element(0x02, after)?;
    (rest.is_empty() && end.is_empty()).then_some((unsigned(n), unsigned(e)))
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// One DER element of the tag: its content and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = der.split_first().filter(|(first, _)| **first == tag)?;
    let (length, content) = match rest {
        [short, content @ ..] if *short < 0x80 => (usize::from(*short), content),
        [0x81, length, content @ ..] => (usize::from(*length), content),
        [0x82, high, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
        _ => return None,
    };
    content.split_at_checked(length)
}

/// The document at `/oauth2/jwks`: sorted by `kid`, public members only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    keys: Vec<PublicJwk>,
}

impl Jwks {
    /// The keys, each once, in the order of their `kid`.
    pub fn new(keys: impl IntoIterator<Item = PublicJwk>) -> Self {
        let sorted: BTreeMap<_, _> = keys.into_iter().map(|key| (key.key_id().clone(), key)).collect();
        Self { keys: sorted.into_values().collect() }
    }

    /// The keys, sorted.
    pub fn keys(&self) -> &[PublicJwk] {
        &self.keys
    }

    /// Whether there is no key: such a document must not be served.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
