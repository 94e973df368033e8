//! A small world around one client's secret: controllers that crash and lag, an issuer that lags, people who meddle.
//!
//! ```text
//! leader ───┐ object read, Secret read, step ─► Secret ─► status      (each write against what it was decided on)
//! deposed ──┘
//! issuer ── an older view of the object: which values it accepts
//! ```
//! Flows in: how wrong the controller is ([`Mutant`]). Flows out: the states a search visits. Every decision about the
//! secret is the production [`step`]'s; values are their issue times here, as signatures are tested elsewhere.

mod act;
mod promises;

use std::time::Duration;

use jiff::Timestamp;

use crate::client_secret::{
    AtDeadline, Found, Mode, Observed, Retirement, Rotation, SecretSpec, SecretState, Usage, step,
};
use crate::tests::search::Model;
use crate::timings::Timings;

pub(super) const OVERLAP: u8 = 2;
/// How far ahead `rejectIssuedBefore` may lie.
const AHEAD: u8 = 1;

/// What may go wrong beyond crashes, delay and a leader that has lost its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// The last instant.
    pub(super) horizon: u8,
    /// How many rotations people ask for.
    pub(super) rotations: u8,
    /// Whether values are declared compromised.
    pub(super) compromise: bool,
    /// How often the Secret is deleted, damaged or an older one put back.
    pub(super) meddling: u8,
    /// How often status is lost, or the object made anew.
    pub(super) losses: u8,
}

/// What a broken controller does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Ends older values together with the rotation.
    SkipsOverlap,
    /// Never ends older values.
    KeepsAll,
    /// Gives a value the time it is made, whatever else there is.
    IssuesAtNow,
    /// Writes without a resourceVersion.
    WritesBlindly,
}

/// The client's object: the spec, and what status says. Zero is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) uid: u8,
    pub(super) created: u8,
    pub(super) rotate_at: u8,
    pub(super) reject: u8,
    pub(super) issued: u8,
    pub(super) since: u8,
}

/// What lies in the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Content {
    Absent,
    Damaged,
    Value(u8),
}

/// How far a controller has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    Rests,
    Read(Object),
    Decided { object: Object, base: Content, write: Option<u8>, state: (u8, u8) },
    Written { object: Object, state: (u8, u8) },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u8,
    pub(super) object: Object,
    pub(super) content: Content,
    /// Whether what lies there was put there by somebody else.
    pub(super) put_back: bool,
    pub(super) leader: Flight,
    pub(super) deposed: Flight,
    /// What the issuer has seen of the object.
    pub(super) view: Object,
    /// The value written last.
    pub(super) newest: u8,
    /// The value written before that.
    pub(super) previous: u8,
    /// The value written before the last, and until when it is promised.
    pub(super) older: (u8, u8),
    pub(super) rotations: u8,
    pub(super) meddled: u8,
    pub(super) lost: u8,
}

/// The model: worlds in which the first value is written and known.
pub(super) struct Bench {
    pub(super) faults: Faults,
    pub(super) mutant: Option<Mutant>,
}

pub(super) fn at(seconds: u8) -> Timestamp {
    Timestamp::from_second(seconds.into()).expect("a time")
}

fn timings() -> Timings {
    Timings { reject_ahead: Duration::from_secs(AHEAD.into()), ..Timings::default() }
}

/// Zero is nothing.
fn some(time: u8) -> Option<Timestamp> {
    (time > 0).then(|| at(time))
}

impl Object {
    /// The earliest issue time an issuer accepts that has seen this.
    pub(super) fn not_before(self) -> u8 {
        let not_before = self.state().not_before(at(self.created), some(self.reject));
        u8::try_from(not_before.as_second()).expect("small")
    }

    /// What status says of its secret.
    fn state(self) -> SecretState {
        SecretState { issued_at: some(self.issued), accepted_since: some(self.since), ..SecretState::default() }
    }

    pub(super) fn accepts(self, value: u8) -> bool {
        value >= self.not_before()
    }
}

impl Model for Bench {
    type State = World;

    fn start(&self) -> World {
        let object = Object { uid: 1, created: 1, rotate_at: 0, reject: 0, issued: 0, since: 0 };
        let mut world = World {
            now: 2,
            object,
            content: Content::Absent,
            put_back: false,
            leader: Flight::Rests,
            deposed: Flight::Rests,
            view: object,
            newest: 0,
            previous: 0,
            older: (0, 0),
            rotations: 0,
            meddled: 0,
            lost: 0,
        };
        self.settle(&mut world);
        world.view = world.object;
        world
    }

    fn next(&self, world: &World, reach: &mut dyn FnMut(&'static str, World)) {
        let mut after = |name, happens: &dyn Fn(&mut World)| {
            let mut next = *world;
            happens(&mut next);
            if next.now >= next.older.1 {
                next.older = (0, 0);
            }
            if next != *world {
                reach(name, next);
            }
        };
        after("the leader goes on", &|next| {
            let flight = next.leader;
            next.leader = self.go_on(next, flight, Flight::Rests);
        });
        after("the leader crashes", &|next| next.leader = Flight::Rests);
        after("the deposed leader goes on", &|next| {
            let flight = next.deposed;
            next.deposed = self.go_on(next, flight, Flight::Gone);
        });
        after("the issuer looks", &|next| next.view = next.object);
        self.people_next(world, &mut after);
        if world.now < self.faults.horizon {
            after("a second passes", &|next| next.now += 1);
        }
    }

    fn broken(&self, world: &World) -> Option<String> {
        Self::breaks(world).map(str::to_owned).or_else(|| self.recovers(world))
    }

    fn taken_back(&self, before: &World, after: &World) -> Option<String> {
        Self::takes_back(before, after).map(str::to_owned)
    }
}
