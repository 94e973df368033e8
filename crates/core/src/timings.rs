//! Every constant of the key, secret and revocation protocols.
//!
//! Flows in: flags. Flows out: one value handed to each `step`. The letters are those the protocols are described with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long things last and how far clocks may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// T: the longest access-token life; an issuer clamps to it.
    pub max_access_token_lifetime: Duration,
    /// The life of an access token whose client names none.
    pub default_access_token_lifetime: Duration,
    /// L: leeway when a token's times are checked.
    pub leeway: Duration,
    /// S: bound on pairwise clock skew; at most L.
    pub clock_skew: Duration,
    /// H: `max-age` of the JWKS answer.
    pub jwks_max_age: Duration,
    /// W: bound on the time from a write to every ready replica serving it.
    pub propagation: Duration,
    /// G: longest time an issuer signs without contact to the API server.
    pub offline_grace: Duration,
    /// How long after its last change, as the leader saw it, a heartbeat still counts as live.
    pub heartbeat_expiry: Duration,
    /// How often a heartbeat is renewed.
    pub heartbeat_period: Duration,
    /// How long a heartbeat must have been stale before the leader deletes it.
    pub heartbeat_removal: Duration,
    /// `WhenUnused`: how long nobody may have used an older secret before it ends.
    pub unused_for: Duration,
    /// How often issuers report the use of older secrets, at most.
    pub usage_report_period: Duration,
    /// How far in the future `rejectIssuedBefore` may lie.
    pub reject_ahead: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            max_access_token_lifetime: Duration::from_hours(1),
            default_access_token_lifetime: Duration::from_mins(15),
            leeway: Duration::from_mins(1),
            clock_skew: Duration::from_mins(1),
            jwks_max_age: Duration::from_mins(5),
            propagation: Duration::from_secs(30),
            offline_grace: Duration::from_hours(12),
            heartbeat_expiry: Duration::from_mins(5),
            heartbeat_period: Duration::from_secs(30),
            heartbeat_removal: Duration::from_hours(1),
            unused_for: Duration::from_hours(1),
            usage_report_period: Duration::from_mins(5),
            reject_ahead: Duration::from_hours(1),
        }
    }
}

impl Timings {
    /// P: how long a key stays Published before it may sign, given the ring's `prePublish`.
    pub fn publish_before_use(&self, pre_publish: Duration) -> Duration {
        pre_publish.max(self.jwks_max_age + self.propagation + 2 * self.clock_skew)
    }

    /// How long a key keeps verifying after its successor became Active: G + W + T + L + 2S.
    pub fn retiring_for(&self, longest_lifetime: Duration) -> Duration {
        self.offline_grace + self.propagation + longest_lifetime + self.leeway + 2 * self.clock_skew
    }

    /// When a private half is deleted at the latest after its successor became Active: G + W.
    pub fn private_half_for(&self) -> Duration {
        self.offline_grace + self.propagation
    }

    /// How long an epoch entry is kept after it was written: G + W + T + L + S.
    pub fn epoch_entry_for(&self) -> Duration {
        self.offline_grace + self.propagation + self.max_access_token_lifetime + self.leeway + self.clock_skew
    }
}
