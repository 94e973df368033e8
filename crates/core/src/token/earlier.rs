//! What a token was exchanged from (RFC 8693), as it carries it.
//!
//! Flows in: the tokens exchanged on the way, the newest first. Flows out: the claim `exchanged`, by which a verifier finds
//! that one of them was revoked although it never saw it, and the claim `act` (RFC 8693 section 4.1) for everybody else.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AccessToken, TokenRefusal};
use crate::names::{Audience, ClientId, KeyId, TokenId, Uid};

/// How often a token may be exchanged on its way: the most clients that may act in a row.
pub const MAX_EXCHANGES: usize = 4;

/// A token that was exchanged: all a revocation could name of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// Its identifier.
    #[serde(rename = "jti")]
    pub token_id: TokenId,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// The UID of that client's object.
    #[serde(rename = "cuid")]
    pub client_uid: Uid,
    /// That client's epoch, as the issuer knew it.
    #[serde(rename = "cep")]
    pub client_epoch: u64,
    /// Whom it was for.
    #[serde(rename = "aud")]
    pub audience: Audience,
    /// The key that signed it.
    #[serde(rename = "kid")]
    pub key_id: KeyId,
}

/// What a token says of those it was exchanged from; of most tokens nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delegation<'a> {
    /// The subject's epoch, as the issuer of the first token knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sep: Option<u64>,
    /// The client that acts for the subject, and within it those that did before.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(skip_serializing_if = "<[Earlier]>::is_empty")]
    exchanged: &'a [Earlier],
}

// === impl Earlier ===

impl Earlier {
    /// The tokens that one exchanged for this token would come from. None where this one is of no client that can be told
    /// apart from another of its name.
    pub fn after(token: &AccessToken) -> Option<Box<[Self]>> {
        let own = Self {
            token_id: token.token_id.clone(),
            client_id: token.client_id.clone(),
            client_uid: token.client_uid.clone()?,
            client_epoch: token.client_epoch,
            audience: token.audience.clone(),
            key_id: token.key_id.clone(),
        };
        Some(std::iter::once(own).chain(token.exchanged.iter().cloned()).collect())
    }
}

// === impl Delegation ===

impl<'a> Delegation<'a> {
    /// Of a token of this client that was exchanged for one of `subject_epoch`.
    pub fn new(client_id: &ClientId, exchanged: &'a [Earlier], subject_epoch: u64) -> Self {
        Self { sep: (subject_epoch > 0).then_some(subject_epoch), act: act(client_id, exchanged), exchanged }
    }
}

/// The client that has the token, and within it those that had one before; the first of all is no actor: it began.
fn act(client_id: &ClientId, exchanged: &[Earlier]) -> Option<Value> {
    let (_, between) = exchanged.split_last()?;
    let actor = |client: &ClientId, before: Option<Value>| match before {
        Some(before) => json!({"sub": client, "act": before}),
        None => json!({"sub": client}),
    };
    let before = between.iter().rev().fold(None, |before, earlier| Some(actor(&earlier.client_id, before)));
    Some(actor(client_id, before))
}

/// Reads both claims, which must say the same: as many tokens as an issuer would write, and no audience twice.
pub(super) fn parse(
    claims: &Map<String, Value>,
    client_id: &ClientId,
    audience: &Audience,
) -> Result<Box<[Earlier]>, TokenRefusal> {
    let exchanged: Box<[Earlier]> = match claims.get("exchanged") {
        None => Box::default(),
        Some(Value::Array(members)) if (1..=MAX_EXCHANGES).contains(&members.len()) => {
            members.iter().map(Earlier::deserialize).collect::<Result<_, _>>().map_err(|_| TokenRefusal::BadClaims)?
        }
        Some(_) => return Err(TokenRefusal::BadClaims),
    };
    let audiences: Vec<_> =
        std::iter::once(audience).chain(exchanged.iter().map(|earlier| &earlier.audience)).collect();
    let comes_again = |(at, one): (usize, &&Audience)| audiences.iter().skip(at + 1).any(|other| other == one);
    if audiences.iter().enumerate().any(comes_again) || claims.get("act") != act(client_id, &exchanged).as_ref() {
        return Err(TokenRefusal::BadClaims);
    }
    Ok(exchanged)
}
