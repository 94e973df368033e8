//! Clients that prove who they are by the certificate of their TLS connection (RFC 8705 section 2).
//!
//! Flows in: the certificate, the client the request names, the snapshot. Flows out: that client where it has the method
//! `MutualTls` and the certificate has its name; its tokens are bound to the certificate (section 3).

use countersign_core::client::{CertificateNames, DistinguishedName};
use countersign_core::token::Thumbprint;

use crate::issuer::authenticate::{Found, usable};
use crate::runtime::tls::ClientCertificate;
use crate::snapshot::Snapshot;

/// What a connection showed.
#[derive(Debug)]
pub(super) struct Shown {
    names: CertificateNames,
    pub(super) thumbprint: Thumbprint,
}

// === impl Shown ===

impl Shown {
    pub(super) fn read(certificate: &ClientCertificate) -> Self {
        let names = CertificateNames {
            uris: certificate.uris(),
            dns: certificate.dns_names(),
            subject: DistinguishedName::from_der(&certificate.subject()),
        };
        Self { names, thumbprint: Thumbprint::of(certificate.der()) }
    }

    /// The client of this id, if the certificate is its own. One that is not known yet is not waited for: whoever has some
    /// certificate would learn which clients there are.
    pub(super) fn client(&self, snapshot: &Snapshot, id: &str) -> Option<Found> {
        let is_its_own = |(_, spec): &Found| spec.certificate().is_some_and(|name| name.is_of(&self.names));
        usable(snapshot, id).filter(is_its_own)
    }
}
