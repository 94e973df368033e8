//! Every interleaving of a small world: a leader, a leader that has lost its place without knowing, crashes between
//! effect and write, an issuer and a verifier that see what is written when they will, time, and a compromise.
//!
//! The world is driven by the production [`step`]; after each action every promise about keys is checked.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::*;

const T: i64 = 1;
const LEEWAY: i64 = 1;
const GRACE: i64 = 1;
const HORIZON: i64 = 6;

fn small() -> Timings {
    let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    Timings {
        max_access_token_lifetime: seconds(T),
        leeway: seconds(LEEWAY),
        clock_skew: Duration::ZERO,
        jwks_max_age: Duration::ZERO,
        propagation: Duration::ZERO,
        offline_grace: seconds(GRACE),
        ..Timings::default()
    }
}

/// What a replica holds and what it has reported.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Replica {
    ring: Option<Ring>,
    reported: u64,
    contact: i64,
}

/// A keyring that compares and hashes by what matters.
#[derive(Clone, PartialEq, Eq)]
struct Ring(std::rc::Rc<Keyring>);

impl std::hash::Hash for Ring {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.serial.hash(hasher);
        for key in &self.0.keys {
            (
                key.serial,
                key.state,
                key.activated_at,
                key.superseded.map(|s| s.at),
                key.private_half == PrivateHalf::Held,
            )
                .hash(hasher);
        }
    }
}

/// A leader that has lost its place without knowing: it acts once on what it read, its write comes too late.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Deposed {
    Reads,
    Acts(Option<Ring>),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    now: i64,
    stored: Option<Ring>,
    secrets: BTreeSet<u64>,
    issuer: Replica,
    verifier: Replica,
    /// What the deposed leader has read.
    stale: Deposed,
    revoked: bool,
    /// When each key last signed.
    signed: BTreeMap<u64, i64>,
}

impl World {
    /// After first boot: a key signs, another is known to everyone.
    fn booted() -> Self {
        let mut world = Self {
            now: 0,
            stored: None,
            secrets: BTreeSet::new(),
            issuer: Replica::default(),
            verifier: Replica::default(),
            stale: Deposed::Reads,
            revoked: false,
            signed: BTreeMap::new(),
        };
        for _ in 0..2 {
            world.act(world.stored.clone().as_ref(), false);
        }
        world.now = 2;
        world.issuer = world.replica();
        world.verifier = world.replica();
        world
    }

    fn replica(&self) -> Replica {
        let reported = self.stored.as_ref().map_or(0, |ring| ring.0.serial);
        Replica { ring: self.stored.clone(), reported, contact: self.now }
    }

    fn observed(&self, new_key: Option<NewKey>) -> Observed {
        let mut observed = observed();
        observed.spec.period = Duration::from_secs(3);
        observed.spec.pre_publish = Duration::from_secs(2);
        if self.revoked {
            observed.spec.revoked.insert(jwk(1).key_id().clone());
        }
        observed.witnesses = vec![
            witness("i", ReplicaRole::Issuer, self.issuer.reported),
            witness("v", ReplicaRole::Verifier, self.verifier.reported),
        ];
        Observed { new_key, ..observed }
    }

    /// A leader acts on what it has read; its write holds only if nobody wrote since. It may crash before it.
    fn act(&mut self, read: Option<&Ring>, crash: bool) {
        let read_ring = read.map(|ring| &*ring.0);
        let mut answer = step(read_ring, &self.observed(None), at(self.now), &small());
        if let Some(need) = answer.need_key {
            // A Secret that lies there already may be about to be published: the next number is taken.
            let serial = (need.serial..u64::MAX).find(|serial| !self.secrets.contains(serial)).expect("a number");
            self.secrets.insert(serial);
            let new_key = Some(NewKey { serial, jwk: jwk(serial) });
            answer = step(read_ring, &self.observed(new_key), at(self.now), &small());
        }
        for serial in answer.delete_private_halves {
            self.secrets.remove(&serial);
        }
        if let Some(ring) = answer.ring.filter(|_| !crash && self.stored.as_ref() == read) {
            // Numbers passed over can be published by nobody any more: what was made for them goes.
            let skipped = read_ring.map_or(0, |ring| ring.next_key)..ring.next_key;
            self.secrets
                .retain(|serial| !skipped.contains(serial) || ring.keys.iter().any(|key| key.serial == *serial));
            self.stored = Some(Ring(ring.into()));
        }
    }

