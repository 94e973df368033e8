//! Which of several controllers writes.
//!
//! Flows in: the leader's Lease as read, and the time passed on this machine. Flows out: a claim on a channel, asked again
//! before each write. A Lease is taken and renewed by compare-and-swap only; another's is taken over once it did not
//! change for its whole duration as this process observed it, whatever its times say. The claim ends before the Lease
//! does, so that a leader cut off has stopped when the next one starts. A folder has one process: it always leads.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio::time::Instant;

use super::layout::{COUNTERSIGN, Layout, MANAGED_BY};
use super::{Error, Key, Objects};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// How long a claim lasts. `duration + retry` bounds how long nobody leads after a leader died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimings {
    /// How long others leave an unchanged Lease alone.
    pub duration: Duration,
    /// How long after its last renewal began a leader still acts; shorter than `duration`.
    pub deadline: Duration,
    /// How often the Lease is looked at, or renewed.
    pub retry: Duration,
}

impl Default for LeaseTimings {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// Whether this process leads, asked before each write. Clones are the same claim.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Claim>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    None,
    Until(Instant),
    Always,
}

impl Claim {
    fn holds(self, now: Instant) -> bool {
        match self {
            Self::None => false,
            Self::Until(end) => now < end,
            Self::Always => true,
        }
    }
}

impl Leadership {
    /// One that always holds: a folder's, or a test's.
    pub fn always() -> Self {
        Self(watch::Sender::new(Claim::Always).subscribe())
    }

    /// Whether this process may write now.
    pub fn is_leader_now(&self) -> bool {
        self.0.borrow().holds(Instant::now())
    }

