//! A shard: the entries of one writer in one document.
//!
//! Nothing is evicted. Entries that another covers go at once, ended ones when their time has come; past a bound the
//! single tokens of one client become its next epoch, which refuses more, never less.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Entry, Revocation};
use crate::names::Uid;
use crate::timings::Timings;

/// The entries of one writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// What it holds, in the order it came.
    pub entries: Vec<Entry>,
}

/// There is no room, and nothing left to collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard is full")]
pub struct ShardFull;

impl Shard {
    /// The most entries a shard holds.
    pub const MAX: usize = 512;
    /// The most single tokens of one client in a shard before they become its next epoch.
    pub const MAX_TOKENS_OF_CLIENT: usize = 64;

    /// Adds an entry; afterwards the shard refuses at least what it refused before and what the entry says.
    pub fn insert(&mut self, entry: Entry, now: Timestamp, timings: &Timings) -> Result<(), ShardFull> {
        self.expire(now);
        if self.entries.iter().any(|known| known.covers(&entry)) {
            return Ok(());
        }
        self.entries.retain(|known| !entry.covers(known));
        self.entries.push(entry);
        self.collapse(Self::MAX_TOKENS_OF_CLIENT, now, timings);
        if self.entries.len() > Self::MAX {
            self.collapse(1, now, timings);
        }
        if self.entries.len() <= Self::MAX {
            return Ok(());
        }
        self.entries.pop();
        Err(ShardFull)
    }

    /// Drops what has ended; says whether something was dropped.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.has_ended(now));
        self.entries.len() != before
    }

    /// When the next entry ends.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.entries.iter().map(|entry| entry.ends_at).min()
    }

    /// Clients with more single tokens than `bound` get the epoch after the latest of those instead.
    fn collapse(&mut self, bound: usize, now: Timestamp, timings: &Timings) {
        let mut tokens: BTreeMap<Uid, (usize, u64)> = BTreeMap::new();
        for entry in &self.entries {
            if let Revocation::Token { client: Some(client), epoch, .. } = &entry.revocation {
                let (count, latest) = tokens.entry(client.clone()).or_default();
                *count += 1;
                *latest = (*latest).max(*epoch);
            }
        }
        for (client, (_, latest)) in tokens.into_iter().filter(|(_, (count, _))| *count > bound) {
            let epoch = Entry::client(client, None, latest.saturating_add(1), now, timings);
            self.entries.retain(|known| !epoch.covers(known));
            self.entries.push(epoch);
        }
    }
}
