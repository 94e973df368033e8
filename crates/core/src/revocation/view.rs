//! The merged view of all shards, asked on every request without allocating.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Entry, KnownEpoch, Revocation, Shard};
use crate::names::{Audience, TokenId, Uid};
use crate::token::{AccessToken, Earlier, TokenRefusal};

/// Everything that is revoked; immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    clients: HashMap<Uid, Client>,
    tokens: HashMap<TokenId, Timestamp>,
    subjects: HashMap<String, Epoch>,
}

/// The lowest epoch still good, and how long that has to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Epoch {
    lowest: KnownEpoch,
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
            Revocation::Client { client, audience, epoch, decided_on } => {
                let lowest = KnownEpoch { epoch: *epoch, decided_on: decided_on.clone() };
                let new = Epoch { lowest, ends_at };
                let client = self.clients.entry(client.clone()).or_default();
                let Some(audience) = audience else {
                    client.everywhere.get_or_insert_with(|| new.clone()).raise(new);
                    return;
                };
                match client.by_audience.iter_mut().find(|(known, _)| known == audience) {
                    Some((_, known)) => known.raise(new),
                    None => client.by_audience.push((audience.clone(), new)),
                }
            }
            Revocation::Token { token, .. } => {
                let known = self.tokens.entry(token.clone()).or_insert(ends_at);
                *known = ends_at.max(*known);
            }
            Revocation::Subject { subject, epoch } => {
                let new = Epoch { lowest: KnownEpoch { epoch: *epoch, decided_on: None }, ends_at };
                self.subjects.entry(subject.clone()).or_insert_with(|| new.clone()).raise(new);
            }
        }
    }

    fn expire(&mut self, now: Timestamp) {
        self.tokens.retain(|_, ends_at| *ends_at > now);
        self.subjects.retain(|_, epoch| epoch.ends_at > now);
        self.clients.retain(|_, client| {
            client.everywhere = client.everywhere.take().filter(|epoch| epoch.ends_at > now);
            client.by_audience.retain(|(_, epoch)| epoch.ends_at > now);
            client.everywhere.is_some() || !client.by_audience.is_empty()
        });
    }

    /// Whether a token is still good, and each it was exchanged from.
    pub fn check(&self, token: &AccessToken) -> Result<(), TokenRefusal> {
        self.check_one(&token.token_id, token.client_uid.as_ref(), (token.client_epoch, &token.audience))?;
        for Earlier { token_id, client_uid, client_epoch, audience, .. } in &token.exchanged {
            self.check_one(token_id, Some(client_uid), (*client_epoch, audience))?;
        }
        match self.subjects.get(&*token.subject) {
            Some(epoch) if token.subject_epoch < epoch.lowest.epoch => Err(TokenRefusal::OldEpoch),
            _ => Ok(()),
        }
    }

    fn check_one(
        &self,
        token: &TokenId,
        client: Option<&Uid>,
        (epoch, audience): (u64, &Audience),
    ) -> Result<(), TokenRefusal> {
        if self.tokens.contains_key(token.as_str()) {
            return Err(TokenRefusal::Revoked);
        }
        let client = client.and_then(|uid| self.clients.get(uid));
        if client.is_some_and(|client| epoch < client.lowest(audience)) {
            return Err(TokenRefusal::OldEpoch);
        }
        Ok(())
    }

    /// The highest epoch revocations know of a client; its status catches up with it.
    pub fn epoch_of(&self, client: &Uid) -> u64 {
        self.clients.get(client).and_then(Client::highest).map_or(0, |known| known.epoch)
    }

    /// The same, with what it was decided on.
    pub fn known_epoch_of(&self, client: &Uid) -> KnownEpoch {
        self.clients.get(client).and_then(Client::highest).cloned().unwrap_or_default()
    }

    /// The lowest epoch a client's tokens for an audience may carry: what status says must have reached it before an
    /// issuer signs one.
    pub fn epoch_for(&self, client: &Uid, audience: &Audience) -> u64 {
        self.clients.get(client).map_or(0, |client| client.lowest(audience))
    }

    /// The clients whose highest epoch is above the one in `before`.
    pub fn raised_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Uid> {
        self.clients.keys().filter(|uid| self.epoch_of(uid) > before.epoch_of(uid))
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
    fn highest(&self) -> Option<&KnownEpoch> {
        let epochs = self.everywhere.iter().chain(self.by_audience.iter().map(|(_, epoch)| epoch));
        epochs.map(|epoch| &epoch.lowest).max()
    }

    /// The lowest epoch still good for an audience.
    fn lowest(&self, audience: &Audience) -> u64 {
        let for_audience = self.by_audience.iter().find(|(known, _)| known == audience);
        let epochs = self.everywhere.iter().chain(for_audience.map(|(_, epoch)| epoch));
        epochs.map(|epoch| epoch.lowest.epoch).max().unwrap_or(0)
    }
}

impl Epoch {
    /// Becomes the stricter of both, for as long as either lasts.
    fn raise(&mut self, other: Self) {
        self.ends_at = self.ends_at.max(other.ends_at);
        if other.lowest > self.lowest {
            self.lowest = other.lowest;
        }
    }
}
