//! How this process speaks TLS to others.
//!
//! Flows in: whom to trust. Flows out: a configuration for a client.

use rustls::{ClientConfig, RootCertStore};

use super::provider;

/// Trusts these authorities and no others, and shows no certificate.
pub fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
