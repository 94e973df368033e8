//! Where issuers note which assertions were used, as the flags say it.
//!
//! Flows in: `--store` and where it lies. Flows out: the store, or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use countersign_core::names::IssuerName;

use super::usage::require;
use crate::store::{Connect, Embedded, Shared, Store};

/// Which store an installation has: all its roles are told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// None: clients cannot sign assertions of their own
    None,
    /// A file (--store-file) of the only issuer there is
    Embedded,
    /// A Redis or Valkey (--store-url) of all issuers
    Shared,
}

/// Where an issuer's store lies.
#[derive(Args, Debug)]
pub(crate) struct StoreFlags {
    /// File of the store with --store embedded, which has no default for it; made if it is not there. A restart forgets nothing
    #[arg(long = "store-file", env = "COUNTERSIGN_STORE_FILE", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Redis or Valkey with --store shared, which has no default for it: `redis://HOST[:PORT][/DB]`, or `rediss://` with TLS. It must not evict keys
    #[arg(long = "store-url", env = "COUNTERSIGN_STORE_URL", value_name = "URL")]
    url: Option<String>,
    /// User the Redis knows this issuer by; its default one otherwise
    #[arg(long = "store-username", env = "COUNTERSIGN_STORE_USERNAME", value_name = "NAME")]
    username: Option<String>,
    /// File with the password for the Redis, read at the start; none by default
    #[arg(long = "store-password-file", env = "COUNTERSIGN_STORE_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Authorities to trust for `rediss://`, PEM, read at the start; by default this machine's
    #[arg(long = "store-ca-file", env = "COUNTERSIGN_STORE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl StoreFlags {
    /// The store of this kind; it is not asked anything yet.
    pub(crate) fn open(&self, kind: Kind, issuer: &IssuerName) -> Result<Option<Arc<dyn Store>>> {
        self.fit(kind)?;
        Ok(match kind {
            Kind::None => None,
            Kind::Embedded => self.file.as_deref().map(embedded).transpose()?,
            Kind::Shared => self.url.as_deref().map(|url| self.shared(url, issuer)).transpose()?,
        })
    }

    /// Whether what is given is what this kind needs, and nothing another one would.
    fn fit(&self, kind: Kind) -> Result<()> {
        let Self { file, url, username, password_file, ca_file } = self;
        let flags = [
            ("--store-file", file.is_some(), Kind::Embedded, true),
            ("--store-url", url.is_some(), Kind::Shared, true),
            ("--store-username", username.is_some(), Kind::Shared, false),
            ("--store-password-file", password_file.is_some(), Kind::Shared, false),
            ("--store-ca-file", ca_file.is_some(), Kind::Shared, false),
        ];
        for (flag, given, of, needed) in flags {
            let name = of.name();
            require(!given || of == kind, format!("{flag} belongs to --store {name}"))?;
            require(given || of != kind || !needed, format!("--store {name} needs {flag}"))?;
        }
        Ok(())
    }

    fn shared(&self, url: &str, issuer: &IssuerName) -> Result<Arc<dyn Store>> {
        let password = self.password_file.as_deref().map(password).transpose()?;
        let connect = Connect {
            url,
            username: self.username.as_deref(),
            password: password.as_deref(),
            authorities: self.ca_file.as_deref().map(read).transpose()?,
        };
        let store = Shared::new(connect, issuer).context("--store-url cannot be used: write redis://HOST:PORT")?;
        Ok(Arc::new(store))
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Embedded => "embedded",
            Self::Shared => "shared",
        }
    }
}

fn embedded(file: &Path) -> Result<Arc<dyn Store>> {
    let store = Embedded::open(Some(file)).with_context(|| format!("cannot use the store {}", file.display()))?;
    Ok(Arc::new(store))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The password without the line break editors leave behind it.
fn password(file: &Path) -> Result<String> {
    let text = String::from_utf8(read(file)?).with_context(|| format!("{} is no UTF-8", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
