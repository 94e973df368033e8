//! One line a call: what was asked, by whom, what came of it. The fields are an interface (docs/reference).
//!
//! A call that issued, refused or revoked a token is a line of the audit stream (target `audit`), any other one of the
//! access log (target `access`): together one line a call, so that the audit costs nothing more.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use countersign_core::names::{Audience, KeyId, TokenId};
use countersign_core::scope::ScopeSet;

/// What a line says. Never a secret, a token or text nobody checked.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub endpoint: &'static str,
    pub status: u16,
    /// The RFC's error code; none where the answer is yes.
    pub error: Option<&'a str>,
    /// A client that exists. What else was presented as a client id may be a secret in the wrong field.
    pub client: Option<&'a str>,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    pub begun: Instant,
    /// What somebody may ask about later; none: nothing worth an audit.
    pub deed: Option<&'a Deed>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A token was signed.
    Issued(About),
    /// A token, or what would have led to one, was refused, for a reason that is a constant.
    Refused(&'static str),
    /// A token was revoked.
    Revoked(About),
}

/// The token that a deed is about. Its `jti` names it; the token itself is never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub audience: Audience,
    pub scopes: ScopeSet,
    /// The key that signed it.
    pub key: KeyId,
    pub token_id: TokenId,
    /// Where it was exchanged for another.
    pub exchange: Option<Exchanged>,
}

/// The token that another was exchanged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Whom both speak for.
    pub subject: Arc<str>,
    pub token_id: TokenId,
}

// === impl Deed ===

impl Deed {
    fn name(&self) -> &'static str {
        match self {
            Self::Issued(_) => "issued",
            Self::Refused(_) => "refused",
            Self::Revoked(_) => "revoked",
        }
    }

    /// The token it is about, where one was issued or revoked.
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Issued(about) | Self::Revoked(about) => Some(about),
            Self::Refused(_) => None,
        }
    }

    fn reason(&self) -> Option<&'static str> {
        if let Self::Refused(reason) = self { Some(reason) } else { None }
    }
}

// === impl Line ===

impl Line<'_> {
    /// Writes the line.
    pub fn write(&self) {
        let peer = self.peer.map(tracing::field::display);
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Self { endpoint, status, error, client, deed, .. } = *self;
        let Some(deed) = deed else {
            tracing::info!(target: "access", endpoint, status, error, client, peer, micros, "request");
            return;
        };
        let about = deed.about();
        let exchange = about.and_then(|about| about.exchange.as_ref());
        tracing::info!(
            target: "audit",
            event = deed.name(),
            endpoint,
            status,
            error,
            reason = deed.reason(),
            client,
            audience = about.map(|about| about.audience.as_str()),
            scopes = about.map(|about| tracing::field::display(&about.scopes)),
            key = about.map(|about| about.key.as_str()),
            token_id = about.map(|about| about.token_id.as_str()),
            subject = exchange.map(|exchange| &*exchange.subject),
            exchanged = exchange.map(|exchange| exchange.token_id.as_str()),
            peer,
            micros,
            "token"
        );
    }
}
