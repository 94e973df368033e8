//! What `controller`, `issuer`, `verifier` and `admission` have in common: the flags of a role in a cluster, and how it begins.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use countersign_core::directory::Conflicts;

use super::certificates::CertificateFlags;
use super::options::{Admin, Connection, Installation, IssuerUrl, Replica};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site};
use super::store::StoreFlags;
use crate::controller::certificates;
use crate::snapshot::Role;
use crate::store::Store;

/// What there is where there is no cluster.
const WITHOUT: &str = "; `countersign standalone --manifests DIR` needs no cluster";

/// One replica of an installation in a cluster.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    issuer: IssuerUrl,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    replica: Replica,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    process: ProcessFlags,
}

impl Cluster {
    /// What the installation is.
    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Starts the process: logs, clock, readiness.
    pub(crate) fn process(&self) -> Result<Process> {
        Process::start(&self.process)
    }

    /// The certificates a controller makes.
    pub(crate) fn certificates(&self, flags: &CertificateFlags) -> Result<Option<certificates::Settings>> {
        let Installation { system_namespace, cluster_domain, timings, .. } = &self.installation;
        let clock_skew = timings.values()?.clock_skew;
        flags.settings((system_namespace, cluster_domain), &self.issuer.issuer_url, clock_skew)
    }

    /// Where uses of assertions are noted.
    pub(crate) fn store(&self, flags: &StoreFlags) -> Result<Option<Arc<dyn Store>>> {
        flags.open(self.installation.store, &self.installation.issuer_name)
    }

    /// Opens the admin port and the API server, and starts the watches of a role.
    pub(crate) async fn roles<'a>(&self, process: &'a mut Process, role: Role) -> Result<Roles<'a>> {
        let timings = self.installation.timings.values()?;
        let site = Site::new(&self.installation, &self.issuer.issuer_url, timings, Conflicts::OldestWins)?;
        process.serve_admin(self.admin.admin_listen).await?;
        let objects = self.connection.objects(&process.clock, WITHOUT).await?;
        Ok(Roles::start(process, objects, site, self.replica.name()?, role))
    }
}
