//! Who has to have seen a key before it may sign.

use std::time::Duration;

use jiff::Timestamp;

use super::RingKey;

/// What a replica does with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaRole {
    /// Signs with them.
    Issuer,
    /// Verifies with them.
    Verifier,
}

/// A live replica, as this leader observed its heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What people call it.
    pub name: String,
    /// What it does.
    pub role: ReplicaRole,
    /// The keyring serial it reported to this leader; none while its heartbeat was not renewed since the leader began.
    pub serial: Option<u64>,
}

impl Witness {
    /// Whether the replica is known to hold what this serial brought.
    pub(super) fn has_seen(&self, serial: u64) -> bool {
        self.serial.is_some_and(|held| held >= serial)
    }
}

/// The names of the replicas, of these roles, not known to have seen the serial.
pub(super) fn behind(witnesses: &[Witness], roles: &[ReplicaRole], serial: u64) -> Vec<String> {
    let behind = witnesses.iter().filter(|witness| roles.contains(&witness.role) && !witness.has_seen(serial));
    let mut names: Vec<_> = behind.map(|witness| witness.name.clone()).collect();
    names.sort_unstable();
    names
}

pub(super) const EVERYONE: [ReplicaRole; 2] = [ReplicaRole::Issuer, ReplicaRole::Verifier];

/// When the key will have been Published for `period`.
pub(super) fn ripe_at(key: &RingKey, period: Duration) -> Timestamp {
    after(key.published_at, period)
}

/// The instant so long after another, or the end of time.
pub(super) fn after(from: Timestamp, period: Duration) -> Timestamp {
    from.saturating_add(period).unwrap_or(Timestamp::MAX)
}