    fn signs_with(&self) -> Option<&RingKey> {
        let key = self.issuer.ring.as_ref()?.0.active()?;
        let revoked = self.revoked && key.serial == 1;
        (self.now <= self.issuer.contact + GRACE && self.secrets.contains(&key.serial) && !revoked).then_some(key)
    }

    fn successors(&self) -> Vec<(&'static str, Self)> {
        let mut next = Vec::new();
        let mut push = |name, act: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            act(&mut world);
            if world != *self {
                next.push((name, world));
            }
        };
        push("the leader acts", &|world| world.act(self.stored.as_ref(), false));
        push("the issuer looks", &|world| world.issuer = self.replica());
        push("the verifier looks and reports", &|world| world.verifier = Replica { contact: 0, ..self.replica() });
        match &self.stale {
            Deposed::Reads => push("another leader reads", &|world| world.stale = Deposed::Acts(self.stored.clone())),
            // Against what is stored still, that is the leader's crash between effects and write.
            Deposed::Acts(read) => push("the deposed leader's effects take place", &|world| {
                world.act(read.as_ref(), true);
                world.stale = Deposed::Done;
            }),
            Deposed::Done => {}
        }
        if !self.revoked && self.now == 4 {
            push("the first key is declared compromised", &|world| world.revoked = true);
        }
        if self.now < HORIZON {
            push("a second passes", &|world| {
                if let Some(serial) = world.signs_with().map(|key| key.serial) {
                    world.signed.insert(serial, world.now);
                }
                world.now += 1;
                // Longer silence than the grace is all the same.
                world.issuer.contact = world.issuer.contact.max(world.now - GRACE - 1);
                world.signed.retain(|_, at| *at + T + LEEWAY >= world.now);
            });
        }
        next
    }

    fn broken_promise(&self) -> Option<&'static str> {
        if let Some(Ring(ring)) = &self.stored {
            if ring.keys.iter().filter(|key| key.state == KeyState::Active).count() > 1 {
                return Some("two keys sign");
            }
            if ring.keys.iter().any(|key| key.jwk != jwk(key.serial)) {
                return Some("a number names another key");
            }
            if ring.active().is_some_and(|key| !self.secrets.contains(&key.serial)) {
                return Some("the key that signs has no private half");
            }
        }
        let resolves = |serial: u64| {
            let held = self.verifier.ring.as_ref();
            let key = held.and_then(|held| held.0.keys.iter().find(|key| key.serial == serial));
            key.is_some_and(|key| key.state < KeyState::Removed) || (serial == 1 && self.revoked)
        };
        let live = self.signed.iter().filter(|(_, at)| **at + T + LEEWAY > self.now).map(|(serial, _)| *serial);
        if live.chain(self.signs_with().map(|key| key.serial)).any(|serial| !resolves(serial)) {
            return Some("a verifier does not know the key of a live token");
        }
        None
    }
}

#[test]
fn no_interleaving_of_a_small_world_breaks_a_promise() {
    let mut seen = HashSet::from([World::booted()]);
    let mut queue = VecDeque::from([(World::booted(), 0)]);
    // How each world was reached: the place of the one before, and what happened there.
    let mut ways = vec![(0, "first boot")];
    let mut states = BTreeSet::new();
    while let Some((world, place)) = queue.pop_front() {
        for (name, next) in world.successors() {
            if let Some(promise) = next.broken_promise() {
                let way = std::iter::successors(Some(place), |place| (*place > 0).then(|| ways[*place].0));
                let way: Vec<_> = way.map(|place| ways[place].1).collect();
                panic!("{promise}: {name}, after (last first) {way:?}: {:?}", next.stored.map(|ring| ring.0));
            }
            states.extend(next.stored.iter().flat_map(|ring| ring.0.keys.iter().map(|key| key.state)));
            if seen.insert(next.clone()) {
                ways.push((place, name));
                queue.push_back((next, ways.len() - 1));
            }
        }
    }
    assert_eq!(states.len(), 5, "some world has seen each state; {} worlds", seen.len());
}
