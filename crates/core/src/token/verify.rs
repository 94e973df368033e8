//! From text to [`AccessToken`]: the only place a token's text is read.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;

use super::{AccessToken, KeySet, TokenRefusal, claims, header};
use crate::names::KeyId;
use crate::timings::Timings;

/// The most bytes a token may have: looked at before anything is decoded.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The three parts of a compact JWS (RFC 7515 section 7.1).
pub(super) struct Parts<'a> {
    /// Header and claims with the point between them: what is signed.
    pub(super) signed: &'a str,
    pub(super) header: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: &'a str,
}

pub(super) fn split(text: &str) -> Result<Parts<'_>, TokenRefusal> {
    if text.len() > MAX_TOKEN {
        return Err(TokenRefusal::TooLong);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    if header.is_empty() || claims.is_empty() || signature.is_empty() || claims.contains('.') {
        return Err(TokenRefusal::Malformed);
    }
    Ok(Parts { signed, header, claims, signature })
}

/// Decodes strictly: the URL alphabet, no padding, no white space, no stray bits in the last character.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenRefusal> {
    BASE64URL.decode(part).map_err(|_| TokenRefusal::Malformed)
}

/// Reads a token of `issuer`. Whom it is for, and whether it was revoked, is asked on every request:
/// [`AccessToken::audience`] and [`AccessToken::check`].
pub fn verify(
    text: &str,
    keys: &KeySet,
    issuer: &str,
    now: Timestamp,
    timings: &Timings,
) -> Result<AccessToken, TokenRefusal> {
    let parts = split(text)?;
    let header = header::parse(&decode(parts.header)?)?;
    let key = keys.find(&header.key_id)?;
    if key.algorithm() != header.algorithm {
        return Err(TokenRefusal::WrongAlgorithm);
    }
    if !key.holds(parts.signed.as_bytes(), &decode(parts.signature)?) {
        return Err(TokenRefusal::BadSignature);
    }
    let longest = timings.max_access_token_lifetime.max(key.longest_lifetime());
    read_claims(&parts, &header.key_id, issuer, (now, timings.leeway, longest))
}

/// Reads a token as [`verify`] does, but believes its signature: **anybody can write such a token**. For explaining to its
/// owner what a token says, where no key is at hand; never for a decision.
pub fn read_without_checking_signature(
    text: &str,
    issuer: &str,
    now: Timestamp,
    timings: &Timings,
) -> Result<AccessToken, TokenRefusal> {
    let parts = split(text)?;
    let header = header::parse(&decode(parts.header)?)?;
    read_claims(&parts, &header.key_id, issuer, (now, timings.leeway, timings.max_access_token_lifetime))
}

/// What is checked of claims once the signature holds.
fn read_claims(
    parts: &Parts<'_>,
    key_id: &KeyId,
    issuer: &str,
    (now, leeway, longest): (Timestamp, Duration, Duration),
) -> Result<AccessToken, TokenRefusal> {
    let token = claims::parse(&decode(parts.claims)?, key_id, issuer)?;
    if u64::try_from(token.expires_at - token.issued_at).is_ok_and(|life| life > longest.as_secs()) {
        return Err(TokenRefusal::LivesTooLong);
    }
    token.check_times(now.as_second(), i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX))?;
    Ok(token)
}
