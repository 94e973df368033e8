//! The claims of an access token (RFC 9068 section 2.2), as the issuer writes them and as a verifier reads them.
//!
//! Reading is strict: exact types, whole seconds, names of their own form. What is read is what [`Claims`] writes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{AccessToken, Algorithm, Confirmation, Delegation, TokenRefusal, confirmation, earlier, json};
use crate::names::{Audience, ClientId, KeyId, TokenId, Uid};
use crate::scope::ScopeSet;

/// Claims that mean something in an access token, or would to someone who reads it, which a client's private claims may not
/// set: RFC 7519 section 4.1, RFC 7662 section 2.2, RFC 9068 section 2.2, RFC 8693 section 4, OpenID Connect Core sections 2 and 5.1, and
/// our own.
pub const REGISTERED_CLAIMS: &[&str] = &[
    "acr",
    "act",
    "address",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "birthdate",
    "c_hash",
    "cep",
    "client_id",
    "cnf",
    "cuid",
    "email",
    "email_verified",
    "entitlements",
    "events",
    "exchanged",
    "exp",
    "family_name",
    "gender",
    "given_name",
    "groups",
    "iat",
    "iss",
    "jti",
    "locale",
    "may_act",
    "middle_name",
    "name",
    "nbf",
    "nickname",
    "nonce",
    "phone_number",
    "phone_number_verified",
    "picture",
    "preferred_username",
    "profile",
    "roles",
    "scope",
    "sep",
    "sid",
    "sub",
    "sub_jwk",
    "token_introspection",
    "txn",
    "updated_at",
    "username",
    "website",
    "zoneinfo",
];

/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;
/// Longer subjects are nobody's.
const MAX_SUBJECT: usize = 512;

/// What the issuer signs.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// The issuer URL.
    pub iss: &'a str,
    /// Whom the token speaks for: for client credentials the client itself.
    pub sub: &'a str,
    /// The one audience.
    pub aud: &'a Audience,
    /// When the token ends, in seconds.
    pub exp: i64,
    /// When it was issued, in seconds.
    pub iat: i64,
    /// Its identifier.
    pub jti: &'a TokenId,
    /// The client it was issued to.
    pub client_id: &'a ClientId,
    /// The scopes granted: at least one.
    #[serde(serialize_with = "as_text")]
    pub scope: &'a ScopeSet,
    /// The UID of the client's object.
    pub cuid: &'a Uid,
    /// The client's epoch, as the issuer knew it.
    pub cep: u64,
    /// The certificate it is bound to, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// What it was exchanged from, if it was.
    #[serde(flatten)]
    pub delegation: Delegation<'a>,
    /// The client's private claims; none of [`REGISTERED_CLAIMS`].
    #[serde(flatten)]
    pub private: &'a Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn as_text<S: serde::Serializer>(scope: &&ScopeSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(scope)
}

impl Claims<'_> {
    /// What is signed: the header as [`compact_header`] gives it, a point, the encoded claims. Private claims that are
    /// registered names are left out, so that no member can appear twice.
    pub fn signing_input(&self, header: &str) -> Result<String, serde_json::Error> {
        let payload = if self.private.keys().any(|name| is_registered(name)) {
            let private = self.private.iter().filter(|(name, _)| !is_registered(name));
            let private = private.map(|(name, value)| (name.clone(), value.clone())).collect();
            serde_json::to_vec(&Claims { private: &private, ..self.clone() })?
        } else {
            serde_json::to_vec(self)?
        };
        let mut text = String::with_capacity(header.len() + payload.len() * 4 / 3 + 100);
        text.push_str(header);
        text.push('.');
        BASE64URL.encode_string(payload, &mut text);
        Ok(text)
    }
}

fn is_registered(name: &str) -> bool {
    REGISTERED_CLAIMS.contains(&name)
}

