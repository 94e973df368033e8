//! The certificate a token is bound to (RFC 8705 section 3.1).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::TokenRefusal;

/// The SHA-256 of a certificate, DER: `x5t#S256`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

// === impl Thumbprint ===

impl Thumbprint {
    /// That of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self(BASE64URL.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The claim `cnf` of a token.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: Thumbprint,
}

impl From<Thumbprint> for Confirmation {
    fn from(certificate: Thumbprint) -> Self {
        Self { certificate }
    }
}

/// Reads `cnf`: a certificate's thumbprint and nothing beside it. Whatever else a token is bound to is not checked anywhere here, so
/// such a token is none.
pub(super) fn parse(claims: &Map<String, Value>) -> Result<Option<Thumbprint>, TokenRefusal> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let members = confirmation.as_object().filter(|members| members.len() == 1).ok_or(TokenRefusal::BadClaims)?;
    let text = members.get("x5t#S256").and_then(Value::as_str).ok_or(TokenRefusal::BadClaims)?;
    Thumbprint::parse(text).map(Some).ok_or(TokenRefusal::BadClaims)
}
