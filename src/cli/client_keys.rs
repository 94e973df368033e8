//! How the keys that clients publish at URLs of their own are fetched, as the flags say it.
//!
//! Flows in: a file of authorities, or those of this machine. Flows out: whom a fetch trusts.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use rustls::RootCertStore;

use super::fetch::authorities;
use super::usage::Usage;

/// Whom a fetch trusts.
#[derive(Args, Debug)]
pub(crate) struct ClientKeysFlags {
    /// Authorities to trust where clients' keys are fetched from (`jwksUri`), PEM, read at the start; by default this machine's
    #[arg(long, env = "COUNTERSIGN_CLIENT_KEYS_CA_FILE", value_name = "FILE")]
    client_keys_ca_file: Option<PathBuf>,
}

impl ClientKeysFlags {
    /// The authorities. A machine may have none, as the image: then no host is believed.
    pub(crate) fn roots(&self) -> Result<RootCertStore> {
        let Some(file) = &self.client_keys_ca_file else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        authorities(&text).map_err(|error| Usage::of(&format!("--client-keys-ca-file {}", file.display()), &error))
    }
}
