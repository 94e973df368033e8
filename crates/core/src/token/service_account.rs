//! Tokens of Kubernetes ServiceAccounts as client assertions (RFC 7521 section 4.2, RFC 7523 section 3; KEP-1205).
//!
//! Flows in: the assertion's text, the cluster's issuer and keys, the audience it must be for, the time. Flows out: which pod,
//! running as which ServiceAccount, presents it.
//!
//! A profile of its own: the kubelet keeps such a token in a file and the program presents it again until it is renewed, so it is
//! no single-use assertion. In return it is bound to a pod, lives an hour at most and is for this issuer alone.

use std::collections::HashMap;

use aws_lc_rs::signature::ParsedPublicKey;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::claims::{member, text, time};
use super::verify::{decode, split};
use super::{Algorithm, PublicJwk, TokenRefusal, header, json};
use crate::names::{Namespace, ObjectName, Uid};
use crate::timings::Timings;

/// The longest life of such a token, in seconds: what the kubelet asks for by default.
const LONGEST: i64 = 3600;
/// The most bytes and keys of a cluster's JWKS.
const MAX_JWKS: usize = 256 * 1024;
const MAX_KEYS: usize = 64;

/// Who signs the ServiceAccount tokens of a cluster.
#[derive(Debug)]
pub struct ClusterIssuer {
    issuer: String,
    keys: HashMap<String, (Algorithm, ParsedPublicKey)>,
}

/// Why a cluster's keys cannot be used. What was known before stays in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterKeysError {
    /// Longer than any cluster's.
    #[error("the key set has more than {MAX_JWKS} bytes or {MAX_KEYS} keys")]
    Size,
    /// Not a JWKS (RFC 7517 section 5).
    #[error("the answer is no JSON Web Key Set")]
    Malformed,
    /// No key in it can be used.
    #[error("the key set holds no key of an algorithm that is accepted")]
    Empty,
}

/// A ServiceAccount token whose signature and claims were found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountToken {
    /// The namespace of the ServiceAccount and of the pod.
    pub namespace: Namespace,
    /// The ServiceAccount.
    pub name: ObjectName,
    /// The UID of the ServiceAccount's object.
    pub uid: Uid,
    /// The pod the token was made for.
    pub pod: ObjectName,
    /// The UID of the pod's object.
    pub pod_uid: Uid,
    /// `iat`, in seconds.
    pub issued_at: i64,
    /// `exp`, in seconds.
    pub expires_at: i64,
}

impl ClusterIssuer {
    /// Reads the JWKS a cluster serves at `/openid/v1/jwks`. Keys of algorithms that are not accepted are left out.
    pub fn read(issuer: &str, jwks: &[u8]) -> Result<Self, ClusterKeysError> {
        if jwks.len() > MAX_JWKS {
            return Err(ClusterKeysError::Size);
        }
        let document = json::object(jwks).ok_or(ClusterKeysError::Malformed)?;
        let Some(Value::Array(listed)) = document.get("keys") else { return Err(ClusterKeysError::Malformed) };
        if listed.len() > MAX_KEYS {
            return Err(ClusterKeysError::Size);
        }
        let read = |jwk: &Value| {
            let (key_id, key) = PublicJwk::foreign(jwk.as_object()?.clone()).ok()?;
            Some((key_id, (key.algorithm(), key.parsed().ok()?)))
        };
        let keys: HashMap<_, _> = listed.iter().filter_map(read).collect();
        if keys.is_empty() {
            return Err(ClusterKeysError::Empty);
        }
        Ok(Self { issuer: issuer.to_owned(), keys })
    }

    /// The `iss` of the cluster's tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Reads a ServiceAccount token made for `audience` and no other.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
        timings: &Timings,
    ) -> Result<ServiceAccountToken, TokenRefusal> {
        let parts = split(token)?;
        let (algorithm, key_id) = header::parse_foreign(&decode(parts.header)?)?;
        let (of_key, key) = self.keys.get(&key_id).ok_or(TokenRefusal::UnknownKey)?;
        if *of_key != algorithm {
            return Err(TokenRefusal::WrongAlgorithm);
        }
        let signature = decode(parts.signature)?;
        key.verify_sig(parts.signed.as_bytes(), &signature).map_err(|_| TokenRefusal::BadSignature)?;
        let claims = json::object(&decode(parts.claims)?).ok_or(TokenRefusal::BadClaims)?;
        if text(&claims, "iss")? != self.issuer {
            return Err(TokenRefusal::WrongIssuer);
        }
        if !is_for(member(&claims, "aud")?, audience) {
            return Err(TokenRefusal::WrongAudience);
        }
        bound(&claims, check_times(&claims, now.as_second(), timings)?)
    }
}

/// Whether the audience is the one, alone: a token that opens two doors can be carried from one to the other.
fn is_for(claim: &Value, audience: &str) -> bool {
    match claim {
        Value::Array(members) => matches!(members.as_slice(), [Value::String(only)] if only == audience),
        value => value.as_str() == Some(audience),
    }
}

/// `iat` and `exp`, if they are good now.
fn check_times(claims: &Map<String, Value>, now: i64, timings: &Timings) -> Result<(i64, i64), TokenRefusal> {
    let leeway = i64::try_from(timings.leeway.as_secs()).unwrap_or(i64::MAX);
    let (issued_at, expires_at) = (time(claims, "iat")?, time(claims, "exp")?);
    let begins_at = if claims.contains_key("nbf") { time(claims, "nbf")?.max(issued_at) } else { issued_at };
    if expires_at <= issued_at {
        return Err(TokenRefusal::BadClaims);
    }
    if expires_at - issued_at > LONGEST {
        return Err(TokenRefusal::LivesTooLong);
    }
    if now >= expires_at.saturating_add(leeway) {
        return Err(TokenRefusal::Expired);
    }
    if begins_at > now.saturating_add(leeway) {
        return Err(TokenRefusal::NotYetValid);
    }
    Ok((issued_at, expires_at))
}

/// What the token is bound to, as the API server writes it; `sub` must say the same.
fn bound(
    claims: &Map<String, Value>,
    (issued_at, expires_at): (i64, i64),
) -> Result<ServiceAccountToken, TokenRefusal> {
    let private = object(claims, "kubernetes.io")?;
    let (account, pod) = (object(private, "serviceaccount")?, object(private, "pod")?);
    let read = ServiceAccountToken {
        namespace: name(text(private, "namespace")?)?,
        name: name(text(account, "name")?)?,
        uid: name(text(account, "uid")?)?,
        pod: name(text(pod, "name")?)?,
        pod_uid: name(text(pod, "uid")?)?,
        issued_at,
        expires_at,
    };
    let subject = format!("system:serviceaccount:{}:{}", read.namespace, read.name);
    if text(claims, "sub")? == subject { Ok(read) } else { Err(TokenRefusal::BadClaims) }
}

fn object<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>, TokenRefusal> {
    member(claims, name)?.as_object().ok_or(TokenRefusal::BadClaims)
}

fn name<T: std::str::FromStr>(text: &str) -> Result<T, TokenRefusal> {
    text.parse().map_err(|_| TokenRefusal::BadClaims)
}
