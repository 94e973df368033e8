//! The replicas as the leader observed their heartbeats.
//!
//! Flows in: changes of the heartbeat Leases, each with the time this process saw it. Flows out: who lives and what they
//! have seen, for the ring and secret steps; which Leases to delete. A time a Lease itself states decides nothing.

use std::collections::BTreeMap;

use countersign_core::client_secret::Usage;
use countersign_core::keyring::{ReplicaRole, Witness};
use countersign_core::names::Uid;
use countersign_core::timings::Timings;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::heartbeat::{self, Report};
use super::{Change, Key, Preconditions};

/// The heartbeats this leader knows.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    replicas: BTreeMap<Key, Replica>,
}

#[derive(Clone, Debug)]
struct Replica {
    name: String,
    role: ReplicaRole,
    report: Report,
    preconditions: Preconditions,
    /// When its Lease last changed, as seen here.
    changed_at: Timestamp,
    /// Whether it changed since this leader began; until then its report may be long out of date.
    renewed: bool,
}

impl Witnesses {
    /// Takes in a change seen at `now`. A leader begins with an empty `Witnesses` and the watch's `Reset`.
    pub fn observe(&mut self, change: Change<Lease>, now: Timestamp) {
        match change {
            Change::Reset(leases) => {
                let mut gone = std::mem::take(&mut self.replicas);
                for lease in leases {
                    let known = gone.remove(&Key::of(&lease.metadata));
                    self.saw(&lease, known, now);
                }
            }
            Change::Apply(lease) => {
                let known = self.replicas.remove(&Key::of(&lease.metadata));
                let new = known.is_none();
                self.saw(&lease, known, now);
                // A Lease that came while this leader watched was written while it watched.
                if let Some(replica) = self.replicas.get_mut(&Key::of(&lease.metadata)).filter(|_| new) {
                    replica.renewed = true;
                }
            }
            Change::Delete(gone) => drop(self.replicas.remove(&gone.key)),
            // What cannot be read cannot vouch for anything, but it lives: it goes on blocking until it is stale.
            Change::Malformed(malformed) => {
                if let Some(replica) = self.replicas.get_mut(&malformed.key) {
                    replica.report = Report::default();
                }
            }
        }
    }

    fn saw(&mut self, lease: &Lease, known: Option<Replica>, now: Timestamp) {
        let Some((role, name, report)) = heartbeat::read(lease) else { return };
        let preconditions = Preconditions::exactly(&lease.metadata);
        let (changed_at, renewed) = match &known {
            Some(known) if known.preconditions == preconditions => (known.changed_at, known.renewed),
            Some(_) => (now, true),
            None => (now, false),
        };
        let replica = Replica { name, role, report, preconditions, changed_at, renewed };
        self.replicas.insert(Key::of(&lease.metadata), replica);
    }

    fn live(&self, now: Timestamp, timings: &Timings) -> impl Iterator<Item = &Replica> {
        self.replicas.values().filter(move |replica| !replica.is_older_than(timings.heartbeat_expiry, now))
    }

    /// The live replicas and the serial of the ring each has reported to this leader.
    pub fn of_ring(&self, ring: &str, now: Timestamp, timings: &Timings) -> Vec<Witness> {
        let witness = |replica: &Replica| Witness {
            name: replica.name.clone(),
            role: replica.role,
            serial: replica.report.serials.get(ring).copied().filter(|_| replica.renewed),
        };
        self.live(now, timings).map(witness).collect()
    }

    /// Who used values of the client issued before `newest`.
    pub fn usage(&self, client: &Uid, newest: Timestamp, now: Timestamp, timings: &Timings) -> Usage {
        let issuers: Vec<_> = self.live(now, timings).filter(|replica| replica.role == ReplicaRole::Issuer).collect();
        let uses = issuers.iter().filter(|issuer| issuer.renewed).flat_map(|issuer| {
            let used = &issuer.report.used;
            let older = used.values.iter().filter(|used| used.client == *client && used.issued_at < newest);
            older.map(|used| used.last_used_at).chain(used.more.then_some(issuer.changed_at))
        });
        let all_reported = !issuers.is_empty() && issuers.iter().all(|issuer| issuer.renewed);
        Usage { all_reported, last_used_at: uses.max() }
    }

    /// Leases so long stale that they are deleted, each only as it was seen.
    pub fn stale(&self, now: Timestamp, timings: &Timings) -> Vec<(Key, Preconditions)> {
        let stale = self.replicas.iter().filter(|(_, replica)| replica.is_older_than(timings.heartbeat_removal, now));
        stale.map(|(key, replica)| (key.clone(), replica.preconditions.clone())).collect()
    }

    /// When the next live replica counts as gone unless it is heard from.
    pub fn next_expiry(&self, now: Timestamp, timings: &Timings) -> Option<Timestamp> {
        let ends = self.live(now, timings).map(|replica| replica.changed_at.saturating_add(timings.heartbeat_expiry));
        ends.filter_map(Result::ok).min()
    }
}

impl Replica {
    fn is_older_than(&self, age: std::time::Duration, now: Timestamp) -> bool {
        now.duration_since(self.changed_at) >= jiff::SignedDuration::try_from(age).unwrap_or(jiff::SignedDuration::MAX)
    }
}
