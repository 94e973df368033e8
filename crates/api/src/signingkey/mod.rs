//! SigningKey: a ring of keys that sign access tokens.
//!
//! Flows in: how the keys of a ring are made and replaced. Flows out: `core::keyring::RingSpec` . `status` is a
//! report; the truth is the keyring.

mod convert;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use convert::{Ring, revoked_in};

use crate::choice::choice;
use crate::duration::Duration;
use crate::schema::{self, IssuerForm, Item, KeyIdForm};

/// How the keys of a ring are made and replaced.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "SigningKey",
    namespaced,
    shortname = "sgk",
    category = "countersign",
    doc = "A ring of keys that sign access tokens. One key signs, the next one is already published, earlier ones verify until their last token has ended. Only those in Countersign's own namespace count; the controller creates the one called default.",
    derive = "PartialEq",
    status = "SigningKeyStatus",
    selectable = ".spec.issuer",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether a key signs and the next one is published."
    ),
    printcolumn(
        name = "Active-Kid",
        type_ = "string",
        json_path = ".status.activeKeyId",
        description = "The key that signs."
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextRotation",
        description = "When the next key takes over."
    ),
    printcolumn(
        name = "Keys",
        type_ = "integer",
        json_path = ".status.keyCount",
        description = "How many keys the ring publishes."
    ),
    printcolumn(
        name = "Algorithm",
        type_ = "string",
        json_path = ".spec.algorithm",
        description = "The algorithm of the next key.",
        priority = "1"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "What is, and what to do about it.",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeySpec {
    /// The installation this ring belongs to: its `--issuer-name`. Default `default`. Cannot change.
    #[serde(default = "crate::default_issuer")]
    #[schemars(schema_with = "schema::text::<IssuerForm>")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("issuer cannot change: create the object anew under the other issuer"))]
    pub issuer: String,
    /// The signature algorithm: `ES256` (default), `ES384`, `EdDSA`, `RS256` or `PS256`. A change applies to the next key made.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Where the keys come from. Default `{type: Generated}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<KeySource>,
    /// When a key is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<KeyRotation>,
    /// Keys that are dead everywhere, at once, by `kid`: write a leaked key's identifier here, in Git. The next key takes
    /// over at once. At most 256; leave entries in place until the tokens signed with them have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::set::<KeyIdForm, 256>")]
    pub revoked_key_ids: Vec<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// Where a ring's keys come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySource {
    /// `Generated`: made by the controller and kept in a Secret of the keys namespace.
    #[serde(rename = "type")]
    pub kind: KeySourceType,
}

/// When a key is replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.prePublish) ? duration(self.prePublish) : duration('1h')) < (has(self.period) ? duration(self.period) : duration('720h'))")
    .message("rotation.prePublish (1h when unset) must be shorter than rotation.period (720h when unset)"))]
#[serde(rename_all = "camelCase")]
pub struct KeyRotation {
    /// How long a key signs, such as `720h` (the default). At least twice the longest access-token lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("rotation.period must be 1s or more"))]
    pub period: Option<Duration>,
    /// How long a key is published before it may sign, so that caches everywhere have it, such as `1h` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_publish: Option<Duration>,
}

/// What the controller reports. The truth is the keyring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyStatus {
    /// The metadata.generation this status is about. Smaller than that: the last change is not yet seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::counter")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the spec is allowed. `Ready`: a key signs and the next one is published. `RotationBlocked`: a replica does
    /// not yet have the next key. `NoStandby`, `KeyringLost`, `RollbackDetected`: see the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The `kid` of the key that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<KeyIdForm>")]
    pub active_key_id: Option<String>,
    /// When the next key takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub next_rotation: Option<Timestamp>,
    /// How many keys are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::small::<64>")]
    pub key_count: Option<i32>,
    /// The ring's keys, the newest first. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<KeyStatus>")]
    pub keys: Vec<KeyStatus>,
}

/// A key of the ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// Its `kid`: the RFC 7638 thumbprint.
    #[schemars(schema_with = "schema::text::<KeyIdForm>")]
    pub key_id: String,
    /// `Published`: not signing yet. `Active`: signing. `Retiring`: verifying until its last token has ended. `Removed`: gone.
    /// `Revoked`: refused everywhere.
    pub state: KeyState,
    /// Its algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub published_at: Option<Timestamp>,
    /// When it began to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub activated_at: Option<Timestamp>,
    /// Until when it verifies, once it has a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub verifies_until: Option<Timestamp>,
}

impl Item for KeyStatus {
    const MAX: u32 = 64;
    const KEYS: &'static [&'static str] = &["keyId"];
}

choice! {
    /// A signature algorithm (RFC 7518, RFC 8037).
    Algorithm default Es256 {
        /// ECDSA with P-256.
        Es256 = "ES256",
        /// ECDSA with P-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA with PKCS #1 padding.
        Rs256 = "RS256",
        /// RSA with PSS padding.
        Ps256 = "PS256",
    }

    /// Where keys come from.
    KeySourceType default Generated {
        /// Made by Countersign.
        Generated = "Generated",
    }

    /// Where a key is in its life.
    KeyState {
        /// Not signing yet.
        Published = "Published",
        /// Signing.
        Active = "Active",
        /// Verifying only.
        Retiring = "Retiring",
        /// Gone.
        Removed = "Removed",
        /// Refused.
        Revoked = "Revoked",
    }
}
