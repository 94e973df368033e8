//! Everything Countersign knows, as one immutable value.
//!
//! ```text
//! Change ──► raw objects of one namespace ──► claims ──► who holds what ──► NamespaceView ──► look-ups, reports
//!            allowances, labels ──► Bounds ─────┘        (claims, hosts)
//! ```
//!
//! Flows in: [`Change`]s of objects, each converted once when it arrived. Flows out: a [`Directory`] that differs in the
//! views of the namespaces concerned; all others are shared with the one before. Every order of the same changes gives
//! the same Directory. Grants are computed from specs when they are asked for: no stored copy can go stale.

use std::sync::Arc;

use jiff::Timestamp;

use crate::bounds::{AllowanceObject, Labels, Limits, Reserved};
use crate::client::ClientObject;
use crate::names::{IssuerName, KeyId, Namespace, ObjectName, ObjectRef, Uid};
use crate::policy::Source;
use crate::timings::Timings;

pub mod reason;

/// What the installation says, rather than an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `--issuer-name`: only objects that name it are ours.
    pub issuer_name: IssuerName,
    /// The `iss` of tokens.
    pub issuer_url: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// What no namespace may claim.
    pub reserved: Reserved,
    /// The constants of the protocols.
    pub timings: Timings,
    /// Who keeps what two namespaces claim.
    pub conflicts: Conflicts,
}

/// Who keeps what two claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflicts {
    /// The older object: objects of a cluster have an age nobody chooses.
    OldestWins,
    /// Nobody: files have no age, so a conflict is an error on both sides.
    Error,
}

/// A ScopePolicy as the Directory holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyObject {
    /// Its namespace and name.
    pub object: ObjectRef,
    /// The UID the API server (or the data folder) gave it.
    pub uid: Uid,
    /// When it was created; settles conflicts in a cluster.
    pub created_at: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it says.
    pub source: Source,
}

/// A Namespace as the Directory holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceObject {
    /// Its name.
    pub name: Namespace,
    /// Its labels.
    pub labels: Labels,
}

/// What the Directory needs of a SigningKey: keys declared dead count everywhere at once, whatever else the spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingObject {
    /// Its name, in the system namespace.
    pub name: ObjectName,
    /// `spec.revokedKeyIds`.
    pub revoked_key_ids: Vec<KeyId>,
}

/// One object that is there, or no longer.
#[derive(Clone, Debug)]
pub enum Change {
    /// An OAuthClient.
    Client(ObjectRef, Option<Arc<ClientObject>>),
    /// A ScopePolicy.
    Policy(ObjectRef, Option<Arc<PolicyObject>>),
    /// A NamespaceAllowance.
    Allowance(ObjectName, Option<Arc<AllowanceObject>>),
    /// A Namespace.
    Namespace(Namespace, Option<Arc<NamespaceObject>>),
    /// A SigningKey of the system namespace.
    Ring(ObjectName, Option<Arc<RingObject>>),
}

// === impl Settings ===

impl Settings {
    /// Settings with what every installation reserves; `audiences` are the API server's own, besides its Service's names.
    pub fn new(issuer_name: IssuerName, issuer_url: &str, cluster_domain: &str, audiences: Vec<String>) -> Self {
        Self {
            issuer_name,
            issuer_url: issuer_url.to_owned(),
            cluster_domain: cluster_domain.to_owned(),
            reserved: Reserved::new(issuer_url, cluster_domain, audiences),
            timings: Timings::default(),
            conflicts: Conflicts::OldestWins,
        }
    }

    /// Whether an object with this `spec.issuer` (absent: `default`) is ours. Others never enter the Directory.
    pub fn is_ours(&self, issuer: Option<&str>) -> bool {
        issuer.unwrap_or("default") == self.issuer_name.as_str()
    }

    #[expect(dead_code, reason = "the views that ask it follow")]
    pub(crate) fn limits(&self) -> Limits<'_> {
        Limits { reserved: &self.reserved, cluster_domain: &self.cluster_domain }
    }
}

// === impl Conflicts ===

impl Conflicts {
    /// Whether a claim is held, given whether it is the oldest and whether there are others.
    #[expect(dead_code, reason = "the claims that ask it follow")]
    fn settles(self, oldest: bool, contested: bool) -> bool {
        match self {
            Self::OldestWins => oldest,
            Self::Error => !contested,
        }
    }
}
