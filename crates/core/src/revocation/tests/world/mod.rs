//! A small world around one client's epoch: controllers that crash and lag, an issuer and a verifier that lag, a client that
//! gives tokens up, people who take access away.
//!
//! ```text
//! leader ───┐ spec, grants, status, revocations read, epoch_step ─► entry ─► status      (against what it was decided on)
//! deposed ──┘
//! issuer ── signs under the epoch status tells, unless the revocations are ahead of it
//! verifier ── refuses by the revocations it has seen
//! ```
//! Flows in: how wrong a part is ([`Mutant`]). Flows out: the states a search visits. Decided by production code: [`epoch_step`],
//! [`Shard::insert`], [`Revoked::with`], [`Revoked::check`] and [`Revoked::epoch_for`]. Two audiences: the grant for the one is
//! withdrawn and given back, the other is always granted.

mod act;
mod promises;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::*;
use crate::names::TokenId;
use crate::tests::search::Model;

/// How long a token lives, by how much verifiers are lenient, and how long a cut-off issuer signs on, in seconds.
const LIFE: u8 = 1;
const LEEWAY: u8 = 1;
const GRACE: u8 = 1;

/// What may go wrong beyond crashes, delay and a leader that has lost its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// The last instant.
    pub(super) horizon: u8,
    /// How many tokens there are at a time, at most two.
    pub(super) tokens: usize,
    /// Whether a former leader carries out late what it decided.
    pub(super) deposed: bool,
    /// How often the grant is withdrawn or given back.
    pub(super) grants: u8,
    /// How often `tokensNotBefore` is raised.
    pub(super) levels: u8,
    /// Whether the client gives up one token more than a shard keeps of one client.
    pub(super) collapse: bool,
    pub(super) setback: Option<Setback>,
    pub(super) late: Option<Late>,
}

/// What happens to status once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// It is gone.
    Lost,
    /// It is again what it was in the beginning.
    Restored,
}

/// A watch that lags behind another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// The controller's of the revocations: it does not even know what it wrote itself.
    Revocations,
    /// The issuer's of policies, behind that of clients.
    Policies,
}

/// What a broken part does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Status is written before the entries.
    StatusFirst,
    /// An entry repeats the epoch instead of raising it.
    KeepsEpoch,
    /// Goes on with any epoch that status does not tell, whatever it was decided on.
    GoesOnWithAny,
    /// Begins one more epoch for a decision made before.
    BeginsAnew,
    /// Entries end with the tokens of issuers that were never cut off.
    EndsEarly,
    /// A collapse drops the tokens and keeps no epoch.
    CollapseForgets,
    /// Writes without a resourceVersion.
    WritesBlindly,
    /// An issuer signs under the epoch of the revocations, with the rights of the object it has.
    SignsAhead,
    /// An issuer signs though the revocations are ahead of status.
    DoesNotWait,
}

/// What people have asked for. The grant is there while its number is even: each odd one is a withdrawal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rights {
    pub(super) grant: u8,
    /// `tokensNotBefore`, raised so often.
    pub(super) level: u8,
}

/// Status: the controller's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Status {
    pub(super) epoch: u8,
    /// Whether it says what the epoch was computed from; a lost one does not.
    pub(super) known: bool,
    pub(super) rights: Rights,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Token {
    /// Whether it is for the audience whose grant is withdrawn.
    pub(super) narrow: bool,
    pub(super) epoch: u8,
    /// What it was computed from.
    pub(super) rights: Rights,
    pub(super) issued: u8,
    pub(super) given_up: bool,
}

/// How far a controller has come. What it decided on is named by the object's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    Rests,
    Decided { version: u8, status: Status, narrow: bool, everywhere: bool },
    Written { version: u8, status: Status },
    Gone,
}

/// A shard or a view by its number.
type Id = usize;

/// A view that sees two shards, at a time.
type Merge = (Id, [Id; 2], u8);

