//! A client's epoch as status remembers it.
//!
//! Flows in: status, the spec, what is granted now, the highest epoch known here. Flows out: the epoch to remember, and
//! the revocations to write before it.

use std::collections::BTreeMap;

use countersign_api::{OAuthClient, OAuthClientStatus};
use countersign_core::client::{Client, ClientState};
use countersign_core::names::Audience;
use countersign_core::revocation::{
    DecidedOn, EpochBasis, EpochMemory, EpochObserved, EpochStep, KnownEpoch, epoch_step,
};
use countersign_core::scope::ScopeSet;

/// What is granted, by audience.
pub(super) type Grants = BTreeMap<Audience, ScopeSet>;

/// What follows for a client that is there. A spec nothing can be read from (an older version of us may be looking at a
/// newer object) revokes nothing: it gets no tokens, and those it has end by themselves.
pub(super) fn decide(object: &OAuthClient, client: Option<&Client>, granted: &Grants, known: &KnownEpoch) -> EpochStep {
    let mut memory = object.status.as_ref().map(EpochMemory::from).unwrap_or_default();
    let Some(client) = client else {
        memory.epoch = memory.epoch.max(known.epoch);
        return EpochStep { memory, entries: Vec::new() };
    };
    let observed = EpochObserved {
        basis: basis(client),
        granted: granted.clone(),
        decided_on: decided_on(object),
        known: known.clone(),
    };
    epoch_step(&memory, &observed)
}

/// What follows for a client that is gone.
pub(super) fn bury(status: &OAuthClientStatus, known: KnownEpoch) -> EpochStep {
    let memory = EpochMemory::from(status);
    let basis = memory.basis.clone().unwrap_or_default();
    let observed = EpochObserved { basis, granted: Grants::new(), decided_on: DecidedOn::Deletion, known };
    epoch_step(&memory, &observed)
}

/// What a decision about a client that is there rests on.
pub(super) fn decided_on(object: &OAuthClient) -> DecidedOn {
    DecidedOn::ResourceVersion(object.metadata.resource_version.clone().unwrap_or_default())
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
        let mut object = crate::controller::oauth_client::tests::client(&serde_json::json!({}));
        let memory = EpochMemory { epoch: 4, basis: Some(EpochBasis::default()), granted: granted("orders:read") };
        remember(&memory, object.status.get_or_insert_default());
        assert_eq!(
            decide(&object, None, &Grants::new(), &KnownEpoch::default()),
            EpochStep { memory, entries: Vec::new() }
        );
    }

    #[test]
    fn a_client_that_is_gone_leaves_an_epoch_above_all_its_tokens() {
        let status = OAuthClientStatus { epoch: Some(4), ..OAuthClientStatus::default() };
        let known = |epoch, decided_on| KnownEpoch { epoch, decided_on };
        for (known, epoch) in [
            (KnownEpoch::default(), 5),
            (known(7, None), 8),
            // Another leader has done it already.
            (known(7, Some(DecidedOn::Deletion)), 7),
        ] {
            assert_eq!(bury(&status, known).entries, [(None, epoch)]);
        }
    }
}
