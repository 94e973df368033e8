//! The end of a ring whose SigningKey is gone.
//!
//! Flows in: the keyring last written, who holds what, the time. Flows out: the keyring to write, private halves to delete,
//! and in the end the word that the keyring itself may go. From the first step on nothing signs; what was signed is good
//! until it ends, exactly as after a rotation.

use jiff::Timestamp;

use super::gate::after;
use super::report::ends_at;
use super::{KeyState, Keyring, PrivateHalf, Witness};
use crate::timings::Timings;

/// The world as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The live replicas.
    pub witnesses: Vec<Witness>,
    /// The highest serial of this ring anyone remembers.
    pub known_serial: u64,
    /// The latest keyring this leader itself has seen.
    pub remembered: Option<Keyring>,
}

/// What to do now, in the order of the fields; then call [`wind_down`] again if `ring` was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindDown {
    /// Numbers of keys whose Secrets go first; gone already is as good.
    pub delete_private_halves: Vec<u64>,
    /// The keyring to write, against the one this was decided on.
    pub ring: Option<Keyring>,
    /// Whether nothing is left, so that the keyring goes too.
    pub over: bool,
    /// When time alone changes the answer.
    pub wake_at: Option<Timestamp>,
}

/// Decides what the end of a ring needs next.
pub fn wind_down(ring: &Keyring, departed: &Departed, now: Timestamp, timings: &Timings) -> WindDown {
    let remembered = departed.remembered.as_ref().filter(|known| known.serial > ring.serial);
    let mut draft = remembered.map_or_else(|| ring.clone(), |known| ring.merged(known));
    let known = departed.witnesses.iter().filter_map(|witness| witness.serial).max().unwrap_or(0);
    let serial = draft.serial.max(departed.known_serial).max(known) + 1;
    for key in &mut draft.keys {
        match key.state {
            KeyState::Published => key.state = KeyState::Removed,
            KeyState::Active => key.retire(now, serial),
            KeyState::Retiring if key.superseded.is_none() => key.retire(now, serial),
            KeyState::Retiring if ends_at(key, timings).is_some_and(|end| now >= end) => key.state = KeyState::Removed,
            KeyState::Retiring | KeyState::Removed | KeyState::Revoked => {}
        }
    }
    let mut delete_private_halves = Vec::new();
    if draft == *ring {
        // Only what a written keyring says of a key ends its private half.
        for key in draft.keys.iter_mut().filter(|key| key.private_half == PrivateHalf::Held) {
            if key.signs_no_more(&departed.witnesses, now, timings) {
                key.private_half = PrivateHalf::Deleted;
                delete_private_halves.push(key.serial);
            }
        }
    }
    let changed = draft != *ring;
    if changed {
        draft.serial = serial;
    }
    let over = !changed && draft.is_over();
    let wake_at = if changed { Some(now) } else { wake_at(&draft, now, timings) };
    WindDown { delete_private_halves, ring: changed.then_some(draft), over, wake_at }
}

fn wake_at(ring: &Keyring, now: Timestamp, timings: &Timings) -> Option<Timestamp> {
    let ends = ring.keys.iter().filter_map(|key| ends_at(key, timings));
    let held = ring.keys.iter().filter(|key| key.private_half == PrivateHalf::Held);
    let private = held.filter_map(|key| Some(after(key.superseded?.at, timings.private_half_for())));
    ends.chain(private).filter(|time| *time > now).min()
}
