//! Where Countersign's own objects lie and what they are called.
//!
//! Flows in: the system namespace and the issuer's name. Flows out: names, namespaces, labels, annotations and data keys.
//! Nothing else in the program spells them.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::certificates::Server;
use countersign_core::names::{IssuerName, NameError, Namespace, ObjectRef};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Key, Selection};

/// The label of everything Countersign writes; the only Secrets it watches carry it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const COUNTERSIGN: &str = "countersign";
/// The record of ownership: `<issuer-name>/<namespace>/<name>`.
pub const OWNER: &str = "countersign.dev/owner";
/// The consent of a Secret's owner to `Reference` and `Adopt`.
pub const CLIENT: &str = "countersign.dev/client";
/// Which of the internal objects this is: a `Part`.
pub const PART: &str = "countersign.dev/part";
/// The ring a keyring or private key belongs to.
pub const RING: &str = "countersign.dev/ring";
/// The key's serial in its ring.
pub const SERIAL: &str = "countersign.dev/serial";
/// The public half of a token key, JSON, so that nobody has to read the private one to know it.
pub const PUBLIC_JWK: &str = "countersign.dev/public-jwk";
/// Until when the record of a value that was taken over holds.
pub const UNTIL: &str = "countersign.dev/until";
/// The one replica that writes a revocations shard.
pub const WRITER: &str = "countersign.dev/writer";

/// The data key of a keyring ConfigMap, JSON.
pub const KEYRING_DATA: &str = "keyring.json";
/// The data key of a revocations shard, JSON.
pub const REVOCATIONS_DATA: &str = "revocations.json";
/// The data key of the authorities to trust, PEM; also of one authority's certificate, beside its private half.
pub const CA_DATA: &str = "ca.crt";
/// The data key of the bundle's document, JSON.
pub const AUTHORITIES_DATA: &str = "authorities.json";
/// The data keys of a Secret of type `kubernetes.io/tls`, PEM.
pub const CERTIFICATE_DATA: &str = "tls.crt";
pub const CERTIFICATE_KEY_DATA: &str = "tls.key";
/// The data key of a private half, PKCS#8 DER.
pub const PRIVATE_KEY_DATA: &str = "private.der";
/// The data key of a referenced secret's record, JSON.
pub const RECORD_DATA: &str = "record.json";
/// The data key of the random key under which those records are made.
pub const RECORD_KEY_DATA: &str = "key";
/// Kubernetes allows no longer name (a DNS subdomain).
const LONGEST_NAME: usize = 253;

/// What an internal object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// ConfigMap: a ring's public keys and states.
    Keyring,
    /// ConfigMap: the versions of the client-secret signer.
    ClientSecretKeyring,
    /// Secret: a token key's private half.
    SigningKey,
    /// Secret: a version of the client-secret signer's private half.
    ClientSecretKey,
    /// Secret: what an issuer checks a referenced secret against.
    ReferenceRecord,
    /// Secret: the key those records are made with.
    ReferenceKey,
    /// ConfigMap: revocations of one writer.
    Revocations,
    /// Lease: a replica's heartbeat.
    Heartbeat,
    /// ConfigMap: the certificates of the installation's own authorities.
    CaBundle,
    /// Secret: the private half of one of them.
    CaKey,
    /// Secret: what a role serves TLS with.
    Certificate,
}

impl Part {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::ClientSecretKeyring => "client-secret-keyring",
            Self::SigningKey => "signing-key",
            Self::ClientSecretKey => "client-secret-key",
            Self::ReferenceRecord => "reference-record",
            Self::ReferenceKey => "reference-key",
            Self::Revocations => "revocations",
            Self::Heartbeat => "heartbeat",
            Self::CaBundle => "ca-bundle",
            Self::CaKey => "ca-key",
            Self::Certificate => "certificate",
        }
    }
}

/// Where an installation's objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    issuer_name: IssuerName,
    system: String,
    keys: String,
    replicas: String,
}

impl Layout {
    /// An error where the namespaces derived from the system namespace would have too long a name.
    pub fn new(issuer_name: IssuerName, system: &Namespace) -> Result<Self, NameError> {
        let derived = |suffix: &str| Namespace::new(&format!("{system}-{suffix}")).map(|name| name.to_string());
        Ok(Self { issuer_name, keys: derived("keys")?, replicas: derived("replicas")?, system: system.to_string() })
    }