    /// Waits until this process leads. Never returns once the elector is gone.
    pub async fn gained(&mut self) {
        while !self.is_leader_now() {
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits until this process no longer leads.
    pub async fn lost(&mut self) {
        loop {
            let claim = *self.0.borrow_and_update();
            let Claim::Until(end) = claim else {
                if claim == Claim::None {
                    return;
                }
                if self.0.changed().await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(end) => if !self.is_leader_now() { return },
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Takes part in the election until told to stop.
pub struct Elector {
    objects: Objects,
    key: Key,
    candidate: Candidate,
    clock: Clock,
    claim: watch::Sender<Claim>,
}

impl Elector {
    /// `identity` is this process's alone: two processes of one identity would both lead.
    pub fn new(
        objects: &Objects,
        layout: &Layout,
        identity: String,
        timings: LeaseTimings,
        clock: Clock,
    ) -> (Self, Leadership) {
        let claim = watch::Sender::new(Claim::None);
        let leadership = Leadership(claim.subscribe());
        let candidate = Candidate { identity, timings, seen: None };
        let elector =
            Self { objects: objects.managed_by("countersign/lease"), key: layout.leader(), candidate, clock, claim };
        (elector, leadership)
    }

    /// Stands for election; on shutdown gives up the Lease at once.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        if matches!(self.objects, Objects::Folder(_)) {
            self.claim.send_replace(Claim::Always);
            shutdown.requested().await;
            return Ok(());
        }
        let mut ticks = tokio::time::interval(self.candidate.timings.retry);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.round().await {
                tracing::warn!(error = chain(&error), "the leader's Lease was not read or written");
            }
        }
        self.vacate().await;
        Ok(())
    }

    /// Looks at the Lease once, and takes or renews it where that is due.
    async fn round(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let deadline = self.candidate.timings.deadline;
        let lease = self.objects.get::<Lease>(&self.key);
        // A renewal that took the whole claim is none.
        let Ok(lease) = tokio::time::timeout(deadline, lease).await else { return Ok(()) };
        let lease = lease?;
        // A slow answer is not held against the holder: the Lease counts as seen when it arrived.
        let Some(next) = self.candidate.claim(&self.key, lease, Instant::now(), MicroTime(self.clock.now())) else {
            self.follow();
            return Ok(());
        };
        let exists = next.metadata.resource_version.is_some();
        let written = if exists { self.objects.replace(&next).await } else { self.objects.create(&next).await };
        match written {
            Ok(written) => self.lead(&written, began),
            // Another was first; its claim is seen at the next look.
            Err(error) if error.lost_a_race() => self.follow(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn lead(&mut self, lease: &Lease, began: Instant) {
        if !self.claim.borrow().holds(Instant::now()) {
            tracing::info!(identity = self.candidate.identity, "this process leads");
        }
        self.candidate.observe(lease, Instant::now());
        self.claim.send_replace(Claim::Until(began + self.candidate.timings.deadline));
    }

    fn follow(&self) {
        let had = self.claim.send_if_modified(|claim| std::mem::replace(claim, Claim::None) != Claim::None);
        if had {
            tracing::warn!(identity = self.candidate.identity, "this process no longer leads");
        }
    }

    async fn vacate(&mut self) {
        if self.claim.send_replace(Claim::None) == Claim::None {
            return;
        }
        let Some(Seen { lease, .. }) = self.candidate.seen.take() else { return };
        match self.objects.replace(&vacated(lease)).await {
            Ok(_) => tracing::info!("gave up the leader's Lease"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the leader's Lease was not given up");
            }
        }
    }
}

/// What one process knows of the Lease, and what it may do about it. Pure.
struct Candidate {
    identity: String,
    timings: LeaseTimings,
    seen: Option<Seen>,
}

/// The Lease, and when this process first saw it so.
struct Seen {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    /// The Lease to write, if this process may hold it: `now` is after the Lease was read.
    fn claim(&mut self, key: &Key, lease: Option<Lease>, now: Instant, time: MicroTime) -> Option<Lease> {
        let Some(lease) = lease else {
            self.seen = None;
            return Some(self.fresh(key, time));
        };
        self.observe(&lease, now);
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let ours = holder == self.identity;
        (ours || holder.is_empty() || self.ran_out(&spec, now)).then(|| self.held(lease, spec, ours, time))
    }

    fn observe(&mut self, lease: &Lease, now: Instant) {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        match &self.seen {
            Some(seen) if version(&seen.lease) == version(lease) => {}
            _ => self.seen = Some(Seen { lease: lease.clone(), since: now }),
        }
    }

    /// Whether the Lease stood unchanged for its holder's whole duration.
    fn ran_out(&self, spec: &LeaseSpec, now: Instant) -> bool {
        let stated = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = stated.map_or(self.timings.duration, Duration::from_secs);
        self.seen.as_ref().is_some_and(|seen| now.saturating_duration_since(seen.since) >= duration)
    }

    fn fresh(&self, key: &Key, time: MicroTime) -> Lease {
        let metadata = ObjectMeta {
            name: Some(key.name.to_string()),
            namespace: key.namespace.as_deref().map(str::to_owned),
            labels: Some([(MANAGED_BY.to_owned(), COUNTERSIGN.to_owned())].into()),
            ..ObjectMeta::default()
        };
        self.held(Lease { metadata, spec: None }, LeaseSpec::default(), false, time)
    }

    fn held(&self, lease: Lease, spec: LeaseSpec, ours: bool, time: MicroTime) -> Lease {
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!ours));
        // Rounded up: others must not think the Lease shorter than its holder does.
        let seconds = self.timings.duration.as_millis().div_ceil(1000);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(seconds).ok(),
            acquire_time: if ours { spec.acquire_time } else { Some(time.clone()) },
            renew_time: Some(time),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..lease }
    }
}

fn vacated(lease: Lease) -> Lease {
    let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..lease.spec.unwrap_or_default() };
    Lease { spec: Some(spec), ..lease }
}

#[cfg(test)]
mod tests {
    use countersign_core::names::{IssuerName, Namespace};

    use super::*;
    use crate::objects::FolderStore;

    const TIMINGS: LeaseTimings = LeaseTimings {
        duration: Duration::from_secs(15),
        deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    /// Two candidates over one store, with time injected.
    struct Election {
        store: Objects,
        key: Key,
        start: Instant,
        candidates: [Candidate; 2],
    }

    impl Election {
        fn new() -> Self {
            let candidate = |name: &str| Candidate { identity: name.to_owned(), timings: TIMINGS, seen: None };
            Self {
                store: Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap()),
                key: Key::namespaced("system", "leader"),
                start: Instant::now(),
                candidates: [candidate("a"), candidate("b")],
            }
        }

        async fn read(&self) -> Option<Lease> {
            self.store.get(&self.key).await.unwrap()
        }

        /// What the candidate would write at this second, having read `lease`.
        fn decide(&mut self, who: usize, lease: Option<Lease>, second: u64) -> Option<Lease> {
            let now = self.start + Duration::from_secs(second);
            self.candidates[who].claim(&self.key, lease, now, MicroTime(Clock::system().now()))
        }

        async fn write(&self, lease: &Lease) -> bool {
            match lease.metadata.resource_version {
                Some(_) => self.store.replace(lease).await.is_ok(),
                None => self.store.create(lease).await.is_ok(),
            }
        }

        async fn try_to_lead(&mut self, who: usize, second: u64) -> bool {
            let lease = self.read().await;
            match self.decide(who, lease, second) {
                Some(next) => self.write(&next).await,
                None => false,
            }
        }
    }

    #[tokio::test]
    async fn of_two_that_read_the_same_lease_one_leads() {
        let mut election = Election::new();
        let (a, b) = (election.decide(0, None, 0).unwrap(), election.decide(1, None, 0).unwrap());
        assert!(election.write(&a).await);
        assert!(!election.write(&b).await);
        // The same when the Lease ran out for both.
        let lease = election.read().await;
        assert!(election.decide(1, lease.clone(), 1).is_none());
        let (again, over) = (election.decide(0, lease.clone(), 20).unwrap(), election.decide(1, lease, 20).unwrap());
        assert!(election.write(&over).await);
        assert!(!election.write(&again).await);
    }

    #[tokio::test]
    async fn a_lease_is_taken_over_only_after_it_stood_unchanged_as_observed_here() {
        let mut election = Election::new();
        assert!(election.try_to_lead(0, 0).await);
        assert!(!election.try_to_lead(1, 100).await, "first seen at 100");
        assert!(election.try_to_lead(0, 110).await, "renewed");
        assert!(!election.try_to_lead(1, 116).await, "changed meanwhile");
        assert!(!election.try_to_lead(1, 130).await);
        assert!(election.try_to_lead(1, 131).await);
        let spec = election.read().await.unwrap().spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(2)));
    }

