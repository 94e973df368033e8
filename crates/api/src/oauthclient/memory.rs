//! The parts of a client's status that are the controller's memory, as the core has them.
//!
//! Flows in: what status says. Flows out: the core's memory, and back. What cannot be read counts as forgotten.

use std::collections::BTreeMap;

use countersign_core::client_secret::SecretState;
use countersign_core::names::Audience;
use countersign_core::revocation::{EpochBasis as CoreBasis, EpochMemory};
use countersign_core::scope::ScopeSet;

use super::{ClientState, EpochBasis, Granted, OAuthClientStatus, SecretStatus, scopes};

impl From<&OAuthClientStatus> for EpochMemory {
    fn from(status: &OAuthClientStatus) -> Self {
        Self {
            epoch: status.epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or_default(),
            basis: status.epoch_basis.as_ref().map(CoreBasis::from),
            granted: granted(&status.granted),
        }
    }
}

fn granted(granted: &[Granted]) -> BTreeMap<Audience, ScopeSet> {
    let read = |granted: &Granted| {
        let audience = granted.audience.parse().ok()?;
        Some((audience, scopes("status.granted", &granted.scopes).ok()?))
    };
    granted.iter().filter_map(read).collect()
}

impl From<(&Audience, &ScopeSet)> for Granted {
    fn from((audience, scopes): (&Audience, &ScopeSet)) -> Self {
        Self { audience: audience.to_string(), scopes: scopes.iter().map(ToString::to_string).collect() }
    }
}

impl From<&EpochBasis> for CoreBasis {
    fn from(basis: &EpochBasis) -> Self {
        Self {
            suspended: basis.state == Some(ClientState::Suspended),
            tokens_not_before: basis.tokens_not_before,
            reject_issued_before: basis.reject_issued_before,
        }
    }
}

impl From<&CoreBasis> for EpochBasis {
    fn from(basis: &CoreBasis) -> Self {
        let state = if basis.suspended { ClientState::Suspended } else { ClientState::Active };
        Self {
            state: Some(state),
            tokens_not_before: basis.tokens_not_before,
            reject_issued_before: basis.reject_issued_before,
        }
    }
}

impl From<&SecretStatus> for SecretState {
    fn from(status: &SecretStatus) -> Self {
        Self {
            issued_at: status.issued_at,
            accepted_since: status.accepted_since,
            previous_last_used_at: status.previous_last_used_at,
            next_rotation: status.next_rotation,
        }
    }
}

impl SecretStatus {
    /// The status of a Secret of this name.
    pub fn new(name: &str, state: &SecretState) -> Self {
        Self {
            name: Some(name.to_owned()),
            issued_at: state.issued_at,
            accepted_since: state.accepted_since,
            previous_last_used_at: state.previous_last_used_at,
            next_rotation: state.next_rotation,
        }
    }
}
