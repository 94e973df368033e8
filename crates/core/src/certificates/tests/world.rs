//! A controller, one server and every client, second by second: the server may serve what its Secret held a while ago, a
//! client may trust what the bundle was a while ago, and clocks differ.
//!
//! What is promised holds at every moment: whatever leaf is served, each client's copy of the bundle vouches for it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{
    AuthorityKey, Bundle, CertificateTimings, Leaf, Observed, Served, Server, Settled, Step, step as real_step,
};
use crate::tests::search::Model;

/// How long a server may take to serve what its Secret holds; one that takes longer serves what is trusted, if not good.
const SERVER_LAG: i64 = 3;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// A controller that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// An authority signs as soon as it is in the bundle.
    SkipsPublication,
    /// An authority leaves the bundle as soon as it signs no more.
    ForgetsAtOnce,
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of thing that may happen")]
pub(super) struct World {
    pub(super) timings: CertificateTimings,
    pub(super) horizon: i64,
    /// Seconds the controller may be away, at a time.
    pub(super) away: i64,
    /// How many of the things below.
    pub(super) faults: u8,
    pub(super) crashes: bool,
    pub(super) losses: bool,
    pub(super) lost_keys: bool,
    pub(super) restores: bool,
    pub(super) rotations: bool,
    pub(super) mutant: Option<Mutant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) now: i64,
    pub(super) stored: Option<Bundle>,
    remembered: Bundle,
    pub(super) keys: Vec<AuthorityKey>,
    pub(super) leaf: Option<(String, Leaf)>,
    rotate_at: Option<Timestamp>,
    backup: Option<(Option<Bundle>, Vec<AuthorityKey>)>,
    looked_at: i64,
    faults: u8,
    /// What clients may trust, and what servers may serve until it ends: each with when it was replaced, the last one not yet.
    trusted: Vec<(i64, Vec<AuthorityKey>)>,
    served: Vec<(i64, (String, Leaf))>,
}

pub(super) const SMALL: CertificateTimings = CertificateTimings {
    authority_lifetime: Duration::from_secs(144),
    leaf_lifetime: Duration::from_secs(36),
    pre_publish: Duration::from_secs(4),
    clock_skew: Duration::from_secs(1),
};

impl Default for World {
    fn default() -> Self {
        Self {
            timings: SMALL,
            horizon: 160,
            away: 6,
            faults: 1,
            crashes: false,
            losses: false,
            lost_keys: false,
            restores: false,
            rotations: false,
            mutant: None,
        }
    }
}

impl World {
    /// One thing the controller does; `false` where nothing is left to do.
    fn act(&self, state: &mut State) -> bool {
        let served = [Served { server: Server::Issuer, leaf: state.seen_leaf() }];
        let observed = Observed {
            remembered: &state.remembered,
            keys: &state.keys,
            served: &served,
            handed_on: true,
            rotate_at: state.rotate_at,
        };
        match self.step(state.stored.as_ref(), &observed, at(state.now)) {
            Step::Write(bundle) => state.write(bundle),
            Step::Make { number, not_before, not_after } => {
                let certificate = format!("authority {number} of {}\n", state.now);
                state.keys.push(AuthorityKey { number, certificate, not_before, not_after });
            }
            Step::Settled(settled) => return state.settle(&settled),
        }
        true
    }

    fn step(&self, stored: Option<&Bundle>, observed: &Observed<'_>, now: Timestamp) -> Step {
        let eager = CertificateTimings { pre_publish: Duration::ZERO, ..self.timings };
        match self.mutant {
            Some(Mutant::SkipsPublication) => real_step(stored, observed, now, &eager),
            Some(Mutant::ForgetsAtOnce) => {
                let (stored, remembered) = (stored.cloned().map(hasty), hasty(observed.remembered.clone()));
                real_step(stored.as_ref(), &Observed { remembered: &remembered, ..*observed }, now, &self.timings)
            }
            None => real_step(stored, observed, now, &self.timings),
        }
    }

    /// Does all there is to do, or the first so many things.
    fn look(&self, state: &mut State, things: usize) {
        state.looked_at = state.now;
        for thing in 0.. {
            assert!(thing < 20, "the controller never rests: {state:#?}");
            if thing == things || !self.act(state) {
                return;
            }
        }
    }

