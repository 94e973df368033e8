//! Assertions that a client signs with a key of its own: `private_key_jwt` (RFC 7521 section 4.2, RFC 7523 sections 2.2 and 3,
//! and what draft-ietf-oauth-rfc7523bis makes of the audience).
//!
//! Flows in: the assertion, the client's registered keys and id, the one audience, the time. Flows out: the `jti` that must
//! not be used again, and until when. Whether it was used before is not known here.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::claims::{member, text, time};
use super::verify::{decode, split};
use super::{Algorithm, JwkError, PublicJwk, TokenRefusal, header, json};
use crate::names::ClientId;
use crate::timings::Timings;

/// How far ahead an assertion may end, in seconds.
const LONGEST: i64 = 300;
/// How far ahead of ours the client's clock may be, in seconds.
const AHEAD: i64 = 60;
/// How many keys of its algorithm an assertion is tried with that names none: everybody can have us try.
const KEYS_TRIED: usize = 4;
/// The most characters (base64url) of an RSA key's modulus, 4096 bits, and of its exponent, 3 bytes.
const MODULUS_MAX: usize = 683;
const EXPONENT_MAX: usize = 4;
/// The most bytes of a `jti`.
const MAX_TOKEN_ID: usize = 256;

/// A public key a client registered: with one algorithm, and a name if it gave it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    name: Option<String>,
    key: PublicJwk,
}

/// An assertion whose signature and claims were found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAssertion {
    /// `jti`: of its client alone.
    pub token_id: String,
    /// From when on it is refused whatever else.
    pub ends_at: Timestamp,
}

impl ClientKey {
    /// Reads a JWK (RFC 7517 section 4). It must say its algorithm: that is what it is pinned to. Anybody may have an issuer check a
    /// signature with it, so that an RSA key has to be a usual one.
    pub fn read(mut jwk: Map<String, Value>) -> Result<Self, JwkError> {
        let longer =
            |name: &str, most: usize| jwk.get(name).and_then(Value::as_str).is_some_and(|text| text.len() > most);
        if longer("n", MODULUS_MAX) || longer("e", EXPONENT_MAX) {
            return Err(JwkError::Costly);
        }
        let name = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        jwk.entry("kid").or_insert_with(|| "".into());
        jwk.entry("use").or_insert_with(|| "sig".into());
        let (_, key) = PublicJwk::foreign(jwk)?;
        Ok(Self { name, key })
    }

    /// The thumbprint that tells it from others (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        self.key.key_id().as_str()
    }

    fn is_meant(&self, key_id: Option<&str>) -> bool {
        key_id.is_none_or(|id| self.name.as_deref() == Some(id) || self.thumbprint() == id)
    }
}

/// Who signed it, it says: to find the keys with, and nothing else.
pub fn claimed_issuer(token: &str) -> Option<String> {
    let claims = json::object(&decode(split(token).ok()?.claims).ok()?)?;
    text(&claims, "iss").ok().map(str::to_owned)
}

/// Reads an assertion made by `client` for `audience` and no other.
pub fn verify_client_assertion(
    token: &str,
    keys: &[ClientKey],
    (client, audience): (&ClientId, &str),
    now: Timestamp,
    timings: &Timings,
) -> Result<ClientAssertion, TokenRefusal> {
    let parts = split(token)?;
    let (algorithm, key_id) = header::parse_assertion(&decode(parts.header)?)?;
    let signature = decode(parts.signature)?;
    signed_by(keys, (algorithm, key_id.as_deref()), parts.signed.as_bytes(), &signature)?;
    let claims = json::object(&decode(parts.claims)?).ok_or(TokenRefusal::BadClaims)?;
    if text(&claims, "iss")? != client.as_str() || text(&claims, "sub")? != client.as_str() {
        return Err(TokenRefusal::WrongIssuer);
    }
    // Not even a list of one: an assertion is for one authorization server, and says so.
    if member(&claims, "aud")?.as_str() != Some(audience) {
        return Err(TokenRefusal::WrongAudience);
    }
    let ends_at = check_times(&claims, now.as_second(), timings)?;
    let token_id = text(&claims, "jti")?;
    if token_id.is_empty() || token_id.len() > MAX_TOKEN_ID {
        return Err(TokenRefusal::BadClaims);
    }
    let ends_at = Timestamp::from_second(ends_at).map_err(|_| TokenRefusal::BadClaims)?;
    Ok(ClientAssertion { token_id: token_id.to_owned(), ends_at })
}

fn signed_by(
    keys: &[ClientKey],
    (algorithm, key_id): (Algorithm, Option<&str>),
    signed: &[u8],
    signature: &[u8],
) -> Result<(), TokenRefusal> {
    let mut meant = keys.iter().filter(|key| key.is_meant(key_id)).peekable();
    if meant.peek().is_none() {
        return Err(TokenRefusal::UnknownKey);
    }
    let mut fitting = meant.filter(|key| key.key.algorithm() == algorithm).peekable();
    if fitting.peek().is_none() {
        return Err(TokenRefusal::WrongAlgorithm);
    }
    let holds = |key: &ClientKey| key.key.parsed().is_ok_and(|parsed| parsed.verify_sig(signed, signature).is_ok());
    if fitting.take(KEYS_TRIED).any(holds) { Ok(()) } else { Err(TokenRefusal::BadSignature) }
}

/// When the assertion ends, leeway and all.
fn check_times(claims: &Map<String, Value>, now: i64, timings: &Timings) -> Result<i64, TokenRefusal> {
    let leeway = i64::try_from(timings.leeway.as_secs()).unwrap_or(i64::MAX);
    let ends_at = time(claims, "exp")?.saturating_add(leeway);
    if now >= ends_at {
        return Err(TokenRefusal::Expired);
    }
    if ends_at.saturating_sub(leeway) > now.saturating_add(LONGEST) {
        return Err(TokenRefusal::LivesTooLong);
    }
    for begins in ["iat", "nbf"].into_iter().filter(|name| claims.contains_key(*name)) {
        if time(claims, begins)? > now.saturating_add(AHEAD) {
            return Err(TokenRefusal::NotYetValid);
        }
    }
    Ok(ends_at)
}
