//! One revocation, and how long it must be remembered.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{Audience, TokenId, Uid};
use crate::timings::Timings;
use crate::token::AccessToken;

/// What a client's new epoch was decided on. Whoever decides the same once more, because a stop or a failed write kept the
/// first from ending, goes on with its epoch: no token can carry that one yet (docs/adr/0006).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecidedOn {
    /// The client's object with this resourceVersion, so before its status told of the epoch.
    ResourceVersion(String),
    /// That the object is gone, and its status with it.
    Deletion,
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Revocation {
    /// Tokens of a client issued under an earlier epoch, for one audience or for all.
    Client {
        /// The UID of the client's object.
        client: Uid,
        /// The audience a grant was withdrawn for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audience: Option<Audience>,
        /// The lowest epoch still good.
        epoch: u64,
        /// Why, if the controller says so: single tokens that became an epoch do not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decided_on: Option<DecidedOn>,
    },
    /// One token.
    Token {
        /// Its identifier.
        token: TokenId,
        /// Its client, so that many entries of one client can become an epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<Uid>,
        /// The epoch it carries.
        epoch: u64,
    },
    /// Tokens of a subject issued under an earlier epoch.
    Subject {
        /// Whom they speak for.
        subject: String,
        /// The lowest epoch still good.
        epoch: u64,
    },
}

/// A revocation and the time until which it is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What is revoked.
    #[serde(flatten)]
    pub revocation: Revocation,
    /// When it was decided; says how fast it spread.
    pub written_at: Timestamp,
    /// When nothing it concerns can be good any more.
    pub ends_at: Timestamp,
}

impl Entry {
    /// A client's new epoch. A cut-off issuer may sign under the old one for a while, hence the long life.
    pub fn client(client: Uid, audience: Option<Audience>, epoch: u64, now: Timestamp, timings: &Timings) -> Self {
        let revocation = Revocation::Client { client, audience, epoch, decided_on: None };
        Self { revocation, written_at: now, ends_at: after(now, timings.epoch_entry_for()) }
    }

    /// The same, saying what it was decided on.
    #[must_use]
    pub fn decided_on(mut self, why: DecidedOn) -> Self {
        if let Revocation::Client { decided_on, .. } = &mut self.revocation {
            *decided_on = Some(why);
        }
        self
    }

    /// One token, until it would have ended anyway.
    pub fn token(token: &AccessToken, now: Timestamp, timings: &Timings) -> Self {
        let revocation = Revocation::Token {
            token: token.token_id.clone(),
            client: token.client_uid.clone(),
            epoch: token.client_epoch,
        };
        let end = Timestamp::from_second(token.expires_at).unwrap_or(Timestamp::MAX);
        Self { revocation, written_at: now, ends_at: after(end, timings.leeway + timings.clock_skew) }
    }

    /// Whether nothing it concerns can be good any more.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.ends_at
    }

    /// Whether this entry says at least what the other says, for at least as long.
    pub fn covers(&self, other: &Self) -> bool {
        let says = match (&self.revocation, &other.revocation) {
            (
                Revocation::Client { client, audience, epoch, .. },
                Revocation::Client { client: theirs, audience: for_audience, epoch: at_least, .. },
            ) => client == theirs && (audience.is_none() || audience == for_audience) && epoch >= at_least,
            (
                Revocation::Client { client, audience: None, epoch, .. },
                Revocation::Token { client: Some(c), epoch: e, .. },
            ) => client == c && epoch > e,
            (Revocation::Token { token, .. }, Revocation::Token { token: theirs, .. }) => token == theirs,
            (Revocation::Subject { subject, epoch }, Revocation::Subject { subject: theirs, epoch: at_least }) => {
                subject == theirs && epoch >= at_least
            }
            _ => false,
        };
        says && self.ends_at >= other.ends_at
    }
}

pub(super) fn after(from: Timestamp, period: Duration) -> Timestamp {
    from.saturating_add(period).unwrap_or(Timestamp::MAX)
}