    pub fn issuer_name(&self) -> &IssuerName {
        &self.issuer_name
    }

    /// Keyrings, the client-secret signer, the leader's Lease and the rings' specs.
    pub fn system_namespace(&self) -> &str {
        &self.system
    }

    /// Token keys and records of referenced secrets: what issuers read.
    pub fn keys_namespace(&self) -> &str {
        &self.keys
    }

    /// Heartbeats and revocations: what issuers and verifiers write.
    pub fn replicas_namespace(&self) -> &str {
        &self.replicas
    }

    /// All three.
    pub fn namespaces(&self) -> Vec<String> {
        vec![self.system.clone(), self.keys.clone(), self.replicas.clone()]
    }

    /// The ConfigMap of a ring.
    pub fn keyring(&self, ring: &str) -> Key {
        Key::namespaced(&self.system, &format!("keyring-{ring}"))
    }

    /// The ConfigMap of the client-secret signer.
    pub fn client_secret_keyring(&self) -> Key {
        Key::namespaced(&self.system, "client-secret-keyring")
    }

    /// The Secret of a token key's private half; a crashed attempt at the same serial shows as `AlreadyExists`.
    pub fn signing_key(&self, ring: &str, serial: u64) -> Key {
        Key::namespaced(&self.keys, &format!("{ring}-{serial}"))
    }

    /// The Secret of a version of the client-secret signer.
    pub fn client_secret_key(&self, version: u64) -> Key {
        Key::namespaced(&self.system, &format!("client-secret-key-{version}"))
    }

    /// The Secret with the record of a referenced secret. Namespaces hold no dot, so no two clients share a name; one that
    /// would be longer than an object's name may be is a digest.
    pub fn reference_record(&self, client: &ObjectRef) -> Key {
        let mut name = format!("reference.{}.{}", client.namespace, client.name);
        if name.len() > LONGEST_NAME {
            let digest = digest(&SHA256, name.as_bytes());
            name = digest.as_ref().iter().fold("reference-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        }
        Key::namespaced(&self.keys, &name)
    }

    /// The Secret with the key those records are made with.
    pub fn reference_key(&self) -> Key {
        Key::namespaced(&self.keys, "reference-key")
    }

    /// The ConfigMap with the authorities to trust.
    pub fn ca_bundle(&self) -> Key {
        Key::namespaced(&self.system, "ca-bundle")
    }

    /// The Secret of an authority's private half.
    pub fn ca_key(&self, number: u64) -> Key {
        Key::namespaced(&self.system, &format!("ca-key-{number}"))
    }

    /// The Secret of what a role serves TLS with.
    pub fn certificate(&self, server: Server) -> Key {
        Key::namespaced(&self.system, &format!("{}-certificate", server.name()))
    }

    /// The leader's Lease.
    pub fn leader(&self) -> Key {
        Key::namespaced(&self.system, "countersign-controller")
    }

    /// A replica's Lease.
    pub fn heartbeat(&self, role: &str, replica: &str) -> Key {
        Key::namespaced(&self.replicas, &format!("{role}-{replica}"))
    }

    /// A shard of the revocations one replica writes.
    pub fn revocations(&self, writer: &str, shard: usize) -> Key {
        Key::namespaced(&self.replicas, &format!("revocations-{writer}-{shard}"))
    }

    /// All internal objects of a part.
    pub fn select(&self, part: Part) -> Selection {
        let namespace = match part {
            Part::Keyring
            | Part::ClientSecretKeyring
            | Part::ClientSecretKey
            | Part::CaBundle
            | Part::CaKey
            | Part::Certificate => &self.system,
            Part::SigningKey | Part::ReferenceRecord | Part::ReferenceKey => &self.keys,
            Part::Revocations | Part::Heartbeat => &self.replicas,
        };
        Selection::namespace(namespace).labelled(MANAGED_BY, COUNTERSIGN).labelled(PART, part.as_str())
    }

    /// Everything of ours in a namespace, whatever part it is.
    pub fn select_ours(&self, namespace: &str) -> Selection {
        Selection::namespace(namespace).labelled(MANAGED_BY, COUNTERSIGN)
    }

    /// The Secrets or ConfigMaps written for users.
    pub fn select_for_users(&self) -> Selection {
        Selection::all().labelled(MANAGED_BY, COUNTERSIGN)
    }

    /// Metadata of an internal object.
    pub fn meta(&self, key: &Key, part: Part) -> ObjectMeta {
        let labels = [(MANAGED_BY, COUNTERSIGN), (PART, part.as_str())];
        ObjectMeta {
            name: Some(key.name.to_string()),
            namespace: key.namespace.as_deref().map(str::to_owned),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        }
    }

    /// The record of ownership for an object of this installation.
    pub fn owner_record(&self, object: &ObjectRef) -> String {
        format!("{}/{}/{}", self.issuer_name, object.namespace, object.name)
    }

    /// Whom the record in this metadata names, if it is of this installation.
    pub fn owner(&self, meta: &ObjectMeta) -> Option<ObjectRef> {
        let record = annotation(meta, OWNER)?;
        record.strip_prefix(self.issuer_name.as_str())?.strip_prefix('/')?.parse().ok()
    }
}

/// When a record ends; `None`: it is good as long as it is there.
pub fn until(record: &ObjectMeta) -> Result<Option<Timestamp>, NoTime> {
    annotation(record, UNTIL).map(|text| text.parse().map_err(|_| NoTime)).transpose()
}

/// A record whose end nobody can tell is good for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its annotation countersign.dev/until is no time")]
pub struct NoTime;

/// The part this metadata says the object is.
pub fn is_part(meta: &ObjectMeta, part: Part) -> bool {
    label(meta, PART) == Some(part.as_str()) && label(meta, MANAGED_BY) == Some(COUNTERSIGN)
}

/// A label's value.
pub fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    value(meta.labels.as_ref(), name)
}

/// An annotation's value.
pub fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    value(meta.annotations.as_ref(), name)
}