/// What was asked: a view, and what of a token matters to it.
type Question = (Id, bool, u8, u8);

/// What an issuer has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) rights: Rights,
    pub(super) epoch: u8,
    pub(super) revoked: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: u8,
    /// What the specs say.
    pub(super) rights: Rights,
    pub(super) status: Status,
    /// The object's resourceVersion: it grows with the spec and with status, not with grants, which lie elsewhere.
    pub(super) version: u8,
    /// The controllers' shard, and the issuer's.
    pub(super) shards: [Id; 2],
    pub(super) leader: Flight,
    pub(super) deposed: Flight,
    /// What the controller's own watch holds.
    pub(super) known: Id,
    pub(super) issuer: Seen,
    /// When the issuer last reached the API server.
    pub(super) contact: u8,
    pub(super) verifier: Id,
    pub(super) tokens: [Option<Token>; 2],
    /// What status has told people: the last withdrawal, the level.
    pub(super) told: Rights,
    pub(super) lost: bool,
    pub(super) collapsed: bool,
}

/// The model: worlds in which status tells of the first rights.
pub(super) struct Bench {
    pub(super) faults: Faults,
    pub(super) mutant: Option<Mutant>,
    shards: RefCell<Vec<Shard>>,
    views: RefCell<Vec<Revoked>>,
    /// Answers known already: the same questions come again in many states.
    merged: RefCell<HashMap<Merge, Id>>,
    checked: RefCell<HashMap<Question, bool>>,
}

fn seconds(second: u8) -> Timestamp {
    at(second.into())
}

fn name(narrow: bool) -> Audience {
    audience(if narrow { "https://a.example" } else { "https://b.example" })
}

impl Token {
    fn as_issued(self) -> AccessToken {
        let id = format!("t{}{}{}", u8::from(self.narrow), self.epoch, self.issued);
        AccessToken {
            audience: name(self.narrow),
            token_id: TokenId::new(&id).expect("a jti"),
            expires_at: (self.issued + LIFE).into(),
            ..token("t", "u", self.epoch.into())
        }
    }

    fn lives(self, now: u8) -> bool {
        now < self.issued + LIFE + LEEWAY
    }
}

impl Rights {
    fn basis(self) -> EpochBasis {
        EpochBasis { tokens_not_before: (self.level > 0).then(|| seconds(self.level)), ..EpochBasis::default() }
    }

    fn has(self, narrow: bool) -> bool {
        !narrow || self.grant.is_multiple_of(2)
    }

    fn granted(self) -> BTreeMap<Audience, ScopeSet> {
        let audiences = [true, false].into_iter().filter(|narrow| self.has(*narrow));
        audiences.map(|narrow| (name(narrow), ScopeSet::parse("read").expect("a scope"))).collect()
    }
}

impl Status {
    fn memory(self) -> EpochMemory {
        let Self { epoch, known, rights } = self;
        let granted = if known { rights.granted() } else { BTreeMap::new() };
        EpochMemory { epoch: epoch.into(), basis: known.then(|| rights.basis()), granted }
    }
}

