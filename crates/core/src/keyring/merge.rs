//! Two views of one keyring: the later state of each key wins.
//!
//! A replica that held a later keyring than it is now shown (a restored backup) keeps what it knew; the leader writes
//! the stricter values back.

use super::{KeyState, Keyring, RingKey};

impl Keyring {
    /// What both views say together; never less than either. Equal to the later one when nothing was rolled back.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let (later, earlier) = if self.serial >= other.serial { (self, other) } else { (other, self) };
        let mut merged = later.clone();
        merged.next_key = later.next_key.max(earlier.next_key);
        merged.rollback_at = later.rollback_at.or(earlier.rollback_at);
        for key in &earlier.keys {
            match merged.keys.iter_mut().find(|known| known.key_id() == key.key_id()) {
                Some(known) => advance(known, key),
                // The later keyring forgets only keys long out of service.
                None if key.state == KeyState::Removed => {}
                None => merged.keys.push(key.clone()),
            }
        }
        merged.keys.sort_by_key(|key| key.serial);
        merged.settle_active();
        merged
    }

    /// Of several Active keys the last activated goes on; the others retire.
    fn settle_active(&mut self) {
        let last = self.keys.iter().filter(|key| key.state == KeyState::Active).max_by_key(|key| key.activated_at);
        let Some((serial, at)) = last.map(|key| (key.serial, key.activated_at.unwrap_or(key.published_at))) else {
            return;
        };
        let ring_serial = self.serial;
        for key in self.keys.iter_mut().filter(|key| key.state == KeyState::Active && key.serial != serial) {
            key.retire(at, ring_serial);
        }
    }
}

fn advance(known: &mut RingKey, other: &RingKey) {
    if other.state > known.state {
        known.state = other.state;
    }
    known.activated_at = known.activated_at.or(other.activated_at);
    known.superseded = known.superseded.or(other.superseded);
    known.longest_lifetime = known.longest_lifetime.max(other.longest_lifetime);
    known.private_half = known.private_half.max(other.private_half);
}
