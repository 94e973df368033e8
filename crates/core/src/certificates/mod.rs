//! The certificates an installation makes for itself: its certificate authorities, and the leaf each role serves with.
//!
//! Flows in: the bundle last written, the private halves and leaves there are, the time. Flows out of [`step`]: the bundle
//! to write, an authority to make, leaves to sign, private halves to delete, when to look again. Randomness and signing
//! are the caller's.
//!
//! ```text
//! (made) ──► Published ──► Active ──► Retiring ──► (forgotten)
//!            in the bundle,  signs      in the bundle until the last
//!            signs nothing              leaf it signed has ended
//! ```
//! The bundle is what clients trust. An authority signs only after it has been in the bundle for as long as clients may
//! take to read it, so that whatever leaf is served, every client's copy of the bundle vouches for it.

mod merge;
mod step;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use step::{AuthorityKey, Issue, Leaf, Observed, Served, Settled, Step, step};

/// Who serves TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// `/oauth2/*`.
    Issuer,
    /// Both wires of the verifier.
    Verifier,
    /// The admission webhook.
    Admission,
}

closed_names!(Server { Issuer => "issuer", Verifier => "verifier", Admission => "admission" });

impl Server {
    /// Everyone who serves TLS.
    pub const ALL: [Self; 3] = [Self::Issuer, Self::Verifier, Self::Admission];
}

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Its number, which names the Secret of its private half.
    pub number: u64,
    /// Its certificate, PEM: what it is known by.
    pub certificate: String,
    /// When its certificate begins to be good.
    pub not_before: Timestamp,
    /// When its certificate ends.
    pub not_after: Timestamp,
    /// When it came into the bundle.
    pub published_at: Timestamp,
    /// When it began to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
    /// The longest life of a leaf while it signed.
    pub longest_leaf: SignedDuration,
}

impl Authority {
    /// Whether it is the one that signs.
    pub fn is_active(&self) -> bool {
        self.activated_at.is_some() && self.superseded_at.is_none()
    }

    /// Whether it waits for its turn.
    pub fn is_published(&self) -> bool {
        self.activated_at.is_none() && self.superseded_at.is_none()
    }

    /// When nothing it signed is good any more, where that is known.
    fn over_at(&self, timings: &CertificateTimings) -> Timestamp {
        let superseded = self.superseded_at.map_or(Timestamp::MAX, |at| later(at, self.longest_leaf));
        later(superseded.min(self.not_after), timings.skew())
    }

    /// When its successor is made: a third of its life is left.
    fn renew_at(&self) -> Timestamp {
        let third = self.not_after.duration_since(self.not_before) / 3;
        earlier(self.not_after, third)
    }
}

/// The authorities of an installation: the document the controller keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Grows with every write.
    pub serial: u64,
    /// The number the next authority gets.
    pub next_number: u64,
    /// The authorities, by number.
    pub authorities: Vec<Authority>,
}

impl Bundle {
    /// Their certificates, PEM: what a client trusts.
    pub fn certificates(&self) -> String {
        self.authorities.iter().map(|authority| authority.certificate.as_str()).collect()
    }

    /// The one that signs.
    pub fn active(&self) -> Option<&Authority> {
        self.authorities.iter().find(|authority| authority.is_active())
    }

    /// The newest one clients have to know.
    pub fn newest(&self) -> Option<&Authority> {
        self.authorities.iter().rfind(|authority| authority.superseded_at.is_none())
    }

    fn holds(&self, certificate: &str) -> bool {
        self.authorities.iter().any(|authority| authority.certificate == certificate)
    }
}

/// How long certificates last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateTimings {
    /// Life of an authority; its successor is made when a third is left.
    pub authority_lifetime: Duration,
    /// Life of a leaf; it is renewed when a third is left.
    pub leaf_lifetime: Duration,
    /// How long an authority is in the bundle before it signs: the longest that clients may take to read the bundle again.
    pub pre_publish: Duration,
    /// Bound on the difference between two clocks: certificates begin to be good this much in the past.
    pub clock_skew: Duration,
}

/// Why certificates cannot last as long as they are to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLifetimes {
    /// A sixth of a leaf's life is what is left to replace an authority that is lost.
    #[error(
        "a sixth of a leaf's life must be longer than the authority is published before it signs, and twice the clock skew"
    )]
    LeafTooShort,
    /// The last third of an authority's life is what its successor has to be known in, and its own leaves to end in.
    #[error(
        "a third of an authority's life must hold a whole life of a leaf, the time its successor is published before it signs, and twice the clock skew"
    )]
    AuthorityTooShort,
}

impl Default for CertificateTimings {
    fn default() -> Self {
        Self {
            authority_lifetime: Duration::from_hours(365 * 24),
            leaf_lifetime: Duration::from_hours(30 * 24),
            pre_publish: Duration::from_hours(24),
            clock_skew: Duration::from_mins(1),
        }
    }
}

impl CertificateTimings {
    /// Whether nobody is ever left without a good leaf by following them.
    pub fn check(&self) -> Result<(), RefusedLifetimes> {
        let publication = self.pre_publish.saturating_add(self.clock_skew.saturating_mul(2));
        if self.leaf_lifetime / 6 < publication {
            return Err(RefusedLifetimes::LeafTooShort);
        }
        if self.authority_lifetime / 3 < publication.saturating_add(self.leaf_lifetime) {
            return Err(RefusedLifetimes::AuthorityTooShort);
        }
        Ok(())
    }

    fn skew(&self) -> SignedDuration {
        signed(self.clock_skew)
    }

    fn leaf(&self) -> SignedDuration {
        signed(self.leaf_lifetime)
    }

    /// From its publication until an authority may sign.
    fn publication(&self) -> SignedDuration {
        signed(self.pre_publish).saturating_add(self.skew().saturating_mul(2))
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
