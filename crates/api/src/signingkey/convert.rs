//! A SigningKey as the core has it, and what the core reports about the ring.

use std::collections::BTreeSet;

use countersign_core::directory::RingObject;
use countersign_core::keyring::{self, KeyReport, RingSpec, StatusReport};
use countersign_core::names::KeyId;
use countersign_core::policy::Problem;
use countersign_core::token;
use jiff::Timestamp;
use serde_json::Value;

use super::{Algorithm, KeySourceType, KeyState, KeyStatus, SigningKey, SigningKeyStatus};
use crate::metadata::{self, MetadataError};
use crate::problems::{Problems, invalid, read, unknown_word};

/// How long a key signs where the spec says nothing.
const PERIOD: std::time::Duration = std::time::Duration::from_hours(720);
/// How long a key is published before it signs where the spec says nothing.
const PRE_PUBLISH: std::time::Duration = std::time::Duration::from_hours(1);

/// What a SigningKey asks for, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// What to do. Where something in the spec is wrong it is paused: only compromises are acted on. An annotation that
    /// cannot be read asks for nothing.
    pub spec: RingSpec,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl TryFrom<&SigningKey> for RingObject {
    type Error = MetadataError;

    fn try_from(key: &SigningKey) -> Result<Self, MetadataError> {
        let revoked_key_ids = revoked(key, &mut Problems::default());
        Ok(Self { name: metadata::name(&key.metadata)?, revoked_key_ids })
    }
}

impl TryFrom<&SigningKey> for Ring {
    type Error = MetadataError;

    fn try_from(key: &SigningKey) -> Result<Self, MetadataError> {
        let mut problems = Problems::default();
        problems.unknown("spec", &key.spec.unknown);
        let rotation = key.spec.rotation.clone().unwrap_or_default();
        let algorithm = problems.keep(algorithm(&key.spec.algorithm));
        if let Some(KeySourceType::Unknown(word)) = key.spec.source.as_ref().map(|source| &source.kind) {
            problems.push(unknown_word("spec.source.type", word));
        }
        let revoked: BTreeSet<KeyId> = revoked(key, &mut problems).into_iter().collect();
        let strange = !problems.is_empty();
        let rotate_at = problems.keep(metadata::rotate_at(&key.metadata)).flatten();
        let accept_restore = problems.keep(metadata::accept_restore(&key.metadata)).flatten();
        let spec = RingSpec {
            ring: metadata::name(&key.metadata)?,
            algorithm: algorithm.unwrap_or(token::Algorithm::ES256),
            period: rotation.period.map_or(PERIOD, crate::Duration::get),
            pre_publish: rotation.pre_publish.map_or(PRE_PUBLISH, crate::Duration::get),
            revoked,
            rotate_at,
            accept_restore,
            paused: metadata::is_paused(&key.metadata) || strange,
        };
        Ok(Self { spec, problems: problems.into_vec() })
    }
}

/// The keys that an object which cannot be read as a SigningKey declares dead: each id that can be read counts.
pub fn revoked_in(body: &Value) -> Vec<KeyId> {
    let ids = body.pointer("/spec/revokedKeyIds").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).filter_map(|id| id.parse().ok()).collect()
}

/// Each key id that can be read counts, whatever else is wrong.
fn revoked(key: &SigningKey, problems: &mut Problems) -> Vec<KeyId> {
    let ids = key.spec.revoked_key_ids.iter().enumerate();
    let read = ids.map(|(index, id)| read(&format!("spec.revokedKeyIds[{index}]"), id));
    read.filter_map(|id| problems.keep(id)).collect()
}

fn algorithm(algorithm: &Algorithm) -> Result<token::Algorithm, Problem> {
    algorithm.as_str().parse().map_err(|error| invalid("spec.algorithm", error))
}

