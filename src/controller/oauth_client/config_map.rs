//! The ConfigMap of a client whose methods hold no secret: all a program needs to know but the proof it has anyway.
//!
//! Flows in: the ConfigMap as it is, what the client and the installation say, the time. Flows out: at most one write of
//! it, and what to say about it. It is owned as Secrets are: by its owner record, and somebody else's is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_api::metadata::oauth_name;
use countersign_core::client::SecretKeys;
use countersign_core::names::{ClientId, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::credentials::{CREDENTIALS_READY, How, POLL};
use super::fights::Heals;
use super::managed::metadata;
use super::secret::{Connection, Owner, is_labelled, owner};
use crate::controller::conditions::{Finding, Status};
use crate::objects::layout::{COUNTERSIGN, MANAGED_BY, OWNER};

/// Reasons of [`CREDENTIALS_READY`] where there is no Secret.
pub(super) const NO_SECRET: &str = "NoSecret";
pub(super) const NO_CLUSTER: &str = "NoCluster";
pub(super) const CONFIG_MAP_NOT_OWNED: &str = "ConfigMapNotOwned";
pub(super) const CONFIG_MAP_CONTESTED: &str = "ConfigMapContested";

/// What a client's ConfigMap should be like.
pub(super) struct Wanted<'a> {
    pub(super) object: &'a ObjectRef,
    /// The owner record.
    pub(super) record: &'a str,
    pub(super) client_id: &'a ClientId,
    pub(super) connection: &'a Connection,
}

/// What there is to decide on.
pub(super) struct Seen<'a> {
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) existing: Option<&'a Arc<ConfigMap>>,
    /// Whether status says that we wrote it.
    pub(super) wrote: Wrote,
    pub(super) paused: bool,
    /// Whether anybody can check what the client proves itself with.
    pub(super) checkable: bool,
    pub(super) heals: &'a Heals,
}

/// For which spec a ConfigMap was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Never,
    Earlier,
    ForThisSpec,
}

/// What to do with the ConfigMap.
pub(super) enum ConfigChange {
    Keep,
    Write { how: How, base: Option<Arc<ConfigMap>> },
}

/// What to do.
pub(super) struct Decided {
    pub(super) change: ConfigChange,
    pub(super) finding: Finding,
    /// Somebody deleted or edited what we wrote.
    pub(super) heals: bool,
    pub(super) wake_at: Option<Timestamp>,
}

/// Decides for one client without a `ClientSecret` method.
pub(super) fn decide(seen: &Seen<'_>, now: Timestamp) -> Decided {
    let name = oauth_name(&seen.wanted.object.name);
    if !seen.checkable {
        let message = "there is no cluster here whose ServiceAccount tokens could be checked, and no TLS to show a certificate in: use ClientSecret";
        return waiting(&Finding::fails(CREDENTIALS_READY, NO_CLUSTER, message), None);
    }
    let change = match seen.existing {
        None => ConfigChange::Write { how: How::Create, base: None },
        Some(map) if !is_ours(seen, map) => return not_owned(&name, now),
        Some(map) if seen.wanted.holds(map) => ConfigChange::Keep,
        Some(map) => {
            let how = if map.immutable == Some(true) { How::Recreate } else { How::Update };
            ConfigChange::Write { how, base: Some(Arc::clone(map)) }
        }
    };
    let writes = matches!(change, ConfigChange::Write { .. });
    if seen.paused && writes {
        let message = format!("ConfigMap {name} is not written while the annotation countersign.dev/paused is there");
        return waiting(&Finding::fails(CREDENTIALS_READY, "Paused", message), None);
    }
    // New authorities to trust are nobody's doing.
    let edited = !seen.existing.is_some_and(|map| seen.wanted.holds_but_for_authorities(map));
    let heals = writes && edited && seen.wrote == Wrote::ForThisSpec;
    if let Some(until) = seen.heals.hold(now).filter(|_| heals) {
        return contested(&name, seen.heals.writer(), until);
    }
    let message = format!("the client proves itself without a Secret; ConfigMap {name} says to whom");
    let finding = Finding::new(CREDENTIALS_READY, Status::True, NO_SECRET, message);
    Decided { change, finding, heals, wake_at: None }
}

/// Whether the ConfigMap is this client's. Somebody may have taken our record off the one we wrote: its content says as much,
/// and our label that it is not somebody's own.
fn is_ours(seen: &Seen<'_>, map: &ConfigMap) -> bool {
    match owner(&map.metadata, seen.wanted.record) {
        Owner::Us => true,
        Owner::Nobody => {
            seen.wrote != Wrote::Never && is_labelled(&map.metadata) && map.data.as_ref() == Some(&seen.wanted.data())
        }
        Owner::Another => false,
    }
}

fn not_owned(name: &str, now: Timestamp) -> Decided {
    let message = format!(
        "ConfigMap {name} is not this client's and is left alone: delete it, or give the client another metadata.name"
    );
    waiting(&Finding::fails(CREDENTIALS_READY, CONFIG_MAP_NOT_OWNED, message), Some(now + POLL))
}

