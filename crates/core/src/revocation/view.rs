//! The merged view of all shards, asked on every request without allocating.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Entry, Revocation, Shard};
use crate::names::{Audience, TokenId, Uid};
use crate::token::{AccessToken, TokenRefusal};

/// Everything that is revoked; immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    clients: HashMap<Uid, Client>,
    tokens: HashMap<TokenId, Timestamp>,
    subjects: HashMap<String, Epoch>,
}

/// The lowest epoch still good, and how long that has to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    lowest: u64,
    ends_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Client {
    everywhere: Option<Epoch>,
    by_audience: Vec<(Audience, Epoch)>,
}

impl Revoked {
    /// What the shards say now.
    pub fn build<'a>(shards: impl IntoIterator<Item = &'a Shard>, now: Timestamp) -> Self {
        Self::default().with(shards, now)
    }

    /// What the shards say together with what was known before: a running replica never forgets an entry before its
    /// end, whatever was restored meanwhile.
    #[must_use]
    pub fn with<'a>(&self, shards: impl IntoIterator<Item = &'a Shard>, now: Timestamp) -> Self {
        let mut view = self.clone();
        view.expire(now);
        for entry in shards.into_iter().flat_map(|shard| &shard.entries).filter(|entry| !entry.has_ended(now)) {
            view.add(entry);
        }
        view
    }

    fn add(&mut self, entry: &Entry) {
        let ends_at = entry.ends_at;
        match &entry.revocation {
            Revocation::Client { client, audience, epoch } => {
                let new = Epoch { lowest: *epoch, ends_at };
                let client = self.clients.entry(client.clone()).or_default();
                let Some(audience) = audience else {
                    client.everywhere = Some(new.raised(client.everywhere));
                    return;
                };
                match client.by_audience.iter_mut().find(|(known, _)| known == audience) {
                    Some((_, known)) => *known = new.raised(Some(*known)),
                    None => client.by_audience.push((audience.clone(), new)),
                }
            }
            Revocation::Token { token, .. } => {
                let known = self.tokens.entry(token.clone()).or_insert(ends_at);
                *known = ends_at.max(*known);
            }
            Revocation::Subject { subject, epoch } => {
                let known = self.subjects.get(subject).copied();
                self.subjects.insert(subject.clone(), Epoch { lowest: *epoch, ends_at }.raised(known));
            }
        }
    }

    fn expire(&mut self, now: Timestamp) {
        self.tokens.retain(|_, ends_at| *ends_at > now);
        self.subjects.retain(|_, epoch| epoch.ends_at > now);
        self.clients.retain(|_, client| {
            client.everywhere = client.everywhere.filter(|epoch| epoch.ends_at > now);
            client.by_audience.retain(|(_, epoch)| epoch.ends_at > now);
            client.everywhere.is_some() || !client.by_audience.is_empty()
        });
    }

    /// Whether a token is still good.
    pub fn check(&self, token: &AccessToken) -> Result<(), TokenRefusal> {
        if self.tokens.contains_key(token.token_id.as_str()) {
            return Err(TokenRefusal::Revoked);
        }
        if let Some(client) = token.client_uid.as_ref().and_then(|uid| self.clients.get(uid)) {
            let for_audience = client.by_audience.iter().find(|(audience, _)| *audience == token.audience);
            let lowest = client.everywhere.into_iter().chain(for_audience.map(|(_, epoch)| *epoch));
            if lowest.into_iter().any(|epoch| token.client_epoch < epoch.lowest) {
                return Err(TokenRefusal::OldEpoch);
            }
        }
        match self.subjects.get(&*token.subject) {
            Some(epoch) if token.subject_epoch < epoch.lowest => Err(TokenRefusal::OldEpoch),
            _ => Ok(()),
        }
    }

    /// The highest epoch revocations know of a client; its status catches up with it.
    pub fn epoch_of(&self, client: &Uid) -> u64 {
        self.clients.get(client).map_or(0, Client::highest)
    }

    /// The lowest epoch a client's tokens for an audience may carry: what status says must have reached it before an
    /// issuer signs one.
    pub fn epoch_for(&self, client: &Uid, audience: &Audience) -> u64 {
        self.clients.get(client).map_or(0, |client| {
            let for_audience = client.by_audience.iter().filter(|(known, _)| known == audience);
            let epochs = client.everywhere.iter().chain(for_audience.map(|(_, epoch)| epoch));
            epochs.map(|epoch| epoch.lowest).max().unwrap_or(0)
        })
    }

    /// The clients whose highest epoch is above the one in `before`.
    pub fn raised_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Uid> {
        self.clients.iter().filter(|(uid, now)| now.highest() > before.epoch_of(uid)).map(|(uid, _)| uid)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let epochs = |client: &Client| usize::from(client.everywhere.is_some()) + client.by_audience.len();
        self.tokens.len() + self.subjects.len() + self.clients.values().map(epochs).sum::<usize>()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Client {
    fn highest(&self) -> u64 {
        let epochs = self.everywhere.iter().chain(self.by_audience.iter().map(|(_, epoch)| epoch));
        epochs.map(|epoch| epoch.lowest).max().unwrap_or(0)
    }
}

impl Epoch {
    /// The stricter of both, as long as either lasts.
    fn raised(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self {
            lowest: self.lowest.max(other.lowest),
            ends_at: self.ends_at.max(other.ends_at),
        })
    }
}
