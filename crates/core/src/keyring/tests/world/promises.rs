//! What must hold in every state, and from each state to the next.

use super::*;

impl Bench {
    pub(super) fn breaks(&self, world: &World) -> Option<&'static str> {
        let stored = world.stored.map(|id| self.memo.ring(id));
        if let Some(ring) = &stored {
            if !ring.sound {
                return Some("the keyring contradicts itself");
            }
            let lacks = |(number, half, state): &(u8, u8, KeyState)| {
                *state < KeyState::Retiring && world.halves.get(*number) != Some(*half)
            };
            // A backup of the keyring and the halves is one; a keyring put back without them is another matter.
            if !world.upset && ring.keys.iter().any(lacks) {
                return Some("a key that signs or will sign has no private half of its own");
            }
        }
        self.unresolved(world)
    }

    /// Whether somebody who must know a key does not.
    fn unresolved(&self, world: &World) -> Option<&'static str> {
        let live = world.signed.iter().filter(|(_, after)| after - 1 + T + LEEWAY > world.now).map(|(half, _)| half);
        let needed: BTreeSet<_> = live.chain(self.signs_with(world)).collect();
        let resolves = |ring: Option<RingId>, half: u8| {
            let state = ring.and_then(|id| self.memo.ring(id).state(half));
            state.is_some_and(|state| state < KeyState::Removed) || (half == 1 && world.revoked)
        };
        let counted = world.verifier.current && world.now < world.verifier.heard + EXPIRY;
        if counted && world.verifier.ring.is_some() && needed.iter().any(|half| !resolves(world.verifier.ring, *half)) {
            return Some("a live verifier does not know the key of a live token");
        }
        // P is waived when nothing else may sign.
        let waived = world.revoked || world.upset || world.now >= world.cache.1 + MAX_AGE;
        if !waived && needed.iter().any(|half| !resolves(world.cache.0, *half)) {
            return Some("a copy of the JWKS not yet over lacks the key of a live token");
        }
        None
    }

    pub(super) fn shrinks(&self, before: &World, after: &World) -> Option<&'static str> {
        let twice = |world: &World| {
            let ring = world.stored.map(|id| self.memo.ring(id));
            ring.is_some_and(|ring| ring.keys.iter().any(|(number, half, _)| given_twice(before, *number, *half)))
        };
        if twice(after) {
            return Some("a number or a kid is given twice");
        }
        for (was, is) in [(&before.issuer, &after.issuer), (&before.verifier, &after.verifier)] {
            let (Some(was), Some(is)) = (was.ring, is.ring) else { continue };
            if was != is
                && let Some(promise) = goes_back(&self.memo.ring(was).ring, &self.memo.ring(is).ring)
            {
                return Some(promise);
            }
        }
        let (Some(was), Some(is)) = (before.stored, after.stored) else { return None };
        if was == is || before.upset != after.upset {
            return None;
        }
        goes_back(&self.memo.ring(was).ring, &self.memo.ring(is).ring)
    }

    /// Remembers under which number each half was published.
    pub(super) fn note_published(&self, world: &mut World) {
        let Some(ring) = world.stored.map(|id| self.memo.ring(id)) else { return };
        for (number, half, _) in &ring.keys {
            world.published.put(*number, *half);
        }
    }
}

/// Whether the number belonged to another key before, or the key to another number.
fn given_twice(before: &World, number: u8, half: u8) -> bool {
    before.published.iter().any(|(known, of)| (known == number) != (of == half))
}

/// What of a keyring may never be less.
fn goes_back(was: &Keyring, is: &Keyring) -> Option<&'static str> {
    if is.serial < was.serial {
        return Some("a serial shrank");
    }
    let stepped_back = |key: &RingKey| match is.key(key.key_id()) {
        Some(later) => later.state < key.state || later.private_half < key.private_half,
        None => key.state != KeyState::Removed,
    };
    was.keys.iter().any(stepped_back).then_some("a key went back in its life")
}
