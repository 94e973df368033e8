//! A small world around one ring: who acts in it, and what may happen.
//!
//! ```text
//! leader ───┐ step, make, write   ┌── issuer: looks, reports, signs
//! deposed ──┴─► keyring, halves ──┼── verifier: looks, reports, verifies
//!               spec, backup      └── cache: somebody's copy of the JWKS
//! ```
//! Flows in: what may go wrong ([`Faults`]) and what is wrong with the leader ([`Mutant`]). Flows out: the states a search
//! visits. Every decision about the ring is the production [`step`]'s; what is modelled is what surrounds it.

mod act;
mod memo;
mod promises;
mod recovery;
mod slots;

use std::collections::BTreeSet;

use super::*;
use crate::tests::search::Model;
use memo::Memo;
pub(super) use memo::RingId;
use slots::Slots;

pub(super) const T: u8 = 1;
pub(super) const LEEWAY: u8 = 1;
pub(super) const MAX_AGE: u8 = 1;
pub(super) const GRACE: u8 = 1;
pub(super) const EXPIRY: u8 = 2;

/// P = H = 1, a key retires for G + T + L = 3.
pub(super) fn small() -> Timings {
    let seconds = |seconds: u8| Duration::from_secs(seconds.into());
    Timings {
        max_access_token_lifetime: seconds(T),
        leeway: seconds(LEEWAY),
        clock_skew: Duration::ZERO,
        jwks_max_age: seconds(MAX_AGE),
        propagation: Duration::ZERO,
        offline_grace: seconds(GRACE),
        heartbeat_expiry: seconds(EXPIRY),
        ..Timings::default()
    }
}

/// What may go wrong beyond silence and delay.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that may go wrong")]
pub(super) struct Faults {
    /// The last instant.
    pub(super) horizon: u8,
    /// How many rotations people ask for.
    pub(super) rotations: u8,
    /// A leader crashes, or has lost its place without knowing.
    pub(super) deposed: bool,
    /// The first key is declared compromised.
    pub(super) compromise: bool,
    /// Replicas die and are born.
    pub(super) deaths: bool,
    /// The keyring and the private halves come back from a backup.
    pub(super) restore: bool,
    /// The keyring is deleted.
    pub(super) loss: bool,
    /// A leader begins that remembers nothing.
    pub(super) successor: bool,
}

/// What a broken leader does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Activates a key however young.
    SkipsPublication,
    /// Takes every replica to hold everything.
    SkipsAcks,
    /// Takes a key out of service when its last token's time is over, were nobody late.
    RetiresAtT,
    /// Publishes the same public half under each number.
    ReusesKid,
    /// Puts a fresh private half where one lies.
    ReplacesHalves,
    /// Writes without a resourceVersion.
    WritesBlindly,
}

/// A replica and what the leader heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Replica {
    /// What it holds; none: it is dead.
    pub(super) ring: Option<RingId>,
    /// The serial it reported; zero: nothing since the leader began.
    pub(super) reported: u8,
    /// When the leader last heard of it.
    pub(super) heard: u8,
    /// When it last heard of the API server.
    pub(super) contact: u8,
    /// Whether it has looked since it was last silent for too long, or born of an old listing.
    pub(super) current: bool,
}

/// What a leader decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) stored: Option<RingId>,
    /// Issuer and verifier: none: not live; zero: live and not heard of.
    pub(super) witnesses: [Option<u8>; 2],
    /// The highest serial any heartbeat names.
    pub(super) highest: u8,
    pub(super) remembered: Option<RingId>,
    pub(super) revoked: bool,
    pub(super) rotate_at: u8,
}

