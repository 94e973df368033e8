//! What there is of certificates.
//!
//! Flows in: the bundle's ConfigMap, the Secrets of authorities and roles. Flows out: what core decides on. A leaf counts
//! only if a client would take it: for every name, under an authority of the bundle, with the private half beside it.

use std::sync::Arc;

use countersign_core::certificates::{Authority, AuthorityKey, Bundle, Leaf, Server};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, client::danger::ServerCertVerified};
use std::time::Duration;

use super::webhook::Webhooks;
use crate::controller::Failure;
use crate::objects::layout::{
    AUTHORITIES_DATA, CA_DATA, CERTIFICATE_DATA, CERTIFICATE_KEY_DATA, PRIVATE_KEY_DATA, SERIAL, label,
};
use crate::runtime::tls::Validity;

/// Everything a look found.
pub(super) struct Seen {
    pub(super) map: Option<ConfigMap>,
    /// The document in the map; `None` too where it cannot be read: it is put together again.
    pub(super) stored: Option<Bundle>,
    pub(super) keys: Vec<AuthorityKey>,
    pub(super) servers: Vec<SeenServer>,
    pub(super) rotate_at: Option<Timestamp>,
    /// Who hands the bundle to the API server; where that cannot be told, the rest goes on.
    pub(super) webhooks: Result<Webhooks, Failure>,
}

impl Seen {
    /// Whether all who hand the bundle on hold its newest authority.
    pub(super) fn is_handed_on(&self) -> bool {
        let Some(bundle) = &self.stored else { return true };
        self.webhooks.as_ref().is_ok_and(|webhooks| webhooks.hold_newest(bundle))
    }
}

/// A server, the Secret it serves with, and the leaf in it.
pub(super) struct SeenServer {
    pub(super) server: Server,
    pub(super) secret: Option<Secret>,
    pub(super) leaf: Option<Leaf>,
}

/// The document of the bundle.
pub(super) fn bundle(map: &ConfigMap) -> Option<Bundle> {
    serde_json::from_str(map.data.as_ref()?.get(AUTHORITIES_DATA)?).ok()
}

/// Whether the map says of a bundle what it should.
pub(super) fn is_as_written(map: &ConfigMap, bundle: &Bundle) -> bool {
    let ca = map.data.as_ref().and_then(|data| data.get(CA_DATA));
    ca.is_some_and(|ca| *ca == bundle.certificates()) && map.binary_data.is_none()
}

/// The authority whose private half this Secret is.
pub(super) fn authority_key(secret: &Secret) -> Option<AuthorityKey> {
    let certificate = text(secret, CA_DATA)?;
    let number = label(&secret.metadata, SERIAL)?.parse().ok()?;
    let der = certificate_of(certificate)?;
    let key = PrivateKeyDer::Pkcs8(secret.data.as_ref()?.get(PRIVATE_KEY_DATA)?.0.clone().into());
    CertifiedKey::from_der(vec![der.clone()], key, &aws_lc_rs::default_provider()).ok()?;
    let Validity { not_before, not_after } = Validity::of(&der)?;
    Some(AuthorityKey { number, certificate: certificate.to_owned(), not_before, not_after })
}

/// The leaf in this Secret, if any of these authorities vouches for it under every name.
pub(super) fn leaf<'a>(
    secret: &Secret,
    authorities: impl Iterator<Item = (u64, &'a str)>,
    names: &[String],
    now: Timestamp,
) -> Option<Leaf> {
    let der = certificate_of(text(secret, CERTIFICATE_DATA)?)?;
    let key = PrivateKeyDer::from_pem_slice(text(secret, CERTIFICATE_KEY_DATA)?.as_bytes()).ok()?;
    CertifiedKey::from_der(vec![der.clone()], key, &aws_lc_rs::default_provider()).ok()?;
    let Validity { not_before, not_after } = Validity::of(&der)?;
    let mut authorities = authorities;
    let (authority, _) = authorities.find(|(_, certificate)| vouches(certificate, &der, names, now))?;
    Some(Leaf { authority, not_before, not_after })
}

/// Whether a client that trusts this authority takes this leaf under each of the names.
pub(super) fn vouches(authority: &str, leaf: &CertificateDer<'_>, names: &[String], now: Timestamp) -> bool {
    let verified = |name: &str| -> Option<ServerCertVerified> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate_of(authority)?).ok()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).ok()?));
        verifier.verify_server_cert(leaf, &[], &ServerName::try_from(name).ok()?, &[], now).ok()
    };
    names.iter().all(|name| verified(name).is_some())
}

/// The one certificate in a PEM text.
pub(super) fn certificate_of(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// The authorities a leaf may be by: those of the bundle, and those whose private halves the bundle does not know yet.
pub(super) fn candidates<'a>(bundle: &'a Bundle, keys: &'a [AuthorityKey]) -> impl Iterator<Item = (u64, &'a str)> {
    let of_bundle = bundle.authorities.iter().map(|Authority { number, certificate, .. }| (*number, &**certificate));
    of_bundle.chain(keys.iter().map(|AuthorityKey { number, certificate, .. }| (*number, &**certificate)))
}

fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}
