//! Who calls: nobody, the bearer of a token, or a client with the token the issuer would give it.
//!
//! Flows in: what the command line says, and what is known of keys and revocations. Flows out: an answer to the verdict's
//! question about the token, and what there is to tell of it. No signature is ever told.

use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::directory::{ClientView, Directory};
use countersign_core::names::{Audience, KeyId, TokenId};
use countersign_core::oauth::{Denied, TokenRequest, token_grant};
use countersign_core::revocation::Revoked;
use countersign_core::token::{
    AccessToken, Algorithm, Claims, Delegation, KeySet, TokenRefusal, compact_header, read_without_checking_signature,
    verify,
};
use jiff::Timestamp;
use serde_json::Value;

use super::account::Assumed;

/// What tokens are checked with.
pub(super) struct Checks<'a> {
    pub(super) directory: &'a Directory,
    /// None: signatures are not checked.
    pub(super) keys: Option<&'a KeySet>,
    /// None: there is no cluster to ask.
    pub(super) revoked: Option<&'a Revoked>,
    /// None: the token's own word is taken.
    pub(super) issuer: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// A token's header and claims as they stand there, whether or not it is good.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Peek {
    pub(super) header: Option<Value>,
    pub(super) claims: Option<Value>,
}

impl Peek {
    pub(super) fn at(text: &str) -> Self {
        let mut parts = text.split('.').map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
        });
        let (header, claims) = (parts.next().flatten(), parts.next().flatten());
        Self { header, claims }
    }

    fn issuer(&self) -> Option<&str> {
        self.claims.as_ref()?.get("iss")?.as_str()
    }
}

/// The client of this id, whatever is wrong with it; also one that lost the id to another.
pub(super) fn find_client<'a>(directory: &'a Directory, id: &str) -> Option<&'a Arc<ClientView>> {
    let by_id = |client: &&Arc<ClientView>| client.object.client_id.as_ref().is_some_and(|own| own.as_str() == id);
    directory.client(id).or_else(|| directory.clients().find(by_id))
}

/// Whether what a client is now ends the tokens it had. A spec that cannot be read ends none.
fn is_withdrawn(client: &ClientView) -> bool {
    client.object.spec.is_ok() && client.usable().is_none()
}

impl Checks<'_> {
    /// Everything about a token but its audience, as the verifier checks it, so far as there is something to check with.
    pub(super) fn authenticate(&self, text: &str) -> Result<Arc<AccessToken>, TokenRefusal> {
        let timings = &self.directory.settings().timings;
        let peek = Peek::at(text);
        let issuer = self.issuer.or(peek.issuer()).unwrap_or_default();
        let leeway = i64::try_from(timings.leeway.as_secs()).unwrap_or(0);
        let token = match self.keys {
            Some(keys) => verify(text, keys, issuer, self.now, timings)?,
            None => read_without_checking_signature(text, issuer, self.now, timings)?,
        };
        if let (Some(keys), Some(revoked)) = (self.keys, self.revoked) {
            token.check(keys, revoked, self.now.as_second(), leeway)?;
        }
        if self.revoked.is_none() && self.is_of_withdrawn(&token) {
            return Err(TokenRefusal::OldEpoch);
        }
        Ok(Arc::new(token))
    }

    /// Whether a client that had the token, or one it was exchanged from, has none any more.
    fn is_of_withdrawn(&self, token: &AccessToken) -> bool {
        let earlier = token.exchanged.iter().map(|earlier| &earlier.client_id);
        let mut clients = earlier.chain([&token.client_id]).filter_map(|id| find_client(self.directory, id.as_str()));
        clients.any(|client| is_withdrawn(client))
    }

    /// What of a token nobody checked, for lack of something to check it with.
    pub(super) fn unchecked(&self) -> Vec<&'static str> {
        let mut unchecked = Vec::new();
        if self.keys.is_none() {
            unchecked.push("signature not checked: anybody could have written this token; give --jwks FILE (the issuer's /oauth2/jwks) to check it");
        }
        if self.issuer.is_none() {
            unchecked
                .push("issuer not checked: the token's own iss is taken for it; give --issuer-url URL to check it");
        }
        if self.revoked.is_none() {
            unchecked.push("revocation not checked: only a cluster knows which tokens and clients were revoked");
        }
        unchecked
    }

    /// What it rests on, and nobody checked, that this token is good.
    pub(super) fn assumed(&self, token: &AccessToken) -> Vec<Assumed> {
        let gone = || self.directory.client(token.client_id.as_str()).is_none();
        let all = [
            (self.keys.is_none(), Assumed::SignatureHolds),
            (self.revoked.is_none() && gone(), Assumed::ClientExists),
            (self.revoked.is_none(), Assumed::NotRevoked),
            (token.bound_to.is_some(), Assumed::CertificateShown),
        ];
        all.into_iter().filter_map(|(unchecked, assumed)| unchecked.then_some(assumed)).collect()
    }

    /// The token the issuer would give the client now, by the issuer's own decision.
    pub(super) fn issue(
        &self,
        client: &ClientView,
        audience: Option<&Audience>,
        scope: Option<&str>,
    ) -> Result<Result<Arc<AccessToken>, Denied>> {
        let resource = audience.map(Audience::as_str).into_iter().collect();
        let decision = match token_grant(client, self.directory, &TokenRequest { resource, scope }) {
            Ok(decision) => decision,
            Err(denied) => return Ok(Err(denied)),
        };
        let spec = client.usable().context("the issuer's decision is about a client it may use")?;
        let lifetime = i64::try_from(decision.lifetime.as_secs()).unwrap_or(0);
        let issuer = self.directory.settings().issuer_url.as_str();
        let claims = Claims {
            iss: issuer,
            sub: spec.client_id.as_str(),
            aud: &decision.audience,
            exp: self.now.as_second().saturating_add(lifetime),
            iat: self.now.as_second(),
            jti: &TokenId::new("explained")?,
            client_id: &spec.client_id,
            scope: &decision.scopes,
            cuid: &client.object.uid,
            cep: client.object.epoch,
            cnf: None,
            delegation: Delegation::default(),
            private: &spec.tokens.claims,
        };
        let header = compact_header(Algorithm::ES256, &KeyId::new(&"A".repeat(KeyId::MAX))?);
        let text = format!("{}.{}", claims.signing_input(&header)?, "none");
        let timings = &self.directory.settings().timings;
        let token = read_without_checking_signature(&text, issuer, self.now, timings)?;
        Ok(Ok(Arc::new(token)))
    }
}