/// A leader that has lost its place, or crashes: its effects, and its write if it comes to that, take place late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Deposed {
    Reads,
    Decides(Seen),
    Writes { base: Option<RingId>, ring: RingId },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u8,
    pub(super) stored: Option<RingId>,
    /// What was stored before.
    pub(super) previous: Option<RingId>,
    /// Private halves by the number of their Secret.
    pub(super) halves: Slots,
    /// How many halves were ever made; each is another key.
    pub(super) made: u8,
    /// Which half was published under which number; nothing acts on it.
    pub(super) published: Slots,
    /// What the leader has seen.
    pub(super) remembered: Option<RingId>,
    pub(super) deposed: Deposed,
    pub(super) issuer: Replica,
    /// The halves the issuer has read.
    pub(super) held: Slots,
    pub(super) verifier: Replica,
    /// A copy of the JWKS, and since when.
    pub(super) cache: (Option<RingId>, u8),
    pub(super) revoked: bool,
    pub(super) rotate_at: u8,
    pub(super) rotations: u8,
    /// When each half last signed, and one.
    pub(super) signed: Slots,
    /// Whether the keyring was lost or restored.
    pub(super) upset: bool,
    /// Whether there was a leader after the first.
    pub(super) succeeded: bool,
    /// How many replicas died.
    pub(super) deaths: u8,
}

/// The model: worlds after first boot.
pub(super) struct Bench {
    pub(super) faults: Faults,
    pub(super) mutant: Option<Mutant>,
    pub(super) memo: Memo,
    backup: (Option<RingId>, Slots),
    start: World,
}

impl Bench {
    pub(super) fn new(faults: Faults, mutant: Option<Mutant>) -> Self {
        let born = Replica { ring: None, reported: 0, heard: 0, contact: 0, current: true };
        let empty = World {
            now: 0,
            stored: None,
            previous: None,
            halves: Slots::default(),
            made: 0,
            published: Slots::default(),
            remembered: None,
            deposed: Deposed::Gone,
            issuer: born,
            held: Slots::default(),
            verifier: born,
            cache: (None, 0),
            revoked: false,
            rotate_at: 0,
            rotations: 0,
            signed: Slots::default(),
            upset: false,
            succeeded: false,
            deaths: 0,
        };
        let mut bench = Self { faults, mutant, memo: Memo::default(), backup: (None, Slots::default()), start: empty };
        let mut world = bench.start;
        bench.lead(&mut world);
        bench.lead(&mut world);
        bench.look(&mut world);
        Self::fetch(&mut world);
        world.deposed = if faults.deposed { Deposed::Reads } else { Deposed::Gone };
        bench.backup = (world.stored, world.halves);
        bench.start = world;
        bench
    }

    fn look(&self, world: &mut World) {
        self.issuer_looks(world);
        self.verifier_looks(world);
    }

    fn fetch(world: &mut World) {
        world.cache = (world.stored.or(world.cache.0), world.now);
    }
}

impl Model for Bench {
    type State = World;

    fn start(&self) -> World {
        self.start
    }

    fn next(&self, world: &World, reach: &mut dyn FnMut(&'static str, World)) {
        let mut after = |name, happens: &dyn Fn(&mut World)| {
            let mut next = *world;
            happens(&mut next);
            self.settle(&mut next);
            if next != *world {
                reach(name, next);
            }
        };
        after("the leader acts", &|next| self.lead(next));
        self.deposed_next(world, &mut after);
        self.replicas_next(world, &mut after);
        self.faults_next(world, &mut after);
        after("the cache fetches", &|next| Self::fetch(next));
        if world.rotations < self.faults.rotations && world.now > world.rotate_at {
            after("a rotation is asked for", &|next| {
                next.rotate_at = next.now;
                next.rotations += 1;
            });
        }
        if world.now < self.faults.horizon {
            after("a second passes", &|next| self.pass(next));
        }
    }

    fn broken(&self, world: &World) -> Option<String> {
        let recovers = || if self.mutant.is_none() { self.recovers(world) } else { None };
        self.breaks(world).map(str::to_owned).or_else(recovers)
    }

    fn taken_back(&self, before: &World, after: &World) -> Option<String> {
        self.shrinks(before, after).map(str::to_owned)
    }
}