    fn faults(&self, state: &State, reach: &mut dyn FnMut(&'static str, State)) {
        let mut fault = |name, change: &dyn Fn(&mut State)| {
            let mut next = State { faults: state.faults - 1, ..state.clone() };
            change(&mut next);
            reach(name, next);
        };
        for (things, name) in [(1, "crash after one write"), (2, "crash after two"), (3, "crash after three")] {
            if self.crashes {
                fault(name, &|next| {
                    self.look(next, things);
                    next.remembered = Bundle::default();
                });
            }
        }
        if self.losses && state.stored.is_some() {
            fault("the bundle is deleted", &|next| next.stored = None);
            // What a backup did away with, only a controller that remembers it can bring back.
            if !self.restores {
                fault("the bundle is deleted, and another controller leads", &|next| {
                    (next.stored, next.remembered) = (None, Bundle::default());
                });
            }
            // Where a backup took its authority's private half away too, a leaf is signed anew at once, whoever knows the signer yet:
            // it is better than none, and not what is promised here.
            if !self.restores {
                fault("the leaf is deleted", &|next| next.leaf = None);
            }
        }
        if self.lost_keys && !state.keys.is_empty() {
            fault("the newest private half is lost", &|next| drop(next.keys.pop()));
            fault("the oldest private half is lost", &|next| drop(next.keys.remove(0)));
        }
        if self.restores {
            fault("a backup is made", &|next| next.backup = Some((next.stored.clone(), next.keys.clone())));
            if let Some((stored, keys)) = &state.backup {
                fault("the backup is put back", &|next| (next.stored, next.keys) = (stored.clone(), keys.clone()));
            }
        }
        if self.rotations {
            fault("a rotation is asked for", &|next| next.rotate_at = Some(at(next.now)));
        }
    }
}

/// What is left of what an authority that signs no more has signed: nothing.
fn hasty(mut bundle: Bundle) -> Bundle {
    for authority in bundle.authorities.iter_mut().filter(|each| each.superseded_at.is_some()) {
        authority.longest_leaf = SignedDuration::ZERO;
    }
    bundle
}

impl State {
    fn settle(&mut self, settled: &Settled) -> bool {
        let active = self.stored.as_ref().and_then(Bundle::active).map(|active| active.certificate.clone());
        if let (Some(issue), Some(signer)) = (settled.issue.first(), active) {
            let leaf = Leaf { authority: issue.authority, not_before: issue.not_before, not_after: issue.not_after };
            self.sign(signer, leaf);
            return true;
        }
        let before = self.keys.len();
        self.keys.retain(|key| !settled.delete.contains(&key.number));
        self.keys.len() < before
    }

    fn seen_leaf(&self) -> Option<Leaf> {
        let (signer, leaf) = self.leaf.as_ref()?;
        let known = self.stored.as_ref().is_some_and(|stored| stored.holds(signer))
            || self.remembered.holds(signer)
            || self.keys.iter().any(|key| key.certificate == *signer);
        (known && leaf.not_before <= at(self.now) && at(self.now) < leaf.not_after).then_some(*leaf)
    }

    fn write(&mut self, bundle: Bundle) {
        let known = |certificate: &str| {
            let key = self.keys.iter().find(|key| key.certificate == certificate);
            let authority = bundle.authorities.iter().find(|each| each.certificate == certificate);
            key.cloned().or(authority.map(|each| AuthorityKey {
                number: each.number,
                certificate: each.certificate.clone(),
                not_before: each.not_before,
                not_after: each.not_after,
            }))
        };
        let trusted = bundle.authorities.iter().filter_map(|each| known(&each.certificate)).collect();
        if let Some(last) = self.trusted.last_mut() {
            last.0 = self.now;
        }
        self.trusted.push((i64::MAX, trusted));
        self.remembered = self.remembered.merged(&bundle);
        self.stored = Some(bundle);
    }

    fn sign(&mut self, signer: String, leaf: Leaf) {
        if let Some(last) = self.served.last_mut() {
            last.0 = self.now;
        }
        self.served.push((i64::MAX, (signer.clone(), leaf)));
        self.leaf = Some((signer, leaf));
    }

    /// A second later; what nobody holds any more is forgotten.
    fn later(&self, lag: i64) -> Self {
        let mut next = Self { now: self.now + 1, ..self.clone() };
        let now = next.now;
        next.trusted.retain(|(replaced, _)| replaced.saturating_add(lag) >= now);
        next.served.retain(|(_, (_, leaf))| at(now) < leaf.not_after);
        next
    }
}

impl Model for World {
    type State = State;

    fn start(&self) -> State {
        State {
            now: 1_000,
            stored: None,
            remembered: Bundle::default(),
            keys: Vec::new(),
            leaf: None,
            rotate_at: None,
            backup: None,
            looked_at: 1_000,
            faults: self.faults,
            trusted: Vec::new(),
            served: Vec::new(),
        }
    }

    fn next(&self, state: &State, reach: &mut dyn FnMut(&'static str, State)) {
        if state.now < 1_000 + self.horizon {
            let lag = i64::try_from(self.timings.pre_publish.as_secs()).expect("a few seconds");
            let mut next = state.later(lag);
            self.look(&mut next, usize::MAX);
            reach("a look", next);
            if state.now - state.looked_at < self.away {
                reach("nobody looks", state.later(lag));
            }
        }
        if state.faults > 0 {
            self.faults(state, reach);
        }
    }

    fn broken(&self, state: &State) -> Option<String> {
        let skew = i64::try_from(self.timings.clock_skew.as_secs()).expect("a few seconds");
        for (replaced, (signer, leaf)) in &state.served {
            let in_time = replaced.saturating_add(SERVER_LAG) >= state.now;
            for (_, trusted) in &state.trusted {
                let Some(authority) = trusted.iter().find(|each| each.certificate == *signer) else {
                    return Some("a client does not trust the leaf that is served".to_owned());
                };
                for clock in [at(state.now - skew), at(state.now + skew)] {
                    let good = |from, until| from <= clock && clock < until;
                    if in_time && !good(leaf.not_before, leaf.not_after) {
                        return Some("the leaf that is served is not good now".to_owned());
                    }
                    if in_time && !good(authority.not_before, authority.not_after) {
                        return Some("the authority of the leaf that is served is not good now".to_owned());
                    }
                }
            }
        }
        None
    }
}