fn value<'a>(map: Option<&'a BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    map?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let issuer = IssuerName::new("default").unwrap();
        Layout::new(issuer, &Namespace::new("countersign-system").unwrap()).unwrap()
    }

    #[test]
    fn every_client_has_a_record_of_its_own_under_a_name_that_may_be() {
        let record =
            |namespace: &str, name: &str| layout().reference_record(&ObjectRef::new(namespace, name).unwrap()).name;
        assert_eq!(&*record("shop", "checkout.eu"), "reference.shop.checkout.eu");
        let (namespace, name) = ("n".repeat(63), format!("{0}.{0}.{0}.", "c".repeat(63)));
        let (one, other) = (record(&namespace, &format!("{name}1")), record(&namespace, &format!("{name}2")));
        assert!(one.len() <= 253 && one.starts_with("reference-") && one != other, "{one}");
    }

    #[test]
    fn an_owner_record_names_its_object_to_its_own_installation_only() {
        let object = ObjectRef::new("shop", "checkout").unwrap();
        let record = layout().owner_record(&object);
        assert_eq!(record, "default/shop/checkout");
        let meta = |record: &str| ObjectMeta {
            annotations: Some([(OWNER.to_owned(), record.to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(layout().owner(&meta(&record)), Some(object));
        for foreign in ["default2/shop/checkout", "other/shop/checkout", "default/shop", "default/shop/a/b", ""] {
            assert_eq!(layout().owner(&meta(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn each_part_is_selected_where_it_is_named() {
        let layout = layout();
        for (part, key) in [
            (Part::Keyring, layout.keyring("default")),
            (Part::ClientSecretKeyring, layout.client_secret_keyring()),
            (Part::ClientSecretKey, layout.client_secret_key(1)),
            (Part::SigningKey, layout.signing_key("default", 1)),
            (Part::ReferenceKey, layout.reference_key()),
            (Part::Revocations, layout.revocations("issuer-a", 0)),
            (Part::Heartbeat, layout.heartbeat("issuer", "a")),
            (Part::CaBundle, layout.ca_bundle()),
            (Part::CaKey, layout.ca_key(1)),
            (Part::Certificate, layout.certificate(Server::Issuer)),
        ] {
            let meta = layout.meta(&key, part);
            assert!(layout.select(part).covers(&meta), "{key}");
            assert!(is_part(&meta, part));
        }
    }

    #[test]
    fn a_system_namespace_too_long_to_derive_from_is_refused() {
        let issuer = IssuerName::new("default").unwrap();
        assert!(Layout::new(issuer, &Namespace::new(&"a".repeat(60)).unwrap()).is_err());
    }
}
