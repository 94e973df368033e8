//! Writes what was decided: the bundle, authorities, leaves.
//!
//! Flows in: a step, and the objects it was decided on. Flows out: writes, each on the version that was seen; never over
//! something that is not ours. Private halves reach Secrets and nothing else.

use countersign_core::certificates::{Authority, Bundle, Issue, Settled};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Certificates;
use super::make::{self, Life, Made};
use super::observe::{self, Seen};
use crate::controller::{During, Failure, WriteError};
use crate::objects::layout::{
    AUTHORITIES_DATA, CA_DATA, CERTIFICATE_DATA, CERTIFICATE_KEY_DATA, PRIVATE_KEY_DATA, Part, SERIAL, is_part,
};
use crate::objects::{Class, Error as StoreError, Preconditions};

const WRITE_BUNDLE: &str = "write the bundle of authorities";
const MAKE_AUTHORITY: &str = "make an authority";
const WRITE_LEAF: &str = "write a role's certificate";
const TLS: &str = "kubernetes.io/tls";
const OPAQUE_TYPE: &str = "Opaque";

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error("sign a certificate")]
    Sign(#[from] rcgen::Error),
    #[error("write a document")]
    Document(#[from] serde_json::Error),
    #[error("{0} is not one of ours (label countersign.dev/part): it is not touched; delete or rename it")]
    NotOurs(String),
    #[error("Secret {0} holds no authority: delete it")]
    NoAuthority(String),
    #[error("the private half of authority {0} is not there")]
    NoKey(u64),
    #[error("the certificate just made is not good for its own authority")]
    Unverified,
}

fn unmade(action: &'static str, error: Unmade) -> Failure {
    let (class, category) = match &error {
        Unmade::NotOurs(_) | Unmade::NoAuthority(_) => (Class::User, "not_ours"),
        Unmade::NoKey(_) => (Class::Transient, "signer"),
        Unmade::Sign(_) | Unmade::Document(_) | Unmade::Unverified => (Class::Bug, "certificate"),
    };
    Failure { class, category, action, source: Box::new(error) }
}

impl Certificates {
    pub(super) async fn write(&self, existing: Option<ConfigMap>, bundle: &Bundle) -> Result<(), Failure> {
        let (writer, layout) = (&self.parts.writer, &self.parts.layout);
        let document = serde_json::to_string(bundle).map_err(|error| unmade(WRITE_BUNDLE, error.into()))?;
        let data = [(CA_DATA.to_owned(), bundle.certificates()), (AUTHORITIES_DATA.to_owned(), document)];
        let (key, data) = (layout.ca_bundle(), Some(data.into()));
        let written = match existing {
            None => {
                let metadata = layout.meta(&key, Part::CaBundle);
                writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
            }
            Some(map) if !is_part(&map.metadata, Part::CaBundle) => {
                return Err(unmade(WRITE_BUNDLE, Unmade::NotOurs(format!("ConfigMap {key}"))));
            }
            Some(ConfigMap { metadata, .. }) => {
                writer.replace(&ConfigMap { metadata, data, ..ConfigMap::default() }).await
            }
        };
        written.during(WRITE_BUNDLE)?;
        let authorities: Vec<_> = bundle.authorities.iter().map(|each| each.number).collect();
        let signs = bundle.active().map(|active| active.number);
        tracing::info!(serial = bundle.serial, ?authorities, signs, "bundle of authorities written");
        self.settle_on(bundle);
        Ok(())
    }

    /// Makes an authority; one left by a crashed attempt was seen, so this number is free, or taken by what is none.
    pub(super) async fn make(&self, number: u64, life: Life) -> Result<(), Failure> {
        let layout = &self.parts.layout;
        let made = make::authority(layout.issuer_name(), number, life);
        let Made { certificate, key } = made.map_err(|error| unmade(MAKE_AUTHORITY, error.into()))?;
        let name = layout.ca_key(number);
        let mut metadata = layout.meta(&name, Part::CaKey);
        metadata.labels.get_or_insert_default().insert(SERIAL.to_owned(), number.to_string());
        let data = [
            (PRIVATE_KEY_DATA.to_owned(), ByteString(key.to_vec())),
            (CA_DATA.to_owned(), ByteString(certificate.into_bytes())),
        ];
        let secret = Secret {
            metadata,
            immutable: Some(true),
            type_: Some(OPAQUE_TYPE.to_owned()),
            data: Some(data.into()),
            ..Secret::default()
        };
        match self.parts.writer.create(&secret).await {
            Err(WriteError::Store(StoreError::AlreadyExists { .. })) => {
                let there = self.parts.writer.get::<Secret>(&name).await.during(MAKE_AUTHORITY)?;
                let usable = there.as_ref().and_then(observe::authority_key).is_some();
                if usable { Ok(()) } else { Err(unmade(MAKE_AUTHORITY, Unmade::NoAuthority(name.to_string()))) }
            }
            created => created.map(drop).during(MAKE_AUTHORITY),
        }
    }

    /// Signs and deletes what is due, and says until when all is well; `None`: look again at once.
    pub(super) async fn settle(
        &self,
        seen: Seen,
        settled: &Settled,
        now: Timestamp,
    ) -> Result<Option<Option<Timestamp>>, Failure> {
        let Some(bundle) = seen.stored.clone() else { return Ok(Some(settled.wake_at)) };
        if seen.map.as_ref().is_none_or(|map| !observe::is_as_written(map, &bundle)) {
            return self.write(seen.map, &bundle).await.map(|()| None);
        }
        self.settle_on(&bundle);
        self.measure(&bundle, &seen);
        for issue in &settled.issue {
            self.issue(&seen, &bundle, *issue, now).await?;
        }
        for number in &settled.delete {
            let key = self.parts.layout.ca_key(*number);
            let deleted = self.parts.writer.delete::<Secret>(&key, &Preconditions::default()).await;
            deleted.during("delete the key of an authority that signs no more")?;
        }
        let told = self.hand_to_webhooks(&seen.webhooks?, &bundle).await?;
        let is_done = settled.issue.is_empty() && settled.delete.is_empty() && !told;
        Ok(is_done.then_some(settled.wake_at))
    }

    async fn issue(&self, seen: &Seen, bundle: &Bundle, issue: Issue, now: Timestamp) -> Result<(), Failure> {
        let Some(authority) = bundle.active() else { return Ok(()) };
        let made = self.sign(authority, issue, now).await?;
        let (writer, key) = (&self.parts.writer, self.parts.layout.certificate(issue.server));
        let existing = seen.servers.iter().find(|each| each.server == issue.server);
        let existing = existing.and_then(|each| each.secret.as_ref());
        let data = [
            (CERTIFICATE_DATA.to_owned(), ByteString(made.certificate.into_bytes())),
            (CERTIFICATE_KEY_DATA.to_owned(), ByteString(make::key_pem(&made.key).as_bytes().to_vec())),
        ];
        let secret = |metadata: ObjectMeta| Secret {
            metadata,
            type_: Some(TLS.to_owned()),
            data: Some(data.into()),
            ..Secret::default()
        };
        let new = || self.parts.layout.meta(&key, Part::Certificate);
        let written = match existing {
            None => writer.create(&secret(new())).await,
            Some(existing) if !is_part(&existing.metadata, Part::Certificate) => {
                return Err(unmade(WRITE_LEAF, Unmade::NotOurs(format!("Secret {key}"))));
            }
            // The type of a Secret never changes, an immutable one not at all.
            Some(existing) if existing.type_.as_deref() != Some(TLS) || existing.immutable == Some(true) => {
                let exactly = Preconditions::exactly(&existing.metadata);
                writer.delete::<Secret>(&key, &exactly).await.during(WRITE_LEAF)?;
                writer.create(&secret(new())).await
            }
            Some(existing) => writer.replace(&secret(existing.metadata.clone())).await,
        };
        written.during(WRITE_LEAF)?;
        let (server, until) = (issue.server.name(), issue.not_after);
        tracing::info!(server, authority = issue.authority, %until, "certificate written");
        Ok(())
    }

    /// Signs a leaf, and makes sure that a client will take it.
    async fn sign(&self, authority: &Authority, issue: Issue, now: Timestamp) -> Result<Made, Failure> {
        let (writer, layout) = (&self.parts.writer, &self.parts.layout);
        let secret =
            writer.get::<Secret>(&layout.ca_key(issue.authority)).await.during("read the key of an authority")?;
        let secret = secret.filter(|secret| {
            observe::authority_key(secret).is_some_and(|key| key.certificate == authority.certificate)
        });
        let key = secret.as_ref().and_then(|secret| secret.data.as_ref()?.get(PRIVATE_KEY_DATA));
        let key = key.ok_or_else(|| unmade(WRITE_LEAF, Unmade::NoKey(issue.authority)))?;
        let names = self.parts.settings.servers.iter().find(|(server, _)| *server == issue.server);
        let names = names.map(|(_, names)| names.as_slice()).unwrap_or_default();
        let life = Life { not_before: issue.not_before, not_after: issue.not_after };
        let made = make::leaf((layout.issuer_name(), issue.authority, &key.0), names, life);
        let made = made.map_err(|error| unmade(WRITE_LEAF, error.into()))?;
        let good = observe::certificate_of(&made.certificate)
            .is_some_and(|leaf| observe::vouches(&authority.certificate, &leaf, names, now));
        if good { Ok(made) } else { Err(unmade(WRITE_LEAF, Unmade::Unverified)) }
    }
}