impl From<&KeyReport> for KeyStatus {
    fn from(key: &KeyReport) -> Self {
        Self {
            key_id: key.key_id.to_string(),
            state: key.state.into(),
            algorithm: Some(Algorithm::from(key.algorithm.name().to_owned())),
            published_at: Some(whole_seconds(key.published_at)),
            activated_at: key.activated_at.map(whole_seconds),
            verifies_until: key.ends_at.map(whole_seconds),
        }
    }
}

/// For people: nobody reads fractions of a second.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

impl From<keyring::KeyState> for KeyState {
    fn from(state: keyring::KeyState) -> Self {
        Self::from(state.name().to_owned())
    }
}

impl From<&StatusReport> for SigningKeyStatus {
    /// The status without its conditions.
    fn from(report: &StatusReport) -> Self {
        // The newest matter most; the keyring has all of them.
        let keys: Vec<_> = report.keys.iter().take(64).map(KeyStatus::from).collect();
        Self {
            observed_generation: None,
            conditions: Vec::new(),
            active_key_id: report.active_key_id.as_ref().map(ToString::to_string),
            next_rotation: report.next_rotation.map(whole_seconds),
            key_count: i32::try_from(keys.len()).ok(),
            keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::object;

    const KEY: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    fn key(spec: &Value) -> SigningKey {
        object("SigningKey", "default", spec)
    }

    #[test]
    fn an_empty_spec_gets_every_default() {
        let ring = Ring::try_from(&key(&json!({}))).expect("has a name");
        let spec = RingSpec {
            ring: "default".parse().expect("a name"),
            algorithm: token::Algorithm::ES256,
            period: PERIOD,
            pre_publish: PRE_PUBLISH,
            revoked: BTreeSet::new(),
            rotate_at: None,
            accept_restore: None,
            paused: false,
        };
        assert_eq!(ring, Ring { spec, problems: Vec::new() });
    }

    #[test]
    fn what_is_wrong_pauses_the_ring_and_revokes_all_the_same() {
        for (spec, element) in [
            (json!({"algorithm": "HS256"}), "spec.algorithm"),
            (json!({"source": {"type": "Kms"}}), "spec.source.type"),
            (json!({"later": 1}), "spec.later"),
            (json!({"revokedKeyIds": ["short"]}), "spec.revokedKeyIds[0]"),
        ] {
            let mut spec = spec;
            match spec.get_mut("revokedKeyIds").and_then(Value::as_array_mut) {
                Some(ids) => ids.push(json!(KEY)),
                None => spec["revokedKeyIds"] = json!([KEY]),
            }
            let key = key(&spec);
            let ring = Ring::try_from(&key).expect("has a name");
            assert_eq!(ring.problems[0].element, element);
            assert!(ring.spec.paused && ring.spec.revoked.contains(KEY), "{element}");
            assert_eq!(RingObject::try_from(&key).expect("has a name").revoked_key_ids.len(), 1);
        }
    }

    #[test]
    fn times_are_reported_in_whole_seconds() {
        let report = KeyReport {
            key_id: KEY.parse().expect("a key id"),
            state: keyring::KeyState::Active,
            algorithm: token::Algorithm::ES256,
            published_at: Timestamp::from_millisecond(1_700).expect("a time"),
            activated_at: Timestamp::from_millisecond(2_999).ok(),
            ends_at: None,
        };
        let status = KeyStatus::from(&report);
        let times = [status.published_at, status.activated_at, status.verifies_until];
        assert_eq!(times, [Timestamp::from_second(1).ok(), Timestamp::from_second(2).ok(), None]);
    }

    #[test]
    fn annotations_ask_for_a_rotation() {
        let mut key = key(&json!({}));
        let annotations = [(metadata::ROTATE_AT, "2026-11-22T05:00:00Z"), (metadata::PAUSED, "true")];
        key.metadata.annotations = Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let ring = Ring::try_from(&key).expect("has a name");
        assert_eq!(ring.spec.rotate_at.map(|at| at.to_string()).as_deref(), Some("2026-11-22T05:00:00Z"));
        assert!(ring.spec.paused && ring.problems.is_empty());
    }
}
