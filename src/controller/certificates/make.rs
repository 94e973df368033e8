//! Makes authorities and leaves: the one place where a certificate is built and signed.
//!
//! Flows in: numbers, names and times that were decided elsewhere. Flows out: a certificate and its private half. Keys are
//! P-256, drawn by aws-lc (ECDSA with SHA-256, RFC 5480): every TLS stack there is speaks it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::names::IssuerName;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// A certificate and its private half.
pub(super) struct Made {
    /// PEM.
    pub(super) certificate: String,
    /// PKCS#8 DER.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// From when until when a certificate is to be good.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Whom a certificate speaks of.
pub(super) fn authority_name(issuer: &IssuerName, number: u64) -> String {
    format!("Countersign CA {number} ({issuer})")
}

/// A new authority: self-signed, for leaves only.
pub(super) fn authority(issuer: &IssuerName, number: u64, life: Life) -> Result<Made, rcgen::Error> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = authority_params(issuer, number);
    set_life(&mut params, life);
    Ok(made(&params.self_signed(&pair)?, &pair))
}

/// A leaf for these DNS names and addresses, under the authority whose private half this is.
pub(super) fn leaf(
    (issuer, number, key): (&IssuerName, u64, &[u8]),
    names: &[String],
    life: Life,
) -> Result<Made, rcgen::Error> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
    let authority = Issuer::new(authority_params(issuer, number), key);
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named(&format!("Countersign ({issuer})"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, life);
    Ok(made(&params.signed_by(&pair, &authority)?, &pair))
}

/// A private half as files hold it.
pub(super) fn key_pem(key: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(pem("PRIVATE KEY", key))
}

/// The name must never change: it stands in certificates already made.
fn authority_params(issuer: &IssuerName, number: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&authority_name(issuer, number));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn set_life(params: &mut CertificateParams, life: Life) {
    let at = |at: Timestamp| {
        let since = Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
        rcgen::date_time_ymd(1970, 1, 1) + since
    };
    (params.not_before, params.not_after) = (at(life.not_before), at(life.not_after));
}

fn made(certificate: &rcgen::Certificate, pair: &KeyPair) -> Made {
    Made { certificate: pem("CERTIFICATE", certificate.der()), key: Zeroizing::new(pair.serialize_der()) }
}

/// RFC 7468.
fn pem(label: &str, content: &[u8]) -> String {
    let text = Zeroizing::new(BASE64_STANDARD.encode(content));
    // All of it at once: what grows leaves copies behind.
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.extend([line, "\n"]);
        rest = after;
    }
    pem.extend(["-----END ", label, "-----\n"]);
    pem
}