    #[tokio::test]
    async fn a_vacated_lease_is_taken_at_once() {
        let mut election = Election::new();
        assert!(election.try_to_lead(0, 0).await);
        let lease = election.read().await.unwrap();
        assert!(election.write(&vacated(lease)).await);
        assert!(election.try_to_lead(1, 1).await);
    }

    #[tokio::test]
    async fn a_claim_ends_by_itself() {
        let claim = watch::Sender::new(Claim::Until(Instant::now() + Duration::from_millis(20)));
        let mut leadership = Leadership(claim.subscribe());
        assert!(leadership.is_leader_now());
        tokio::time::timeout(Duration::from_secs(5), leadership.lost()).await.unwrap();
        assert!(!leadership.is_leader_now());
    }

    #[tokio::test]
    async fn a_folder_always_leads_until_shutdown() {
        let store = Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap());
        let layout = Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("system").unwrap()).unwrap();
        let (elector, mut leadership) = Elector::new(&store, &layout, "a".to_owned(), TIMINGS, Clock::system());
        let supervisor = crate::runtime::supervisor::Supervisor::new();
        let shutdown = supervisor.shutdown();
        let running = tokio::spawn(elector.run(shutdown.clone()));
        tokio::time::timeout(Duration::from_secs(5), leadership.gained()).await.unwrap();
        assert!(leadership.is_leader_now());
        shutdown.request();
        running.await.unwrap().unwrap();
    }
}
