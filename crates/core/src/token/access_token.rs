//! A token whose signature and claims were found good, and what is asked of it again on every request.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Earlier, KeySet, Thumbprint, TokenRefusal};
use crate::names::{Audience, ClientId, KeyId, TokenId, Uid};
use crate::revocation::Revoked;
use crate::scope::ScopeSet;

/// An access token of this issuer, as it may be kept in a cache of verified tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessToken {
    /// Whom it speaks for: visible ASCII.
    pub subject: Arc<str>,
    /// The resource server it is for.
    pub audience: Audience,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// What it opens: at least one scope.
    pub scope: ScopeSet,
    /// `exp`, in seconds.
    pub expires_at: i64,
    /// `iat`, in seconds.
    pub issued_at: i64,
    /// `nbf`, in seconds, where there is one.
    pub not_before: Option<i64>,
    /// `jti`.
    pub token_id: TokenId,
    /// The UID of the client's object.
    pub client_uid: Option<Uid>,
    /// The client's epoch, as the issuer knew it.
    pub client_epoch: u64,
    /// The subject's epoch, as the issuer knew it.
    pub subject_epoch: u64,
    /// The key that signed it.
    pub key_id: KeyId,
    /// The tokens it was exchanged from (RFC 8693), the newest first; of most tokens none.
    pub exchanged: Box<[Earlier]>,
    /// The certificate of its holder: **no bearer token**, unless [`AccessToken::check_holder`] says so.
    pub bound_to: Option<Thumbprint>,
    /// All claims, for conditions.
    pub claims: Map<String, Value>,
}

impl AccessToken {
    /// What is checked on every request, whether the token was cached as good or not: times, the state of its key, the
    /// epochs and the deny list; of the tokens it was exchanged from too, whose end is never before its own.
    pub fn check(
        &self,
        keys: &KeySet,
        revoked: &Revoked,
        now_seconds: i64,
        leeway_seconds: i64,
    ) -> Result<(), TokenRefusal> {
        self.check_times(now_seconds, leeway_seconds)?;
        keys.find(&self.key_id)?;
        self.exchanged.iter().try_for_each(|earlier| keys.find(&earlier.key_id).map(drop))?;
        revoked.check(self)
    }

    /// Whether who presents it is its holder (RFC 8705 section 3): asked on every request it is presented with. `shown` is the
    /// certificate of the connection that the request came by; none where nobody who may say so says which.
    pub fn check_holder(&self, shown: impl FnOnce() -> Option<Thumbprint>) -> Result<(), TokenRefusal> {
        let Some(bound_to) = self.bound_to else { return Ok(()) };
        match shown() {
            Some(shown) if shown == bound_to => Ok(()),
            Some(_) => Err(TokenRefusal::WrongCertificate),
            None => Err(TokenRefusal::NoCertificate),
        }
    }

    /// Whether the time is between the token's beginning and end, the leeway given at both.
    pub(super) fn check_times(&self, now: i64, leeway: i64) -> Result<(), TokenRefusal> {
        if now >= self.expires_at.saturating_add(leeway) {
            return Err(TokenRefusal::Expired);
        }
        let latest_start = self.issued_at.max(self.not_before.unwrap_or(self.issued_at));
        if latest_start > now.saturating_add(leeway) {
            return Err(TokenRefusal::NotYetValid);
        }
        Ok(())
    }
}
