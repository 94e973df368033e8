//! Whether a token may be exchanged for one with another audience, and for which (RFC 8693).
//!
//! Flows in: the client that asks, the token it presents, the Directory, keys and revocations, the parameters of the request.
//! Flows out: what may be signed, or the error of RFC 8693 section 2.2.2.
//!
//! ```text
//! the subject's token ─► does its audience name this client? ─► is it good, and all it came from? ─► how often exchanged?
//!                                                                                                    │
//! ends with the subject's token ◄─ scopes: what the client itself is granted ◄─ an audience it was never for ◄┘
//! ```
//!
//! Scopes of two audiences have nothing to do with one another, so what the new token opens is measured by the client that
//! gets it: never more than it could have in its own name (docs/adr/0007).

use std::time::Duration;

use jiff::Timestamp;

use super::{Denied, GrantDecision, OAuthError, Target, TokenRequest, permitted};
use crate::client::GrantType;
use crate::directory::{ClientView, Directory};
use crate::names::{ClientId, Uid};
use crate::revocation::Revoked;
use crate::token::{AccessToken, Earlier, KeySet, MAX_EXCHANGES};

/// The `grant_type` of RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The one type of token that is exchanged, and given (RFC 8693 section 3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is asked for besides the subject's token, each parameter as it was sent.
#[derive(Clone, Debug, Default)]
pub struct ExchangeRequest<'a> {
    /// `subject_token_type`.
    pub subject_token_type: Option<&'a str>,
    /// `requested_token_type`.
    pub requested_token_type: Option<&'a str>,
    /// Whether there is an `actor_token` or an `actor_token_type`.
    pub names_actor: bool,
    /// The audience and the scopes.
    pub target: TokenRequest<'a>,
}

/// What may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeDecision {
    /// Audience, scopes and life.
    pub grant: GrantDecision,
    /// The tokens it comes from, the newest first.
    pub exchanged: Box<[Earlier]>,
}

/// A client that has authenticated, and all that decides what it may have.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The client that asks: the one that will act.
    pub client: &'a ClientView,
    /// Who may have what.
    pub directory: &'a Directory,
    /// The keys in service.
    pub keys: &'a KeySet,
    /// What is revoked.
    pub revoked: &'a Revoked,
    /// The time.
    pub now: Timestamp,
}

// === impl ExchangeRequest ===

impl ExchangeRequest<'_> {
    /// Whether the client may exchange tokens at all, and this is the exchange there is.
    pub fn check(&self, client: &ClientView) -> Result<(), Denied> {
        permitted(client, GrantType::TokenExchange)?;
        let wrong = |description| Err(OAuthError::InvalidRequest.because(description));
        if self.names_actor {
            return wrong("leave actor_token and actor_token_type out: the client that asks is the actor");
        }
        match (self.subject_token_type, self.requested_token_type) {
            (Some(ACCESS_TOKEN_TYPE), None | Some(ACCESS_TOKEN_TYPE)) => Ok(()),
            (Some(ACCESS_TOKEN_TYPE), Some(_)) => {
                wrong("requested_token_type must be urn:ietf:params:oauth:token-type:access_token")
            }
            _ => wrong("subject_token_type must be urn:ietf:params:oauth:token-type:access_token"),
        }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Decides about a subject's token whose signature holds.
    pub fn decide(&self, subject: &AccessToken, target: &TokenRequest<'_>) -> Result<ExchangeDecision, Denied> {
        let spec = permitted(self.client, GrantType::TokenExchange)?;
        // Asked before anything is told of the token: it is not this client's to know about.
        if !self.directory.is_resource_server(self.client, subject.audience.as_str()) {
            return Err(OAuthError::InvalidRequest
                .because("the client is not among the resourceServers of the subject token's audience"));
        }
        let seconds = self.seconds_left(subject)?;
        let exchanged = Earlier::after(subject).filter(|exchanged| exchanged.len() <= MAX_EXCHANGES);
        let exchanged =
            exchanged.ok_or(OAuthError::InvalidRequest.because("the subject token has been exchanged too often"))?;
        let target = Target::read(spec, target)?;
        if exchanged.iter().any(|earlier| earlier.audience == target.audience) {
            return Err(OAuthError::InvalidTarget
                .because("the subject token is, or comes from one that is, for this audience already"));
        }
        let mut grant = target.granted(self.client, spec, self.directory)?;
        grant.lifetime = grant.lifetime.min(Duration::from_secs(seconds));
        Ok(ExchangeDecision { grant, exchanged })
    }

    /// How long the subject's token is good. The leeway is for clocks that differ, not for more life at the end.
    fn seconds_left(&self, subject: &AccessToken) -> Result<u64, Denied> {
        let now = self.now.as_second();
        let leeway = i64::try_from(self.directory.settings().timings.leeway.as_secs()).unwrap_or(i64::MAX);
        let checked = subject.check(self.keys, self.revoked, now, leeway);
        let good = checked.is_ok() && clients_are_usable(self.directory, subject);
        let left = u64::try_from(subject.expires_at.saturating_sub(now)).ok().filter(|left| good && *left > 0);
        left.ok_or(UNACCEPTABLE_SUBJECT)
    }
}

/// The same words for every token that is not good.
pub const UNACCEPTABLE_SUBJECT: Denied =
    OAuthError::InvalidRequest.because("subject_token is not an access token of this issuer that is good now");

/// Whether the clients a token was issued to, and the ones before it if it was exchanged, may still be used. Where clients are
/// known this ends tokens sooner than their epochs do.
pub fn clients_are_usable(directory: &Directory, token: &AccessToken) -> bool {
    let usable = |id: &ClientId, uid: Option<&Uid>| {
        directory.client(id.as_str()).is_some_and(|client| uid.is_none_or(|uid| *uid == client.object.uid))
    };
    usable(&token.client_id, token.client_uid.as_ref())
        && token.exchanged.iter().all(|earlier| usable(&earlier.client_id, Some(&earlier.client_uid)))
}
