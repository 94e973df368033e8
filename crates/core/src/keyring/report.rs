//! What people are told about a ring: a report, never an input.

use jiff::Timestamp;

use super::gate::after;
use super::{KeyState, Keyring, RingKey, RingSpec};
use crate::names::KeyId;
use crate::timings::Timings;
use crate::token::Algorithm;

/// Why the timings asked for cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedTimings {
    /// T > rotation period / 2.
    #[error("the rotation period must be at least twice the longest access-token lifetime")]
    LifetimeTooLong,
    /// P ≥ rotation period.
    #[error("the rotation period must be longer than a key is published before it signs")]
    PublishedTooLong,
}

impl RefusedTimings {
    /// What is wrong with the timings, if something is.
    pub fn check(spec: &RingSpec, timings: &Timings) -> Option<Self> {
        if timings.max_access_token_lifetime > spec.period / 2 {
            Some(Self::LifetimeTooLong)
        } else if timings.publish_before_use(spec.pre_publish) >= spec.period {
            Some(Self::PublishedTooLong)
        } else {
            None
        }
    }
}

/// What a step found worth a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The spec's timings are refused; the ring goes on as it is.
    pub refused: Option<RefusedTimings>,
    /// A due rotation waits for these replicas to see the new key.
    pub blocked_by: Vec<String>,
    /// No key may sign: issuers answer 503 until one is known to every live verifier.
    pub no_standby: bool,
    /// The keyring had to be begun anew.
    pub keyring_lost: bool,
    /// Somebody remembers a later keyring than was stored.
    pub rollback: bool,
}

/// One key, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// The thumbprint.
    pub key_id: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// When it leaves service, once it retires.
    pub ends_at: Option<Timestamp>,
}

/// A ring, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    /// The key that signs.
    pub active_key_id: Option<KeyId>,
    /// When it is due to be replaced.
    pub next_rotation: Option<Timestamp>,
    /// The keys that matter still, newest first; Removed ones are left out.
    pub keys: Vec<KeyReport>,
}

impl StatusReport {
    pub(super) fn new(ring: &Keyring, spec: &RingSpec, timings: &Timings) -> Self {
        let report = |key: &RingKey| KeyReport {
            key_id: key.key_id().clone(),
            algorithm: key.jwk.algorithm(),
            state: key.state,
            published_at: key.published_at,
            activated_at: key.activated_at,
            ends_at: ends_at(key, timings),
        };
        let shown = ring.keys.iter().rev().filter(|key| key.state != KeyState::Removed);
        Self {
            active_key_id: ring.active().map(|key| key.key_id().clone()),
            next_rotation: ring.active().and_then(|key| due_at(key, spec)),
            keys: shown.map(report).collect(),
        }
    }
}

/// When a retiring key's last token has ended everywhere.
pub(super) fn ends_at(key: &RingKey, timings: &Timings) -> Option<Timestamp> {
    let superseded = key.superseded.filter(|_| key.state == KeyState::Retiring)?;
    Some(after(superseded.at, timings.retiring_for(key.longest_lifetime.unsigned_abs())))
}

/// When the Active key is to be replaced: at the end of its period, or when asked for by `rotate-at`.
pub(super) fn due_at(active: &RingKey, spec: &RingSpec) -> Option<Timestamp> {
    let activated_at = active.activated_at?;
    let asked = spec.rotate_at.filter(|asked| activated_at < *asked);
    let periodic = after(activated_at, spec.period);
    Some(asked.map_or(periodic, |asked| asked.min(periodic)))
}