fn contested(name: &str, by: Option<&str>, until: Timestamp) -> Decided {
    let by = by.unwrap_or("someone");
    let message = format!(
        "{by} keeps deleting or changing ConfigMap {name}: have it leave the ConfigMap alone; it is put back less and less often"
    );
    waiting(&Finding::fails(CREDENTIALS_READY, CONFIG_MAP_CONTESTED, message), Some(until))
}

fn waiting(finding: &Finding, wake_at: Option<Timestamp>) -> Decided {
    Decided { change: ConfigChange::Keep, finding: finding.clone(), heals: false, wake_at }
}

impl Wanted<'_> {
    /// Whether the ConfigMap is as it should be, or was before the authorities to trust changed.
    fn holds_but_for_authorities(&self, existing: &ConfigMap) -> bool {
        let ca = existing.data.as_ref().and_then(|data| data.get(&SecretKeys::default().ca)).cloned();
        let connection = Connection { ca, ..self.connection.clone() };
        Wanted { connection: &connection, ..*self }.holds(existing)
    }

    /// The ConfigMap to write. Labels and annotations of others stay, data of others does not.
    pub(super) fn build(&self, existing: Option<&ConfigMap>) -> ConfigMap {
        let mut meta = existing.map(|map| map.metadata.clone()).unwrap_or_default();
        let mut labels = meta.labels.take().unwrap_or_default();
        let mut annotations = meta.annotations.take().unwrap_or_default();
        labels.insert(MANAGED_BY.to_owned(), COUNTERSIGN.to_owned());
        annotations.insert(OWNER.to_owned(), self.record.to_owned());
        ConfigMap {
            metadata: metadata((&self.object.namespace, oauth_name(&self.object.name)), meta, labels, annotations),
            data: Some(self.data()),
            ..ConfigMap::default()
        }
    }

    /// Whether the ConfigMap is as it should be.
    fn holds(&self, existing: &ConfigMap) -> bool {
        let wanted = self.build(Some(existing));
        wanted.data == existing.data
            && existing.binary_data.as_ref().is_none_or(BTreeMap::is_empty)
            && wanted.metadata.labels == existing.metadata.labels
            && wanted.metadata.annotations == existing.metadata.annotations
            && existing.immutable != Some(true)
    }

    /// The entries of a Secret under their default keys, without the secret.
    fn data(&self) -> BTreeMap<String, String> {
        let keys = SecretKeys::default();
        let entries = self.connection.entries(self.client_id, &keys);
        entries.map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_can_check_the_proof_nothing_is_written_and_a_person_is_told() {
        let object = ObjectRef::new("shop", "checkout").unwrap();
        let url = "https://issuer.example".to_owned();
        let connection = Connection { issuer: url.clone(), token_endpoint: url.clone(), jwks_uri: url, ca: None };
        let client_id = ClientId::new("shop.checkout").unwrap();
        let wanted =
            Wanted { object: &object, record: "default/shop/checkout", client_id: &client_id, connection: &connection };
        let heals = Heals::default();
        let seen = Seen {
            wanted: &wanted,
            existing: None,
            wrote: Wrote::Never,
            paused: false,
            checkable: false,
            heals: &heals,
        };
        let decided = decide(&seen, Timestamp::UNIX_EPOCH);
        assert!(matches!(decided.change, ConfigChange::Keep));
        assert_eq!((decided.finding.is_true(), decided.finding.reason), (false, NO_CLUSTER));
    }

    #[test]
    fn new_authorities_are_written_and_count_as_nobodys_edit() {
        let object = ObjectRef::new("shop", "checkout").unwrap();
        let url = "https://issuer.example".to_owned();
        let told = |ca: &str| Connection {
            issuer: url.clone(),
            token_endpoint: url.clone(),
            jwks_uri: url.clone(),
            ca: Some(ca.to_owned()),
        };
        let (before, now, client_id) = (told("one"), told("one and two"), ClientId::new("shop.checkout").unwrap());
        let wanted =
            |connection| Wanted { object: &object, record: "default/shop/checkout", client_id: &client_id, connection };
        let (heals, written) = (Heals::default(), wanted(&before).build(None));
        let mut edited = written.clone();
        edited.data.as_mut().unwrap().insert("issuer".to_owned(), "https://elsewhere.example".to_owned());
        for (existing, is_edit) in [(written, false), (edited, true)] {
            let seen = Seen {
                wanted: &wanted(&now),
                existing: Some(&Arc::new(existing)),
                wrote: Wrote::ForThisSpec,
                paused: false,
                checkable: true,
                heals: &heals,
            };
            let decided = decide(&seen, Timestamp::UNIX_EPOCH);
            assert!(matches!(decided.change, ConfigChange::Write { .. }));
            assert_eq!(decided.heals, is_edit);
        }
    }
}
