//! Once faults end, a rotation that is asked for ends, and the ring comes to rest.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

/// Rounds of a second each, in which everybody does what it should: P, and then until the old key is out of service.
const ROUNDS: u8 = 1 + MAX_AGE + GRACE + T + LEEWAY + 2;

impl Bench {
    /// What stays broken from here on.
    pub(super) fn recovers(&self, world: &World) -> Option<String> {
        let mut after = *world;
        after.deposed = Deposed::Gone;
        after.signed = Slots::default();
        after.published = Slots::default();
        after.cache = (after.stored, after.now);
        let mut hasher = DefaultHasher::new();
        after.hash(&mut hasher);
        if !self.memo.recovered.borrow_mut().insert(hasher.finish()) {
            return None;
        }
        after.rotate_at = after.now + 1;
        for _ in 0..ROUNDS {
            self.round(&mut after);
        }
        let rest = after;
        self.round(&mut after);
        if (after.stored, &after.halves) != (rest.stored, &rest.halves) {
            return Some("the ring does not come to rest".to_owned());
        }
        let Some(stored) = after.stored else { return Some("there is no keyring in the end".to_owned()) };
        let ring = self.memo.ring(stored);
        let Some(active) = ring.ring.active() else { return Some("no key signs in the end".to_owned()) };
        if active.activated_at < Some(at(after.rotate_at.into())) {
            return Some(format!("a rotation asked for did not end: {:?}", ring.ring));
        }
        (after.issuer.ring.is_some() && self.signs_with(&after).is_none())
            .then(|| "the issuer cannot sign in the end".to_owned())
    }

    fn round(&self, world: &mut World) {
        for _ in 0..8 {
            self.all_look(world);
            let before = *world;
            self.lead(world);
            if *world == before {
                break;
            }
        }
        self.all_look(world);
        world.now += 1;
        self.settle(world);
    }

    fn all_look(&self, world: &mut World) {
        if world.issuer.ring.is_some() {
            self.issuer_looks(world);
        }
        if world.verifier.ring.is_some() {
            self.verifier_looks(world);
        }
    }
}
