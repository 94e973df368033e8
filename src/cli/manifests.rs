//! Manifests as `check` and `explain` are given them, and what an installation would make of them.
//!
//! Flows in: folders, files and standard input; what the installation is called. Flows out: what can be read, what
//! cannot, and the Directory of it all.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use countersign_core::directory::{Conflicts, Settings};
use countersign_core::names::{Audience, IssuerName, Namespace};
use jiff::Timestamp;

use super::options;
use crate::objects::folder::manifests::{Manifest, Survey, survey};
use crate::objects::layout::Layout;
use crate::snapshot::{Offline, offline};

/// Nobody's: no namespace may claim it, and it claims nothing anybody could want.
const NO_ISSUER: &str = "https://issuer.invalid";

/// What the installation is that would read the manifests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Installation")]
pub(super) struct Premises {
    /// Name of the installation; objects with another `spec.issuer` are passed over
    #[arg(long, env = "COUNTERSIGN_ISSUER_NAME", default_value = countersign_api::DEFAULT_ISSUER, value_name = "NAME")]
    pub(super) issuer_name: IssuerName,
    /// The issuer's URL, which no policy may claim and tokens must carry; default: not known, and not checked
    #[arg(long, env = "COUNTERSIGN_ISSUER_URL", value_name = "URL", value_parser = options::issuer_url)]
    pub(super) issuer_url: Option<String>,
    /// Namespace of the controller, in which SigningKeys lie
    #[arg(long, env = "COUNTERSIGN_SYSTEM_NAMESPACE", default_value = "countersign-system", value_name = "NAMESPACE")]
    pub(super) system_namespace: Namespace,
    /// Domain under which the cluster's Services are found
    #[arg(long, env = "COUNTERSIGN_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub(super) cluster_domain: String,
    /// Audience that no policy may claim; may be given several times; default: none
    #[arg(long, env = "COUNTERSIGN_RESERVED_AUDIENCE", value_delimiter = ',', value_name = "URI")]
    reserved_audience: Vec<Audience>,
    /// Host inside the network that clients may publish their keys at (`jwksUri`); may be given several times; default: none
    #[arg(long, env = "COUNTERSIGN_CLIENT_KEYS_HOST", value_delimiter = ',', value_name = "HOST", value_parser = options::key_host)]
    client_keys_host: Vec<String>,
}

impl Premises {
    /// As the Directory wants them. Files have no age: a conflict is an error.
    pub(super) fn settings(&self, conflicts: Conflicts) -> Settings {
        let audiences = self.reserved_audience.iter().map(ToString::to_string).collect();
        let url = self.issuer_url.as_deref().unwrap_or(NO_ISSUER);
        let key_hosts = self.client_keys_host.iter().cloned().collect();
        Settings {
            conflicts,
            key_hosts,
            ..Settings::new(self.issuer_name.clone(), url, &self.cluster_domain, audiences)
        }
    }

    pub(super) fn cluster_domain(&self) -> &str {
        &self.cluster_domain
    }

    pub(super) fn layout(&self) -> Result<Layout> {
        Layout::new(self.issuer_name.clone(), &self.system_namespace).context("--system-namespace is too long")
    }
}

/// What becomes of objects that the API server would refuse, and that a folder in service would not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flawed {
    /// What can be read of them is judged, to tell all their problems at once.
    Judged,
    /// They are as good as none.
    LeftOut,
}

/// Manifests, read and taken in.
pub(super) struct World {
    pub(super) survey: Survey,
    pub(super) offline: Offline,
}

impl World {
    /// Reads folders, files and, where a path is `-`, standard input.
    pub(super) fn read(paths: &[PathBuf], premises: &Premises, now: Timestamp, flawed: Flawed) -> Result<Self> {
        let (input, paths): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| path == Path::new("-"));
        let texts = if input.is_empty() { Vec::new() } else { vec![(PathBuf::from("(standard input)"), stdin()?)] };
        Self::of(&paths, &texts, premises, now, flawed)
    }

    /// The same of paths, and of texts under a name each.
    pub(super) fn of(
        paths: &[PathBuf],
        texts: &[(PathBuf, String)],
        premises: &Premises,
        now: Timestamp,
        flawed: Flawed,
    ) -> Result<Self> {
        let mut survey = survey(paths, texts);
        if flawed == Flawed::LeftOut {
            let bad: HashSet<_> = survey.flawed.iter().map(|(kind, key)| (kind.as_str(), key)).collect();
            survey.manifests.retain(|manifest| !bad.contains(&(manifest.kind(), &manifest.key)));
        }
        let settings = Arc::new(premises.settings(Conflicts::Error));
        let offline = offline(settings, premises.layout()?, &survey.manifests, now);
        Ok(Self { survey, offline })
    }

    /// The manifest of an object.
    pub(super) fn manifest(&self, kind: &str, key: &crate::objects::Key) -> Option<&Manifest> {
        self.survey.manifests.iter().find(|manifest| manifest.kind() == kind && manifest.key == *key)
    }
}

/// All of standard input.
pub(super) fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}
