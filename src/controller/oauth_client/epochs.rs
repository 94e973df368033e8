//! A client's epoch as status remembers it.
//!
//! Flows in: status, the spec, what is granted now, the highest epoch known here. Flows out: the epoch to remember, and
//! the revocations to write before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use countersign_api::OAuthClientStatus;
use countersign_core::client::{Client, ClientState};
use countersign_core::names::{Audience, Uid};
use countersign_core::revocation::{EpochBasis, EpochMemory, EpochObserved, EpochStep, epoch_step};
use countersign_core::scope::ScopeSet;

/// What is granted, by audience.
pub(super) type Grants = BTreeMap<Audience, ScopeSet>;

/// What follows for a client that is there. A spec nothing can be read from (an older version of us may be looking at a
/// newer object) revokes nothing: it gets no tokens, and those it has end by themselves.
pub(super) fn decide(
    status: &OAuthClientStatus,
    client: Option<&Client>,
    granted: &Grants,
    known_epoch: u64,
) -> EpochStep {
    let mut memory = EpochMemory::from(status);
    let Some(client) = client else {
        memory.epoch = memory.epoch.max(known_epoch);
        return EpochStep { memory, entries: Vec::new() };
    };
    let observed = EpochObserved { basis: basis(client), granted: granted.clone(), deleted: false, known_epoch };
    epoch_step(&memory, &observed)
}

/// What follows for a client that is gone.
pub(super) fn bury(status: &OAuthClientStatus, known_epoch: u64) -> EpochStep {
    let memory = EpochMemory::from(status);
    let basis = memory.basis.clone().unwrap_or_default();
    epoch_step(&memory, &EpochObserved { basis, granted: Grants::new(), deleted: true, known_epoch })
}

/// What the spec says of tokens and secrets that are no longer good.
fn basis(client: &Client) -> EpochBasis {
    EpochBasis {
        suspended: client.state == ClientState::Suspended,
        tokens_not_before: client.tokens_not_before,
        reject_issued_before: client.secret().and_then(|settings| settings.reject_issued_before),
    }
}

/// Writes the memory into status.
pub(super) fn remember(memory: &EpochMemory, status: &mut OAuthClientStatus) {
    let EpochMemory { epoch, basis, granted } = memory;
    status.epoch = Some(i64::try_from(*epoch).unwrap_or(i64::MAX));
    status.epoch_basis = basis.as_ref().map(Into::into);
    status.granted = granted.iter().map(Into::into).collect();
}

/// Epochs this process wrote and its own view of the revocations may not hold yet. Without them a change that follows at once
/// would get the epoch of the one before, and spare the tokens signed between the two.
#[derive(Default)]
pub(super) struct Written(Mutex<HashMap<Uid, u64>>);

impl Written {
    pub(super) fn note(&self, client: &Uid, epoch: u64) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = written.entry(client.clone()).or_default();
        *highest = epoch.max(*highest);
    }

    /// The highest epoch of a client, given what the views here know of it. Forgotten as soon as they know it too.
    pub(super) fn highest(&self, client: &Uid, known: u64) -> u64 {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = written.get(client).copied().unwrap_or(0);
        if noted <= known {
            written.remove(client);
        }
        noted.max(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(scopes: &str) -> Grants {
        [(Audience::new("https://orders.shop.svc").unwrap(), ScopeSet::parse(scopes).unwrap())].into()
    }

    #[test]
    fn what_is_remembered_is_read_back_as_it_was() {
        let memory = EpochMemory {
            epoch: 4,
            basis: Some(EpochBasis {
                suspended: true,
                tokens_not_before: Some(jiff::Timestamp::UNIX_EPOCH),
                reject_issued_before: None,
            }),
            granted: granted("orders:read orders:write"),
        };
        let mut status = OAuthClientStatus::default();
        remember(&memory, &mut status);
        assert_eq!(EpochMemory::from(&status), memory);
    }

    #[test]
    fn an_unreadable_spec_revokes_nothing_and_forgets_nothing() {
        let mut status = OAuthClientStatus::default();
        let memory = EpochMemory { epoch: 4, basis: Some(EpochBasis::default()), granted: granted("orders:read") };
        remember(&memory, &mut status);
        assert_eq!(decide(&status, None, &Grants::new(), 0), EpochStep { memory, entries: Vec::new() });
    }

    #[test]
    fn a_client_that_is_gone_leaves_an_epoch_above_all_its_tokens() {
        let status = OAuthClientStatus { epoch: Some(4), ..OAuthClientStatus::default() };
        assert_eq!(bury(&status, 7).entries, [(None, 8)]);
        assert_eq!(bury(&status, 0).entries, [(None, 5)]);
    }
}
