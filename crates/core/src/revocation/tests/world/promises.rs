//! What holds in every state, and what comes of it once faults end.

use super::*;

impl Bench {
    /// A token that people were told is good no more.
    fn is_dead(world: &World, token: Token) -> bool {
        let Rights { grant, level } = world.told;
        token.given_up || (token.narrow && token.rights.grant < grant) || token.rights.level < level
    }

    pub(super) fn breaks(&self, world: &World) -> Option<&'static str> {
        let fresh = self.with(0, world.shards, world.now);
        let running = self.with(world.verifier, world.shards, world.now);
        for token in world.tokens.into_iter().flatten() {
            if Self::is_dead(world, token) && !(self.refuses(fresh, token) && self.refuses(running, token)) {
                return Some("a token that was revoked is accepted");
            }
        }
        if self.signs_in_vain(world, running) {
            return Some("a fresh token is refused");
        }
        let Rights { grant, level } = world.rights;
        let changes = grant.div_ceil(2) + level + u8::from(world.collapsed);
        (!world.lost && world.status.epoch > changes).then_some("there are more epochs than changes")
    }

    /// Whether an issuer that has seen as much as a verifier signs what that one refuses at once.
    fn signs_in_vain(&self, world: &World, running: Id) -> bool {
        let mut current = *world;
        current.issuer.revoked = self.with(world.issuer.revoked, world.shards, world.now);
        [true, false].into_iter().any(|narrow| {
            let token = self.signed(&current, narrow);
            token.is_some_and(|token| self.refuses(running, token) && !is_named(token, world))
        })
    }

    /// Left alone, a leader brings status to what the specs say and the revocations know, and the issuer signs.
    pub(super) fn recovers(&self, world: &World) -> Option<&'static str> {
        let mut after = *world;
        (after.leader, after.deposed) = (Flight::Rests, Flight::Gone);
        for _ in 0..8 {
            after.known = self.with(after.known, after.shards, after.now);
            let flight = after.leader;
            after.leader = self.go_on(&mut after, flight, Flight::Rests);
        }
        let behind = u64::from(after.status.epoch) < self.views.borrow()[after.known].epoch_of(&uid("u"));
        if after.leader != Flight::Rests || after.status.rights != after.rights || behind {
            return Some("status does not catch up");
        }
        self.issuer_looks(&mut after);
        let silent =
            [true, false].into_iter().any(|narrow| after.rights.has(narrow) && self.signed(&after, narrow).is_none());
        silent.then_some("the issuer waits for ever")
    }

    /// A verifier that has seen more refuses no less, but for what has ended; an epoch never shrinks.
    pub(super) fn takes_back(&self, before: &World, after: &World) -> bool {
        let refused = self.with(before.verifier, [0, 0], after.now);
        let accepted_again = |token: Token| self.refuses(refused, token) && !self.refuses(after.verifier, token);
        let again = after.tokens.into_iter().flatten().any(accepted_again);
        let shrank = before.lost == after.lost && after.status.epoch < before.status.epoch;
        again || shrank
    }
}

/// Whether it was given up: here a token signed in the same second is the same.
fn is_named(token: Token, world: &World) -> bool {
    world.tokens.iter().flatten().any(|known| known.given_up && Token { given_up: false, ..*known } == token)
}
