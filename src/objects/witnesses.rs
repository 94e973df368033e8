//! The replicas as the leader observed their heartbeats.
//!
//! Flows in: changes of the heartbeat Leases, each with the time this process saw it. Flows out: who lives and what they
//! have seen, for the ring and secret steps; which Leases to delete. A time a Lease itself states decides nothing.

use std::collections::BTreeMap;

use countersign_core::client_secret::Usage;
use countersign_core::keyring::{ReplicaRole, Witness};
use countersign_core::names::{ObjectName, Uid};
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
    /// Takes in a change seen at `now`; says whether replicas or what they hold changed, not only when they were heard.
    /// A leader begins with an empty `Witnesses` and the watch's `Reset`.
    pub fn observe(&mut self, change: &Change<Lease>, now: Timestamp) -> bool {
        let before = self.held();
        self.take_in(change, now);
        self.held() != before
    }

    /// What each replica holds, as far as it counts.
    fn held(&self) -> Vec<(Key, bool, BTreeMap<ObjectName, u64>)> {
        let held = |(key, replica): (&Key, &Replica)| (key.clone(), replica.renewed, replica.report.serials.clone());
        self.replicas.iter().map(held).collect()
    }

    fn take_in(&mut self, change: &Change<Lease>, now: Timestamp) {
        match change {
            Change::Reset(leases, malformed) => {
                let mut gone = std::mem::take(&mut self.replicas);
                for lease in leases {
                    let known = gone.remove(&Key::of(&lease.metadata));
                    self.saw(lease, known.as_ref(), now);
                }
                for (key, replica) in malformed.iter().filter_map(|lease| gone.remove_entry(&lease.key)) {
                    self.replicas.insert(key, Replica { report: Report::default(), ..replica });
                }
            }
            Change::Apply(lease) => {
                let known = self.replicas.remove(&Key::of(&lease.metadata));
                let new = known.is_none();
                self.saw(lease, known.as_ref(), now);
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

    fn saw(&mut self, lease: &Lease, known: Option<&Replica>, now: Timestamp) {
        let Some((role, name, report)) = heartbeat::read(lease) else { return };
        let preconditions = Preconditions::exactly(&lease.metadata);
        let (changed_at, renewed) = match known {
            Some(known) if known.preconditions == preconditions => (known.changed_at, known.renewed),
            Some(_) => (now, true),
            None => (now, false),
        };
        let replica = Replica { name, role, report, preconditions, changed_at, renewed };
        self.replicas.insert(Key::of(&lease.metadata), replica);
    }

    /// Until `heard_at` this process heard nobody, so nobody's silence before then counts.
    pub fn excuse_silence(&mut self, heard_at: Timestamp) {
        for replica in self.replicas.values_mut() {
            replica.changed_at = replica.changed_at.max(heard_at);
        }
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

    /// The highest serial of the ring any heartbeat names, renewed or not: a ring with one had a keyring.
    pub fn highest_serial(&self, ring: &str) -> u64 {
        self.replicas.values().filter_map(|replica| replica.report.serials.get(ring)).max().copied().unwrap_or(0)
    }

    /// Who used values of the client issued before `newest`, and which issuer saw the last of it.
    pub fn usage(&self, client: &Uid, newest: Timestamp, now: Timestamp, timings: &Timings) -> (Usage, Option<String>) {
        let issuers: Vec<_> = self.live(now, timings).filter(|replica| replica.role == ReplicaRole::Issuer).collect();
        let uses = issuers.iter().filter(|issuer| issuer.renewed).filter_map(|issuer| {
            let used = &issuer.report.used;
            let older = used.values.iter().filter(|used| used.client == *client && used.issued_at < newest);
            let used_at = older.map(|used| used.last_used_at).chain(used.unlisted_used_at).max();
            used_at.map(|used_at| (used_at, &issuer.name))
        });
        let all_reported = !issuers.is_empty() && issuers.iter().all(|issuer| issuer.renewed);
        let last = uses.max();
        (Usage { all_reported, last_used_at: last.map(|(used_at, _)| used_at) }, last.map(|(_, name)| name.clone()))
    }

    /// Leases so long stale that they are deleted, each only as it was seen.
    pub fn stale(&self, now: Timestamp, timings: &Timings) -> Vec<(Key, Preconditions)> {
        let stale = self.replicas.iter().filter(|(_, replica)| replica.is_older_than(timings.heartbeat_removal, now));
        stale.map(|(key, replica)| (key.clone(), replica.preconditions.clone())).collect()
    }
}

impl Replica {
    fn is_older_than(&self, age: std::time::Duration, now: Timestamp) -> bool {
        now.duration_since(self.changed_at) >= jiff::SignedDuration::try_from(age).unwrap_or(jiff::SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_core::names::{IssuerName, Namespace, ObjectName};
    use futures::StreamExt;
    use tokio::sync::watch;

    use super::super::heartbeat::{Heartbeat, UsedSecret, UsedSecrets};
    use super::super::layout::{Layout, Part};
    use super::super::{FolderStore, Objects, Selection};
    use super::*;
    use crate::runtime::clock::Clock;
    use crate::runtime::supervisor::Supervisor;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn layout() -> Layout {
        Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("system").unwrap()).unwrap()
    }

    fn serials(serial: u64) -> Report {
        Report { serials: [(ObjectName::new("default").unwrap(), serial)].into(), used: UsedSecrets::default() }
    }

    /// What a replica's heartbeats look like to a watch.
    async fn changes(reports: Vec<Report>) -> Vec<Change<Lease>> {
        let objects = Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap());
        let mut watch = objects.watch::<Lease>(Selection::all());
        let mut seen = Vec::new();
        let (report, reported) = watch::channel(Report::default());
        let who = (ReplicaRole::Issuer, "a");
        let heartbeat = Heartbeat::new(&objects, &layout(), who, (Clock::system(), Duration::from_mins(1)), reported);
        let shutdown = Supervisor::new().shutdown();
        let running = tokio::spawn(heartbeat.run(shutdown.clone()));
        while seen.len() < 2 {
            seen.push(watch.next().await.unwrap());
        }
        for next in reports {
            report.send_replace(next);
            seen.push(watch.next().await.unwrap());
        }
        shutdown.request();
        running.await.unwrap().unwrap();
        seen.push(watch.next().await.unwrap());
        seen
    }

    fn serial(witnesses: &Witnesses, second: i64) -> Vec<Option<u64>> {
        let ring = witnesses.of_ring("default", at(second), &Timings::default());
        ring.into_iter().map(|witness| witness.serial).collect()
    }

    #[tokio::test]
    async fn a_heartbeat_tells_each_serial_at_once_and_ends_with_its_replica() {
        let seen = changes(vec![serials(3), serials(4)]).await;
        let mut witnesses = Witnesses::default();
        let expected = [vec![], vec![None], vec![Some(3)], vec![Some(4)], vec![]];
        for (change, expected) in seen.iter().zip(expected) {
            witnesses.observe(change, at(100));
            assert_eq!(serial(&witnesses, 100), expected, "{change:?}");
        }
    }

    #[tokio::test]
    async fn what_a_new_leader_finds_blocks_until_it_is_renewed_or_stale() {
        let seen = changes(vec![serials(3), serials(4)]).await;
        let [_, _, Change::Apply(third), Change::Apply(fourth), _] = &seen[..] else { panic!("{seen:?}") };
        let mut witnesses = Witnesses::default();
        witnesses.observe(&Change::Reset(vec![third.clone()], Vec::new()), at(100));
        assert_eq!(serial(&witnesses, 100), [None], "it lives, and vouches for nothing yet");
        witnesses.observe(&Change::Reset(vec![third.clone()], Vec::new()), at(200));
        assert_eq!(serial(&witnesses, 200), [None], "a relisting is no renewal");
        assert_eq!(serial(&witnesses, 400), [], "unchanged for five minutes");
        witnesses.observe(&Change::Apply(fourth.clone()), at(410));
        assert_eq!(serial(&witnesses, 410), [Some(4)]);
        assert_eq!(witnesses.stale(at(410 + 3_599), &Timings::default()), []);
        let stale = witnesses.stale(at(410 + 3_600), &Timings::default());
        assert_eq!(stale, [(Key::of(&fourth.metadata), Preconditions::exactly(&fourth.metadata))]);
    }

    #[tokio::test]
    async fn a_leader_that_heard_nothing_takes_nobody_for_gone() {
        let seen = changes(vec![serials(3)]).await;
        let mut witnesses = Witnesses::default();
        for change in &seen[..3] {
            witnesses.observe(change, at(100));
        }
        assert_eq!(serial(&witnesses, 1_000), [], "silent for longer than five minutes");
        witnesses.excuse_silence(at(1_000));
        assert_eq!(serial(&witnesses, 1_000), [Some(3)], "so was the API server");
        assert_eq!(serial(&witnesses, 1_300), [], "and now it is not");
    }

    #[tokio::test]
    async fn use_of_an_older_value_counts_and_so_does_what_did_not_fit() {
        let client = Uid::new("u1").unwrap();
        let value = |issued, used| UsedSecret { client: client.clone(), issued_at: at(issued), last_used_at: at(used) };
        // Serials that differ, so that each report is sent at once.
        let with = |values, unlisted: Option<i64>| Report {
            used: UsedSecrets { values, unlisted_used_at: unlisted.map(at) },
            ..serials(if unlisted.is_some() { 2 } else { 1 })
        };
        let seen = changes(vec![with(vec![value(10, 90), value(20, 95)], None), with(vec![], Some(60))]).await;
        let mut witnesses = Witnesses::default();
        let mut usage = |change: &Change<Lease>| {
            witnesses.observe(change, at(100));
            witnesses.usage(&client, at(20), at(100), &Timings::default())
        };
        let used = |second| Usage { all_reported: true, last_used_at: Some(at(second)) };
        assert_eq!(usage(&seen[0]), (Usage::default(), None), "nobody lives");
        usage(&seen[1]);
        assert_eq!(usage(&seen[2]), (used(90), Some("issuer-a".to_owned())));
        assert_eq!(usage(&seen[3]), (used(60), Some("issuer-a".to_owned())));
    }

    #[test]
    fn leases_of_others_are_no_witnesses() {
        let mut witnesses = Witnesses::default();
        let key = Key::namespaced("system-replicas", "x");
        let lease = Lease { metadata: layout().meta(&key, Part::Heartbeat), spec: None };
        witnesses.observe(&Change::Reset(vec![lease, Lease::default()], Vec::new()), at(1));
        assert_eq!(serial(&witnesses, 1), []);
    }
}