impl Bench {
    pub(super) fn new(faults: Faults, mutant: Option<Mutant>) -> Self {
        let (shards, views) = (RefCell::new(vec![Shard::default()]), RefCell::new(vec![Revoked::default()]));
        Self { faults, mutant, shards, views, merged: RefCell::default(), checked: RefCell::default() }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn timings(&self) -> Timings {
        let length = |seconds: u8| Duration::from_secs(if self.is(Mutant::EndsEarly) { 0 } else { seconds.into() });
        Timings {
            max_access_token_lifetime: Duration::from_secs(LIFE.into()),
            leeway: length(LEEWAY),
            clock_skew: Duration::ZERO,
            propagation: Duration::ZERO,
            offline_grace: length(GRACE),
            ..Timings::default()
        }
    }

    fn shard(&self, shard: Shard) -> Id {
        number(&mut self.shards.borrow_mut(), shard)
    }

    /// A view that has seen these shards too.
    fn with(&self, view: Id, shards: [Id; 2], now: u8) -> Id {
        if let Some(known) = self.merged.borrow().get(&(view, shards, now)) {
            return *known;
        }
        let merged = {
            let known = self.shards.borrow();
            self.views.borrow()[view].with(shards.map(|id| &known[id]), seconds(now))
        };
        let merged = number(&mut self.views.borrow_mut(), merged);
        self.merged.borrow_mut().insert((view, shards, now), merged);
        merged
    }

    fn refuses(&self, view: Id, token: Token) -> bool {
        let question = (view, token.narrow, token.epoch, token.issued);
        let ask = || self.views.borrow()[view].check(&token.as_issued()).is_err();
        *self.checked.borrow_mut().entry(question).or_insert_with(ask)
    }
}

fn number<V: PartialEq>(known: &mut Vec<V>, value: V) -> Id {
    known.iter().position(|other| *other == value).unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    })
}

impl Model for Bench {
    type State = World;

    fn start(&self) -> World {
        let mut crowded = Shard::default();
        for n in 0..Shard::MAX_TOKENS_OF_CLIENT {
            let given_up = AccessToken { expires_at: 100, ..token(&format!("old{n}"), "u", 0) };
            let entry = Entry::token(&given_up, seconds(1), &self.timings());
            crowded.insert(entry, seconds(1), &self.timings()).expect("room");
        }
        let crowded = if self.faults.collapse { self.shard(crowded) } else { 0 };
        let mut world = World {
            now: 1,
            rights: Rights::default(),
            status: Status { known: true, ..Status::default() },
            version: 1,
            shards: [0, crowded],
            leader: Flight::Rests,
            deposed: if self.faults.deposed { Flight::Rests } else { Flight::Gone },
            known: 0,
            issuer: Seen::default(),
            contact: 1,
            verifier: 0,
            tokens: [None; 2],
            told: Rights::default(),
            lost: false,
            collapsed: false,
        };
        self.issuer_looks(&mut world);
        world.known = self.with(0, world.shards, world.now);
        world
    }

    fn next(&self, world: &World, reach: &mut dyn FnMut(&'static str, World)) {
        let mut after = |name, happens: &dyn Fn(&mut World)| {
            let mut next = *world;
            happens(&mut next);
            next.tokens = next.tokens.map(|token| token.filter(|token| token.lives(next.now)));
            // A longer silence is no different from this one.
            next.contact = next.contact.max(next.now.saturating_sub(GRACE + 1));
            if self.faults.late != Some(Late::Revocations) {
                next.known = self.with(next.known, next.shards, next.now);
            }
            if next != *world {
                reach(name, next);
            }
        };
        after("the leader goes on", &|next| next.leader = self.go_on(next, next.leader, Flight::Rests));
        after("the leader crashes", &|next| next.leader = Flight::Rests);
        if world.deposed != Flight::Rests || world.rights != world.status.rights {
            after("the deposed leader goes on", &|next| next.deposed = self.go_on(next, next.deposed, Flight::Gone));
        }
        after("the controller sees the shards", &|next| {
            next.known = self.with(next.known, next.shards, next.now);
        });
        after("the verifier sees the shards", &|next| {
            next.verifier = self.with(next.verifier, next.shards, next.now);
        });
        self.issuer_next(world, &mut after);
        self.people_next(world, &mut after);
        if world.now < self.faults.horizon {
            after("a second passes", &|next| next.now += 1);
        }
    }

    fn broken(&self, world: &World) -> Option<String> {
        self.breaks(world).or_else(|| self.recovers(world)).map(str::to_owned)
    }

    fn taken_back(&self, before: &World, after: &World) -> Option<String> {
        self.takes_back(before, after).then(|| "an epoch or a refusal is taken back".to_owned())
    }
}