/// The encoded header of tokens signed with this key: the same for all of them.
pub fn compact_header(algorithm: Algorithm, key_id: &KeyId) -> String {
    BASE64URL.encode(format!(r#"{{"alg":"{algorithm}","kid":"{key_id}","typ":"at+jwt"}}"#))
}

/// Reads the claims of a token whose signature holds.
pub(super) fn parse(payload: &[u8], key_id: &KeyId, issuer: &str) -> Result<AccessToken, TokenRefusal> {
    let claims = json::object(payload).ok_or(TokenRefusal::BadClaims)?;
    let bound_to = confirmation::parse(&claims)?;
    let client_uid = optional(&claims, "cuid", |value| value.as_str().and_then(|text| Uid::new(text).ok()))?;
    let client_epoch = optional(&claims, "cep", Value::as_u64)?;
    if client_uid.is_some() != client_epoch.is_some() {
        return Err(TokenRefusal::MissingClaim);
    }
    let (issued_at, expires_at) = (time(&claims, "iat")?, time(&claims, "exp")?);
    if expires_at <= issued_at {
        return Err(TokenRefusal::BadClaims);
    }
    let not_before = if claims.contains_key("nbf") { Some(time(&claims, "nbf")?) } else { None };
    if text(&claims, "iss")? != issuer {
        return Err(TokenRefusal::WrongIssuer);
    }
    let audience = audience(&claims)?;
    let client_id = text(&claims, "client_id")?.parse().map_err(|_| TokenRefusal::BadClaims)?;
    let exchanged = earlier::parse(&claims, &client_id, &audience)?;
    if client_uid.is_none() && !exchanged.is_empty() {
        return Err(TokenRefusal::MissingClaim);
    }
    Ok(AccessToken {
        subject: subject(text(&claims, "sub")?)?.into(),
        audience,
        client_id,
        scope: ScopeSet::parse(text(&claims, "scope")?).map_err(|_| TokenRefusal::BadClaims)?,
        expires_at,
        issued_at,
        not_before,
        token_id: text(&claims, "jti")?.parse().map_err(|_| TokenRefusal::BadClaims)?,
        client_uid,
        client_epoch: client_epoch.unwrap_or_default(),
        subject_epoch: optional(&claims, "sep", Value::as_u64)?.unwrap_or_default(),
        key_id: key_id.clone(),
        exchanged,
        bound_to,
        claims,
    })
}

pub(super) fn member<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a Value, TokenRefusal> {
    claims.get(name).ok_or(TokenRefusal::MissingClaim)
}

pub(super) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, TokenRefusal> {
    member(claims, name)?.as_str().ok_or(TokenRefusal::BadClaims)
}

/// Whole seconds since 1970: never text, never a fraction, never before or after any calendar.
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<i64, TokenRefusal> {
    let seconds = member(claims, name)?.as_i64().ok_or(TokenRefusal::BadClaims)?;
    if (0..=LAST_SECOND).contains(&seconds) { Ok(seconds) } else { Err(TokenRefusal::BadClaims) }
}

/// Absent is fine; present in another form is not.
fn optional<T>(
    claims: &Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, TokenRefusal> {
    claims.get(name).map(|value| read(value).ok_or(TokenRefusal::BadClaims)).transpose()
}

/// The one audience: a text, or an array of exactly one (RFC 7519 section 4.1.3). Tokens of ours never have more.
fn audience(claims: &Map<String, Value>) -> Result<Audience, TokenRefusal> {
    let value = match member(claims, "aud")? {
        Value::Array(members) => match members.as_slice() {
            [only] => only,
            _ => return Err(TokenRefusal::WrongAudience),
        },
        value => value,
    };
    value.as_str().and_then(|text| Audience::new(text).ok()).ok_or(TokenRefusal::BadClaims)
}

/// A subject goes into headers and logs as it is, hence visible ASCII only.
fn subject(text: &str) -> Result<&str, TokenRefusal> {
    let visible = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if visible && !text.is_empty() && text.len() <= MAX_SUBJECT { Ok(text) } else { Err(TokenRefusal::BadClaims) }
}
